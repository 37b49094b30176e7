"""Pairs of images and depth maps by patterns, tables and splits; and photographs without ground truth."""

import os
import signal
import warnings

import numpy as np
import pytest
import torch

from depthclip.data import DataError, DepthDataset, Loading, Pairs, Photos
from depthclip.data.batches import Unreadable
from tests.layouts import SAMPLES, picture, values, write_image, write_pair

needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/samples")


@pytest.fixture
def folder(tmp_path):
    """Six pairs, joined by a number in the middle of their names, and another file."""
    for index in range(6):
        write_pair(tmp_path / f"frame-{index}.color.png", tmp_path / f"frame-{index}.depth.png", index)
    (tmp_path / "frame-1.pose.txt").touch()
    return tmp_path


def pairs(root, **arguments) -> Pairs:
    return Pairs(str(root), "*.color.png", "*.depth.png", **arguments)


def read_all(data: Pairs) -> list:
    data.setup("test")
    return list(data.test_dataloader())


def names(samples) -> list[str]:
    return [samples.name(index)[6:7] for index in range(len(samples))]


def test_files_are_joined_by_what_the_wildcard_stands_for(folder):
    samples = pairs(folder).samples("test")
    assert names(samples) == list("012345")
    assert np.array_equal(samples[3].image.permute(1, 2, 0), picture(3))
    assert np.array_equal(samples[3].depth, values(3).astype(np.float32) / np.float32(1000))
    assert samples[3].scene == ""


def test_folders_of_scenes(tmp_path):
    for scene in ("attic", "cellar"):
        write_pair(tmp_path / scene / "rgb" / "01.png", tmp_path / scene / "gt" / "01.png", 0)
        write_pair(tmp_path / scene / "rgb" / "more" / "02.png", tmp_path / scene / "gt" / "more" / "02.png", 1)
    flat = Pairs(str(tmp_path), "*/rgb/*.png", "*/gt/*.png").samples("test")
    assert [flat.name(i) for i in range(len(flat))] == ["attic/rgb/01.png", "cellar/rgb/01.png"]
    assert flat.scene(1) == "cellar"
    assert len(Pairs(str(tmp_path), "*/rgb/**/*.png", "*/gt/**/*.png").samples("test")) == 4


def test_first_for_training_last_for_testing(folder):
    data = pairs(folder, train=2, val=1, test=2)
    assert [names(data.samples(split)) for split in ("train", "val", "test")] == [["0", "1"], ["2"], ["4", "5"]]
    assert names(pairs(folder, train=2, val=1).samples("test")) == ["3", "4", "5"]
    data = pairs(folder, train=4, test=2)
    data.setup("fit")  # there is nothing to validate on, and that is no error
    assert list(data.sets) == ["train"]
    assert data.val_dataloader() == []
    with pytest.raises(DataError, match="val is 0 of 6 images"):
        data.samples("val")
    with pytest.raises(DataError, match=r"6 images .* fewer than train 5, val 0 and test 2"):
        pairs(folder, train=5, test=2).samples("test")


def test_splits_in_folders_of_their_own(tmp_path):
    for seed, split in enumerate(("train", "test")):
        write_pair(tmp_path / split / "rgb" / "1.png", tmp_path / split / "depth" / "1.png", seed)
    data = Pairs(str(tmp_path), "{split}/rgb/*.png", "{split}/depth/*.png")
    assert np.array_equal(data.samples("test")[0].depth, values(1).astype(np.float32) / np.float32(1000))
    assert [data.has(split) for split in ("train", "val", "test")] == [True, False, True]
    with pytest.raises(DataError, match="val/rgb"):
        data.samples("val")


def test_tables(folder):
    table = folder / "all.csv"
    rows = [
        f"frame-{i}.color.png,frame-{i}.depth.png,{split},room" for i, split in enumerate(["train", "test", "train"])
    ]
    table.write_text("\n".join(["image,depth,split,scene", *rows]))
    data = Pairs(str(folder), table=str(table))
    assert names(data.samples("train")) == ["0", "2"]
    assert data.samples("test")[0].scene == "room"
    assert [data.has(split) for split in ("train", "val", "test")] == [True, False, True]
    with pytest.raises(DataError, match=r"val split is in .*all\.csv"):
        data.samples("val")
    table.write_text("image,depth\nframe-0.color.png,frame-0.depth.png\n")
    assert names(Pairs(str(folder), table=str(table)).samples("test")) == ["0"]
    for text, message in {
        "": "all.csv cannot be read .it is empty",
        "rgb,depth\na,b\n": "header",
        "image,depth\nframe-0.color.png,gone.png\n": r"line 2: .*gone\.png does not exist",
        "image,depth\n,frame-0.depth.png\n": "line 2 lacks",
        "image,depth,split\nframe-0.color.png,frame-0.depth.png,dev\n": "'dev' is unknown",
    }.items():
        table.write_text(text)
        with pytest.raises(DataError, match=message):
            Pairs(str(folder), table=str(table)).samples("test")


def test_an_empty_depth_in_a_table_has_no_truth(folder):
    table = folder / "all.csv"
    table.write_text("image,depth\nframe-0.color.png,\nframe-1.color.png,frame-1.depth.png\n")
    data = Pairs(str(folder), table=str(table), loading=Loading(batch_size=2))
    samples = data.samples("test")
    assert samples[0].depth is None
    assert samples[1].depth is not None
    data.setup("predict")
    assert [item.name for batch in data.predict_dataloader() for item in batch.items] == [
        "frame-0.color.png",
        "frame-1.color.png",
    ]
    with pytest.warns(UserWarning, match="1 of 2 images of the test split have no depth map"):
        data.setup("test")
    assert [item.name for batch in data.test_dataloader() for item in batch.items] == ["frame-1.color.png"]
    table.write_text("image,depth\nframe-0.color.png,\n")
    with pytest.raises(DataError, match=r"none of the 1 images of the test split has a depth map.*predict"):
        Pairs(str(folder), table=str(table)).setup("test")


def test_tables_of_spreadsheets(folder):
    table = folder / "all.csv"
    table.write_bytes("image,depth\r\nframe-0.color.png,frame-0.depth.png\r\n".encode("utf-8-sig"))
    assert names(Pairs(str(folder), table=str(table)).samples("test")) == ["0"]


def test_incomplete_pairs_are_refused_or_skipped_by_name(folder):
    (folder / "frame-1.color.png").unlink()
    (folder / "frame-2.depth.png").unlink()
    (folder / "frame-3.color.png").unlink()
    (folder / "frame-3.color.png").symlink_to(".git/annex/objects/a")
    with pytest.raises(DataError, match=r"frame-1\.depth\.png has no image .*frame-1\.color\.png"):
        pairs(folder).setup("test")
    data = pairs(folder, loading=Loading(on_error="skip", batch_size=6))
    data.setup("test")
    with pytest.warns(UserWarning, match="skipped") as caught:
        (batch,) = list(data.test_dataloader())
    messages = [str(warning.message) for warning in caught]
    for text in ("frame-1.color.png does not exist", "frame-2.depth.png does not exist", "is a link to .git/annex"):
        assert sum(text in message for message in messages) == 1
    assert "3 of 6 images were skipped, since they cannot be read" in messages
    assert [item.name[6] for item in batch.items] == list("045")


@pytest.mark.parametrize(("scale", "warned"), [(1.0, True), (100.0, True), (1000.0, False), (1e5, True), (1e6, True)])
def test_a_wrong_unit_is_warned_of_once(folder, scale, warned):
    data = pairs(folder, scale=scale, loading=Loading(batch_size=4))
    data.setup("test")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            list(data.test_dataloader())
    messages = [str(warning.message) for warning in caught if "median depth" in str(warning.message)]
    valid = np.concatenate([values(index)[values(index) > 0] for index in range(6)])
    assert len(messages) == warned
    assert not warned or f"is {np.percentile(valid, 50, method='lower') / scale:.3g} m" in messages[0]
    assert not warned or f"scale {scale:g}" in messages[0]


@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_workers_report_through_the_main_process(folder):
    (folder / "frame-2.depth.png").write_bytes(b"no image")
    data = pairs(folder, loading=Loading(on_error="skip", num_workers=2, batch_size=2), scale=1.0)
    data.setup("test")
    with pytest.warns(UserWarning, match="skipped") as caught:
        batches = list(data.test_dataloader())
    messages = [str(warning.message) for warning in caught]
    assert sum(len(batch.items) for batch in batches) == 5
    assert sum("skipped: depth map" in message and "frame-2.depth.png" in message for message in messages) == 1
    assert sum("median depth" in message for message in messages) == 1


class Killed(DepthDataset):
    """Samples that kill the process that reads them, as the kernel does without memory."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_killed_worker_is_one_sentence(folder):
    data = pairs(folder, loading=Loading(num_workers=1))
    data.sets["test"] = Killed()
    with pytest.raises(DataError, match=r"was killed, probably for lack of memory.*set loading.num_workers"):
        list(data.test_dataloader())


def test_a_sample_beyond_the_memory_is_one_sentence(folder, monkeypatch):
    data = pairs(folder)
    data.setup("test")

    def full(self, index):
        raise MemoryError

    monkeypatch.setattr(type(data.sets["test"].samples), "__getitem__", full)
    monkeypatch.setattr(type(data.sets["test"]), "name", lambda self, index: "frame-0")
    with pytest.raises(DataError, match="frame-0 needs more memory than there is"):
        list(data.test_dataloader())


def test_a_pair_that_is_not_whole_is_named(folder):
    (folder / "frame-4.depth.png").unlink()
    with pytest.raises(DataError, match=r"frame-4\.color\.png has no depth map .*frame-4\.depth\.png"):
        pairs(folder).setup("test")
    with pytest.raises(DataError, match=r"no file in .* matches image_pattern \*\.jpg"):
        Pairs(str(folder), "*.jpg", "*.depth.png").setup("test")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either"),
        ({"image_pattern": "*.jpg"}, "either"),
        ({"image_pattern": "*/*.jpg", "depth_pattern": "*.png"}, "same wildcards"),
        ({"image_pattern": "a.jpg", "depth_pattern": "a.png"}, "at least one"),
        ({"image_pattern": "a?.jpg", "depth_pattern": "a?.png"}, "no wildcards but"),
        ({"image_pattern": "{split}/*.jpg", "depth_pattern": "*.png"}, "in both"),
        ({"image_pattern": "{split}/*.jpg", "depth_pattern": "{split}/*.png", "train": 3}, "leave them out"),
        ({"table": "a.csv", "scale": 0.0}, "scale 0.0"),
        ({"table": "a.csv", "train": -1}, "train -1"),
    ],
)
def test_bad_arguments_are_refused_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        Pairs(**arguments)


@pytest.mark.parametrize("harm", ["empty", "truncated", "8 bits", "other size"])
def test_an_unreadable_file_is_raised_or_skipped_by_name(folder, harm):
    path = folder / "frame-2.depth.png"
    if harm in ("empty", "truncated"):
        path.write_bytes(path.read_bytes()[: 300 if harm == "truncated" else 0])
    else:
        write_image(path, picture(0)[..., 0] if harm == "8 bits" else values(0, 12, 16))
    data = pairs(folder, loading=Loading(batch_size=4))
    with pytest.raises(DataError, match=r"frame-2\.depth\.png"):
        read_all(data)
    data = pairs(folder, loading=Loading(batch_size=4, on_error="skip"))
    data.setup("test")
    with (
        pytest.warns(UserWarning, match=r"skipped: .*frame-2\.depth\.png"),
        pytest.warns(UserWarning, match="1 of 6 images were skipped"),
    ):
        batches = list(data.test_dataloader())
    assert [item.index for batch in batches for item in batch.items] == [0, 1, 3, 4, 5]
    (unreadable,) = [unreadable for batch in batches for unreadable in batch.unreadable]
    assert isinstance(unreadable, Unreadable)
    assert (unreadable.index, unreadable.name, unreadable.scene) == (2, "frame-2.color.png", "")


def test_photographs_from_files_folders_and_globs(tmp_path):
    for index, name in enumerate(("a.jpg", "b.PNG", "sub/c.jpg", "sub/d.jpg")):
        write_image(tmp_path / name, picture(index, 20 + index, 30))
    (tmp_path / "notes.txt").touch()
    data = Photos(
        [str(tmp_path), str(tmp_path / "sub" / "*.jpg"), str(tmp_path / "a.jpg")], loading=Loading(batch_size=4)
    )
    data.setup("predict")
    items = [item for batch in data.predict_dataloader() for item in batch.items]
    assert [item.name.rpartition("/")[2] for item in items] == ["a.jpg", "b.PNG", "c.jpg", "d.jpg"]
    assert [tuple(item.rgb.shape) for item in items] == [(3, 20 + index, 30) for index in range(4)]
    assert all(item.depth is None for item in items)
    with pytest.raises(DataError, match="no ground truth, which test needs"):
        data.setup("test")
    with pytest.raises(DataError, match=r"gone/\*\.jpg"):
        Photos([str(tmp_path / "gone" / "*.jpg")]).setup("predict")
    with pytest.raises(ValueError, match=r"images \[\] must be a list"):
        Photos([])


@needs_samples
def test_seven_scenes():
    root = SAMPLES / "seven_scenes"
    data = Pairs(str(root), "*.color.jpg", "*.depth.png", invalid=(65535,), train=40, test=19)
    train, test = data.samples("train"), data.samples("test")
    assert (len(train), len(test)) == (40, 19)
    assert (train.name(0), train.name(39)) == ("frame-000000.color.jpg", "frame-000663.color.jpg")
    assert (test.name(0), test.name(18)) == ("frame-000680.color.jpg", "frame-000986.color.jpg")
    for sample in (train[0], test[18]):
        assert tuple(sample.image.shape[1:]) == tuple(sample.depth.shape) == (480, 640)
        assert 0.5 < float(sample.depth[sample.depth > 0].min()) < float(sample.depth.max()) < 10  # never 65.535
        assert 0 < float((sample.depth == 0).float().mean()) < 0.3


@needs_samples
def test_sun_rgbd():
    (sample,) = Pairs(str(SAMPLES / "sun_rgbd"), "*_color.jpg", "*_depth.png", decode="rotated").samples("test")
    valid = sample.depth[sample.depth > 0]
    assert tuple(sample.depth.shape) == (480, 640)
    assert float(sample.depth.max()) == pytest.approx(9.87, abs=0.005)
    assert float(torch.cat([valid, sample.depth[sample.depth == 0]]).median()) == pytest.approx(2.4, abs=0.6)
    assert float(valid.median()) == pytest.approx(2.72, abs=0.005)


@needs_samples
def test_annotated_kitti():
    samples = Pairs(str(SAMPLES / "kitti_annotated"), "rgb/*.png", "depth/*.png", scale=256).samples("test")
    depths = [samples[index].depth for index in range(3)]
    assert all(tuple(depth.shape) == (375, 1242) for depth in depths)
    assert all(0.18 < float((depth > 0).float().mean()) < 0.22 for depth in depths)
    assert max(float(depth.max()) for depth in depths) == pytest.approx(84.9, abs=0.05)
    assert all(not depth[:110].any() for depth in depths)  # the laser does not look up
