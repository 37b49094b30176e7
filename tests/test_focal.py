"""Focal lengths of samples, from constants, calibration files, intrinsic matrices and EXIF blocks."""

import numpy as np
import pytest
from PIL import ExifTags, Image

from depthclip.data import KITTI, NYU, DataError, Loading, Make3D, Pairs, Photos
from depthclip.data.batches import Viewed
from depthclip.data.check import main
from depthclip.protocol import View
from tests.layouts import (
    SAMPLES,
    picture,
    values,
    write_calibration,
    write_frame,
    write_image,
    write_labelled,
    write_laser_grid,
    write_pair,
    write_splits,
    write_sweep,
)

SMALL_NYU = 518.8579 / 640 * 32  # of an image 32 pixels wide
DRIVE = "2011_09_28_drive_0001_sync"


def test_nyu(tmp_path):
    write_labelled(tmp_path / "nyu_depth_v2_labeled.mat", ["bedroom", "kitchen"])
    write_splits(tmp_path / "splits.mat", [0], [1])
    assert NYU(str(tmp_path), allow_partial=True).samples("test")[0].focal == pytest.approx(SMALL_NYU)
    write_frame(tmp_path / "frames" / "val" / "official" / "00001.h5", 0)
    frames = NYU(str(tmp_path / "frames"), layout="hdf5", allow_partial=True)
    with pytest.warns(UserWarning, match="654"):
        assert frames.samples("test")[0].focal == pytest.approx(SMALL_NYU)
    write_pair(tmp_path / "listed" / "a.jpg", tmp_path / "listed" / "a.png", 0)
    (tmp_path / "list.txt").write_text("a.jpg a.png 518.8579\n")
    listed = NYU(str(tmp_path / "listed"), test_list=str(tmp_path / "list.txt")).samples("test")
    assert listed[0].focal == pytest.approx(SMALL_NYU)


def test_kitti_recordings_have_the_focal_length_of_their_day(tmp_path):
    name = f"{5:010d}.png"
    write_pair(
        tmp_path / "2011_09_28" / DRIVE / "image_02" / "data" / name,
        tmp_path / DRIVE / "proj_depth" / "groundtruth" / "image_02" / name,
        0,
    )
    (tmp_path / "list.txt").write_text(f"2011_09_28/{DRIVE} 5 l\n")
    (sample,) = KITTI(str(tmp_path), test_list=str(tmp_path / "list.txt")).samples("test")
    assert sample.focal == 707.0493  # P_rect_02 of 2011_09_28, and the third column of the list of BTS


def test_kitti_selection_and_object(tmp_path):
    folder = tmp_path / "val_selection_cropped"
    name = "2011_10_03_drive_0047_sync_{}_0000000791_image_02.png"
    write_image(folder / "image" / name.format("image"), picture(0))
    write_image(folder / "groundtruth_depth" / name.format("groundtruth_depth"), values(0))
    with pytest.warns(UserWarning, match="1000"):
        (sample,) = KITTI(str(tmp_path), allow_partial=True).samples("test")
    assert sample.focal == 718.856
    root = tmp_path / "object"
    write_image(root / "image_2" / "000000.png", picture(0))
    write_sweep(root / "velodyne" / "000000.bin", 0)
    (root / "calib").mkdir()
    rotation = "1 0 0 0 1 0 0 0 1"
    (root / "calib" / "000000.txt").write_text(
        f"P2: 700.25 0 6 0 0 700.25 5 0 0 0 1 0\nR0_rect: {rotation}\nTr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0\n"
    )
    (sample,) = KITTI(str(root)).samples("test")
    assert sample.focal == 700.25


def test_the_table_of_days_is_the_calibration(tmp_path):
    write_calibration(tmp_path / "2011_09_26")  # the numbers of the real file
    text = (tmp_path / "2011_09_26" / "calib_cam_to_cam.txt").read_text()
    line = next(line for line in text.splitlines() if line.startswith("P_rect_02"))
    from depthclip.data.focal import kitti_focal

    assert kitti_focal("2011_09_26_drive_0002_sync") == float(line.split()[1])
    assert kitti_focal("2020_01_01_drive_0002_sync") is None


def test_make3d_has_none(tmp_path):
    write_image(tmp_path / "Test134" / "img-a.jpg", picture(0))
    write_laser_grid(tmp_path / "Gridlaserdata" / "depth_sph_corr-a.mat", 0)
    with pytest.warns(UserWarning, match="134"):
        (sample,) = Make3D(str(tmp_path), allow_partial=True).samples("test")
    assert sample.focal is None


def sun(folder, intrinsics):
    """Write two frames as SUN RGB-D stores them."""
    for name in ("0001", "0002"):
        write_pair(folder / name / "image" / f"{name}.jpg", folder / name / "depth" / f"{name}.png", 0)
        (folder / name / "intrinsics.txt").write_text(intrinsics)
    return {"root": str(folder), "image_pattern": "**/image/*.jpg", "depth_pattern": "**/depth/*.png"}


def test_pairs(tmp_path):
    files = sun(tmp_path, "529.500000 0.000000 365.000000 \n0.000000 529.500000 265.000000 \n0 0 1\n")
    assert [sample.focal for sample in Pairs(**files).samples("test")] == [None, None]
    assert [sample.focal for sample in Pairs(**files, focal=585).samples("test")] == [585, 585]
    (tmp_path / "0002" / "intrinsics.txt").write_text("570.342205 0 310 0 570.342205 225 0 0 1")
    samples = Pairs(**files, focal="../intrinsics.txt").samples("test")
    assert [sample.focal for sample in samples] == [529.5, 570.342205]
    (item,) = [Viewed(samples, View(size=(48, 64)))[0]]
    assert item.focal == pytest.approx(2 * 529.5)


@pytest.mark.parametrize("text", ["\n", "a b c", "529.5 0 365", "0 0 365 0 529.5 265 0 0 1", "nan " * 9])
def test_a_broken_matrix_is_named_before_the_work(tmp_path, text):
    files = sun(tmp_path, text)
    with pytest.raises(DataError, match=r"focal .*intrinsics.txt must hold .* or set focal to null"):
        Pairs(**files, focal="../intrinsics.txt").samples("test")
    Pairs(**files, focal="../intrinsics.txt", loading=Loading(on_error="skip")).samples("test")


def photograph(path, equivalent, orientation=1):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = equivalent
    Image.fromarray(picture(0, 240, 360)).save(path, exif=exif)
    return path


def test_photographs(tmp_path):
    names = [str(photograph(tmp_path / f"{k}.jpg", k, orientation)) for k, orientation in ((50, 1), (28, 6), (0, 1))]
    Image.fromarray(picture(0)).save(tmp_path / "plain.png")
    samples = Photos([*names, str(tmp_path / "plain.png")]).samples("test")
    # 360 x 240 has the shape of the film, 36 mm x 24 mm: 10 pixels a millimetre
    assert samples[0].focal == pytest.approx(500)
    assert samples[1].focal == pytest.approx(280)
    assert samples[1].image.shape[1:] == (360, 240)
    assert samples[2].focal is None
    assert samples[3].focal is None


def test_a_damaged_exif_block_is_no_focal_length(tmp_path):
    path = photograph(tmp_path / "a.jpg", 50)
    harmed = path.read_bytes()
    for head in (b"Exif\0\0II*", b"Exif\0\0MM\0*"):
        harmed = harmed.replace(head, head[:-1] + b"\xff")
    assert harmed != path.read_bytes()
    path.write_bytes(harmed)
    (sample,) = Photos([str(path)]).samples("test")
    assert sample.focal is None


def test_the_check_prints_the_focal_length(tmp_path, capsys):
    sun(tmp_path, "529.5 0 365 0 529.5 265 0 0 1")
    arguments = ["--data", "Pairs", "--data.root", str(tmp_path), "--data.image_pattern", "**/image/*.jpg"]
    arguments += ["--data.depth_pattern", "**/depth/*.png", "--data.focal", "../intrinsics.txt"]
    arguments += ["--data.loading.num_workers", "0", "--splits", "[test]", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "529.5 pixels (2 of 2 images)" in capsys.readouterr().out


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/samples")
def test_real_calibration_of_the_object_benchmark():
    samples = KITTI(str(SAMPLES / "kitti_velodyne")).samples("test")
    np.testing.assert_allclose([sample.focal for sample in samples], [707.0493, 721.5377])
