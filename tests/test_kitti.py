"""KITTI's layouts are read exactly, laser sweeps are projected point by point, and crops are compared with a paste."""

import numpy as np
import pytest
import torch

from depthclip.data import KITTI, DataError, Loading
from depthclip.data.kitti_files import read_drive_list
from depthclip.data.splits import kitti_eigen
from depthclip.data.velodyne import object_projection, project, raw_projection, read_sweep
from depthclip.evaluation.metrics import depth_errors
from depthclip.protocol import Scoring, View
from tests.layouts import (
    SAMPLES,
    link,
    picture,
    projected,
    values,
    write_calibration,
    write_image,
    write_pair,
    write_sweep,
)

DRIVE = "2011_09_26_drive_0002_sync"
RAW = f"2011_09_26/{DRIVE}"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/samples")
BTS = f"{RAW}/image_02/data/{{0:010d}}.png {DRIVE}/proj_depth/groundtruth/image_02/{{0:010d}}.png 721.5377\n"


def image_path(frame: int, suffix: str = "png") -> str:
    return f"{RAW}/image_02/data/{frame:010d}.{suffix}"


def depth_path(frame: int) -> str:
    return f"{DRIVE}/proj_depth/groundtruth/image_02/{frame:010d}.png"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """All 697 test images and 652 annotated maps under their official names, as links to a single pair."""
    root = tmp_path_factory.mktemp("kitti")
    write_pair(root / "image.png", root / "depth.png", 0)
    for frame in kitti_eigen("test"):
        drive, inside = frame.recording, f"{frame.frame:010d}.png"
        link(root / "image.png", root / "raw" / frame.date / drive / "image_02" / "data" / inside)
        if frame.annotated:
            part = "val" if frame.drive in ("0002", "0009", "0013") else "train"
            link(root / "depth.png", root / "gt" / part / drive / "proj_depth" / "groundtruth" / "image_02" / inside)
    return root


def test_the_official_lists():
    test, train = kitti_eigen("test"), kitti_eigen("train")
    assert (len(test), sum(frame.annotated for frame in test), len(train)) == (697, 652, 23158)
    assert len({frame.recording for frame in test}) == 28
    assert not {frame.recording for frame in test} & {frame.recording for frame in train}


def test_652_of_697_are_annotated_whatever_the_folders(whole):
    data = KITTI(str(whole))
    samples = data.samples("test")
    assert len(samples) == 652
    assert samples.name(0) == f"{RAW}/image_02/data/0000000069.png"
    assert samples.scene(0) == DRIVE
    assert np.array_equal(samples[651].depth, values(0).astype(np.float32) / np.float32(256))
    merged = KITTI(str(whole / "raw"), annotated=str(whole / "gt"))
    assert len(merged.samples("test")) == 652


def test_a_partial_copy_is_refused_or_reported(tmp_path):
    frames = [frame for frame in kitti_eigen("test") if frame.annotated][:9]
    for frame in frames:
        write_pair(tmp_path / image_path(frame.frame), tmp_path / depth_path(frame.frame), frame.frame)
    message = r"9 images of the official 652.*image_02/.*\.png does not exist and \d+ more.*allow_partial"
    with pytest.raises(DataError, match=message):
        KITTI(str(tmp_path)).samples("test")
    with pytest.warns(UserWarning, match="9 images of the official 652"):
        samples = KITTI(str(tmp_path), allow_partial=True).samples("test")
    for index, frame in enumerate(frames):
        assert np.array_equal(samples[index].image.permute(1, 2, 0), picture(frame.frame))
        assert np.array_equal(samples[index].depth, values(frame.frame).astype(np.float32) / np.float32(256))


def test_lists_as_bts_and_monodepth2_write_them(tmp_path):
    for frame in (69, 54):
        write_pair(tmp_path / "input" / image_path(frame), tmp_path / "gt" / depth_path(frame), frame)
    listed = tmp_path / "list.txt"
    listed.write_text(BTS.format(69) + f"/{image_path(7)} None 721.5377\n" + BTS.format(54))
    samples = KITTI(str(tmp_path), test_list=str(listed)).samples("test")
    assert [samples.name(index)[-6:] for index in range(len(samples))] == ["69.png", "54.png"]
    assert [frame.annotated for frame in read_drive_list(listed)] == [True, False, True]
    listed.write_text(f"{RAW} 0000000069 l\n{RAW} 54 r\n")
    left, right = read_drive_list(listed)
    assert (left.date, left.drive, left.camera, left.frame) == ("2011_09_26", "0002", 2, 69)
    assert (right.camera, right.frame) == (3, 54)
    with pytest.raises(DataError, match=r"image_03/data/0000000054\.png does not exist"):
        KITTI(str(tmp_path), test_list=str(listed)).setup("test")
    listed.write_text("rgb/1.png depth/1.png\n")
    with pytest.raises(DataError, match=r"list\.txt line 1 'rgb/1\.png depth/1\.png' must be"):
        read_drive_list(listed)


def test_jpg_recordings_and_held_out_drives(tmp_path):
    listed = tmp_path / "train.txt"
    lines = []
    for drive in ("0001", "0005", "0009"):
        base = f"2011_09_26_drive_{drive}_sync"
        for frame in (5, 6):
            image = f"2011_09_26/{base}/image_02/data/{frame:010d}"
            depth = f"{base}/proj_depth/groundtruth/image_02/{frame:010d}.png"
            write_pair(tmp_path / f"{image}.jpg", tmp_path / "train" / depth, frame)
            lines.append(f"{image}.png {depth} 721.5377")
    listed.write_text("\n".join(lines))
    data = KITTI(str(tmp_path), train_list=str(listed))
    train, held = data.samples("train"), data.samples("val")
    assert {train.scene(i)[17:21] for i in range(len(train))} == {"0001", "0005"}
    assert [held.scene(i)[17:21] for i in range(len(held))] == ["0009", "0009"]
    assert train.name(0).endswith(".jpg")


@pytest.fixture
def recording(tmp_path):
    """Two frames of a recording with sweeps and calibration, and a list of them."""
    matrix = write_calibration(tmp_path / "2011_09_26")
    sweeps = []
    for frame in (69, 54):
        write_image(tmp_path / image_path(frame), picture(frame, 375, 1242))
        sweeps.append(write_sweep(tmp_path / RAW / "velodyne_points" / "data" / f"{frame:010d}.bin", frame))
    (tmp_path / "list.txt").write_text(f"{RAW} 0000000069 l\n{RAW} 0000000054 l\n")
    return tmp_path, matrix, sweeps


@pytest.mark.parametrize("along", ["z", "x"])
def test_raw_sweeps_are_projected_point_for_point(recording, along):
    root, matrix, sweeps = recording
    assert np.allclose(raw_projection(root / "2011_09_26", 2), matrix, rtol=1e-6, atol=1e-6)
    data = KITTI(str(root), truth="velodyne", velodyne_depth=along, test_list=str(root / "list.txt"))
    samples = data.samples("test")
    for index, sweep in enumerate(sweeps):
        depth = samples[index].depth.numpy()
        by_hand = projected(sweep, raw_projection(root / "2011_09_26", 2), 375, 1242, along)
        assert np.array_equal(depth > 0, by_hand > 0)
        assert np.abs(depth - by_hand).max() < 1e-4
        assert (depth > 0).sum() > 300


def test_the_nearest_point_wins_and_what_is_behind_is_not_seen():
    # camera looks along the laser's x: u = 100 * -y / x + 50, v = 100 * -z / x + 20
    matrix = np.array([[50, -100, 0, 0], [20, 0, -100, 0], [1, 0, 0, 0]], float)
    points = np.array([[9, 0, 0], [4, 0, 0], [7, 0, 0], [-3, 0, 0], [5, 1, 0], [5, 50, 0]], np.float32)
    depth = project(points, matrix, (40, 100))
    # pixels are counted from 1 before 1 is taken off
    assert depth[19, 49] == 4
    assert depth[19, 29] == 5
    assert int((depth > 0).sum()) == 2


def test_broken_sweeps_and_calibrations_are_named(recording):
    root, _, sweeps = recording
    data = KITTI(str(root), truth="velodyne", test_list=str(root / "list.txt"))
    samples = data.samples("test")
    sweep = root / RAW / "velodyne_points" / "data" / "0000000054.bin"
    for content in (b"", sweep.read_bytes()[:-5]):
        sweep.write_bytes(content)
        with pytest.raises(DataError, match=r"0000000054\.bin"):
            samples[1]
    for content in (sweeps[1].astype(">f4"), sweeps[1].astype("<f8"), np.full_like(sweeps[1], np.nan)):
        sweep.write_bytes(content.tobytes())
        with pytest.raises(DataError, match=r"0000000054\.bin has points .* little-endian float32 metres"):
            samples[1]
    assert samples[0].depth is not None
    (root / "2011_09_26" / "calib_velo_to_cam.txt").write_text("R: 1 2 3\n")
    with pytest.raises(DataError, match=r"calib_velo_to_cam\.txt has no R of 3 x 3"):
        data.samples("test")
    (root / "2011_09_26" / "calib_cam_to_cam.txt").unlink()
    (root / "2011_09_26" / "calib_velo_to_cam.txt").unlink()
    with pytest.raises(DataError, match="calib_"):
        data.samples("test")


def test_exported_maps_are_read_and_pickled_ones_refused(recording):
    root, _, _ = recording
    maps = [values(index, 375, 1242) / 256 for index in (69, 54)]
    listed = str(root / "list.txt")
    np.savez_compressed(root / "plain.npz", *maps)
    samples = KITTI(str(root), truth=str(root / "plain.npz"), test_list=listed).samples("test")
    for index, depth in enumerate(maps):
        assert np.array_equal(samples[index].depth, depth.astype(np.float32))
    np.savez_compressed(root / "stacked.npz", data=np.stack(maps))
    samples = KITTI(str(root), truth=str(root / "stacked.npz"), test_list=listed).samples("test")
    assert np.array_equal(samples[1].depth, maps[1].astype(np.float32))

    ragged = np.empty(2, dtype=object)  # what Monodepth2's export_gt_depth.py makes
    ragged[:] = [maps[0], maps[1][:370]]
    np.savez_compressed(root / "gt_depths.npz", data=ragged)
    with pytest.raises(DataError, match=r"gt_depths\.npz holds pickled objects, which can run code.*savez_compressed"):
        KITTI(str(root), truth=str(root / "gt_depths.npz"), test_list=listed).samples("test")
    # the safe way that the message names
    np.savez_compressed(root / "safe.npz", *np.load(root / "gt_depths.npz", allow_pickle=True)["data"])
    samples = KITTI(str(root), truth=str(root / "safe.npz"), test_list=listed).samples("test")
    assert np.array_equal(samples[0].depth, maps[0].astype(np.float32))

    np.savez_compressed(root / "three.npz", *maps, maps[0])
    with pytest.raises(DataError, match="3 maps, but the list has 2 images"):
        KITTI(str(root), truth=str(root / "three.npz"), test_list=listed).samples("test")
    for content in (b"", (root / "plain.npz").read_bytes()[:3000]):
        (root / "broken.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"broken\.npz cannot be read"):
            KITTI(str(root), truth=str(root / "broken.npz"), test_list=listed).samples("test")


@pytest.mark.filterwarnings("ignore:.*of the official")
def test_val_selection_cropped(tmp_path):
    folder = tmp_path / "depth_selection" / "val_selection_cropped"
    for frame, camera in ((5, 2), (8, 3)):
        write_pair(
            folder / "image" / f"{DRIVE}_image_{frame:010d}_image_{camera:02d}.png",
            folder / "groundtruth_depth" / f"{DRIVE}_groundtruth_depth_{frame:010d}_image_{camera:02d}.png",
            frame,
        )
    data = KITTI(str(tmp_path), allow_partial=True)
    samples = data.samples("test")
    assert data.layouts == {"test": "selection"}
    assert len(samples) == 2
    assert samples.scene(1) == DRIVE
    assert np.array_equal(samples[1].depth, values(8).astype(np.float32) / np.float32(256))
    with pytest.raises(DataError, match="no train split"):
        data.samples("train")
    with pytest.raises(DataError, match="2 images of the official 1000"):
        KITTI(str(tmp_path)).samples("test")


@pytest.mark.parametrize("wrong", [{"truth": "lidar"}, {"val_every": 1}, {"shots": 0}])
def test_bad_arguments_are_refused_at_once(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        KITTI(**wrong)


@needs_samples
@pytest.mark.parametrize("along", ["z", "x"])
def test_real_sweeps_agree_with_an_independent_projection(along):
    folder = SAMPLES / "kitti_velodyne"
    samples = KITTI(str(folder), velodyne_depth=along).samples("test")
    assert len(samples) == 2
    for index, size in enumerate([(370, 1224), (375, 1242)]):
        sample = samples[index]
        assert tuple(sample.image.shape[1:]) == tuple(sample.depth.shape) == size
        lines = (folder / "calib" / f"00000{index}.txt").read_text().splitlines()
        numbers = {line.split(":")[0]: np.array(line.split()[1:], float) for line in lines if line}
        rectify, laser = np.eye(4), np.eye(4)
        rectify[:3, :3], laser[:3] = numbers["R0_rect"].reshape(3, 3), numbers["Tr_velo_to_cam"].reshape(3, 4)
        points = np.fromfile(folder / "velodyne" / f"00000{index}.bin", np.float32).reshape(-1, 4).astype(float)
        points[:, 3] = 1
        points = points[points[:, 0] >= 0]
        seen = numbers["P2"].reshape(3, 4) @ rectify @ laser @ points.T
        u, v = np.round(seen[0] / seen[2]) - 1, np.round(seen[1] / seen[2]) - 1
        near = np.argsort(-(seen[2] if along == "z" else points[:, 0]), kind="stable")  # the nearest is written last
        inside = [k for k in near if 0 <= u[k] < size[1] and 0 <= v[k] < size[0]]
        by_hand = np.zeros(size)
        by_hand[v[inside].astype(int), u[inside].astype(int)] = (seen[2] if along == "z" else points[:, 0])[inside]
        assert np.array_equal(sample.depth.numpy() > 0, by_hand > 0)
        assert np.abs(sample.depth.numpy() - by_hand).max() < 1e-5
        assert 0.035 < (by_hand > 0).mean() < 0.05
    assert np.array_equal(read_sweep(folder / "velodyne" / "000001.bin"), points_of(folder / "velodyne" / "000001.bin"))
    assert object_projection(folder / "calib" / "000000.txt").shape == (3, 4)


def points_of(path) -> np.ndarray:
    return np.frombuffer(path.read_bytes(), "<f4").reshape(-1, 4)[:, :3]


def coarse_depth(rgb: torch.Tensor, view: View) -> torch.Tensor:
    """A stand-in for a model: depth from brightness on a grid of patches, upsampled as a view does."""
    patches = torch.nn.functional.adaptive_avg_pool2d(rgb[None].mean(1, keepdim=True), (11, 38))
    return view.upsample(2 + 60 * patches, rgb.shape[-2:])[0]


@pytest.mark.parametrize("cap", [80.0, 50.0])
@pytest.mark.parametrize("size", [(375, 1242), (370, 1224), (376, 1241), (374, 1238), (370, 1226)])
def test_the_kb_crop_is_pasted_back_pixel_for_pixel(size, cap):
    height, width = size
    rng = torch.Generator().manual_seed(0)
    truth = torch.rand(size, generator=rng) * 90 * (torch.rand(size, generator=rng) < 0.3)
    view, scoring = View(crop="kb"), Scoring(max_depth=cap, crop="garg")
    box = view.box(height, width)
    prediction = torch.rand(1, 352, 1216, generator=rng) * 100
    ours, true = scoring.select(prediction, truth, box)

    pasted = np.zeros(size, np.float32)
    top, left = height - 352, int((width - 1216) / 2)
    pasted[top : top + 352, left : left + 1216] = prediction[0].numpy()
    pasted = pasted.clip(1e-3, cap)
    garg = np.zeros(size, bool)
    garg[int(0.40810811 * height) : int(0.99189189 * height), int(0.03594771 * width) : int(0.96405229 * width)] = True
    mask = garg & (truth.numpy() > 1e-3) & (truth.numpy() < cap)
    assert np.array_equal(ours[0], pasted[mask])
    assert np.array_equal(true, truth.numpy()[mask])


@pytest.fixture
def one_thread():
    """Small operations use a single thread, because several would wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.filterwarnings("ignore:.*of the official")
def test_batches_of_different_sizes_give_the_figures_of_batches_of_one(tmp_path, one_thread):
    frames = [frame for frame in kitti_eigen("test") if frame.annotated][:4]
    for frame, size in zip(frames, [(375, 1242), (370, 1224), (375, 1242), (376, 1241)], strict=True):
        write_pair(tmp_path / image_path(frame.frame), tmp_path / depth_path(frame.frame), frame.frame, *size)
    figures = []
    for batch_size in (1, 3):
        data = KITTI(str(tmp_path), allow_partial=True, loading=Loading(batch_size=batch_size))
        data.setup("test")
        errors = {}
        for batch in data.test_dataloader():
            for items, rgb in batch.by_size():
                for item, image in zip(items, rgb, strict=True):
                    prediction, true = batch.scoring.select(coarse_depth(image, batch.view), item.depth, item.seen)
                    errors[item.index] = depth_errors(prediction, true)
        assert sorted(errors) == [0, 1, 2, 3]
        figures.append(torch.cat([errors[index] for index in range(4)]))
    assert torch.equal(figures[0], figures[1])
