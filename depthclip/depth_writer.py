"""The callback that writes the depth maps of `predict`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from depthclip.data.batches import Batch
from depthclip.data.paths import argument_path
from depthclip.data.samples import DepthDataset, Subset
from depthclip.depth_files import DepthFolder
from depthclip.errors import InputError
from depthclip.figure_files import Vector
from depthclip.gather import gather
from depthclip.module import DepthCLIP
from depthclip.runs import run_folder
from depthclip.shown import Prediction
from depthclip.table import print_text


class DepthWriter(Callback):
    """Write the depth map of each image as soon as it is predicted, and print a summary.

    Args:
        recipe: recipe of the run; depth maps of another model are not mixed with those of this one.
        output: folder for the depth maps; those that are there already are kept and not computed again. None puts them
            into `depth` in the folder of the run.
        formats: formats of the depth maps, see `DepthFolder`.
        overwrite: whether to write depth maps again that are there already.
        vector: format in which panels are written besides PNG: `pdf`, `svg`, or None.
    """

    def __init__(
        self,
        recipe: dict[str, Any] | None = None,
        output: str | Path | None = None,
        formats: Sequence[str] = ("png",),
        overwrite: bool = False,
        vector: Vector | None = None,
    ) -> None:
        self.recipe = recipe or {}
        self.output = output
        self.formats = formats
        self.overwrite = overwrite
        self.vector: Vector | None = vector
        self.depths = DepthFolder(Path(), [], {}, formats, vector=vector)
        self.missing = 0  # depth maps, before predict starts
        self.reduced = 0  # images that were larger than what the model saw, on this device
        self.skipped: list[str] = []  # names of the images that could not be read; of all devices in the end
        self.limit: int | float | None = None  # of the trainer, while it is set to 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave images whose depth maps exist already out of the data set.

        Raises:
            InputError: if the folder cannot be used.
        """
        if stage != "predict" or not isinstance(pl_module, DepthCLIP):
            return
        pl_module.view_photographs()  # the folder keeps the view; the module's setup comes after the callbacks
        folder = argument_path("output", str(self.output)) if self.output else run_folder(trainer) / "depth"
        data = pl_module.datamodule
        samples = None if data is None else data.sets["test"]
        settings = {key: self.recipe.get(key) for key in ("model", "ckpt_path")}
        view = None if data is None else repr((data.view, data.scoring))
        names = [] if samples is None else [samples.name(k) for k in range(len(samples))]
        sources = [] if samples is None else [source_of(samples, k) for k in range(len(samples))]
        self.depths = DepthFolder(
            folder, names, {**settings, "view": view}, self.formats, sources, self.overwrite, self.vector
        )
        missing = trainer.strategy.broadcast(self.depths.open())
        self.missing, self.reduced, self.skipped = len(missing), 0, []
        if trainer.is_global_zero:
            self.depths.write_index()
        if data is None or samples is None or len(missing) == len(samples):
            return
        if not missing:
            self.limit, trainer.limit_predict_batches = trainer.limit_predict_batches, 0
            if trainer.is_global_zero:
                print_text(f"all {len(samples)} depth maps are in {self.depths.folder} already; nothing is computed")
                print_text(f"0 written, {len(samples)} kept, 0 skipped")
            return
        # each device needs an image; where fewer are missing, a few are computed again
        spare = iter(sorted(set(range(len(samples))) - set(missing)))
        missing += [next(spare) for _ in range(trainer.world_size - len(missing))]
        self.depths.choose(missing)
        data.sets["test"] = Subset(samples, missing)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the trainer."""
        if self.limit is not None:
            trainer.limit_predict_batches, self.limit = self.limit, None

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: list[Prediction],
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write each depth map and a picture of it."""
        for prediction in outputs:
            self.depths.write(prediction)
            self.reduced += prediction.seen.numel() < prediction.depth.numel()
        self.skipped += [unreadable.name for unreadable in batch.unreadable]

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the index of the depth maps and print how many there are and where.

        Raises:
            InputError: if no image could be read, or images are missing on all devices together.
        """
        parts = gather((self.depths.scales, self.skipped, self.reduced))
        if not trainer.is_global_zero:
            self.skipped = []
            return
        before = len(self.depths.files) - self.missing
        for scales, _, _ in parts:
            self.depths.scales.update(scales)
        self.depths.write_index()
        self.skipped = [name for _, names, _ in parts for name in names]
        print_text(self.depths.closing(before, self.skipped, sum(reduced for _, _, reduced in parts)))
        if not self.depths.scales:
            raise InputError(
                f"none of the {len(self.skipped)} images could be read; check the files that the warnings name"
            )
        lost = len(self.depths.files) - self.depths.complete - len(self.skipped)
        if lost > 0 and trainer.limit_predict_batches == 1.0:
            raise InputError(
                f"{lost} of {len(self.depths.files)} images have no depth map in {self.depths.folder}; give the "
                f"command again with --output {self.depths.folder} to go on"
            )


def source_of(samples: DepthDataset, index: int) -> str:
    """Return the absolute path of the file of an image, or "" if the image is computed."""
    files = samples.files(index)
    return str(files[0].absolute()) if files else ""
