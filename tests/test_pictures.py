"""Pictures: sizes of maps, hatching, scales, names, words, and files for papers."""

import re
import shlex
import xml.etree.ElementTree as ElementTree
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from depthclip.__main__ import main
from depthclip.data.rooms import room
from depthclip.figure_files import write_figure
from depthclip.pictures import compare_heads, draw_heads, draw_panel, panel, title_of, with_scale
from depthclip.pictures.maps import visible
from depthclip.pictures.text import fit, width_of, wrap
from depthclip.shown import Shown
from tests.test_commands import ROOT

NAME = "a/folder/" + "x" * 90 + "/the_living_room.jpg"
LONG = [f"{a} unbelievably {b}" for a in ("very", "quite", "hardly", "not") for b in ("nearby", "remote", "distant")]


def sample(index=0, words=5, heads=1, size=(120, 160), name="test/00000", hole=True, judged=True, bins=True):
    """Return an image of a room with a ground truth that has a hole, and any weights."""
    drawn = room("test", index)
    rgb = torch.from_numpy(drawn.rgb).permute(2, 0, 1)[:, : size[0], : size[1]] / 255
    depth = torch.from_numpy(drawn.depth).float()[: size[0], : size[1]]
    target = depth.clone()
    target[:, :30] = 0 if hole else target[:, :30]
    weights = torch.rand(words, 6, 8, generator=torch.Generator().manual_seed(index)) if words else None
    return Shown(
        index,
        name,
        rgb,
        target if judged else None,
        torch.stack([depth * (0.8 + 0.1 * k) for k in range(heads)]),
        weights,
        torch.zeros(heads),
        depth * 0.1,
        torch.linspace(1, 9, words) if words and bins else None,
    )


CASES = {
    "thirteen long words": ([sample(words=13), sample(1, 13, name=NAME)], [*LONG, "supercalifragilistic"]),
    "a single word": ([sample(words=1)], ["near"]),
    "no words": ([sample(words=0)], []),
    "upright images": ([sample(size=(120, 70)), sample(1, size=(120, 90), name=NAME)], LONG[:5]),
    "panoramas": ([sample(size=(30, 160)), sample(2)], ["near", "close", "medium", "far", "very far"]),
    "no ground truth": ([sample(judged=False, name=NAME)], ["near", "close", "medium", "far", "very far"]),
    "many words": ([sample(words=40)], [f"word {k}" for k in range(40)]),
    "several images": ([sample(k) for k in range(3)], LONG[:5]),
}
HEADS = ["head (5 words, near to very far)", LONG[0] * 3, "learned_words_and_bins" * 4, "x", "0.05, camera 300"]


def pages():
    """Yield each figure with its name."""
    for name, (samples, words) in CASES.items():
        yield pytest.param(lambda s=samples, w=words: draw_panel(s, w), id=name)
    several = [sample(0, heads=5), sample(1, heads=5, name=NAME), sample(2, heads=5, size=(120, 70))]
    yield pytest.param(lambda: draw_heads(several, HEADS), id="five heads")
    yield pytest.param(lambda: draw_heads([sample(k, heads=1) for k in range(6)], HEADS[:1]), id="six images")


def texts_of(figure: Figure):
    """Return the boxes in pixels of all texts that are drawn, by text, and those of all axes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    ticks = [label for axes in figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    texts = [text for text in (*figure.texts, *ticks) if text.get_text()]
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts]
    return boxes, [axes.get_window_extent() for axes in figure.axes], texts


def overlap(a, b, slack=1.0):
    """Return whether two boxes share more than `slack` pixels in both directions."""
    return min(a.x1, b.x1) - max(a.x0, b.x0) > slack and min(a.y1, b.y1) - max(a.y0, b.y0) > slack


@pytest.mark.parametrize("draw", [*pages()])
def test_no_text_collides_with_another_or_with_a_map_or_leaves_the_page(draw):
    figure = draw()
    boxes, maps, texts = texts_of(figure)
    assert all(text.get_fontsize() >= 8 for text in texts)
    for k, (text, box) in enumerate(boxes):
        assert box.x0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y0 >= -1, text
        assert box.y1 <= figure.bbox.y1 + 1, text
        for other, another in boxes[k + 1 :]:
            assert not overlap(box, another), (text, other)
        assert not any(overlap(box, each) for each in maps), text


@pytest.mark.parametrize("name", CASES)
def test_the_maps_of_an_image_have_the_same_size(name):
    samples, words = CASES[name]
    figure = draw_panel(samples, words)
    maps = [axes for axes in figure.axes if not len(axes.get_xticks()) and not len(axes.get_yticks())]
    by_row: dict[float, set] = {}
    for axes in maps:
        box = axes.get_position()
        by_row.setdefault(round(box.y0, 6), set()).add((round(box.width, 6), round(box.height, 6)))
        (image,) = axes.get_images()
        assert axes.get_aspect() == "auto"
        assert (*axes.get_xlim(), *axes.get_ylim()) == tuple(image.get_extent())  # the map fills its axes
    assert len(by_row) == len(samples) * (2 if words else 1)
    assert all(len(sizes) == 1 for sizes in by_row.values())


def test_pixels_without_ground_truth_are_hatched_and_others_are_not():
    figure = draw_panel([sample()], ["a", "b", "c", "d", "e"])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    _, truth, _, error = figure.axes[:4]
    for axes in (truth, error):
        assert axes.patch.get_hatch()
        box = axes.get_window_extent()
        left, width = round(box.x0), round(box.width)
        rows = slice(len(pixels) - round(box.y1) + 3, len(pixels) - round(box.y0) - 3)
        hole = pixels[rows, left + 3 : left + round(width * 30 / 160) - 4]
        assert np.ptp(hole, axis=-1).max() == 0  # grey
        assert hole.min() < 200 < 235 < hole.max()  # lines on a ground


def test_every_tick_of_a_scale_in_metres_has_its_unit():
    figure = draw_panel([sample(), sample(3)], ["a", "b", "c", "d", "e"])
    boxes, _, texts = texts_of(figure)
    ticks = [text.get_text() for text in texts if text not in figure.texts]
    assert sum(tick.endswith(" m") for tick in ticks) >= 6
    assert all(re.fullmatch(r"[\d.]+ m|[+−]\d+ %|[\d.]+", tick) for tick in ticks), ticks
    assert not any(text == "m" for text, _ in boxes)


def test_words_are_in_the_order_of_their_bins_and_the_missing_are_counted():
    words = ["far", "near", "medium"]
    one = sample(words=3)
    shown = Shown(*(getattr(one, name) for name in list(Shown.__dataclass_fields__)[:-1]), torch.tensor([5.0, 1, 2.5]))
    texts = [text.get_text() for text in draw_panel([shown], words).texts]
    assert texts[-3:] == ["near\n1 m", "medium\n2.5 m", "far\n5 m"]
    assert "weight of each word" in texts
    many = [text.get_text() for text in draw_panel(*CASES["many words"]).texts]
    assert "weight of each word: 14 of 40 words shown" in many
    assert sum(text.startswith("word ") for text in many) == 14
    two = [Shown(**{**vars(shown), "bins": shown.bins * factor}) for factor in (1, 2)]
    assert draw_panel(two, words).texts[-1].get_text() == "far\n5–10 m"


def test_long_names_are_cut_in_the_middle():
    for text in (NAME, "$" * 80, "W" * 80, "i" * 300):
        short = fit(text, 2.0)
        before, _, after = short.partition("…")
        assert text.startswith(before)
        assert text.endswith(after)
        assert abs(len(before) - len(after)) <= 1
        assert 1.7 < width_of(short) <= 2.0
    assert fit("short.jpg", 2.0) == "short.jpg"
    assert fit("a\nb\udcff", 2.0) == "a\\nb\\udcff"
    assert wrap("a very long name of several words", 0.8, 4) == "a very long\nname of\nseveral words"
    lines = wrap(" ".join(LONG), 1.0, 3).split("\n")
    assert len(lines) == 3
    assert all(width_of(line) <= 1.0 for line in lines)
    assert title_of("head", ["near", "far"]) == "head (2 words, near to far)"
    assert title_of("head", []) == "head"


def test_scattered_points_stay_visible():
    """4 % of the pixels of a map of 375 x 1242, as of a laser; each cell has the nearest point in it."""
    rng = np.random.default_rng(0)
    target = np.where(rng.random((375, 1242)) < 0.04, rng.uniform(2, 80, (375, 1242)), 0).astype(np.float32)
    near, same = visible(torch.from_numpy(target), torch.from_numpy(2 * target))
    assert np.isfinite(near).mean() > 0.5
    np.testing.assert_array_equal(same, 2 * near)
    assert np.nanmin(near) == target[target > 0].min()
    dense = np.where(rng.random((40, 50)) < 0.1, 3.0, 0).astype(np.float32)  # small enough as it is
    np.testing.assert_array_equal(np.nan_to_num(visible(torch.from_numpy(dense))[0]), dense)


def test_pictures_have_150_pixels_per_inch_and_fit_a_page(tmp_path):
    panel([sample()], ["a", "b", "c", "d", "e"], tmp_path / "panel.png")
    compare_heads([sample(k, heads=1) for k in range(4)], ["head"], tmp_path / "variants.png")
    for name in ("panel", "variants"):
        picture = Image.open(tmp_path / f"{name}.png")
        assert picture.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        assert 1000 < picture.width <= 9 * 150 + 1
        # text of 8 points is at least 8 pixels high where a page of 880 pixels shows the picture
        assert 8 / 72 * 150 * min(1, 880 / picture.width) > 8


def test_a_pdf_embeds_truetype_and_an_svg_keeps_text(tmp_path):
    words = ["near", "close", "medium", "far", "very far"]
    for kind in ("pdf", "svg"):
        panel([sample(name="$x$_1.jpg")], words, tmp_path / f"panel.{kind}")
    pdf = (tmp_path / "panel.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/FontFile2" in pdf  # a TrueType font program
    assert b"/Type3" not in pdf
    root = ElementTree.parse(tmp_path / "panel.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = {"".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"prediction", "$x$_1.jpg", "very far"} <= texts
    again = BytesIO()
    write_figure(draw_panel([sample(name="$x$_1.jpg")], words), again, "svg")
    assert again.getvalue() == (tmp_path / "panel.svg").read_bytes()


@pytest.mark.parametrize("size", [(48, 64), (480, 640), (1000, 300)])
def test_a_scale_leaves_the_map_as_it_is(size):
    picture = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    whole = with_scale(picture, 1.0, 4.0)
    np.testing.assert_array_equal(whole[: size[0], : size[1]], picture)
    assert 0.1 * max(size[0], 120) < whole.shape[1] - size[1] < max(100, 0.3 * size[0])
    strip = whole[:, size[1] :].astype(int)
    coloured = np.ptp(strip, axis=-1) > 40
    assert 4 < coloured.sum(1).max() < 0.4 * strip.shape[1]  # the bar
    assert (strip[:, -2:] == 255).all()  # no tick label is cut


# ---- files of the command line


QUIET = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.enable_progress_bar", "false"]
FEW = [f"--data.{split}_size=3" for split in ("train", "val", "test")]


@pytest.mark.filterwarnings("ignore:tiny-rooms")
def test_the_commands_of_the_gallery(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs/gallery.md"
    (block,) = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    exec(block, {})
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    ran = [line.partition("-m depthclip ")[2] for line in lines]
    for line in ran:
        assert main([*shlex.split(line), *QUIET, *(FEW if line.startswith("test") else [])]) == 0, capsys.readouterr()
    assert len(ran) == 4
    printed = capsys.readouterr().out
    assert "3 written, 0 kept, 0 skipped" in printed
    assert "runs/panel/version_0/panel.pdf" in printed
    runs = Path("runs/variants/version_0")
    assert (runs / "variants.png").stat().st_size > 10_000
    assert len(list((runs / "variants").iterdir())) == 3
    for index in range(3):
        assert Image.open(f"depth/photographs_room_{index}.panel.png").width > 1000
    assert len(list(Path("paper").glob("*.panel.svg"))) == 3
    for name in ("variants.png", "photographs_room_2.colour.png", "photographs_room_2.panel.png"):
        assert (ROOT / "docs/gallery" / name).stat().st_size < 300_000


def test_a_study_draws_for_papers(tmp_path):
    from depthclip.study.files import save_text
    from depthclip.study.pictures import save_figure

    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([1, 2])
    for kind, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        save_figure(figure, tmp_path / f"figure.{kind}")
        assert (tmp_path / f"figure.{kind}").read_bytes().startswith(start)
    save_text(tmp_path / "x.yaml", yaml.safe_dump({}))
