"""The command line: LightningCLI with this package's model, data modules and report."""

import logging
import os
import warnings
from collections.abc import Sequence

import torch
import yaml
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI

import depthclip.data  # makes `--data NYU` a known name
import depthclip.head  # noqa: F401  # and the classes of heads
from depthclip.data.base import DepthDataModule
from depthclip.data.rooms import Rooms
from depthclip.errors import InputError
from depthclip.fitting import checkpoint_callbacks
from depthclip.module import DepthCLIP
from depthclip.report import Report


class DepthCLI(LightningCLI):
    """LightningCLI with short defaults: runs go to `runs/`, and every run reports."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", default="depthclip", help="the run's folder within runs/")
        parser.add_argument("--output", type=str, help="predict: the folder of the depth maps; those it has are kept")

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        if "verbose" in config:
            config.verbose = False  # Lightning's own table; the report prints a better one
        if config.get("return_predictions", True) is None:
            config.return_predictions = False  # depth maps are written as they come; kept, they would fill the memory
        if config.output is not None and self.subcommand != "predict":
            raise InputError(f"output {config.output} is for predict; remove it, and use --name for another folder")
        if "weights_only" in config:
            config.weights_only = True  # checkpoints are data, whoever wrote them
        if config.trainer.logger in (None, True):
            logger = {
                "class_path": "depthclip.runs.RunLogger",
                "init_args": {"save_dir": "runs", "name": config.name},
            }
            config.trainer.logger = logger

    def after_instantiate_classes(self) -> None:
        if self.model.encoder.name == "tiny-rooms" and not isinstance(self.datamodule, Rooms):
            warnings.warn(
                "tiny-rooms was trained on procedural rooms and knows nothing of photographs: what it says of "
                f"{type(self.datamodule).__name__} means nothing; use a CLIP such as configs/model/rn50.yaml",
                stacklevel=2,
            )

    def instantiate_trainer(self, **kwargs: object) -> Trainer:
        recipe = yaml.safe_load(self.parser.dump(self.config, skip_none=False))[self.subcommand]
        trainer = super().instantiate_trainer(**kwargs, **self.checkpoints())
        trainer.callbacks.append(Report(recipe, recipe["output"]))  # type: ignore[attr-defined]  # a public list that Trainer does not type
        self.model.settings = recipe["model"]
        return trainer

    def checkpoints(self) -> dict[str, list[Callback]]:
        """Return the trainer's argument `callbacks` with those that keep checkpoints: Lightning keeps only the last.

        `test` gets them too, or Lightning would warn that a checkpoint has states of callbacks that are missing.
        """
        settings = self.config_init[self.subcommand].trainer
        if settings.enable_checkpointing is False:
            return {}
        given = settings.callbacks or []
        given = given if isinstance(given, list) else [given]
        return {"callbacks": [*given, *checkpoint_callbacks(given)]}


def run(args: Sequence[str] | None = None) -> DepthCLI:
    """Runs a subcommand: `run(["test", "-c", "configs/rooms.yaml"])`; without arguments, those of the command line."""
    given: ArgsType = None if args is None else list(args)
    # Convolutions that are split over another number of threads round differently, which moves pixels across the
    # thresholds of the deltas. Lightning would give each of several CPU processes its share of the cores; here each
    # keeps what one has alone.
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    # Lightning's advertisements, and its warning about its own use of torch
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message="LightningCLI.s args parameter.*")
    warnings.filterwarnings("ignore", message=".*in eval mode at the start.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    return DepthCLI(
        DepthCLIP,
        DepthDataModule,
        subclass_mode_data=True,
        seed_everything_default=0,
        auto_configure_optimizers=False,
        trainer_defaults={"logger": None, "enable_model_summary": False},
        save_config_callback=None,  # the report writes the recipe into the run's folder
        args=given,
    )
