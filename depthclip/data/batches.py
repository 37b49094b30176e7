"""Batches: samples under a view, loaded by worker processes."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from depthclip.accelerator import copied
from depthclip.data.augment import Augment
from depthclip.data.images import AGAIN, SKIP
from depthclip.data.plausible import DepthCheck
from depthclip.data.samples import DataError, DepthDataset, Sample
from depthclip.data.workers import starting
from depthclip.errors import InputError
from depthclip.protocol import Box, Scoring, View, seen_in_truth


@dataclass(frozen=True)
class Unreadable:
    """A sample that cannot be read, with `on_error: skip`.

    Args:
        index: index in the data set.
        reason: message of the error.
        name: name of the sample.
        scene: scene of the sample.
    """

    index: int
    reason: str
    name: str
    scene: str


@dataclass(frozen=True)
class Item:
    """A sample under a view.

    Args:
        index: index in the data set.
        rgb: (3, h, w) float32 in [0, 1], the input of the model.
        depth: (H', W') float32 metres, 0 = invalid, uncropped.
        seen: the box in `depth` that `rgb` covers.
        name: name of the sample.
        scene: scene of the sample.
        focal: focal length in pixels of `rgb`; None if the data set does not state it.
        size: (height, width) of the image before the view; None for an augmented image.
    """

    index: int
    rgb: Tensor
    depth: Tensor | None
    seen: Box
    name: str
    scene: str
    focal: float | None = None
    size: tuple[int, int] | None = None

    @property
    def target(self) -> Tensor:
        """The ground truth, (H', W') float32 metres, 0 = invalid.

        Raises:
            InputError: if the sample has none.
        """
        if self.depth is None:
            raise InputError(f"{self.name} has no depth map to score against; use predict for images without truth")
        return self.depth


@dataclass
class Batch:
    """Items, which may differ in size, and the protocol that scores them.

    Args:
        items: samples that were read.
        unreadable: samples that were skipped.
        view: part of an image that the model sees.
        scoring: pixels that count.
    """

    items: list[Item]
    unreadable: list[Unreadable]
    view: View
    scoring: Scoring

    def __len__(self) -> int:
        return len(self.items) + len(self.unreadable)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """Return the batch on a device; Lightning calls this, without `non_blocking`."""
        moved = [
            replace(
                item,
                rgb=copied(item.rgb, device, non_blocking),
                depth=None if item.depth is None else copied(item.depth, device, non_blocking),
            )
            for item in self.items
        ]
        return replace(self, items=moved)

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory, from which a GPU copies faster; a DataLoader calls this."""
        pinned = [
            replace(
                item,
                rgb=item.rgb.pin_memory(),
                depth=None if item.depth is None else item.depth.pin_memory(),
            )
            for item in self.items
        ]
        return replace(self, items=pinned)

    def by_size(self) -> Iterator[tuple[list[Item], Tensor]]:
        """Yield the items of each size, with their images stacked, (n, 3, h, w)."""
        sizes: dict[tuple[int, ...], list[Item]] = {}
        for item in self.items:
            sizes.setdefault(tuple(item.rgb.shape), []).append(item)
        for items in sizes.values():
            yield items, torch.stack([item.rgb for item in items])


class Viewed(Dataset[Item | Unreadable]):
    """A data set under a view; workers compute its items.

    Args:
        samples: data set.
        view: part of an image that the model sees.
        augment: augmentation of image and depth, applied before the image is resized; None for none.
        on_error: `raise` the error of an unreadable sample, or `skip` the sample.
        check: check of the first depth maps; None for none.
    """

    def __init__(
        self,
        samples: DepthDataset,
        view: View,
        augment: Augment | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        check: DepthCheck | None = None,
    ) -> None:
        self.samples = samples
        self.view = view
        self.augment = augment
        self.on_error = on_error
        self.check = check

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, at: int | tuple[int, int]) -> Item | Unreadable:
        index, epoch = at if isinstance(at, tuple) else (at, 0)
        try:
            sample = self.samples[index]
            check_size(self.view, sample)
        except DataError as error:
            if self.on_error == "raise":
                raise
            return Unreadable(index, without_skip(str(error)), self.samples.name(index), self.samples.scene(index))
        except MemoryError as error:
            raise DataError(
                f"image {self.samples.name(index)} needs more memory than there is; reduce it, or set "
                "loading.num_workers lower"
            ) from error
        image, depth = sample.image, sample.depth
        size = (image.shape[-2], image.shape[-1])
        box = self.view.box(*size)
        seen = box if depth is None else seen_in_truth(box, size, (depth.shape[0], depth.shape[1]))
        if self.augment is not None and depth is not None:
            truth = seen.cut(depth)
            if seen.size != box.size:  # a laser grid, which has to turn and shift with the image
                truth = F.interpolate(truth[None, None], box.size, mode="nearest")[0, 0]
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(epoch * len(self) + index)
                image, depth = self.augment(box.cut(image), truth)
            rgb = replace(self.view, crop=None).see(image, sample.focal)
            seen, across = Box(0, 0, *depth.shape), image.shape[-1]
        else:
            rgb, across = self.view.see(image, sample.focal), box.size[1]
        # the view may crop an image, which keeps the focal length, and resize it, which scales the focal length
        focal = None if sample.focal is None else sample.focal * rgb.shape[-1] / across
        whole = size if self.augment is None else None
        return Item(index, rgb.float() / 255, depth, seen, sample.name, sample.scene, focal, whole)


def check_size(view: View, sample: Sample) -> None:
    """Raise if a view would resize an image to its focal length with too many or too few pixels.

    Raises:
        DataError: with the name of the sample.
    """
    box = view.box(sample.image.shape[-2], sample.image.shape[-1])
    try:
        view.size_seen(*box.size, sample.focal)
    except InputError as error:
        raise DataError(f"{sample.name}: {error}, or {SKIP}") from error


def without_skip(message: str) -> str:
    """Return the message of an error without the advice to skip the file, which is skipped already."""
    return message.replace(f", {AGAIN}", " or fetch it again").replace(f", or {SKIP}", "")


class BatchLoader(DataLoader[Item | Unreadable]):
    """A DataLoader that warns of unreadable files and implausible depth in the main process."""

    dataset: Viewed
    loaded = skipped = 0  # images since the last conclusion

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # batches, where a DataLoader yields what its collate function returns
        """Yield the batches.

        Raises:
            DataError: if a worker was killed.
            InputError: if the data set cannot be pickled for the workers.
        """
        self.loaded = self.skipped = 0
        try:
            for number, batch in enumerate(self._start(), 1):
                self._report(batch)
                if number == len(self):
                    self.conclude()  # before the batch is yielded: a Trainer stops after it
                yield batch
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            raise DataError(
                f"a process that reads images was killed, probably for lack of memory ({self.num_workers} of them); "
                "set loading.num_workers or loading.batch_size lower"
            ) from error

    def _start(self) -> Iterator[Batch]:
        with starting(self.num_workers):
            return super().__iter__()

    def conclude(self) -> None:
        """Warn of what the batches so far have shown, once; a Trainer with a limit of batches stops before the last."""
        if self.skipped:
            warnings.warn(
                f"{self.skipped} of {self.loaded} images were skipped, since they cannot be read", stacklevel=3
            )
        self.loaded = self.skipped = 0
        if self.dataset.check is not None:
            self.dataset.check.conclude()

    def _report(self, batch: Batch) -> None:
        self.loaded, self.skipped = self.loaded + len(batch), self.skipped + len(batch.unreadable)
        for unreadable in batch.unreadable:
            warnings.warn(f"skipped: {unreadable.reason}", stacklevel=3)
        if self.dataset.check is not None:
            self.dataset.check.see(item.depth for item in batch.items if item.depth is not None)
