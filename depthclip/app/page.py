"""The page: its components, and which function each event calls."""

from pathlib import Path

import gradio as gr

from depthclip.app.callbacks import Callbacks
from depthclip.app.studio import RECIPE, Studio

BUNDLED = (
    "**Not for photographs.** This is the CLIP that comes with the package. It was trained on procedural rooms only, "
    "so its depth of your photographs is meaningless: it shows what words do, on the rooms below. For photographs, "
    "start the page with a CLIP that was trained on them: `python -m depthclip app -c photos` downloads OpenAI's RN50."
)
ZERO_SHOT = (
    "**Metres of a zero-shot model.** Nothing was trained on depth: the metres come from the depths that you assign to "
    "the words. The map usually separates near from far, but its metres are often wrong by a third or more."
)
THEME = gr.themes.Soft(primary_hue="indigo", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def build_page(studio: Studio, rooms: list[Path], fov: float, folder: Path) -> gr.Blocks:
    """Return the page.

    Args:
        studio: the model.
        rooms: example images.
        fov: their field of view in degrees.
        folder: folder for files to download.
    """
    calls = Callbacks(studio, rooms, fov, folder)
    lines, templates, temperature = calls.restore()
    with gr.Blocks(title="depthclip", analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)) as page:
        opened, point = gr.State(None, time_to_live=3600), gr.State(None)
        before = gr.State(studio.wording)
        gr.Markdown("# depthclip\nDepth of a photograph from sentences about distance. Edit the words and see the map.")
        gr.Markdown(BUNDLED if studio.bundled else ZERO_SHOT, elem_id="banner")
        with gr.Row():
            with gr.Column(scale=5, min_width=250):
                gr.Markdown("### Photograph")
                photograph = gr.Image(
                    show_label=False, interactive=False, height=200, buttons=["fullscreen"], elem_id="photograph"
                )
                gr.Markdown("Drop or choose a photograph, or choose a room:")
                file = gr.File(show_label=False, file_types=["image"], height=110, elem_id="file")
                gallery = gr.Gallery(
                    [str(room) for room in rooms],
                    show_label=False,
                    columns=3,
                    height=92,
                    allow_preview=False,
                    interactive=False,
                    buttons=[],
                    elem_id="rooms",
                )
                readout = gr.Dropdown(studio.readouts, value=RECIPE, label="Readout")
                mirror = gr.Checkbox(
                    studio.model.mirror, label="Average with the mirrored photograph", elem_id="mirror"
                )
                gr.Markdown("A change of these two encodes the photograph again.", elem_classes="hint")
            with gr.Column(scale=9, min_width=320):
                gr.Markdown("### Depth")
                depth = gr.Image(
                    show_label=False,
                    interactive=False,
                    format="png",
                    height=380,
                    buttons=["fullscreen"],
                    elem_id="depth",
                )
                scale = gr.HTML()
                spot = gr.Textbox(show_label=False, container=False, interactive=False, elem_id="point")
                bars = gr.HTML(elem_id="histogram")
            with gr.Column(scale=6, min_width=280):
                gr.Markdown("### Words")
                words = gr.Textbox(
                    lines, lines=7, max_lines=24, label="From near to far: word | metres", elem_id="words"
                )
                sentences = gr.Textbox(templates, lines=1, max_lines=6, label="Templates, one per line")
                with gr.Row():
                    heat = gr.Number(temperature, label="Temperature", step=0.05, min_width=100, elem_id="temperature")
                    view = gr.Number(None, label="Field of view (°)", placeholder="EXIF", min_width=100)
                status = gr.HTML(elem_id="status")
                restore = gr.Button("Restore the words of the recipe", size="sm")
        gr.Markdown(
            "### Responses\nThe weight of each word in each patch, with the depth of the word and its mean weight."
        )
        responses = gr.HTML(elem_id="responses")
        with gr.Row():
            with gr.Column(scale=11, min_width=320):
                gr.Markdown(
                    "### Before and after\nLeft: the words that you kept, at first those of the recipe. Right: yours."
                )
                slider = gr.ImageSlider(
                    show_label=False, interactive=False, format="png", buttons=[], max_height=420, elem_id="slider"
                )
                keep = gr.Button("Keep the present words as “before”", size="sm", elem_id="keep")
            with gr.Column(scale=9, min_width=300):
                gr.Markdown(
                    "### Files\nThe depth as 16-bit PNG that states its scale, as `.npy` in metres and as a point "
                    "cloud (GLB), and the recipe, which gives the same depth on the command line."
                )
                write = gr.Button("Make the files", variant="primary", elem_id="write")
                files = gr.File(label="Download", file_count="multiple", interactive=False, height=340, elem_id="files")

        wording, again = [words, sentences, heat], [readout, mirror]
        given = [opened, *wording, view, before, point]
        shown = [depth, scale, spot, responses, bars, slider, status]
        photo = [opened, photograph, view, point, files]

        def then_show(event: gr.events.Dependency) -> None:
            event.success(calls.update, given, shown, show_progress="hidden", api_visibility="private")

        then_show(page.load(calls.open_first, again, photo, show_progress_on=depth, api_visibility="private"))
        then_show(file.upload(calls.open_file, [file, *again], photo, show_progress_on=depth, api_visibility="private"))
        then_show(gallery.select(calls.open_room, again, [*photo, file], api_visibility="private"))
        then_show(
            gr.on(
                [readout.input, mirror.input],
                calls.encode_again,
                [opened, *again],
                [opened, photograph, files],
                show_progress_on=depth,
                api_visibility="private",
            )
        )
        edits = [words.change, sentences.change, heat.change, view.input]
        gr.on(edits, lambda: None, None, files, queue=False, show_progress="hidden", api_visibility="private")
        gr.on(
            edits,
            calls.update,
            given,
            shown,
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
        )
        then_show(depth.select(calls.choose, opened, point, show_progress="hidden", api_visibility="private"))
        then_show(keep.click(calls.keep, wording, before, show_progress="hidden", api_visibility="private"))
        restore.click(calls.restore, None, wording, show_progress="hidden", api_visibility="private")
        write.click(calls.write, [opened, *wording, view], files, api_visibility="private")
    return page
