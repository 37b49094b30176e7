"""The command line: a LightningCLI with the model, the data modules and the report of this package."""

import inspect
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, Literal

import torch
import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, capture_parser
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI

import depthclip.data  # registers the data modules, as for `--data NYU`
import depthclip.head  # registers the classes of heads
import depthclip.predictions  # noqa: F401  # registers Predicted
from depthclip.arguments import SUBCOMMANDS, check_name, option_names, prepare, with_recipe_of_checkpoint
from depthclip.checkpoint import KEYWORDS, check_resumable, read_checkpoint
from depthclip.checks import check_count
from depthclip.data.module import DepthDataModule
from depthclip.data.rooms import Rooms
from depthclip.depth_writer import DepthWriter
from depthclip.encoder.readouts import with_arguments
from depthclip.errors import InputError
from depthclip.figure_files import Vector
from depthclip.fitting import checkpoint_callbacks
from depthclip.messages import sentence
from depthclip.module import DepthCLIP
from depthclip.parser_messages import parser_sentence
from depthclip.recipe_files import check_no_pipe, shorten
from depthclip.recipe_option import MODE, RecipeFile
from depthclip.report import Report
from depthclip.runs import RunFolder, RunLogger
from depthclip.trainer_checks import check_trainer
from depthclip.trust import check_untyped, trusting

SKIPPED = 3  # exit code


class DepthCLI(LightningCLI):
    """A LightningCLI that writes runs to `runs/`, and `predict` to its --output, and reports every run."""

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Return a parser with the option -c."""
        parser = LightningArgumentParser(**kwargs)
        text = "recipe: a YAML file, or the name of a recipe of the package; may be repeated"
        parser.add_argument("-c", "--config", action=RecipeFile, help=text)
        return parser

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of data, model and trainer, in the order of the help."""
        parser.add_lightning_class_args(DepthDataModule, "data", subclass_mode=True)
        parser.add_lightning_class_args(DepthCLIP, "model")
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.set_defaults({f"trainer.{name}": value for name, value in self.trainer_defaults.items()})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options --name, --output, --formats, --overwrite and --vector."""
        parser.add_argument("--name", default="depthclip", help="the run's folder within runs/")
        parser.add_argument("--output", type=str, help="predict: folder of the depth maps; existing maps are kept")
        text = (
            "predict: formats: png, 16-bit with a stated scale; npy, float32 metres; ply and glb, point clouds; panel, "
            "picture of the image, its depth and the weight of each word; uncertainty, .npz of float32 maps"
        )
        kinds = list[Literal["png", "npy", "ply", "glb", "panel", "uncertainty"]]
        parser.add_argument("--formats", type=kinds, default=["png"], help=text)
        text = "format in which panels and variants are written besides PNG, for papers: pdf or svg"
        parser.add_argument("--vector", type=Vector | None, default=None, help=text)
        text = "predict: write depth maps again that are in the folder already, also those of another model"
        parser.add_argument("--overwrite", action="store_true", help=text)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the command line and check the options that need no model.

        The path of a checkpoint is not in the configuration until the classes are built, because LightningCLI would
        apply the hyperparameters in the file, which may be untrusted.

        Raises:
            InputError: if an argument is refused.
        """
        super().parse_arguments(parser, args)
        config = self.config[self.config.subcommand]
        self.ckpt_path = config.get("ckpt_path")
        if "ckpt_path" in config:
            config.ckpt_path = None
        seed = config.seed_everything
        if not isinstance(seed, bool):
            check_count("seed_everything", seed, at_least=0, at_most=2**32 - 1)
        check_name(config.name)
        check_untyped(config)
        check_trainer(config.trainer.as_dict(), self.config.subcommand)
        if self.ckpt_path in KEYWORDS and self.config.subcommand != "fit":
            raise InputError(f"checkpoint {self.ckpt_path!r} is for fit; pass the path of a .ckpt file that fit wrote")
        if self.ckpt_path is not None and self.ckpt_path not in KEYWORDS:
            read_checkpoint(self.ckpt_path)

    def before_instantiate_classes(self) -> None:
        """Override defaults of Lightning."""
        config = self.config[self.subcommand]
        if "ckpt_path" in config:
            config.ckpt_path = self.ckpt_path
        if "verbose" in config:
            config.verbose = False  # the report prints the table
        if config.get("return_predictions", True) is None:
            config.return_predictions = False  # depth maps are written one by one; all of them may not fit into memory
        if config.output is not None and self.subcommand != "predict":
            raise InputError(f"output {config.output} is for predict; remove it, and use --name for another folder")
        if config.formats != ["png"] and self.subcommand != "predict":
            raise InputError(f"formats {config.formats} is for predict; remove it")
        if config.overwrite and self.subcommand != "predict":
            raise InputError(f"overwrite {config.overwrite} is for predict; remove it")
        if "weights_only" in config:
            config.weights_only = True  # untrusted checkpoints must not run code

    def instantiate_classes(self) -> None:
        """Check that the files of the data exist, then build data, model and trainer.

        Raises:
            InputError: if a file is missing or a constructor refuses a value.
        """
        check_data(self.config[self.subcommand].data, str(self.subcommand))
        try:
            super().instantiate_classes()
        except (ValueError, ArgumentError) as error:  # raised by a constructor, whose arguments are the user's
            raise InputError(sentence(error)) from error

    def after_instantiate_classes(self) -> None:
        """Load the learned parameters of a checkpoint, and warn if the bundled CLIP is used on other data than rooms.

        Only `fit` also passes the file to Lightning, which resumes the training.

        Raises:
            InputError: if the checkpoint does not fit.
        """
        if self.ckpt_path is not None and self.ckpt_path not in KEYWORDS:
            self.model.load_learned(self.ckpt_path)
            if self.subcommand == "fit":
                check_resumable(self.ckpt_path, self.trainer.fit_loop.state_dict())
            else:
                self.config_init[self.subcommand].ckpt_path = None
        if self.model.encoder.name == "tiny-rooms" and not isinstance(self.datamodule, Rooms):
            warnings.warn(
                f"tiny-rooms was trained on procedural rooms only, so its depth on {type(self.datamodule).__name__} is "
                "meaningless; use a CLIP trained on photographs, such as configs/model/rn50.yaml",
                stacklevel=2,
            )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with a logger and the report; `predict` with --output has neither, only its folder.

        The default logger is not part of the saved `config.yaml`, so that the file can be run with another `--name`.

        Raises:
            InputError: if the constructor of the Trainer refuses an argument.
        """
        config = self.config[self.subcommand]
        recipe = yaml.safe_load(self.parser.dump(self.config, skip_none=False, format="yaml"))[self.subcommand]
        encoder = recipe["model"]["encoder"]["init_args"]
        if "readout" in encoder:  # an encoder of the user may have none
            encoder["readout"] = with_arguments(encoder["readout"])
        if config.trainer.logger in (None, True):
            kwargs["logger"] = False if config.output else RunLogger("runs", config.name)
        elif config.trainer.logger in (False, []) and not (config.trainer.barebones or config.output):
            # a barebones Trainer accepts no logger at all
            kwargs["logger"] = RunFolder(str(PurePath(config.trainer.default_root_dir or "", "runs")), config.name)
        try:
            trainer = super().instantiate_trainer(**kwargs, **self.checkpoints())
        except Exception as error:  # the Trainer raises many types for arguments that it refuses
            changed = {
                name: value
                for name, value in recipe["trainer"].items()
                if name in (parameters := inspect.signature(Trainer).parameters)
                and value not in (None, parameters[name].default)
            }
            raise InputError(
                f"the Trainer refuses its arguments: {sentence(error)}; check trainer: {shorten(changed, 200)}"
            ) from error
        self.writer = DepthWriter(recipe, recipe["output"], recipe["formats"], recipe["overwrite"], config.vector)
        reports = [Report(recipe, config.vector)] if trainer.loggers or not config.output else []
        trainer.callbacks.extend([*reports, self.writer])  # type: ignore[attr-defined]  # a public list that Trainer does not type
        self.model.settings = recipe["model"]
        self.model.data_settings = recipe["data"]
        return trainer

    @property
    def exit_code(self) -> int:
        """The exit code of the command line: 3 if `predict` skipped images or left out point clouds, else 0."""
        return SKIPPED if self.writer.skipped or self.writer.cloudless else 0

    def checkpoints(self) -> dict[str, list[Callback]]:
        """Return the argument `callbacks` of the trainer, with the callbacks that save checkpoints.

        `test` has them too, because Lightning warns if a checkpoint holds the state of a missing callback.
        """
        settings = self.config_init[self.subcommand].trainer
        if settings.enable_checkpointing is False:
            return {}
        given = settings.callbacks or []
        given = given if isinstance(given, list) else [given]
        return {"callbacks": [*given, *checkpoint_callbacks(given)]}


def check_data(config: Namespace, stage: str) -> None:
    """Raise if files of the data are missing, before the weights of a model are downloaded, which may take minutes.

    The parser builds the model first, so a data module is built for this check alone.

    Args:
        config: class and arguments of the data module.
        stage: subcommand, which determines the splits to look for.

    Raises:
        InputError: if the data module refuses an argument or misses a file.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(DepthDataModule, "data")
    try:
        parser.instantiate(Namespace(data=config)).data.setup(stage)
    except (ValueError, ArgumentError) as error:  # raised by a constructor, whose arguments are the user's
        raise InputError(sentence(error)) from error


def run(args: Sequence[str] | None = None) -> DepthCLI:
    """Run a subcommand, for example `run(["test", "-c", "configs/rooms.yaml"])`.

    Args:
        args: command line; None for the command line of the process.

    Raises:
        InputError: if an argument, a recipe or a file cannot be used.
    """
    # The rounding of convolutions depends on the number of threads, and moves pixels across the thresholds of the
    # deltas. Lightning would divide the cores among several CPU processes; here each process uses all of them.
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    given, trusted = prepare(sys.argv[1:] if args is None else args)
    with parsing(given, trusted):
        return depth_cli(with_recipe_of_checkpoint(given, trusted))


def resolve(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the complete recipe of a command line, including all defaults, without building or running anything.

    Args:
        arguments: subcommand and options, such as `["test", "-c", "configs/rooms.yaml"]`.

    Raises:
        InputError: if an option is refused.
    """
    given, trusted = prepare(arguments)
    with parsing(given, trusted):
        parser = capture_parser(lambda: depth_cli([given[0]]))
        config = parser.parse_args(given)
        return yaml.safe_load(parser.dump(config, skip_none=False, format="yaml"))[given[0]]


def quiet_libraries() -> None:
    """Hide advertisements of Lightning, and its warnings about its use of torch."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message="LightningCLI.s args parameter.*")
    warnings.filterwarnings("ignore", message=".*in eval mode at the start.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")


def depth_cli(args: list[str]) -> DepthCLI:
    """Run the command line and return its interface."""
    quiet_libraries()
    quiet = {"exit_on_error": False, "parser_mode": MODE, "allow_abbrev": False}
    return DepthCLI(
        DepthCLIP,
        DepthDataModule,
        subclass_mode_data=True,
        seed_everything_default=0,
        auto_configure_optimizers=False,
        trainer_defaults={"logger": None, "enable_model_summary": False},
        parser_kwargs={
            "prog": "python -m depthclip",
            **quiet,
            **{name: {**quiet, "description": text} for name, text in SUBCOMMANDS.items()},
        },
        save_config_callback=None,  # the report writes the recipe into the run's folder
        load_from_checkpoint_support=False,
        args=args,
    )


@contextmanager
def parsing(given: Sequence[str], trusted: Sequence[str]) -> Iterator[None]:
    """Trust modules within the block, and convert errors of the parser to `InputError`.

    Raises:
        InputError: if the parser refuses the command line.
    """
    if not given or given[0] not in (*SUBCOMMANDS, "-h", "--help"):
        raise InputError(f"subcommand {given[0] if given else ''!r} is unknown; use one of {', '.join(SUBCOMMANDS)}")
    for arg in given:
        check_no_pipe(arg.partition("=")[2] if arg.startswith("--") else arg)
    with trusting(trusted):
        try:
            yield
        except ArgumentError as error:
            raise InputError(parser_sentence(error, option_names(), given)) from error
