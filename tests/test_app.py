"""The page: what it computes, its files, and the page itself in a browser."""

import importlib.util
import re
import shlex
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from depthclip import DepthCLIP, FrozenCLIP
from depthclip.__main__ import main
from depthclip.app.command import app, example_rooms, serve
from depthclip.app.downloads import recipe_text, write_files
from depthclip.app.drawing import ticks, weight_maps
from depthclip.app.options import app_options
from depthclip.app.showing import show_photo
from depthclip.app.studio import RECIPE, Studio
from depthclip.app.wording import Wording, read_wording
from depthclip.errors import InputError
from tests.test_commands import commands
from tests.test_docs import DOCS

EDITED = Wording(
    ("near by", "close", "far", "far off"), (1.1, 1.7, 4.25, 6.5), ("It is {distance}", "a {distance} {object}"), 0.2
)
QUICK = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]


@pytest.fixture(scope="module")
def studio():
    return Studio(DepthCLIP.from_recipe("rooms"))


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A room of 300 x 400 pixels, stored on its side, with a lens of 28 mm on film in the EXIF block."""
    rooms = example_rooms(tmp_path_factory.mktemp("rooms"))
    path = rooms[0].with_name("my photo.jpg")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 28
    Image.open(rooms[0]).resize((400, 300)).rotate(90, expand=True).save(path, exif=exif)
    return path


def test_the_depth_is_that_of_infer(studio, photo):
    opened = studio.open(photo, RECIPE, True)
    before = studio.read(opened.encoded, studio.wording)
    edited = studio.read(opened.encoded, EDITED)
    model = DepthCLIP.from_recipe("rooms")
    np.testing.assert_allclose(before.depth, model.infer(photo), atol=1e-6)
    model.set_words(EDITED.words, EDITED.bins, EDITED.templates, EDITED.temperature)
    assert edited.depth.shape == (300, 400)
    np.testing.assert_allclose(edited.depth, model.infer(photo), atol=1e-6)
    np.testing.assert_allclose(edited.spread, model.infer(photo, uncertainty=True).spread, atol=1e-6)
    responses = model.responses(model.encode_photo(photo))
    assert edited.words == tuple(responses)
    np.testing.assert_allclose(edited.weights, np.stack(list(responses.values())), atol=1e-6)
    assert edited.focal == pytest.approx(28 / np.hypot(36, 24) * 500, rel=1e-6)


def test_a_reading_leaves_the_model_as_it_is(studio, photo):
    opened = studio.open(photo, RECIPE, True)
    first = studio.read(opened.encoded, studio.wording).depth
    with pytest.raises(InputError):
        studio.read(opened.encoded, Wording(("near", "far"), (3.0, 1.0), ("{distance}",), 0.1))
    studio.read(opened.encoded, EDITED)
    assert studio.model.head.labels[0] == "giant"
    np.testing.assert_array_equal(studio.read(opened.encoded, studio.wording).depth, first)


def test_another_readout_and_view(studio, photo):
    names = [name for _, name in studio.readouts]
    assert names[0] == RECIPE
    assert {"released", "maskclip"} < {*names}
    opened = studio.open(photo, "maskclip", False)
    model = DepthCLIP(FrozenCLIP("tiny-rooms", "bundled", "maskclip"), studio.model.head, mirror=False)
    np.testing.assert_allclose(studio.read(opened.encoded, studio.wording).depth, model.infer(photo), atol=1e-6)
    with pytest.raises(InputError, match="SCLIP does not fit"):
        studio.open(photo, "sclip", True)


def test_the_command_of_a_photograph_whose_name_starts_with_a_dash(studio, photo, tmp_path):
    shutil.copy(photo, tmp_path / "-dash.jpg")
    text = recipe_text(studio, studio.open(tmp_path / "-dash.jpg", RECIPE, True), EDITED)
    assert text.startswith("# python -m depthclip predict ./-dash.jpg -c recipe.yaml")


@pytest.mark.parametrize(("readout", "mirror", "fov"), [(RECIPE, True, None), ("released", False, 70.0)])
def test_the_command_line_gives_the_same_depth(studio, photo, readout, mirror, fov, tmp_path, monkeypatch):
    opened = studio.open(photo, readout, mirror)
    (tmp_path / "files").mkdir()
    files, missing = write_files(studio, opened, EDITED, fov, tmp_path / "files")
    assert not missing
    assert [file.name for file in files] == [
        "my photo.colour.png", "my photo.glb", "my photo.npy", "my photo.png", "recipe.yaml"
    ]  # fmt: skip
    command = files[-1].read_text().partition("\n")[0].removeprefix("# python -m depthclip ")
    monkeypatch.chdir(tmp_path)
    shutil.copy(photo, ".")
    shutil.copy(files[-1], ".")
    assert main([*shlex.split(command), *QUICK]) == 0
    depth = np.load(files[2])
    np.testing.assert_allclose(np.load("depth/my photo.npy"), depth, atol=1e-6)
    picture = Image.open(files[3])
    scale = float(picture.text["depth_scale"])
    np.testing.assert_allclose(np.asarray(picture) / scale, depth, atol=0.5 / scale + 1e-6)
    import trimesh

    points = trimesh.load(files[1]).geometry
    (cloud,) = points.values()
    width = 400
    focal = 28 / np.hypot(36, 24) * 500 if fov is None else width / 2 / np.tan(np.radians(fov) / 2)
    corner = cloud.vertices[0]  # of the upper left pixel
    np.testing.assert_allclose(-corner[2], depth[0, 0], atol=1e-5)
    np.testing.assert_allclose(corner[:2] / -corner[2], [-199.5 / focal, 149.5 / focal], atol=1e-5)


def test_without_a_focal_length_there_is_no_point_cloud(studio, tmp_path):
    rooms = example_rooms(tmp_path)
    (tmp_path / "files").mkdir()
    files, missing = write_files(studio, studio.open(rooms[0], RECIPE, False), EDITED, None, tmp_path / "files")
    assert not any(file.suffix == ".glb" for file in files)
    assert "field of view" in missing


def test_the_words_are_read_from_lines():
    lines = "near | 1\n\n  far away |  2.5 \n"
    assert read_wording(lines, "It is {distance}\n", 0.1) == Wording(
        ("near", "far away"), (1.0, 2.5), ("It is {distance}",), 0.1
    )
    assert read_wording(EDITED.lines, "{distance}", 1).bins == EDITED.bins
    assert read_wording("a|b | 2", "{distance}", 1).words == ("a|b",)


def test_the_page_of_a_photograph(studio, photo):
    opened = studio.open(photo, RECIPE, True)
    same = show_photo(studio, opened, studio.wording, studio.wording)
    np.testing.assert_array_equal(same.pair[0], same.pair[1])
    point = (100.5 / 400, 200.5 / 300)
    shown = show_photo(studio, opened, EDITED, studio.wording, point=point)
    np.testing.assert_array_equal(shown.pair[1].shape, (300, 400, 3))
    assert (shown.pair[0] != shown.pair[1]).any()
    model = DepthCLIP.from_recipe("rooms")
    model.set_words(EDITED.words, EDITED.bins, EDITED.templates, EDITED.temperature)
    depth = model.infer(photo)
    assert shown.point.startswith(f"{depth[200, 100]:.2f} m ± ")
    assert "at (100, 200)" in shown.point
    assert shown.weights.count("<figure>") == 4
    assert "far off" in shown.weights
    assert "metres" in shown.scale
    assert shown.histogram.startswith("<svg")


def test_words_are_no_html():
    assert "<script>" not in weight_maps(["<script>", "b"], [1, 2], np.full((2, 3, 4), 0.5))


def test_ticks_are_round():
    assert ticks(0.85, 8) == [2, 4, 6, 8]


def test_a_large_photograph_is_drawn_small(studio, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "large.png"
    Image.fromarray(rng.integers(0, 255, (2000, 1500, 3), dtype=np.uint8)).save(path)
    opened = studio.open(path, RECIPE, False)
    assert opened.rgb.shape == (640, 480, 3)
    assert show_photo(studio, opened, EDITED, EDITED).depth.shape == (640, 480, 3)
    assert studio.read(opened.encoded, EDITED).depth.shape == (2000, 1500)


def test_the_commands_of_the_page_of_docs():
    runs = [
        command.partition("-m depthclip ")[2] for command in commands(DOCS / "app.md") if "-m depthclip " in command
    ]
    options = [app_options(shlex.split(run)[1:]) for run in runs if run.startswith("app")]
    assert [each.config for each in options] == ["rooms", "photos", "rooms"]
    assert (options[2].host, options[2].port, options[2].max_upload) == ("0.0.0.0", 8000, 10)
    assert "predict photo.jpg -c recipe.yaml --output depth --formats '[png, npy]'" in runs


def test_without_gradio(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'depthclip\[app\]'"):
        app([])


def test_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["app", "--help"])
    assert "127.0.0.1" in capsys.readouterr().out


@pytest.fixture
def page(studio, tmp_path, monkeypatch):
    """The page, in Debian's chromium, and the addresses outside of this machine that it has asked for."""
    pytest.importorskip("gradio")
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium, see .ci/run")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    server = serve(studio, "127.0.0.1", None, 1, tmp_path)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1280, "height": 900})
        outside: list[str] = []
        opened.on("request", lambda request: outside.append(request.url))
        opened.goto(server.local_url)
        yield opened
        browser.close()
    server.close(verbose=False)
    local = (server.local_url, "data:", "blob:")
    assert [url for url in outside if not url.startswith(local)] == []


def download(page, name, folder):
    """Click the link of a file, and return where it was saved."""
    with page.expect_download() as waiting:
        page.locator(f"#files a[download='{name}']").first.click()
    waiting.value.save_as(folder / name)
    return folder / name


@pytest.mark.slow
def test_the_page_in_a_browser(page, studio, tmp_path, monkeypatch, capsys, record_property):
    from playwright.sync_api import expect

    responses, words, map_of = page.locator("#responses figure"), page.locator("#words textarea"), "#depth img"
    expect(responses).to_have_count(13, timeout=30_000)
    expect(page.locator("#banner")).to_contain_text("meaningless")
    page.locator("#rooms button").nth(1).click()
    expect(page.locator("#status")).to_contain_text("room-2.bmp")
    first = page.locator(map_of).get_attribute("src")

    # an edit: the map changes
    seconds = []
    for k, lines in enumerate(["near by | 1.1\nfar | 4.5", EDITED.lines]):
        started = time.perf_counter()
        words.fill(lines)
        expect(responses).to_have_count(2 * k + 2)
        seconds.append(time.perf_counter() - started)
    edited = page.locator(map_of).get_attribute("src")
    assert edited != first
    record_property("seconds of an edit", seconds)
    with capsys.disabled():
        print(f"\nan edit of the page took {', '.join(f'{each:.2f} s' for each in seconds)}")

    # the files: the depth of infer, and of the command line
    page.locator("#write").click()
    expect(page.locator("#files a[download]").first).to_be_visible()
    depth = np.load(download(page, "room-2.npy", tmp_path))
    recipe = download(page, "recipe.yaml", tmp_path)
    shown = (tmp_path / "room-2.bmp").read_bytes()
    (tmp_path / "downloads").mkdir()
    assert download(page, "room-2.bmp", tmp_path / "downloads").read_bytes() == shown
    model = DepthCLIP.from_recipe("rooms")
    model.set_words(EDITED.words, EDITED.bins)
    np.testing.assert_allclose(depth, model.infer(tmp_path / "room-2.bmp"), rtol=1e-6, atol=1e-6)
    monkeypatch.chdir(tmp_path)
    assert main([*shlex.split(recipe.read_text().partition("\n")[0])[4:], *QUICK]) == 0
    np.testing.assert_allclose(np.load("depth/room-2.npy"), depth, rtol=1e-6, atol=1e-6)

    # a click: the depth of a point
    page.locator(map_of).click()  # in the middle
    point = page.locator("#point textarea, #point input")
    expect(point).to_have_value(re.compile(r"m ± .* at \("))
    x, y = map(int, re.search(r"\((\d+), (\d+)\)", point.input_value()).groups())
    assert abs(x - 160) <= 1
    assert abs(y - 128) <= 1
    assert point.input_value().startswith(f"{depth[y, x]:.2f} m")

    # bad words and files: a sentence, and the map stays
    marked = page.locator(map_of).get_attribute("src")
    words.fill("near | 1\nmiddle\nfar | 4")
    expect(page.locator("#status [role=alert]")).to_contain_text("there are 3 words")
    page.locator("#temperature input").fill("0")
    words.fill("near | 1\nfar | 4")
    expect(page.locator("#status [role=alert]")).to_contain_text("temperature 0")
    assert page.locator(map_of).get_attribute("src") == marked
    (tmp_path / "notes.jpg").write_text("no image")
    page.locator("#file input[type=file]").set_input_files(tmp_path / "notes.jpg")
    expect(page.get_by_text("image notes.jpg cannot be read")).to_be_visible()

    page.get_by_label("Field of view").fill("200")
    expect(page.locator("#status [role=alert]")).to_contain_text("fov 200")
    page.get_by_label("Field of view").fill("60")

    # another view: the photograph is encoded again
    page.locator("#mirror input").uncheck()
    expect(page.get_by_text("room-2.bmp was encoded again")).to_be_visible()
    page.locator("#temperature input").fill("0.35")
    expect(page.locator("#status")).to_contain_text("2 words")
    expect(page.locator("#files a[download]")).to_have_count(0)  # they are of former words

    # another tab does not share the words
    other = page.context.browser.new_page()
    other.goto(page.url)
    expect(other.locator("#responses figure")).to_have_count(13)
    expect(words).to_have_value("near | 1\nfar | 4")


def test_the_message_of_the_page_has_no_advice_for_the_command_line():
    pytest.importorskip("gradio")
    from depthclip.app.callbacks import page_message

    path = Path("/server/a.jpg")
    for ways, expected in {
        "convert it to PNG, fetch it again, or set loading.on_error: skip": "convert it to PNG, or fetch it again",
        "fetch it again, or set loading.on_error: skip": "fetch it again",
        "convert it to PNG": "convert it to PNG",
    }.items():
        error = InputError(f"image {path} cannot be read (it is broken); {ways}")
        assert page_message(error, path) == f"image a.jpg cannot be read (it is broken); {expected}"
