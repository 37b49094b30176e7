"""The depths that bins and baselines are fitted to, and those that the loss counts."""

import numpy as np
import pytest
import torch

from depthclip import DepthCLIP, DepthHead, Prompts
from depthclip.data import KITTI, DataError, Loading, Pairs
from depthclip.data.augment import Augment
from depthclip.head import FittedBins
from depthclip.losses import SILog
from depthclip.protocol import Scoring, View
from tests.layouts import picture, values, write_image, write_pair
from tests.test_module import rooms, seeded, trainer


@pytest.fixture
def pairs(tmp_path):
    for k in range(5):
        write_pair(tmp_path / f"{k}.rgb.png", tmp_path / f"{k}.depth.png", k, 60, 80)

    def data(**settings):
        settings = {"image_pattern": "*.rgb.png", "depth_pattern": "*.depth.png", "train": 5, **settings}
        return Pairs(str(tmp_path), **settings)

    return data


def test_training_depths_are_what_would_be_scored(pairs):
    """Truth in its range, in the crop, where the model saw it; 0 elsewhere, at the size of the truth."""
    view, scoring = View(crop=(10, 5, 50, 70), size=(32, 32)), Scoring(min_depth=1, max_depth=8, crop=(0, 20, 45, 80))
    depths = list(pairs(view=view, scoring=scoring).training_depths(3))
    assert len(depths) == 3
    for k, (depth, scene) in zip((0, 2, 4), depths, strict=True):
        truth = values(k, 60, 80).astype(np.float32) / 1000
        expected = np.zeros_like(truth)
        part = truth[10:45, 20:70]
        expected[10:45, 20:70] = part * ((part > 1) & (part < 8))
        np.testing.assert_array_equal(depth, expected)
        assert scene == ""


def test_training_depths_of_kitti_follow_the_convention(tmp_path):
    frame = "2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000005.png"
    gt = "2011_09_26_drive_0001_sync/proj_depth/groundtruth/image_02/0000000005.png"
    write_pair(tmp_path / frame, tmp_path / "train" / gt, 0, 375, 1242)
    (tmp_path / "list.txt").write_text(f"{frame} {gt} 721.5\n")
    rows = {}
    for scoring in ("garg_kitti", "garg_kitti_seen"):
        data = KITTI(str(tmp_path), train_list=str(tmp_path / "list.txt"), val_list=str(tmp_path / "list.txt"))
        data.scoring = KITTI(scoring=scoring).scoring
        ((depth, _),) = data.training_depths(9)
        rows[scoring] = depth.any(1).nonzero().flatten()[[0, -1]].tolist()
    assert rows == {"garg_kitti": [153, 370], "garg_kitti_seen": [23 + 143, 23 + 348]}


def test_training_depths_decode_no_image(pairs, tmp_path, monkeypatch):
    from depthclip.data import files

    expected = [depth for depth, _ in pairs().training_depths(5)]
    monkeypatch.setattr(files, "read_rgb", lambda path: pytest.fail("an image was decoded"))
    for depth, known in zip(pairs().training_depths(5), expected, strict=True):
        torch.testing.assert_close(depth[0], known, atol=0, rtol=0)


def test_training_depths_of_frames_that_cannot_be_read(pairs, tmp_path):
    write_image(tmp_path / "1.rgb.png", picture(1, 60, 70))  # another size than its depth
    (tmp_path / "3.rgb.png").write_text("no image")
    with pytest.raises(DataError, match=r"1\.rgb\.png is 60 x 70"):
        list(pairs().training_depths(5))
    assert len(list(pairs(loading=Loading(on_error="skip")).training_depths(5))) == 3


def test_bins_and_baselines_see_the_training_depths_once(clip, tmp_path, monkeypatch):
    data = rooms()
    real, passes = data.training_depths, []
    monkeypatch.setattr(data, "training_depths", lambda count: passes.append(count) or real(count))
    heads = [DepthHead(Prompts(list("abc")), FittedBins(3)) for _ in range(2)]
    model = DepthCLIP(clip("small-vit", "tokens"), heads[0], {"same": heads[1]}, training_baselines=True, panels=0)
    trainer(tmp_path).test(model, data, verbose=False)
    assert len(passes) == 1
    depths = torch.cat([depth[depth > 0] for depth, _ in real(500)])
    expected = np.quantile(depths, (np.arange(3) + 0.5) / 3)
    for bins in (heads[0].bins, heads[1].bins):
        np.testing.assert_allclose(bins.values, expected, atol=5e-3)
    figures = model.outcome.result.figures()
    assert {"training constant", "training median map"} <= figures.keys()


def test_the_loss_counts_the_pixels_of_training_scoring(clip, tmp_path):
    """By the depth that a loss sees: all truth of an augmented image without a cap, and no pixel crop by default."""

    class Seen(SILog):
        def per_image(self, image):
            self.truth = image.target[image.mask]
            return super().per_image(image)

    for training_scoring, cap, counted in (
        (None, 2.0, lambda truth: (truth > 1e-3) & (truth < 2.0)),
        (Scoring(max_depth=None), 2.0, lambda truth: truth > 1e-3),
    ):
        loss = Seen()
        model = seeded(clip, loss=loss, training_scoring=training_scoring)
        data = rooms(augment=Augment(crop=(96, 128), rotation=0), scoring=Scoring(max_depth=cap, crop=(0, 0, 9, 9)))
        data.setup("fit")
        batch = next(iter(data.train_dataloader()))
        model.log = lambda *args, **kwargs: None
        model.training_step(batch, 0)
        truth = batch.items[-1].depth
        assert sorted(loss.truth.tolist()) == sorted(truth[counted(truth)].tolist())
