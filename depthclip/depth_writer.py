"""The callback that writes the depth maps of `predict`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from depthclip.counted import counted
from depthclip.data.batches import Batch
from depthclip.data.paths import argument_path
from depthclip.data.photos import Photos
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
        self.cloudless = 0  # images without a point cloud, since their focal length is not known; of all devices
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
        settings["view"] = None if data is None else repr((data.view, data.scoring))
        if isinstance(data, Photos) and data.fov is not None:
            settings["fov"] = data.fov
        names = [] if samples is None else [samples.name(k) for k in range(len(samples))]
        sources = [] if samples is None else [source_of(samples, k) for k in range(len(samples))]
        self.depths = DepthFolder(folder, names, settings, self.formats, sources, self.overwrite, self.vector)
        missing = trainer.strategy.broadcast(self.depths.open())
        self.missing, self.reduced, self.skipped, self.cloudless = len(missing), 0, [], 0
        if trainer.is_global_zero:
            self.depths.write_index()
        if data is None or samples is None or len(missing) == len(samples):
            return
        if not missing:
            self.limit, trainer.limit_predict_batches = trainer.limit_predict_batches, 0
            if trainer.is_global_zero:
                count = len(samples)
                all_maps = "the depth map is" if count == 1 else f"all {count} depth maps are"
                clouds = f"; {self.depths.without_clouds()}" if self.depths.cloudless else ""
                print_text(f"{all_maps} in {self.depths.folder} already; nothing is computed{clouds}")
                print_text(f"0 written, {count} kept, 0 skipped")
                self.cloudless = len(self.depths.cloudless)
            self._check_clouds()
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
        parts = gather((self.depths.scales, self.depths.cloudless, self.skipped, self.reduced))
        if not trainer.is_global_zero:
            self.skipped = []
            return
        before = len(self.depths.files) - self.missing
        for scales, cloudless, _, _ in parts:
            self.depths.scales.update(scales)
            self.depths.cloudless.update(cloudless)
        self.depths.write_index()
        self.skipped = [name for _, _, names, _ in parts for name in names]
        self.cloudless = len(self.depths.cloudless)
        print_text(self.depths.closing(before, self.skipped, sum(reduced for *_, reduced in parts)))
        self._check_clouds()
        if not self.depths.scales:
            count = len(self.skipped)
            failed = "the image could not be read" if count == 1 else f"none of the {count} images could be read"
            raise InputError(f"{failed}; check the files that the warnings name")
        count = len(self.depths.files)
        lost = count - self.depths.complete - len(self.skipped)
        if lost > 0 and trainer.limit_predict_batches == 1.0:
            lack = "has" if lost == 1 else "have"
            raise InputError(
                f"{lost} of {counted(count, 'image', 'images')} {lack} no depth map in {self.depths.folder}; give the "
                f"command again with --output {self.depths.folder} to go on"
            )

    def _check_clouds(self) -> None:
        """Raise if point clouds are the only format, and no image has one."""
        if self.depths.cloudless and not self.depths.scales:
            raise InputError(
                f"{self.depths.without_clouds()}; add png or npy to formats, or set data.fov to the field of view"
            )


def source_of(samples: DepthDataset, index: int) -> str:
    """Return the absolute path of the file of an image, or "" if the image is computed."""
    files = samples.files(index)
    return str(files[0].absolute()) if files else ""
