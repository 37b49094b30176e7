"""Augmentation changes image and depth together, and never interpolates depth."""

import pytest
import torch

from depthclip.data.augment import Augment
from depthclip.data.batches import Viewed
from depthclip.data.files import FileSamples
from depthclip.data.samples import Sample
from depthclip.errors import InputError
from depthclip.protocol import View


def coded(height: int = 40, width: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """An image with row and column in red and green, and a depth map of row + column / 1000 + 1."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([rows, columns, torch.full_like(rows, 7)]).to(torch.uint8)
    return image, rows + columns / 1000 + 1


def coded_depth(image: torch.Tensor) -> torch.Tensor:
    """The depth at the row and column in the colours of an image."""
    return image[0].float() + image[1].float() / 1000 + 1


def test_mirror_and_crop_keep_image_and_depth_together():
    image, depth = coded()
    seen, truth = Augment(mirror=1, rotation=0, colour=0)(image, depth)
    assert torch.equal(seen, image.flip(-1))
    assert torch.equal(truth, depth.flip(-1))
    torch.manual_seed(0)
    corners = set()
    for _ in range(8):
        seen, truth = Augment(crop=(16, 24), mirror=0.5, rotation=0, colour=0)(image, depth)
        assert seen.shape == (3, 16, 24)
        assert torch.allclose(coded_depth(seen), truth, atol=1e-5)
        corners.add(float(truth[0, 0]))
    assert len(corners) > 4


def test_rotation_never_blends_depth_and_leaves_nothing_outside():
    image, depth = coded()
    torch.manual_seed(3)
    empty = 0
    for _ in range(5):
        seen, truth = Augment(mirror=0, rotation=10, colour=0)(image, depth)
        assert torch.isin(truth[truth > 0], depth).all()
        inside = truth[10:30, 15:45]
        # the image is blended between pixels, so that its rows are exact to within 1
        assert (seen[0, 10:30, 15:45].float() + 1 - inside.floor()).abs().max() <= 1
        empty += int((truth == 0).sum())
    assert empty > 0


def test_colour_changes_the_image_alone():
    image, depth = coded()
    torch.manual_seed(0)
    seen, truth = Augment(mirror=0, rotation=0, colour=0.5)(image, depth)
    assert not torch.equal(seen, image)
    assert torch.equal(truth, depth)
    assert seen.dtype == torch.uint8
    assert type(seen) is type(truth) is torch.Tensor


def test_a_crop_that_does_not_fit_is_one_sentence():
    image, depth = coded()
    with pytest.raises(InputError, match=r"augment.crop \[41, 60\] is larger than an image of 40 x 60"):
        Augment(crop=(41, 60))(image, depth)
    assert Augment(crop=(40, 60))(image, depth)[0].shape == (3, 40, 60)


def test_nothing_asked_for_is_nothing_done():
    image, depth = coded()
    seen, truth = Augment(mirror=0, rotation=0, colour=0)(image, depth)
    assert torch.equal(seen, image)
    assert torch.equal(truth, depth)


class Coded(FileSamples):
    """A single coded sample."""

    def __init__(self) -> None:
        super().__init__([])

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return Sample(*coded(), "coded")


def test_the_views_crop_comes_before_and_its_size_after():
    view = View(crop=(4, 6, 36, 54), size=(8, 12))
    item = Viewed(Coded(), view, Augment(crop=(16, 24), mirror=0, rotation=0, colour=0))[0]
    assert item.rgb.shape == (3, 8, 12)
    assert tuple(item.depth.shape) == (16, 24)
    assert tuple(item.seen) == (0, 0, 16, 24)
    assert float(item.depth.min()) >= 4 + 1
    assert float(item.depth.max()) < 36 + 1
    # the middle of a patch of the small image is the middle of what it shows
    assert float(item.rgb[0, 4, 6]) * 255 + 1 == pytest.approx(float(item.depth[8, 12].floor()), abs=1.5)
