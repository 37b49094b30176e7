"""The base of all data modules."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from depthclip.checks import check_choice, check_count
from depthclip.data.augment import Augment
from depthclip.data.batches import Batch, BatchLoader, Item, Unreadable, Viewed
from depthclip.data.plausible import DepthCheck
from depthclip.data.samples import DataError, DepthDataset, choose_shots, with_truth
from depthclip.data.sampling import TrainingSampler, UnrepeatedSampler
from depthclip.protocol import Scoring, View, scoring_of, seen_in_truth, view_of

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

    def metadata(self) -> dict[str, Any]:
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
