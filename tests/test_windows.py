"""Large images: windows that are cut, encoded as one batch, and averaged where they overlap."""

import numpy as np
import pytest
import torch

from depthclip import DepthCLIP, DepthHead
from depthclip.data import Loading, Rooms
from depthclip.errors import InputError
from depthclip.head import Coarse, ConditionalContext, Head, ImageBins
from depthclip.protocol import View, Windows
from tests.test_module import fit_losses, head, seeded, trainer


def test_windows_at_the_border_are_shifted_inwards():
    windows = Windows((100, 64), (48, 64), (32, 16))
    assert windows.starts == ([0, 32, 52], [0])
    images = torch.arange(2 * 3 * 100 * 64.0).reshape(2, 3, 100, 64)
    parts = windows.cut(images)
    assert parts.shape == (6, 3, 48, 64)
    for k, (image, top) in enumerate((image, top) for image in range(2) for top in (0, 32, 52)):
        assert torch.equal(parts[k], images[image, :, top : top + 48])


@pytest.mark.parametrize("grid", [(4, 6), (3, 5), (1, 1), (48, 60)])
def test_a_constant_map_stays_constant(grid):
    windows = Windows((100, 163), (48, 60), (31, 7))
    constant = windows.stitch(torch.full((windows.count, 2, *grid), 3.5))
    torch.testing.assert_close(constant, torch.full_like(constant, 3.5))


@pytest.mark.parametrize("cells", [4, 8])
def test_cells_at_the_same_place_are_averaged_by_a_loop(cells):
    windows = Windows((128, 192), (64, 64), (32, 16))
    maps = torch.rand(2 * windows.count, 3, cells, cells)
    side = 64 // cells
    total, count = np.zeros((2, 3, 128 // side, 192 // side)), np.zeros((128 // side, 192 // side))
    for image in range(2):
        for k, (top, left) in enumerate((top, left) for top in range(0, 65, 32) for left in range(0, 129, 16)):
            place = np.s_[top // side : top // side + cells, left // side : left // side + cells]
            total[image][(slice(None), *place)] += maps[image * windows.count + k].numpy()
            count[place] += 0.5  # in each of the two images
    np.testing.assert_allclose(windows.stitch(maps), total / count, rtol=1e-5)


def test_overlaps_are_averaged_by_hand():
    """Windows of four pixels and cells at 0, 2 and 3 of seven pixels: one value a window, and its mean in a cell."""
    windows = Windows((7, 4), (4, 4), (2, 4))
    assert windows.starts == ([0, 2, 3], [0])
    values = torch.tensor([1.0, 10.0, 100.0])
    stitched = windows.stitch(values[:, None, None, None].expand(3, 1, 4, 4))
    assert stitched.shape == (1, 1, 7, 4)
    # the windows are the pixels 0-3, 2-5 and 3-6
    expected = [1, 1, 5.5, 37, 55, 55, 100]
    np.testing.assert_allclose(stitched[0, 0, :, 0], expected, rtol=1e-6)


def coarse(model, image, **view):
    with torch.no_grad():
        return model.coarse(image, View(**view))


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(("name", "readout"), [("small-resnet", "attention_pool"), ("small-vit", "tokens")])
def test_touching_windows_are_the_stitched_separate_passes(clip, name, readout, mirror):
    model = DepthCLIP(clip(name, readout), head())
    images = torch.rand(2, 3, 128, 192)
    (output,) = coarse(model, images, window=(64, 96), stride=(64, 96), mirror=mirror)
    parts = [[coarse(model, part, mirror=mirror)[0] for part in row.split(96, 3)] for row in images.split(64, 2)]
    for kind in ("depth", "logits"):
        expected = torch.cat([torch.cat([getattr(part, kind) for part in row], 3) for row in parts], 2)
        torch.testing.assert_close(getattr(output, kind), expected, atol=1e-4, rtol=1e-5)


def test_the_windows_of_a_batch_are_one_pass(clip, monkeypatch):
    encoder, batches = clip("small-vit", "tokens"), []
    real = encoder.encode_image
    monkeypatch.setattr(encoder, "encode_image", lambda rgb, needs: batches.append(rgb.shape) or real(rgb, needs))
    coarse(DepthCLIP(encoder, head()), torch.rand(2, 3, 100, 150), window=(64, 64), mirror=True)
    assert batches == [(4 * 3 * 4, 3, 64, 64)]  # starts 0, 32, 36 and 0, 32, 64, 86


def test_a_constant_image_gives_a_constant_map(clip):
    model = DepthCLIP(clip("small-resnet", "maskclip"), head())
    windowed = coarse(model, torch.full((1, 3, 200, 170), 0.4), window=(64, 64), stride=(24, 40))[0].depth
    # towers are not constant on a constant image, since they pad; the stitched map repeats one window
    alone = coarse(model, torch.full((1, 3, 64, 64), 0.4))[0].depth
    assert alone.min() - 1e-5 <= windowed.min() <= windowed.max() <= alone.max() + 1e-5


class MeanColour(Head):
    """Metres from the mean colour of each quarter of the image: a head with a grid of its own."""

    def forward(self, features, text):
        return Coarse(1 + features.dense.abs().mean((1, 2, 3))[:, None, None, None].expand(-1, 1, 3, 2))


def test_heads_of_any_grid_and_bins_of_the_image(clip):
    encoder, images = clip("small-vit", "tokens"), torch.full((2, 3, 100, 150), 0.3)
    image_bins = DepthHead(ConditionalContext("five"), ImageBins([1, 2, 3, 4, 6]))
    model = DepthCLIP(encoder, MeanColour(), {"bins": image_bins})
    own, words = coarse(model, images, window=(64, 64))
    alone, _ = coarse(model, images[..., :64, :64])
    assert own.depth.shape == (2, 1, round(100 * 3 / 64), round(150 * 2 / 64))
    torch.testing.assert_close(own.depth, alone.depth[:1, :, :1, :1].expand_as(own.depth))
    assert words.depth.shape[:2] == (2, 1)
    assert words.bins.shape == (2, 5)


def test_one_window_is_no_window_in_infer_and_responses(clip):
    model = DepthCLIP(clip("small-vit", "tokens"), head(), max_side=200)
    photo = np.random.default_rng(0).integers(0, 255, (90, 130, 3), dtype=np.uint8)
    whole = model.infer(photo)
    np.testing.assert_array_equal(model.infer(photo, window=(90, 130)), whole)
    np.testing.assert_array_equal(model.infer(photo, window=(500, 400)), whole)
    windowed = model.infer(photo, window=(64, 64), stride=(32, 32))
    assert windowed.shape == whole.shape
    assert not np.allclose(windowed, whole)
    weights = model.responses(photo, window=(64, 64))
    assert next(iter(weights.values())).shape == (6, 8)  # 90 x 130 pixels by patches of 16
    np.testing.assert_allclose(sum(weights.values()), 1, atol=1e-5)


def rooms(**view):
    return Rooms(train_size=4, val_size=2, test_size=3, loading=Loading(batch_size=2), view=View(**view))


def test_test_sees_windows(clip, tmp_path):
    def figures(**view):
        model = DepthCLIP(clip("small-vit", "tokens"), head(), panels=1)
        trainer(tmp_path).test(model, rooms(**view), verbose=False)
        return model.outcome.result.figures()["head"]

    assert figures(window=(120, 160)) == figures()
    windowed = figures(window=(64, 64), mirror=True)
    assert windowed != figures(mirror=True)
    # by hand: the depth of the windows of each room
    model = DepthCLIP(clip("small-vit", "tokens"), head())
    data, errors = rooms(), []
    for sample in data.samples("test"):
        depth = model.infer(sample.image.permute(1, 2, 0).numpy(), window=(64, 64), mirror=True)
        valid = ((sample.depth > 1e-3) & (sample.depth < 10)).numpy()
        target = sample.depth.numpy()[valid]
        errors.append((abs(depth[valid] - target) / target).mean())
    assert windowed["abs_rel"] == pytest.approx(np.mean(errors), rel=1e-4)


def test_fit_sees_windows_and_a_cache_is_refused(clip, tmp_path):
    whole, _ = fit_losses(seeded(clip), rooms(), tmp_path)
    single, _ = fit_losses(seeded(clip), rooms(window=(120, 160)), tmp_path)
    windowed, _ = fit_losses(seeded(clip), rooms(window=(64, 64)), tmp_path)
    assert single == whole
    assert windowed != whole
    with pytest.raises(InputError, match=r"cache 'memory' .* data.view.window changes them; set one to null"):
        trainer(tmp_path).fit(seeded(clip, cache="memory"), rooms(window=(64, 64)))


def test_too_many_windows_are_refused():
    with pytest.raises(InputError, match=r"view.window \(8, 8\) cuts an image of 1000 x 1000 into 986049 windows"):
        View(window=(8, 8), stride=(1, 1)).windows(1000, 1000)
