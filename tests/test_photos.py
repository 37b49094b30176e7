"""Photographs from folders, globs, files and PIL images: which are read, and how they are decoded."""

import os
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from depthclip.data import Loading, Photos
from depthclip.data.files import read_rgb
from depthclip.data.samples import DataError
from depthclip.errors import InputError
from depthclip.photograph import rgb_of
from tests.layouts import picture
from tests.test_predict_folder import place, predict  # noqa: F401  # place is a fixture
from tests.test_predict_kinds import bomb

pytestmark = pytest.mark.filterwarnings("ignore:pretrained is null", "ignore:skipped", "ignore:.*were skipped")


def names(*images):
    samples = Photos(list(images)).samples("test")
    return [samples.name(k) for k in range(len(samples))]


def test_the_files_of_predict_are_no_photographs(place):  # noqa: F811
    Image.fromarray(picture(3, 48, 64)).save("in/own.png")
    Image.fromarray(picture(3, 48, 64)).save("in/own.colour.png")
    photographs = ["in/own.colour.png", "in/own.png", *(f"in/r{k}.jpg" for k in range(3))]
    given = ["in", "--formats", "[png, npy, panel]"]
    predict(*given, output="in")
    before = sorted(os.listdir("in"))
    with pytest.warns(UserWarning, match="15 files that predict wrote are left out of images in"):
        assert names("in") == photographs
    with pytest.warns(UserWarning, match="9 files that predict wrote are left out of images in/"):
        assert names("in/*r?.*g", "in/own.*")[:3] == photographs[2:]
    with pytest.warns(UserWarning, match="left out"):
        predict(*given, output="in")
    assert sorted(os.listdir("in")) == before
    assert names("in/in_r0.png") == ["in/in_r0.png"]  # as it was named
    predict("in/r0.jpg", output="out")
    with pytest.raises(DataError, match="images out has no photographs, only files that predict wrote"):
        names("out")


def test_a_photograph_that_is_named_twice_is_read_once(place):  # noqa: F811
    os.symlink("in", "link")
    given = ["in/r0.jpg", str(place / "in/r0.jpg"), f"../{place.name}/in/r0.jpg", "in", "link/*.jpg"]
    assert names(*given) == [f"in/r{k}.jpg" for k in range(3)]


def test_a_file_whose_name_starts_with_a_tilde(place):  # noqa: F811
    Path("in/r0.jpg").rename("~x.jpg")
    assert names("~x.jpg") == ["~x.jpg"]
    with pytest.raises(InputError, match="names an unknown user"):
        names("~y.jpg")


def odd_exif(orientation):
    """An EXIF block with an orientation, and a ShutterSpeedValue of -1/0, which PIL cannot write again."""
    exif_ifd = struct.pack("<HHHIII", 1, 0x9201, 10, 1, 56, 0) + struct.pack("<ii", -1, 0)
    entries = struct.pack("<HHII", 0x0112, 3, 1, orientation) + struct.pack("<HHII", 0x8769, 4, 1, 38)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0) + exif_ifd


@pytest.mark.parametrize("orientation", range(1, 10))
def test_an_orientation_beside_an_odd_value(tmp_path, orientation):
    """Each orientation equals that of ImageOps for a sound block, from a file and from a PIL image."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture(1, 24, 32)).save(tmp_path / "sound.png", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "sound.png")))
    Image.fromarray(picture(1, 24, 32)).save(tmp_path / "odd.png", exif=odd_exif(orientation))
    if 2 <= orientation <= 8:
        with Image.open(tmp_path / "odd.png") as image, pytest.raises(struct.error):
            ImageOps.exif_transpose(image)
    for given in (tmp_path / "odd.png", Image.open(tmp_path / "odd.png")):
        np.testing.assert_array_equal(rgb_of(given).permute(1, 2, 0), expected)


def test_a_pil_image_is_decoded_as_its_file(tmp_path):
    pixels = picture(1, 24, 32)
    half = np.dstack([pixels, np.repeat([[0, 255]], 24, 0).repeat(16, 1).astype(np.uint8)])
    Image.fromarray(half).save(tmp_path / "alpha.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(tmp_path / "grey.png")
    shown = {"alpha": np.where(half[..., 3:] == 0, 255, pixels), "grey": np.dstack([pixels[..., 0]] * 3)}
    for name, expected in shown.items():
        path = tmp_path / f"{name}.png"
        np.testing.assert_array_equal(rgb_of(Image.open(path)).permute(1, 2, 0), expected)
        np.testing.assert_array_equal(rgb_of(path).permute(1, 2, 0), expected)
    with pytest.raises(InputError, match="image is a PIL image of mode F that has floating-point values"):
        rgb_of(Image.fromarray(np.ones((4, 5), np.float32)))


def test_a_missing_photograph_has_a_hint_of_its_own(tmp_path):
    with pytest.raises(DataError, match=r"no.jpg does not exist; check the path$"):
        rgb_of(tmp_path / "no.jpg")
    with pytest.raises(DataError, match="check the data set's root and list"):
        read_rgb(tmp_path / "no.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "no.jpg")
    data = Photos([str(tmp_path / "gone.jpg")], loading=Loading(on_error="skip"))
    data.setup("predict")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(data.predict_dataloader())
    (message,) = (str(each.message) for each in caught if str(each.message).startswith("skipped: "))
    assert message.endswith("which does not exist; check the path")


def test_a_huge_photograph_has_the_limit_in_its_message(tmp_path):
    bomb(tmp_path / "huge.png")
    with pytest.raises(DataError, match="convert it to a smaller image of at most 178 million pixels"):
        read_rgb(tmp_path / "huge.png")


def test_counts_of_one_are_singular(place, capsys):  # noqa: F811
    Path("in/broken.jpg").write_text("hello")
    predict("in/r0.jpg", "in/broken.jpg")
    assert "1 depth map with a picture is in out" in (printed := capsys.readouterr().out)
    assert "1 image could not be read: in/broken.jpg" in printed
    predict("in/r0.jpg")
    assert "the depth map is in out already" in capsys.readouterr().out
