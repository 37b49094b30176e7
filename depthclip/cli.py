"""The command line: LightningCLI with this package's model, data modules and report."""

import logging
import os
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import torch
import yaml
from jsonargparse import capture_parser
from pytorch_lightning import Trainer
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI

import depthclip.data  # makes `--data NYU` a known name
import depthclip.head  # noqa: F401  # and the classes of heads
from depthclip.data.base import DepthDataModule
from depthclip.data.rooms import Rooms
from depthclip.errors import InputError
from depthclip.module import DepthCLIP
from depthclip.report import Report


class DepthCLI(LightningCLI):
    """LightningCLI with short defaults: runs go to `runs/`, and every run reports."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", default="depthclip", help="the run's folder within runs/")

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        if "verbose" in config:
            config.verbose = False  # Lightning's own table; the report prints a better one
        if "weights_only" in config:
            config.weights_only = True  # checkpoints are data, whoever wrote them
        if config.trainer.logger in (None, True):
            logger = {
                "class_path": "pytorch_lightning.loggers.CSVLogger",
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
        trainer = super().instantiate_trainer(**kwargs)
        trainer.callbacks.append(Report(recipe))  # type: ignore[attr-defined]  # a public list that Trainer does not type
        self.model.settings = recipe["model"]
        return trainer


def run(
    args: Sequence[str] | None = None, parser_class: type[LightningArgumentParser] = LightningArgumentParser
) -> DepthCLI:
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
        save_config_kwargs={"overwrite": True},
        args=given,
        parser_class=parser_class,
    )


class RaisingParser(LightningArgumentParser):
    """A parser that raises an error instead of ending the process."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message as one line.

        Raises:
            InputError: always.
        """
        raise InputError(" ".join(message.split())) from ex


def resolve(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the whole recipe that a command line stands for, all defaults included; nothing is built or run.

    Args:
        arguments: subcommand and options, such as `["test", "-c", "configs/rooms.yaml"]`.

    Raises:
        InputError: if an option is refused.
    """
    parser = capture_parser(lambda: run(["test"], RaisingParser))
    config = parser.parse_args(list(arguments))
    return yaml.safe_load(parser.dump(config, skip_none=False))[arguments[0]]
