"""Every layout of NYU Depth V2 is written in its real format and read back exactly."""

import pickle
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from depthclip.data import NYU, DataError, Loading, Shots
from depthclip.data.nyu_scenes import scene_type
from depthclip.data.splits import nyu_labelled
from tests.layouts import (
    SAMPLES,
    link,
    picture,
    values,
    write_frame,
    write_image,
    write_labelled,
    write_pair,
    write_splits,
)

SCENES = ("kitchen", "kitchen", "home_office", "bedroom", "bedroom", "living_room")


@pytest.fixture
def labelled(tmp_path):
    """A labelled set of six frames, and what is in it."""
    content = write_labelled(tmp_path / "nyu_depth_v2_labeled.mat", SCENES)
    write_splits(tmp_path / "splits.mat", train=[1, 2, 5], test=[0, 3, 4])
    return tmp_path, content


def partial(root, **arguments) -> NYU:
    return NYU(str(root), allow_partial=True, **arguments)


def test_the_official_split_is_the_packages_own():
    frames = nyu_labelled()
    assert [frame.number for frame in frames] == list(range(1449))
    assert [sum(frame.split == split for frame in frames) for split in ("train", "test")] == [795, 654]
    test = [frame for frame in frames if frame.split == "test"]
    # 16 types of scene are tested; DATASETS names the three largest
    assert len({frame.scene for frame in test}) == 16
    assert [sum(f.scene == s for f in test) for s in ("bedroom", "living_room", "kitchen")] == [191, 107, 106]


@pytest.mark.filterwarnings("ignore:.*of the official")
@pytest.mark.parametrize(("depth", "which"), [("raw", 1), ("filled", 2)])
def test_labelled(labelled, depth, which):
    root, content = labelled
    samples = partial(root, depth=depth).samples("test")
    assert len(samples) == 3
    for place, frame in enumerate((0, 3, 4)):  # splits.mat says 1, 4 and 5
        sample = samples[place]
        assert np.array_equal(sample.image.permute(1, 2, 0), content[0][frame])
        assert np.array_equal(sample.depth, content[which][frame])
        assert (sample.name, sample.scene) == (f"{frame:05d}", SCENES[frame])
        assert samples.scene(place) == SCENES[frame]


@pytest.mark.filterwarnings("ignore:.*of the official", "ignore:.*fork.*")
def test_labelled_is_opened_once_in_every_process(labelled):
    root, content = labelled
    data = partial(root, loading=Loading(num_workers=2, batch_size=1), view="whole")
    data.setup("test")
    data.sets["test"][0]  # opens it here, before the workers start
    items = [item for batch in data.test_dataloader() for item in batch.items]
    for item, frame in zip(items, (0, 3, 4), strict=True):
        assert np.array_equal(item.depth, content[1][frame])
    copy = pickle.loads(pickle.dumps(data.sets["test"]))
    assert copy.opened is None
    assert torch.equal(copy[1].image, data.sets["test"][1].image)
    first = data.sets["test"].hdf5()
    assert data.sets["test"].hdf5() is first


@pytest.mark.filterwarnings("ignore:.*of the official")
def test_labelled_without_splits_uses_the_packages_split(labelled):
    root, _ = labelled
    (root / "splits.mat").unlink()
    assert [partial(root).samples("test").name(i) for i in range(2)] == ["00000", "00001"]
    (root / "splits.mat").write_bytes(b"no mat")
    with pytest.raises(DataError, match=r"splits\.mat"):
        partial(root).samples("test")


@pytest.mark.filterwarnings("ignore:.*of the official")
def test_a_broken_labelled_file_is_named(labelled):
    root, _ = labelled
    path = root / "nyu_depth_v2_labeled.mat"
    whole = path.read_bytes()
    for data in (b"", whole[: len(whole) // 2], b"something else" * 99):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"nyu_depth_v2_labeled\.mat"):
            partial(root).samples("test")
    path.write_bytes(whole)
    samples = partial(root).samples("test")
    # a compressed chunk in the middle of the file, spoilt
    chunk = samples.hdf5()["rawDepths"].id.get_chunk_info(3)
    with path.open("r+b") as file:
        file.seek(
            chunk.byte_offset + 512 if whole[chunk.byte_offset : chunk.byte_offset + 1] != b"x" else chunk.byte_offset
        )
        file.write(bytes(min(chunk.size, 200)))
    samples = partial(root).samples("test")
    with pytest.raises(DataError, match=r"nyu_depth_v2_labeled\.mat frame 3"):
        samples[1]
    assert samples[0].depth is not None


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """All 1,449 files of official_splits, as links to a single pair, except three test frames with other content."""
    root = tmp_path_factory.mktemp("bts")
    write_pair(root / "rgb.jpg", root / "depth.png", 0)
    with_content = {0, 8, 1448}
    for frame in nyu_labelled():
        folder = root / "official_splits" / frame.split / frame.scene
        if frame.number in with_content:
            write_pair(
                folder / f"rgb_{frame.number:05d}.jpg", folder / f"sync_depth_{frame.number:05d}.png", frame.number
            )
        else:
            link(root / "rgb.jpg", folder / f"rgb_{frame.number:05d}.jpg")
            link(root / "depth.png", folder / f"sync_depth_{frame.number:05d}.png")
    return root


def test_official_splits(official):
    data = NYU(str(official))
    test = data.samples("test")
    assert len(test) == 654
    assert data.layouts == {"test": "official_splits"}
    assert (test.name(0), test.scene(0)) == ("test/kitchen/rgb_00000.jpg", "kitchen")
    with Image.open(official / "official_splits" / test.name(0)) as image:
        assert np.array_equal(test[0].image.permute(1, 2, 0), np.array(image))
    assert np.array_equal(test[0].depth, values(0).astype(np.float32) / np.float32(1000))


def test_validation_is_held_out_of_training_by_recordings(official):
    data = NYU(str(official))
    train, validation = data.samples("train"), data.samples("val")
    assert len(train) + len(validation) == 795
    names = [{samples.name(i) for i in range(len(samples))} for samples in (train, validation)]
    assert not names[0] & names[1]
    assert 40 < len(validation) < 160
    # hardly a frame of one side stands next to a frame of the same type on the other
    sides = {int(name[-9:-4]): side for side, group in enumerate(names) for name in group}
    scenes = {frame.number: frame.scene for frame in nyu_labelled()}
    order = sorted(sides)
    pairs = [(a, b) for a, b in pairwise(order) if scenes[a] == scenes[b]]
    assert sum(sides[a] != sides[b] for a, b in pairs) < 0.02 * len(pairs)
    assert {"bedroom", "kitchen", "living_room"} <= {validation.scene(index) for index in range(len(validation))}


def test_shots_of_each_scene(official):
    data = NYU(str(official), shots=Shots(1, per_scene=True, seed=3))
    few = data.training_samples()
    scenes = [few.scene(index) for index in range(len(few))]
    assert len(scenes) == len(set(scenes)) > 20
    again = NYU(str(official), shots=Shots(1, per_scene=True, seed=3)).training_samples()
    assert [few.name(i) for i in range(len(few))] == [again.name(i) for i in range(len(again))]
    with pytest.raises(ValueError, match="shots 900"):
        NYU(str(official), shots=900).training_samples()


def test_root_may_be_official_splits_itself(official):
    assert len(NYU(str(official / "official_splits")).samples("test")) == 654


def test_a_partial_copy_is_refused_or_reported(official, tmp_path):
    for frame in nyu_labelled()[:20]:
        for name in (f"rgb_{frame.number:05d}.jpg", f"sync_depth_{frame.number:05d}.png"):
            inside = f"official_splits/{frame.split}/{frame.scene}/{name}"
            link(official / inside, tmp_path / inside)
    count = sum(frame.split == "test" for frame in nyu_labelled()[:20])
    with pytest.raises(DataError, match=f"{count} images of the official 654.*rgb_000.*allow_partial"):
        NYU(str(tmp_path)).samples("test")
    with pytest.warns(UserWarning, match=f"{count} images of the official 654"):
        assert len(partial(tmp_path).samples("test")) == count


@pytest.mark.filterwarnings("ignore:.*of the official")
def test_filled_depth_beside_official_splits(official, tmp_path):
    folder = tmp_path / "official_splits" / "test" / "kitchen"
    write_pair(folder / "rgb_00000.jpg", folder / "dense" / "sync_depth_dense_00000.png", 4)
    assert np.array_equal(partial(tmp_path, depth="filled").samples("test")[0].depth, values(4) / np.float32(1000))
    with pytest.raises(DataError, match=r"dense/sync_depth_dense_00000\.png|0 images"):
        NYU(str(official), depth="filled").samples("test")


def test_sync_folders_train_and_official_splits_test(official, tmp_path):
    for scene, frames in {"bedroom_0004": 2, "home_office_0001": 2, "kitchen_0028b": 3}.items():
        for frame in range(frames):
            folder = tmp_path / "sync" / scene
            write_pair(folder / f"rgb_{frame:05d}.jpg", folder / f"sync_depth_{frame:05d}.png", frame)
    data = NYU(str(tmp_path))
    train, validation = data.samples("train"), data.samples("val")
    assert [train.scene(i) for i in range(len(train))] == ["bedroom"] * 2 + ["home_office"] * 2
    assert [validation.name(i) for i in range(len(validation))] == [f"kitchen_0028b/rgb_0000{i}.jpg" for i in range(3)]
    assert np.array_equal(validation[2].depth, values(2) / np.float32(1000))
    with pytest.raises(DataError, match="official_splits"):
        data.samples("test")
    shutil.copytree(official / "official_splits", tmp_path / "official_splits", copy_function=link_copy)
    assert len(NYU(str(tmp_path), layout="sync").samples("test")) == 654
    (tmp_path / "sync" / "bedroom_0004" / "sync_depth_00001.png").unlink()
    with pytest.raises(DataError, match=r"bedroom_0004/rgb_00001\.jpg has no sync_depth_00001\.png"):
        NYU(str(tmp_path), layout="sync").samples("train")


def link_copy(source: str, target: str) -> None:

    link(Path(source), Path(target))


@pytest.mark.filterwarnings("ignore:.*of the official")
def test_hdf5_frames(tmp_path):
    written = {
        name: write_frame(tmp_path / "nyudepthv2" / name, seed)
        for seed, name in enumerate(
            (
                "train/kitchen_0028b/00001.h5",
                "train/bedroom_0004/00002.h5",
                "val/official/00001.h5",
                "val/official/00009.h5",
            )
        )
    }
    data = partial(tmp_path)
    test = data.samples("test")
    assert [test.name(i) for i in range(len(test))] == ["val/official/00001.h5", "val/official/00009.h5"]
    image, depth = written["val/official/00009.h5"]
    assert np.array_equal(test[1].image.permute(1, 2, 0), image)
    assert np.array_equal(test[1].depth, depth)
    assert data.samples("train").scene(0) == "bedroom"
    broken = tmp_path / "nyudepthv2" / "val" / "official" / "00009.h5"
    for content in (b"", broken.read_bytes()[:900]):
        broken.write_bytes(content)
        with pytest.raises(DataError, match=r"00009\.h5"):
            test[1]


def test_lists_need_no_official_count_but_all_their_files(tmp_path):
    for index in range(3):
        folder = tmp_path / "official_splits" / "test" / "kitchen"
        write_pair(folder / f"rgb_{index:05d}.jpg", folder / f"sync_depth_{index:05d}.png", index)
    lines = [f"/kitchen/rgb_{i:05d}.jpg /kitchen/sync_depth_{i:05d}.png 518.8579" for i in range(3)]
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(lines))
    samples = NYU(str(tmp_path), test_list=str(listed)).samples("test")
    assert len(samples) == 3
    assert samples.scene(2) == "kitchen"
    assert np.array_equal(samples[2].depth, values(2) / np.float32(1000))
    listed.write_text("\n".join([*lines, "/kitchen/rgb_00007.jpg /kitchen/sync_depth_00007.png 518.8579"]))
    with pytest.raises(DataError, match=r"line 4: .*rgb_00007\.jpg does not exist"):
        NYU(str(tmp_path), test_list=str(listed)).setup("test")


def test_8_bit_depth_and_other_sizes_are_refused(tmp_path):
    for name in ("rgb.png", "other.png"):
        write_image(tmp_path / name, picture(0))
    write_image(tmp_path / "eight.png", picture(0)[..., 0])
    write_image(tmp_path / "small.png", values(0, 12, 16))
    listed = tmp_path / "list.txt"
    listed.write_text("rgb.png eight.png\nother.png small.png\n")
    samples = NYU(str(tmp_path), test_list=str(listed)).samples("test")
    with pytest.raises(DataError, match=r"eight\.png.*16 bits"):
        samples[0]
    with pytest.raises(DataError, match=r"other\.png is 24 x 32 and .*small\.png is 12 x 16"):
        samples[1]


def test_nothing_there_lists_what_was_looked_for(tmp_path):
    with pytest.raises(DataError) as error:
        NYU(str(tmp_path)).setup("test")
    for looked in (
        "nyu_depth_v2_labeled.mat",
        "official_splits/t*/*/rgb_*.jpg",
        "sync/*/rgb_*.jpg",
        "*.h5",
        str(tmp_path),
    ):
        assert looked in str(error.value)
    with pytest.raises(DataError, match=r"labelled: nyu_depth_v2_labeled\.mat; set"):
        NYU(str(tmp_path), layout="labelled").setup("test")


@pytest.mark.parametrize("wrong", [{"depth_column": 0}, {"depth_scale": 0.0}, {"val_every": 1}, {"shots": 0}])
def test_bad_arguments_are_refused_at_once(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        NYU(**wrong)


def test_the_type_of_a_scene():
    assert [scene_type(name) for name in ("kitchen_0028b", "living_room_0011", "study")] == [
        "kitchen",
        "living_room",
        "study",
    ]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/samples")
def test_real_frames(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"/rgb_{i:05d}.jpg /sync_depth_{i:05d}.png 518.8579\n" for i in (0, 50, 100)))
    samples = NYU(str(SAMPLES / "nyu"), test_list=str(listed)).samples("test")
    for index in range(3):
        sample = samples[index]
        assert sample.image.shape == (3, 480, 640)
        assert sample.depth.shape == (480, 640)
        assert 0.245 < float((sample.depth == 0).float().mean()) < 0.335
        assert 0.5 < float(sample.depth[sample.depth > 0].min()) < float(sample.depth.max()) < 10
