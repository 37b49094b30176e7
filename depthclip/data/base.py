"""What all data sets share: samples, views of them, batches, and sampling that is exact on several devices."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from depthclip.checks import check_choice, check_count
from depthclip.data.augment import Augment
from depthclip.data.plausible import DepthCheck
from depthclip.errors import InputError
from depthclip.protocol import Box, Scoring, View, scoring_of, seen_in_truth, view_of


class Sample(NamedTuple):
    """One image as a data set has it.

    Args:
        image: (3, H, W) uint8 RGB.
        depth: (H', W') float32 metres, 0 = invalid; usually H x W, but a laser grid may be coarser. None where there is
            no truth.
        name: what to call it: its path within the data set.
        scene: the type of scene or the drive, "" where the data set names none.
    """

    image: Tensor
    depth: Tensor | None
    name: str
    scene: str = ""


class DepthDataset(Dataset[Sample]):
    """A list of images with depth; subclasses say how many and read one.

    Raises:
        DataError: from `read`, naming the file that could not be read.
    """

    def __len__(self) -> int:
        raise NotImplementedError

    def name(self, index: int) -> str:
        """What image `index` is called, without reading it."""
        raise NotImplementedError

    def scene(self, index: int) -> str:
        """The type of scene of image `index`, or its drive, without reading it; "" where the data set names none."""
        return ""

    def files(self, index: int) -> tuple[Path, ...]:
        """The files that image `index` is read from; none where it is made up."""
        return ()

    def has_truth(self, index: int) -> bool:
        """Return whether image `index` has a depth map, without reading it."""
        return True

    def truth(self, index: int) -> tuple[Tensor | None, tuple[int, int]]:
        """Return the depth of image `index` as in its sample, and the (height, width) of the image.

        A data set that can read them without decoding the image overrides this.
        """
        sample = self[index]
        return sample.depth, (sample.image.shape[-2], sample.image.shape[-1])

    def __getitem__(self, index: int) -> Sample:
        raise NotImplementedError


class DataError(InputError):
    """A file of a data set is missing or not what it should be; its text names the file and the way out."""


@dataclass(frozen=True)
class Unreadable:
    """A sample that could not be read, where the user chose to go on without it."""

    index: int
    reason: str


@dataclass(frozen=True)
class Item:
    """A sample under a View.

    Args:
        index: its place in the data set.
        rgb: (3, h, w) float32 in [0, 1], what the model sees.
        depth: (H', W') float32 metres, 0 = invalid, all of it.
        seen: where `rgb` lies in `depth`.
        name: the sample's.
        scene: the sample's.
    """

    index: int
    rgb: Tensor
    depth: Tensor | None
    seen: Box
    name: str
    scene: str


@dataclass
class Batch:
    """Items that may differ in size, with the protocol by which they are to be judged.

    Args:
        items: what could be read.
        unreadable: what could not, where the user chose to skip it.
        view: what the model sees.
        scoring: which pixels count.
    """

    items: list[Item]
    unreadable: list[Unreadable]
    view: View
    scoring: Scoring

    def __len__(self) -> int:
        return len(self.items) + len(self.unreadable)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The batch on a device; Lightning calls this."""
        moved = [
            replace(
                item,
                rgb=item.rgb.to(device, non_blocking=non_blocking),
                depth=None if item.depth is None else item.depth.to(device, non_blocking=non_blocking),
            )
            for item in self.items
        ]
        return replace(self, items=moved)

    def by_size(self) -> Iterator[tuple[list[Item], Tensor]]:
        """Items of one size at a time, with their images stacked, (n, 3, h, w)."""
        sizes: dict[tuple[int, ...], list[Item]] = {}
        for item in self.items:
            sizes.setdefault(tuple(item.rgb.shape), []).append(item)
        for items in sizes.values():
            yield items, torch.stack([item.rgb for item in items])


class Chosen(DepthDataset):
    """Some of a data set's samples, by index."""

    def __init__(self, samples: DepthDataset, indices: Sequence[int]) -> None:
        self.samples = samples
        self.indices = list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, index: int) -> str:
        """What image `index` is called, without reading it."""
        return self.samples.name(self.indices[index])

    def scene(self, index: int) -> str:
        """The type of scene of image `index`, without reading it."""
        return self.samples.scene(self.indices[index])

    def files(self, index: int) -> tuple[Path, ...]:
        """The files that image `index` is read from."""
        return self.samples.files(self.indices[index])

    def has_truth(self, index: int) -> bool:
        """Return whether image `index` has a depth map."""
        return self.samples.has_truth(self.indices[index])

    def truth(self, index: int) -> tuple[Tensor | None, tuple[int, int]]:
        """Return the depth of image `index`, and the (height, width) of the image."""
        return self.samples.truth(self.indices[index])

    def __getitem__(self, index: int) -> Sample:
        return self.samples[self.indices[index]]


def with_truth(samples: DepthDataset, split: str) -> DepthDataset:
    """Return those samples that have a depth map, with a warning if others are left out.

    Raises:
        DataError: if there are none.
    """
    indices = [index for index in range(len(samples)) if samples.has_truth(index)]
    if len(indices) == len(samples):
        return samples
    if not indices:
        raise DataError(
            f"none of the {len(samples)} images of the {split} split has a depth map, which is needed here; give their "
            "depth, or use predict"
        )
    left_out = len(samples) - len(indices)
    warnings.warn(f"{left_out} of {len(samples)} images of the {split} split have no depth map: left out", stacklevel=2)
    return Chosen(samples, indices)


def choose_shots(samples: DepthDataset, shots: int, per_scene: bool, seed: int) -> DepthDataset:
    """Select a few training images: `shots` of each scene, or in all, drawn by seed and kept in their order.

    Raises:
        InputError: if there are fewer.
    """
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed)).tolist()
    groups: dict[str, list[int]] = {}
    for index in order:
        groups.setdefault(samples.scene(index) if per_scene else "", []).append(index)
    for scene, members in groups.items():
        if len(members) < shots:
            raise InputError(
                f"shots {shots} is more than the {len(members)} training images"
                f"{f' of scene {scene}' if scene else ''}; set shots to at most {len(members)}, or null for all"
            )
    return Chosen(samples, sorted(index for members in groups.values() for index in members[:shots]))


class Viewed(Dataset[Item | Unreadable]):
    """A data set under a View: what the loader's workers compute.

    Args:
        samples: the data set.
        view: what the model sees.
        augment: changes image and depth together before the view's size is taken; None leaves them.
        on_error: `raise` an unreadable sample's error, or `skip` it.
        check: looks at the first depth maps that are loaded; None for no check.
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
        except DataError as error:
            if self.on_error == "raise":
                raise
            return Unreadable(index, str(error))
        except MemoryError as error:
            raise DataError(
                f"image {self.samples.name(index)} needs more memory than there is; reduce it, or set num_workers lower"
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
            rgb, seen = replace(self.view, crop=None).see(image), Box(0, 0, *depth.shape)
        else:
            rgb = self.view.see(image)
        return Item(index, rgb.float() / 255, depth, seen, sample.name, sample.scene)


class UnrepeatedSampler(DistributedSampler):
    """Deals the images to the devices, each to exactly one: none is repeated to even the numbers out.

    Lightning leaves subclasses of DistributedSampler as they are.

    Args:
        dataset: what is sampled, in order.
        num_replicas: the number of devices.
        rank: of this device.
    """

    def __init__(self, dataset: Viewed, num_replicas: int, rank: int) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=False)
        self.mine = range(rank, len(dataset), num_replicas)

    def __iter__(self) -> Iterator[int]:
        return iter(self.mine)

    def __len__(self) -> int:
        return len(self.mine)


class TrainingSampler(DistributedSampler):
    """Deals the images to the devices in an order that depends on the seed and the epoch alone, for exact resuming.

    Each index comes with the epoch, which seeds the augmentation.

    Args:
        dataset: what is sampled.
        num_replicas: the number of devices.
        rank: of this device.
        seed: of the order.
    """

    def __init__(self, dataset: Viewed, num_replicas: int, rank: int, seed: int) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=True, seed=seed)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((index, self.epoch) for index in super().__iter__())


class BatchLoader(DataLoader[Item | Unreadable]):
    """A DataLoader that reports unreadable files and suspicious depth from the main process, whatever the workers."""

    dataset: Viewed

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Return the batches.

        Raises:
            DataError: if a worker was killed.
        """
        seen, skipped = 0, 0
        try:
            for number, batch in enumerate(super().__iter__(), 1):
                last = number == len(self)  # reported before it is yielded: a Trainer stops after it
                self._report(batch, last)
                seen, skipped = seen + len(batch), skipped + len(batch.unreadable)
                if last and skipped:
                    warnings.warn(f"{skipped} of {seen} images were skipped, since they cannot be read", stacklevel=2)
                yield batch
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            told = f"a process that reads images was killed, probably for lack of memory ({self.num_workers} of them)"
            raise DataError(f"{told}; set num_workers or batch_size lower") from error

    def _report(self, batch: Batch, last: bool) -> None:
        for one in batch.unreadable:
            warnings.warn(f"skipped: {one.reason}", stacklevel=3)
        if self.dataset.check is not None:
            self.dataset.check.see(item.depth for item in batch.items if item.depth is not None)
            if last:
                self.dataset.check.conclude()


Split = Literal["train", "val", "test"]
MOST_WORKERS = 256
MOST_AT_ONCE = 100_000  # images a batch
LARGEST_SEED = 2**32 - 1


class DepthDataModule(LightningDataModule):
    """The base of all data modules: subclasses build a `DepthDataset` for each split.

    Args:
        view: what the model sees: the name of a preset, or a View.
        scoring: which pixels count: the name of a preset, or a Scoring.
        batch_size: images a batch.
        num_workers: processes that read; 0 reads in the main one.
        on_error: what an unreadable file does: `raise` its error, or `skip` it, name it and count it.
        augment: what training changes in image and depth together; null for nothing.
        shots: how many training images are used, of each scene or in all; null for all there are.
        shots_per_scene: whether `shots` counts for each scene.
        seed: of the choice of shots.
        unit: argument that sets the unit of the depth files, with its value; for warnings.

    Raises:
        InputError: if an argument is not in its range.
    """

    def __init__(
        self,
        view: View | str,
        scoring: Scoring | str,
        batch_size: int = 8,
        num_workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        augment: Augment | None = None,
        shots: int | None = None,
        shots_per_scene: bool = False,
        seed: int = 0,
        unit: str = "the unit of the depth files",
    ) -> None:
        super().__init__()
        check_count("batch_size", batch_size, at_most=MOST_AT_ONCE, unit="images")
        check_count("num_workers", num_workers, at_least=0, at_most=MOST_WORKERS, unit="processes")
        check_choice("on_error", on_error, ("raise", "skip"))
        if shots is not None:
            check_count("shots", shots, unit="images", hint="use null for all training images")
        check_count("seed", seed, at_least=0, at_most=LARGEST_SEED)
        self.view = view_of(view)
        self.scoring = scoring_of(scoring)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.on_error = on_error
        self.augment = augment
        self.shots = shots
        self.shots_per_scene = shots_per_scene
        self.seed = seed
        self.sets: dict[str, DepthDataset] = {}
        self.depth_check = DepthCheck(self.scoring, unit)

    def samples(self, split: Split) -> DepthDataset:
        """Builds the data set of a split; subclasses define it.

        Raises:
            DataError: if there is no such split, or its files are not there.
        """
        raise DataError(f"{type(self).__name__} has no {split} split")

    def has(self, split: Split) -> bool:
        """Whether there are images of a split, so that `fit` can do without validation where there are none."""
        return True

    def found(self) -> dict[str, Any]:
        """What was found on disk, for metrics.json: data set, layout, counts."""
        return {"data": type(self).__name__, "images": {split: len(samples) for split, samples in self.sets.items()}}

    def training_samples(self) -> DepthDataset:
        """Return the training images with truth: all, or as many as `shots`."""
        samples = with_truth(self.samples("train"), "train")
        return samples if self.shots is None else choose_shots(samples, self.shots, self.shots_per_scene, self.seed)

    def training_depths(self, count: int) -> Iterator[tuple[Tensor, str]]:
        """Yield depth maps (H, W) in metres of training images, 0 where a pixel would not be scored, and their scenes.

        Args:
            count: number of images, evenly spread over the training images; all where there are fewer.
        """
        samples = self.training_samples()
        for index in torch.linspace(0, len(samples) - 1, min(count, len(samples))).round().int().tolist():
            try:
                depth, size = samples.truth(index)
            except DataError:
                if self.on_error == "raise":
                    raise
                continue
            if depth is not None:
                seen = seen_in_truth(self.view.box(*size), size, (depth.shape[0], depth.shape[1]))
                scored = torch.zeros_like(depth)
                seen.cut(scored).copy_(seen.cut(depth) * self.scoring.mask(depth, seen))
                yield scored, samples.scene(index)

    def setup(self, stage: str) -> None:
        """Build the data sets that a stage needs and check that no device is left without an image.

        Only `predict` takes images without truth.

        Raises:
            DataError: if files are missing, no image has the truth that a stage needs, or there are fewer images than
                devices.
        """
        splits: dict[str, tuple[Split, ...]] = {"fit": ("train", "val"), "validate": ("val",)}
        for split in splits.get(stage, ("test",)):
            if stage == "fit" and split == "val" and not self.has(split):
                continue
            if split == "train":
                self.sets[split] = self.training_samples()
            else:
                samples = self.samples(split)
                self.sets[split] = samples if stage == "predict" else with_truth(samples, split)
            images, devices = len(self.sets[split]), self.trainer.world_size if self.trainer else 1
            if images < devices:
                raise DataError(
                    f"the {split} split has {images} images, fewer than the {devices} devices; "
                    f"use --trainer.devices {images}"
                )

    def train_dataloader(self) -> DataLoader[Item | Unreadable]:
        """Training batches in an order of their own each epoch, dealt to the devices."""
        viewed = Viewed(self.sets["train"], self.view, self.augment, self.on_error, self.depth_check)
        devices, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        return self._loader(viewed, TrainingSampler(viewed, devices, rank, self.seed))

    def val_dataloader(self) -> DataLoader[Item | Unreadable] | list[DataLoader[Item | Unreadable]]:
        """Validation batches, each image once on all devices together; no loader where there are no images."""
        return self._exact_loader("val") if "val" in self.sets else []

    def test_dataloader(self) -> DataLoader[Item | Unreadable]:
        """Test batches, each image once on all devices together."""
        return self._exact_loader("test")

    def predict_dataloader(self) -> DataLoader[Item | Unreadable]:
        """The test images, each once on all devices together."""
        return self._exact_loader("test")

    def _exact_loader(self, split: str) -> DataLoader[Item | Unreadable]:
        viewed = Viewed(self.sets[split], self.view, on_error=self.on_error, check=self.depth_check)
        if self.trainer is None or self.trainer.world_size == 1:
            return self._loader(viewed)
        return self._loader(viewed, UnrepeatedSampler(viewed, self.trainer.world_size, self.trainer.global_rank))

    def _loader(self, viewed: Viewed, sampler: DistributedSampler | None = None) -> DataLoader[Item | Unreadable]:
        return BatchLoader(
            viewed,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=self.collate if viewed.augment is None else self.collate_augmented,
            persistent_workers=self.num_workers > 0,
        )

    def collate(self, read: Sequence[Item | Unreadable]) -> Batch:
        """Return the items and the unreadable samples as a batch."""
        items = [one for one in read if isinstance(one, Item)]
        unreadable = [one for one in read if isinstance(one, Unreadable)]
        return Batch(items, unreadable, self.view, self.scoring)

    def collate_augmented(self, read: Sequence[Item | Unreadable]) -> Batch:
        """Return a batch of augmented items, scored without the crop, since augmentation moves the pixels."""
        return replace(self.collate(read), scoring=replace(self.scoring, crop=None))
