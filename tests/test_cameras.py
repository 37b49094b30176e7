"""Focal lengths: metres in the ratio of focal / camera on every path, lenses of rooms, and lenses of photographs."""

import math
import re
import shlex
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from depthclip import Bins, DepthCLIP, DepthHead, Prompts
from depthclip.__main__ import main
from depthclip.camera import focal_length
from depthclip.data import Loading, Photos, Rooms
from depthclip.data.focal import film_focal
from depthclip.data.rooms import RoomsDataset, room
from depthclip.encoder.interfaces import ImageFeatures
from depthclip.errors import InputError
from depthclip.head import Coarse, ConditionalContext, FittedBins, Head, ImageBins, LearnedBins, LearnedWords
from depthclip.losses import BinCrossEntropy
from depthclip.protocol import View
from tests.test_module import learner, trainer

VALUES = [1, 2, 3, 4, 6]
ANY_SIZE = {"whole": {}, "mirrored": {"mirror": True}, "windows": {"window": (64, 64), "mirror": True}}


class Brightness(Head):
    """Metres from the features alone, without words and bins, at a focal length of 100 pixels."""

    camera = 100.0

    def forward(self, features: ImageFeatures, text: object) -> Coarse:
        return Coarse(1 + features.dense.abs().mean(1, keepdim=True))


def words(camera: float | None = 100.0, **arguments) -> DepthHead:
    return DepthHead(Prompts("five"), Bins(VALUES), camera=camera, **arguments)


def heads() -> dict[str, Head]:
    """Return heads of all kinds."""
    return {
        "without words": Brightness(),
        "hard and smooth": words(assignment="hard", smoothing=1.0),
        "learned words and bins": DepthHead(LearnedWords(5), LearnedBins(VALUES), camera=100.0),
        "bins of the image": DepthHead(ConditionalContext("five"), ImageBins(VALUES), camera=100.0),
        "no camera": words(None),
    }


@pytest.mark.parametrize("view", ANY_SIZE.values(), ids=ANY_SIZE)
def test_depths_of_any_head_stand_in_the_ratio_of_the_focal_lengths(clip, view):
    model = DepthCLIP(clip("small-vit", "tokens"), words(), heads())
    image = torch.rand(1, 3, 100, 150)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")  # one by one: the images of a batch may differ in the last bit
        outputs = zip(*(model.coarse(image, View(**view), [focal]) for focal in (100.0, 200.0, 25.0)), strict=True)
    for name, (one, double, quarter) in zip(model.names, outputs, strict=True):
        power = 0 if name == "no camera" else 1
        torch.testing.assert_close(double.depth, one.depth * 2**power, rtol=0, atol=0)
        torch.testing.assert_close(quarter.depth, one.depth / 4**power, rtol=0, atol=0)
        if one.bins is not None and power:
            torch.testing.assert_close(double.bins, 2 * one.bins)
            torch.testing.assert_close(quarter.bins, one.bins / 4)


def test_depth_and_bins_agree_and_unknown_lenses_keep_their_metres(clip):
    model = DepthCLIP(clip("small-vit", "tokens"), words(80.0), {"plain": words(None)})
    images = torch.rand(2, 3, 64, 64)
    with pytest.warns(UserWarning, match="focal length of an image is not known"), torch.no_grad():
        scaled, plain = model.coarse(images, View(), [120.0, None])
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error")  # the warning comes once
        model.coarse(images, View(), [120.0, None])
    np.testing.assert_allclose(scaled.bins, [[1.5, 3, 4.5, 6, 9], VALUES])
    expected = np.einsum("bkhw,bk->bhw", scaled.weights, scaled.bins)
    np.testing.assert_allclose(scaled.depth[:, 0], expected, rtol=1e-5)
    np.testing.assert_array_equal(scaled.depth[1], plain.depth[1])
    np.testing.assert_array_equal(plain.bins, VALUES)
    assert torch.equal(scaled.logits, plain.logits)


def test_infer_scales_by_fov_focal_and_exif(clip, tmp_path):
    encoder = clip("small-vit", "tokens")
    model, plain = DepthCLIP(encoder, words(), max_side=64), DepthCLIP(encoder, words(None), max_side=64)
    pixels = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    metres = plain.infer(pixels)
    reduced = 64 / 160  # of the width, and of its focal length
    np.testing.assert_allclose(model.infer(pixels, focal=250.0), metres * 250 * reduced / 100, rtol=1e-5)
    # 160 pixels across 90 degrees: a focal length of 80 pixels
    np.testing.assert_allclose(model.infer(pixels, fov=90.0), metres * 80 * reduced / 100, rtol=1e-5)
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.FocalLengthIn35mmFilm: 26}
    Image.fromarray(pixels).save(tmp_path / "phone.png", exif=exif)
    # the diagonal is 200 pixels here, and that of film is sqrt(36^2 + 24^2) = 43.2666 mm
    expected = metres * (26 * 200 / 43.2666) * reduced / 100
    np.testing.assert_allclose(model.infer(tmp_path / "phone.png"), expected, rtol=1e-5)
    np.testing.assert_allclose(model.infer(Image.open(tmp_path / "phone.png")), expected, rtol=1e-5)
    np.testing.assert_allclose(model.infer(tmp_path / "phone.png", focal=100 / reduced), metres, rtol=1e-5)
    with pytest.warns(UserWarning, match="pass fov or focal"):
        np.testing.assert_array_equal(model.infer(pixels), metres)
    # `forward` has no reduction
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(model(image, [300.0]), 3 * plain(image))


def test_exif_without_a_focal_length_states_none(tmp_path):
    assert film_focal(Image.new("RGB", (160, 120)), (120, 160)) is None
    for value, expected in ((0, None), (50, pytest.approx(50 * 200 / math.hypot(36, 24)))):
        exif = Image.Exif()
        exif[ExifTags.IFD.Exif] = {ExifTags.Base.FocalLengthIn35mmFilm: value}
        Image.new("RGB", (160, 120)).save(tmp_path / "a.jpg", exif=exif)
        assert film_focal(Image.open(tmp_path / "a.jpg"), (120, 160)) == expected


def test_focal_length_of_a_field_of_view():
    assert focal_length(640, 90) == pytest.approx(320)
    # NYU's colour camera, 640 pixels wide: fx = 518.858 (toolbox), which is 63.3 degrees
    assert focal_length(640, 63.33) == pytest.approx(518.858, rel=1e-3)


def test_test_validate_and_predict_scale(clip, tmp_path):
    """A head for another focal length gives the figures of one whose bins are scaled by hand."""
    encoder = clip("small-resnet", "attention_pool")
    focal = 320 / 2 / math.tan(math.radians(35))  # of rooms, in pixels of the view
    by_hand = DepthHead(Prompts("five"), Bins([2 * metres for metres in VALUES]))
    data = Rooms(train_size=2, val_size=2, test_size=3, loading=Loading(batch_size=2))
    results = {}
    for name, head in (("camera", words(focal / 2)), ("by hand", by_hand)):
        model, runs = DepthCLIP(encoder, head), trainer(tmp_path)
        (tested,) = runs.test(model, data, verbose=False)
        shown = torch.stack([each.farthest for each in model.shown])
        (validated,) = runs.validate(model, data, verbose=False)
        data.setup("predict")
        with torch.no_grad():
            steps = [model.predict_step(batch, 0) for batch in data.predict_dataloader()]
        predicted = [each.depth for step in steps for each in step]
        results[name] = (tested, validated, shown, torch.stack(predicted))
    for one, other in zip(*results.values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", [None, BinCrossEntropy()], ids=["silog", "bins"])
def test_fit_learns_canonical_bins(clip, tmp_path, loss):
    """Training with camera = 2 focal on bins of twice the depth is training without a camera."""
    encoder = clip("small-vit", "tokens")
    focal, learned = 320 / 2 / math.tan(math.radians(35)), {}
    data = Rooms(train_size=4, val_size=1, test_size=1, loading=Loading(batch_size=2))
    for factor in (1, 2):
        torch.manual_seed(0)
        fixed = Bins([factor * metres for metres in VALUES])
        head = DepthHead(learner().prompts, fixed, camera=factor * focal, learn_temperature=True)
        model = DepthCLIP(encoder, head, loss=loss, learning_rate=0.05)
        trainer(tmp_path).fit(model, data)
        learned[factor] = {name: parameter.detach().clone() for name, parameter in head.named_parameters()}
    for name, parameter in learned[1].items():
        torch.testing.assert_close(parameter, learned[2][name], rtol=1e-3, atol=1e-4)


def test_fitted_bins_refuse_a_camera_until_they_are_fitted(clip, tmp_path):
    encoder = clip("small-vit", "tokens")
    data = Rooms(train_size=2, val_size=1, test_size=1)
    bins = FittedBins(5)
    with pytest.raises(InputError, match=r"camera 100 .* fit them with camera: null"):
        trainer(tmp_path).test(DepthCLIP(encoder, DepthHead(Prompts("five"), bins, camera=100.0)), data, verbose=False)
    bins.fit((depth, "") for depth, _ in [data.rooms["train"].truth(0)])
    trainer(tmp_path).test(DepthCLIP(encoder, DepthHead(Prompts("five"), bins, camera=100.0)), data, verbose=False)


def test_photos_know_their_lens(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.FocalLengthIn35mmFilm: 26}
    exif[ExifTags.Base.Orientation] = 6  # stored on its side
    Image.new("RGB", (80, 60)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGB", (80, 60)).save(tmp_path / "b.jpg")

    def focals(**arguments):
        data = Photos([str(tmp_path)], view=View(size=(30, 120)), **arguments)
        data.setup("predict")
        return [item.focal for batch in data.predict_dataloader() for item in batch.items]

    # upright, the first is 60 pixels wide and the second 80; the view is 120 wide
    assert focals() == [pytest.approx(26 * 100 / 43.2666 * 2, rel=1e-5), None]
    assert focals(fov=90.0) == [pytest.approx(60), pytest.approx(60)]


def test_rooms_through_the_default_lens_are_those_of_before():
    """Means of the first rooms before they had a field of view."""
    pictures = [room("test", k) for k in range(3)]
    np.testing.assert_allclose([p.depth.mean() for p in pictures], [1.751921, 2.221212, 2.565894], rtol=1e-5)
    np.testing.assert_allclose([p.rgb.mean() for p in pictures], [178.9584, 159.995, 158.3597], rtol=1e-4)
    dataset = RoomsDataset("test", 1)
    assert dataset.name(0) == "test/00000"
    assert RoomsDataset("test", 1, seed=3).name(0) == "test-3/00000"
    assert dataset[0].focal == pytest.approx(80 / math.tan(math.radians(35)))


def test_rooms_through_other_lenses():
    """Through a longer lens, the middle of the wide picture fills the picture."""
    wide, narrow = (room("test", 0, fov=fov) for fov in (90.0, 2 * math.degrees(math.atan(0.5))))
    assert wide.scene.solids == narrow.scene.solids
    # every pixel of the wide picture is two of the narrow one; 1 / depth of a plane is linear in the pixels
    quarters = (1 / np.asarray(narrow.depth)).reshape(60, 2, 80, 2).mean((1, 3))
    assert np.percentile(np.abs(wide.depth[30:90, 40:120] * quarters - 1), 90) < 1e-4
    focals = [RoomsDataset("test", 1, fov=fov)[0].focal for fov in (50, 90.0)]
    assert focals == [pytest.approx(80 / math.tan(math.radians(25))), pytest.approx(80)]


def test_rooms_draw_their_lens_between_bounds():
    drawn = RoomsDataset("test", 6, fov=(50.0, 90.0))
    focals = [drawn[k].focal for k in range(6)]
    assert len(set(focals)) == 6
    assert all(80 <= focal <= 80 / math.tan(math.radians(25)) for focal in focals)
    assert focals[2] == RoomsDataset("test", 3, fov=(50.0, 90.0))[2].focal
    # the lens takes no draw from the room: the room is that of the default lens
    assert room("test", 1, fov=(50.0, 90.0)).scene.solids == room("test", 1).scene.solids
    lenses = (70.0, 50, 50.5, 90.0, (50, 90), (50, 70))
    names = {RoomsDataset("test", 1, seed=seed, fov=fov).name(0) for fov in lenses for seed in (0, 3)}
    assert len(names) == 12
    assert Rooms(1, 1, 1, fov=(50, 90)).metadata()["fov"] == (50.0, 90.0)


def test_images_of_all_lenses_are_resized_to_one_focal_length():
    """A wide lens then shows around its middle what a narrow lens shows."""
    view = View(size=(256, 320), focal=200.0)
    data = Rooms(train_size=1, val_size=1, test_size=4, fov=(50, 90), view=view, loading=Loading(batch_size=4))
    data.setup("test")
    (batch,) = data.test_dataloader()
    assert len({item.rgb.shape for item in batch.items}) > 1
    for item in batch.items:
        height, width = item.rgb.shape[-2:]
        assert item.focal == pytest.approx(200, abs=200 / width)  # the width is a whole number of pixels
        assert height == pytest.approx(width * 256 / 320, abs=1)
    seen = {}
    for fov in (50, 90):
        data = Rooms(train_size=1, val_size=1, test_size=1, fov=fov, view=view)
        data.setup("test")
        (seen[fov],) = (item.rgb for batch in data.test_dataloader() for item in batch.items)
    height, width = seen[50].shape[-2:]
    top, left = (seen[90].shape[-2] - height) // 2, (seen[90].shape[-1] - width) // 2
    middle = seen[90][:, top : top + height, left : left + width]
    assert np.corrcoef(middle.flatten(), seen[50].flatten())[0, 1] > 0.95


def test_a_photograph_too_small_at_the_focal_length_is_skipped(tmp_path):
    Image.new("RGB", (80, 60)).save(tmp_path / "a.jpg")

    def items(on_error):
        data = Photos([str(tmp_path)], fov=5.0, view=View(focal=100.0), loading=Loading(on_error=on_error))
        data.setup("predict")
        return list(data.predict_dataloader())

    with pytest.raises(
        InputError,
        match=r"a.jpg: view.focal 100 would resize .* less than 16 pixels; .*, or set loading.on_error: skip$",
    ):
        items("raise")
    with pytest.warns(UserWarning, match=r"skipped: .*a.jpg: view.focal 100 would resize .* set view.focal higher$"):
        (batch,) = items("skip")
    assert not batch.items


def test_the_page(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parent.parent / "docs" / "cameras.md").read_text()
    runs = [shlex.split(line.partition("-m depthclip ")[2]) for line in page.splitlines() if "-m depthclip " in line]
    assert len(runs) >= 3
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (160, 120), "grey").save("holiday.jpg")
    quick = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    names: dict = {}
    exec(example, names)
    assert names["depth"].shape == (120, 160)
    for run in runs:
        few = [f"--data.{split}_size=2" for split in ("train", "val", "test")] if run[0] != "predict" else []
        assert main([*run, *few, *quick]) == 0, capsys.readouterr()
