"""The feature cache: what its entries belong to, and what becomes of broken ones."""

import warnings
from copy import deepcopy

import pytest
import torch
from torch import nn

from depthclip.cache import FeatureCache
from depthclip.data.samples import DepthDataset
from depthclip.encoder import NACLIP, SCLIP, Aggregate, ClearCLIP, ImageFeatures, MaskCLIP, Needs
from depthclip.encoder.compiled import Compiled
from depthclip.errors import InputError
from depthclip.protocol import View


class Numbered(DepthDataset):
    """Images whose features are made up; each is read from a file where a path is given."""

    def __init__(self, path=None):
        self.path = path

    def __len__(self):
        return 4

    def name(self, index):
        return str(index)

    def files(self, index):
        return () if self.path is None else (self.path,)


def opened(folder, encoder, view=View(), needs=Needs(), samples=None):  # noqa: B008  # frozen
    cache = FeatureCache(str(folder))
    cache.open(encoder, samples or Numbered(), view, needs)
    return cache


def entries(folder, *args):
    """The number of files in the folder after an image was looked up."""
    opened(folder, *args).get(
        [0], torch.zeros(1, 3, 8, 8), lambda images: ImageFeatures(torch.ones(len(images), 4, 2, 2))
    )
    return len(list(folder.glob("*.pt")))


def test_cache_on_disk_is_keyed_by_the_image_file_the_view_and_the_needs(clip, tmp_path):
    encoder, image = clip("small-vit", "tokens"), tmp_path / "a.png"
    count = 0
    for text in ("one", "another"):
        image.write_text(text)
        for view in (View(), View(mirror=True)):
            for needs in (Needs(), Needs(pooled=True), Needs(layers=(0,))):
                count += 1
                for _ in range(2):
                    assert entries(tmp_path, encoder, view, needs, Numbered(image)) == count


def test_cache_on_disk_is_keyed_by_the_state_of_the_readout(clip, tmp_path):
    class Weighted(MaskCLIP):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3000))
            self.register_buffer("shift", torch.zeros(()))

    encoder = clip("small-vit", Weighted())
    assert entries(tmp_path, encoder) == 1
    encoder.readout.scale.data[-1:].add_(1)  # a single number
    assert entries(tmp_path, encoder) == 2
    encoder.readout.shift.add_(1)
    assert entries(tmp_path, encoder) == 3
    assert entries(tmp_path, clip("small-vit", MaskCLIP(reduced=False))) == 4


def test_cache_on_disk_is_keyed_by_every_switch_of_the_readout(clip, tmp_path):
    readouts = [
        SCLIP(),
        SCLIP(residual=False),
        SCLIP(similarities=["qq"]),
        ClearCLIP(),
        NACLIP(),
        NACLIP(std=4),
        Aggregate(),
        Aggregate(sharpness=9),
        Aggregate(MaskCLIP(reduced=False)),
        Aggregate(NACLIP()),
        Aggregate(NACLIP(std=4)),
        Aggregate(Aggregate(NACLIP(std=4))),
    ]
    for count, readout in enumerate(readouts, 1):
        assert entries(tmp_path, clip("small-vit", readout)) == count
        assert entries(tmp_path, clip("small-vit", deepcopy(readout))) == count


def test_cache_on_disk_is_keyed_by_the_buffers_of_the_weights_in_any_memory_format(clip, tmp_path):
    encoder = clip("small-resnet", "attention_pool")  # whose convolutions are in the format channels-last
    assert entries(tmp_path, encoder) == 1
    encoder.model.to(memory_format=torch.contiguous_format)
    encoder.read = Compiled(encoder.read)
    assert entries(tmp_path, encoder) == 1
    encoder.model.visual.bn1.running_mean.add_(0.5)
    assert entries(tmp_path, encoder) == 2


def test_cache_on_disk_is_keyed_by_the_precision(clip, tmp_path, recwarn):
    encoder = clip("small-vit", "tokens")
    for _ in range(2):  # features of any precision are float32 here, as on a GPU, where `normalize` is in float32
        assert entries(tmp_path, encoder) == 1
    for count, dtype in ((2, torch.bfloat16), (3, torch.float16)):
        for _ in range(2):
            with torch.autocast("cpu", dtype):
                assert entries(tmp_path, encoder) == count
    assert entries(tmp_path, encoder) == 3
    assert not recwarn.list


def test_cache_on_disk_is_keyed_by_the_pixels_of_images_without_files(clip, tmp_path):
    def looked_up(images):
        """The numbers of images that were encoded in a run, and the features."""
        encoded = []

        def encode(images):
            encoded.append(len(images))
            return ImageFeatures(images[:, :, ::4, ::4])

        cache = opened(tmp_path, clip("small-vit", "tokens"))
        cache.get([0], images[:1], encode)  # the first batch of a run is always encoded
        return encoded, cache.get([1, 2], images[1:3], encode).dense

    images, others = torch.rand(2, 3, 3, 8, 8)
    looked_up(images)
    others[2] = images[2]
    encoded, features = looked_up(others)
    assert encoded == [1, 1]
    assert torch.equal(features, others[1:, :, ::4, ::4])
    for before in (images, others):
        encoded, features = looked_up(before)
        assert encoded == [1]
        assert torch.equal(features, before[1:, :, ::4, ::4])


def save(**entry):
    return lambda path: torch.save(entry, path)


BROKEN = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "text": lambda path: path.write_text("features"),
    "a list": lambda path: torch.save([1], path),
    "other things": save(dense="x", pooled=None),
    "another shape": save(dense=torch.zeros(48, 2, 2), pooled=None),
    "not finite": save(dense=torch.full((48, 4, 6), torch.nan), pooled=None),
    "another type": save(dense=torch.zeros(48, 4, 6, dtype=torch.float64), pooled=None),
    "a pooled feature too many": save(dense=torch.zeros(48, 4, 6), pooled=torch.zeros(48)),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_entries_of_the_cache_are_computed_again(clip, tmp_path, how):
    encoder, images = clip("small-vit", "tokens"), torch.rand(4, 3, 64, 96)
    with torch.no_grad():
        plain = encoder.encode_image(images).dense
        first = opened(tmp_path, encoder)
        first.get([0, 2, 3], images[[0, 2, 3]], encoder.encode_image)
        others = set(tmp_path.glob("*.pt"))
        first.get([1], images[1:2], encoder.encode_image)
        (entry,) = set(tmp_path.glob("*.pt")) - others
        BROKEN[how](entry)
        encoded = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            again = opened(tmp_path, encoder)
            for indices in ([3], [0, 1, 2]):
                features = again.get(
                    indices, images[indices], lambda x: encoded.append(len(x)) or encoder.encode_image(x)
                )
    torch.testing.assert_close(features.dense, plain[:3])
    assert encoded == [1, 1]  # the first batch, which gives the shape, and the broken entry
    assert any("computed again" in str(one.message) for one in caught)


def test_a_cache_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for where in ("", " ", str(tmp_path / "file"), str(tmp_path / "file" / "below"), "/dev/null/x", "x" * 9999):
        with pytest.raises(InputError, match="cannot be a folder; use `memory`"):
            FeatureCache(where)
