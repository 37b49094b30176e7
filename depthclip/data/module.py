"""The base of all data modules."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from depthclip.checks import brief, check_choice, check_count
from depthclip.data.augment import Augment
from depthclip.data.batches import Batch, BatchLoader, Item, Unreadable, Viewed
from depthclip.data.collate import Collate
from depthclip.data.plausible import DepthCheck
from depthclip.data.samples import DataError, DepthDataset, Subset, choose_shots, with_truth
from depthclip.data.sampling import TrainingSampler, UnrepeatedSampler
from depthclip.data.workers import automatic_workers, leave_signals_to_main
from depthclip.errors import InputError
from depthclip.protocol import Scoring, View, scoring_of, seen_in_truth, view_of

Split = Literal["train", "val", "test"]
MOST_WORKERS = 256
LARGEST_BATCH = 100_000  # images
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Loading:
    """Settings for reading samples into batches.

    Args:
        batch_size: number of images per batch.
        num_workers: number of processes that read, per device; 0 reads in the main process. null chooses: 0 for fewer
            than 64 images, on one core, and where processes cannot be forked; otherwise 1 if the model runs on the CPU,
            and up to 8 for each GPU, limited by the number of cores. The figures do not depend on it.
        on_error: `raise` the error of an unreadable file, or `skip` its image, with a warning.
        seed: seed of the order of the training images.

    Raises:
        InputError: if a value is out of range.
    """

    batch_size: int = 8
    num_workers: int | None = None
    on_error: Literal["raise", "skip"] = "raise"
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("loading.batch_size", self.batch_size, at_most=LARGEST_BATCH, unit="images")
        if self.num_workers is not None:
            check_count("loading.num_workers", self.num_workers, at_least=0, at_most=MOST_WORKERS, unit="processes")
        check_choice("loading.on_error", self.on_error, ("raise", "skip"))
        check_count("loading.seed", self.seed, at_least=0, at_most=LARGEST_SEED)


@dataclass(frozen=True)
class Shots:
    """A random choice of a few training images.

    Args:
        count: number of images.
        per_scene: draw `count` images of each scene instead of in total.
        seed: seed of the draw.

    Raises:
        InputError: if a value is out of range.
    """

    count: int
    per_scene: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("shots.count", self.count, unit="images", hint="set shots to null for all training images")
        check_count("shots.seed", self.seed, at_least=0, at_most=LARGEST_SEED)


class DepthDataModule(LightningDataModule):
    """Base class of the data modules; a subclass defines `samples`, which returns the data set of a split.

    Args:
        view: part of an image that the model sees: a `View`, or the name of a preset.
        scoring: pixels that count: a `Scoring`, or the name of a preset.
        loading: batch size, worker processes, unreadable files, and the order of training images.
        shots: number of training images, or a `Shots` with scenes and seed; null for all.
        augment: augmentation of training images and their depth; null for none.
        unit: argument that sets the unit of the depth files, with its value, for warnings.

    Raises:
        InputError: if an argument is out of range.
    """

    def __init__(
        self,
        view: View | str,  # without defaults: the parser would carry them over to the subclass that a recipe names
        scoring: Scoring | str,
        loading: Loading = Loading(),
        shots: Shots | int | None = None,
        augment: Augment | None = None,
        unit: str = "the unit of the depth files",
    ) -> None:
        super().__init__()
        if not isinstance(loading, Loading):
            raise InputError(f"loading {brief(loading)} must be a Loading, such as Loading(batch_size=4)")
        self.view = view_of(view)
        self.scoring = scoring_of(scoring)
        self.loading = loading
        self.shots = shots if shots is None or isinstance(shots, Shots) else Shots(shots)
        self.augment = augment
        self.sets: dict[str, DepthDataset] = {}
        self.depth_check = DepthCheck(self.scoring, unit)

    def samples(self, split: Split) -> DepthDataset:
        """Return the data set of a split; subclasses define this.

        Raises:
            DataError: if there is no such split, or files are missing.
        """
        raise DataError(f"{type(self).__name__} has no {split} split")

    def has(self, split: Split) -> bool:
        """Return whether a split has images; `fit` does not validate without any."""
        return True

    def metadata(self) -> dict[str, Any]:
        """Return a description of the data for metrics.json: name of the data set and number of images per split."""
        return {"data": type(self).__name__, "images": {split: len(samples) for split, samples in self.sets.items()}}

    def training_samples(self) -> DepthDataset:
        """Return the training images with ground truth, or a few of them if `shots` is set."""
        samples, shots = with_truth(self.samples("train"), "train"), self.shots
        return samples if shots is None else choose_shots(samples, shots.count, shots.per_scene, shots.seed)

    def training_depths(self, count: int) -> Iterator[tuple[Tensor, str]]:
        """Yield depth maps of training images, (H, W) metres with 0 at pixels that do not count, and their scenes.

        Args:
            count: number of images, evenly spread over the training images; all if there are fewer.
        """
        samples = self.training_samples()
        for index in spread(len(samples), count):
            try:
                depth, size = samples.truth(index)
            except DataError:
                if self.loading.on_error == "raise":
                    raise
                continue
            if depth is not None:
                seen = seen_in_truth(self.view.box(*size), size, (depth.shape[0], depth.shape[1]))
                scored = torch.zeros_like(depth)
                seen.cut(scored).copy_(seen.cut(depth) * self.scoring.mask(depth, seen))
                yield scored, samples.scene(index)

    def training_batches(self, count: int) -> Iterable[Batch]:
        """Return batches of training images with or without depth, as the model sees them, without augmentation.

        Args:
            count: number of images, evenly spread over the training images; all if there are fewer.
        """
        samples = self.samples("train") if self.shots is None else self.training_samples()
        chosen = Subset(samples, spread(len(samples), count))
        return self._loader(Viewed(chosen, self.view, on_error=self.loading.on_error))

    def validation_samples(self) -> DepthDataset:
        """Return the validation images with ground truth."""
        return with_truth(self.samples("val"), "val")

    def validation_batches(self) -> Iterable[Batch]:
        """Return batches of the validation images of this device, for stages other than `fit` and `validate`."""
        self.sets["val"] = self.validation_samples()
        return self._exact_loader("val")

    def setup(self, stage: str) -> None:
        """Build the data sets of a stage, and check that there is an image for each device.

        Only `predict` accepts images without ground truth.

        Raises:
            DataError: if files are missing, no image has the ground truth that the stage needs, or there are fewer
                images than devices.
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
        """Return a loader of the training batches of this device, in another order in each epoch."""
        viewed = Viewed(self.sets["train"], self.view, self.augment, self.loading.on_error, self.depth_check)
        devices, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        return self._loader(viewed, TrainingSampler(viewed, devices, rank, self.loading.seed))

    def val_dataloader(self) -> DataLoader[Item | Unreadable] | list[DataLoader[Item | Unreadable]]:
        """Return a loader of the validation batches of this device, or [] without validation images."""
        return self._exact_loader("val") if "val" in self.sets else []

    def test_dataloader(self) -> DataLoader[Item | Unreadable]:
        """Return a loader of the test batches of this device; no image is on two devices."""
        return self._exact_loader("test")

    def predict_dataloader(self) -> DataLoader[Item | Unreadable]:
        """Return a loader of the test images of this device; no image is on two devices."""
        return self._exact_loader("test")

    def _exact_loader(self, split: str) -> DataLoader[Item | Unreadable]:
        viewed = Viewed(self.sets[split], self.view, on_error=self.loading.on_error, check=self.depth_check)
        if self.trainer is None or self.trainer.world_size == 1:
            return self._loader(viewed)
        return self._loader(viewed, UnrepeatedSampler(viewed, self.trainer.world_size, self.trainer.global_rank))

    def _loader(self, viewed: Viewed, sampler: DistributedSampler | None = None) -> BatchLoader:
        workers = self.workers(len(viewed))
        return BatchLoader(
            viewed,
            batch_size=self.loading.batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=Collate(self.view, self.scoring, viewed.augment is not None),
            persistent_workers=workers > 0,
            pin_memory=self._device == "cuda",
            worker_init_fn=leave_signals_to_main,
        )

    @property
    def _device(self) -> str:
        return self.trainer.strategy.root_device.type if self.trainer else "cpu"

    def workers(self, images: int) -> int:
        """Return the number of processes that read a split of some number of images, per device."""
        if self.loading.num_workers is not None:
            return self.loading.num_workers
        return automatic_workers(images, self.trainer.num_devices if self.trainer else 1, self._device == "cpu")


def spread(length: int, count: int) -> list[int]:
    """Return indices that are evenly spread over a data set, in order: `count`, or all if there are fewer."""
    return torch.linspace(0, length - 1, min(count, length)).round().int().tolist()
