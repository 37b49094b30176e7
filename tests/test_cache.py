"""The feature cache: what its entries belong to, and what becomes of broken ones."""

import warnings

import pytest
import torch
from torch import nn

from depthclip.cache import FeatureCache
from depthclip.data.samples import DepthDataset
from depthclip.encoder import MaskCLIP, Needs
from depthclip.errors import InputError
from depthclip.evaluation.protocol import View


def test_cache_on_disk_is_keyed_by_the_image_file(clip, tmp_path):
    class One(DepthDataset):
        def name(self, index):
            return "a"

        def files(self, index):
            return (tmp_path / "a.png",)

    cache, encoder = FeatureCache(str(tmp_path)), clip("small-vit", "tokens")
    paths = set()
    for text in ("one", "another"):
        (tmp_path / "a.png").write_text(text)
        for view in (View(), View(mirror=True)):
            for pooled in (False, True):
                cache.open(encoder, One(), view, Needs(pooled=pooled))
                paths.add(cache._path(0))
    assert len(paths) == 8


class Numbered(DepthDataset):
    """Images that need no files."""

    def __len__(self):
        return 4

    def name(self, index):
        return str(index)


def opened(folder, encoder):
    cache = FeatureCache(str(folder))
    cache.open(encoder, Numbered(), View(), Needs())
    return cache


def test_cache_on_disk_is_keyed_by_the_state_of_the_readout(clip, tmp_path):
    class Weighted(MaskCLIP):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3000))
            self.register_buffer("shift", torch.zeros(()))

    encoder = clip("small-vit", Weighted())
    paths = {opened(tmp_path, encoder)._path(0)}
    for change in (encoder.readout.scale.data, encoder.readout.shift):
        change.view(-1)[-1:].add_(1)  # a single number
        paths.add(opened(tmp_path, encoder)._path(0))
    paths.add(opened(tmp_path, clip("small-vit", MaskCLIP(reduced=False)))._path(0))
    assert len(paths) == 4


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
    encoder, images = clip("small-vit", "tokens"), torch.rand(3, 3, 64, 96)
    with torch.no_grad():
        plain = encoder.encode_image(images).dense
        first = opened(tmp_path, encoder)
        first.get([0, 1, 2], images, encoder.encode_image)
        BROKEN[how](first._path(1))
        encoded = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            again = opened(tmp_path, encoder)
            features = again.get([0, 1, 2], images, lambda x: encoded.append(len(x)) or encoder.encode_image(x))
    torch.testing.assert_close(features.dense, plain)
    assert encoded == [1, 1]  # the first, to know the shape, and the broken one
    assert any("computed again" in str(one.message) for one in caught)


def test_a_cache_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for where in ("", " ", str(tmp_path / "file"), str(tmp_path / "file" / "below"), "/dev/null/x", "x" * 9999):
        with pytest.raises(InputError, match="cannot be a folder; use `memory`"):
            FeatureCache(where)
