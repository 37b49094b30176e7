"""The report of a run: a table on the screen, metrics.json, the errors of every image, and pictures."""

import importlib.metadata
import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import WandbLogger

from depthclip.atomic import open_atomic
from depthclip.caveats import warn_of_caveats
from depthclip.errors import InputError
from depthclip.estimator import DepthEstimator
from depthclip.evaluated import EvaluatedModule
from depthclip.evaluation.evaluation import BEST_CONSTANT, Outcome
from depthclip.evaluation.metrics import ERRORS, higher_is_better
from depthclip.evaluation.summary import plain_table
from depthclip.figure_files import Vector, copies
from depthclip.module import DepthCLIP
from depthclip.pictures import compare_heads, panel, title_of
from depthclip.pictures.variants import only
from depthclip.runs import remove_without_results, run_folder
from depthclip.table import metrics_table, print_text, render
from depthclip.version import __version__
from depthclip.word_report import monotonicity_of_rows, monotonicity_text

VERSIONS = ("torch", "pytorch-lightning", "open_clip_torch", "timm", "torchmetrics", "torchvision", "numpy")


class Report(Callback):
    """Print and write the results of `test` and `validate`.

    Args:
        recipe: recipe of the run, written into metrics.json.
        vector: format in which the pictures are written besides PNG: `pdf`, `svg`, or None.
    """

    def __init__(self, recipe: dict[str, Any] | None = None, vector: Vector | None = None) -> None:
        self.recipe = recipe or {}
        self.vector = vector
        self.folder = Path()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Create the folder of the run, the same on all devices, and write the recipe into it.

        A folder that no logger has chosen may contain a recipe of the user, which is kept. A run with
        `trainer.fast_dev_run` is a trial and writes nothing.
        """
        if isinstance(trainer.logger, WandbLogger) and trainer.is_global_zero:
            trainer.logger.log_hyperparams(self.recipe)  # which starts the run and gives it its name
        self.folder = run_folder(trainer)
        if is_trial(trainer):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "config.yaml"
        if self.recipe and trainer.is_global_zero and (trainer.loggers or not path.exists()):
            with open_atomic(path) as file:
                file.write(yaml.safe_dump(self.recipe, sort_keys=False, allow_unicode=True).encode())

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End the Weights & Biases run, so that the next run of this process does not write into it."""
        end_tracking(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End a Weights & Biases run that failed, and remove its folder if it has no results."""
        end_tracking(trainer)
        if isinstance(trainer.logger, WandbLogger) and trainer.is_global_zero and self.folder != Path():
            remove_without_results(self.folder)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table and write metrics.json, errors.npz and the pictures."""
        if trainer.is_global_zero and isinstance(pl_module, EvaluatedModule):
            self.report(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report after `validate` as after `test`; validation within `fit` logs curves instead."""
        if trainer.is_global_zero and isinstance(pl_module, EvaluatedModule) and trainer.state.fn == "validate":
            self.report(trainer, pl_module)

    def report(self, trainer: Trainer, pl_module: EvaluatedModule) -> None:
        """Print the figures of a run, then write them.

        Raises:
            InputError: after the table, if a file cannot be written.
        """
        outcome, data = pl_module.outcome, pl_module.datamodule
        metrics = {
            **summary(outcome, pl_module.published),
            "monotonicity": monotonicity_of_rows(pl_module) if isinstance(pl_module, DepthEstimator) else {},
            "unreadable": outcome.unreadable,
            "data": data.metadata() if data is not None else {},
            "recipe": self.recipe,
            "versions": versions(),
            "commit": commit(),
        }
        try:
            print_text(render(metrics_table(metrics)).rstrip())
            if metrics["monotonicity"]:
                print_text(monotonicity_text(metrics["monotonicity"]))
        finally:  # the files are written even if the reader of the output has gone, as with `| head`
            written = [] if is_trial(trainer) else self.write(pl_module, metrics)
        if isinstance(trainer.logger, WandbLogger):
            track(trainer.logger, metrics, pl_module.names[0], self.folder / "panel.png" if pl_module.shown else None)
        files = "no files are written with trainer.fast_dev_run" if is_trial(trainer) else "written:"
        print_text(f"{metrics['images']} images scored, {metrics['skipped']} skipped; {files}")
        for path in written:
            print_text(f"  {path}")
        if isinstance(pl_module, DepthCLIP):
            warn_of_caveats(pl_module, data.scoring if data is not None else None)

    def write(self, model: EvaluatedModule, metrics: dict[str, Any]) -> list[Path]:
        """Write metrics.json, errors.npz and the pictures, and return their paths.

        Raises:
            InputError: if a file cannot be written.
        """
        written = [self.folder / "metrics.json", self.folder / "errors.npz"]
        try:
            write_json(written[0], metrics)
            write_errors(written[1], model.outcome)
            if model.shown:
                written += draw_pictures(model, self.folder, self.vector)
        except OSError as error:
            raise InputError(
                f"the results cannot be written to {self.folder} ({error.strerror or error}); free space, or choose "
                "another folder with --trainer.logger.init_args.save_dir, and give the command again"
            ) from error
        return written


def is_trial(trainer: Trainer) -> bool:
    """Return whether a run is a trial of a few batches, which writes no files."""
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]  # a public attribute that Trainer does not type


def write_errors(path: Path, outcome: Outcome) -> None:
    """Write the errors of every image to an .npz file.

    Its arrays are `errors` (R, N, 9 + M), the names along its axes `rows` (R,), `image` (N,) and `error` (9 + M,), the
    `alignment` of each row (R,), for each image its `scene` (N,) and its number of `pixels` that count (N,), and the
    names of the further figures of which the larger is the better, `higher`. The V rows in the alignment of the
    protocol come first, then the same rows in each further alignment, where the M further figures are NaN.
    """
    result = outcome.result
    blank = torch.full_like(result.errors[..., len(ERRORS) :], math.nan)
    errors = [result.errors, *(torch.cat([each, blank], 2) for each in result.aligned.values())]
    alignments = (result.alignment, *result.aligned)
    with open_atomic(path) as file:
        np.savez(
            file,
            errors=torch.cat(errors, 1).transpose(0, 1).numpy(),
            rows=np.array(result.names * len(alignments), np.str_),
            alignment=np.array(alignments, np.str_).repeat(len(result.names)),
            error=np.array(result.columns, np.str_),
            higher=np.array(result.higher, np.str_),
            image=np.array(outcome.images, np.str_),
            scene=np.array(outcome.scenes, np.str_),
            pixels=result.pixels.numpy(),
        )


def draw_pictures(model: EvaluatedModule, folder: Path, vector: Vector | None) -> list[Path]:
    """Draw panel.png and, with variants, variants.png, and return the paths.

    The folder `variants` gets a picture of each head alone.

    Args:
        model: a model that has scored images.
        folder: folder of the pictures.
        vector: format in which both are written besides PNG; None for none.
    """
    words = model.head.labels if isinstance(model, DepthCLIP) else ()
    names = [title_of(model.names[0], words), *model.names[1:]]
    written = copies(folder / "panel.png", vector)
    for path in written:
        panel(model.shown, words, path)
    if len(names) > 1:
        for path in copies(folder / "variants.png", vector):
            compare_heads(model.shown, names, path)
            written.append(path)
        (folder / "variants").mkdir(exist_ok=True)
        for number, name in enumerate(names):
            compare_heads(only(model.shown, number), [name], folder / "variants" / f"{number:03d}.png")
    return written


def track(logger: WandbLogger, metrics: dict[str, Any], head: str, pictures: Path | None) -> None:
    """Log the results of a test to Weights & Biases: figures as summary, all rows as a table, the panel as an image.

    Args:
        logger: logger of the run.
        metrics: content of metrics.json.
        head: name of the head's row.
        pictures: file of the panel.
    """
    columns, data = plain_table(metrics)
    logger.log_table("figures", columns=columns, data=data)
    if pictures is not None:
        logger.log_image("panel", [str(pictures)])
    logger.experiment.summary.update(metrics["figures"][head])


def end_tracking(trainer: Trainer) -> None:
    """End a Weights & Biases run; an offline run prints the command that uploads it."""
    if isinstance(trainer.logger, WandbLogger) and trainer.is_global_zero:
        trainer.logger.experiment.finish()


def summary(outcome: Outcome, published: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return the figures of an evaluation by row: of the model, of the baselines, and published ones."""
    result = outcome.result
    figures = result.figures()
    baselines = {name: row for name, row in figures.items() if name not in outcome.heads}
    if outcome.best_constant is not None:
        baselines[BEST_CONSTANT] = outcome.best_constant
    return {
        "alignment": result.alignment,
        "figures": {name: figures[name] for name in outcome.heads},
        "baselines": baselines,
        "aligned": result.aligned_figures(),
        "published": published,
        "higher_is_better": [e for e in result.columns if higher_is_better(e) or e in result.higher],
        "images": outcome.result.images,
        "skipped": outcome.result.skipped,
        "pixels": int(outcome.result.pixels.clamp_min(0).sum()),
    }


def versions() -> dict[str, str]:
    """Return the versions of this package and of the packages on which its figures depend."""
    return {"depthclip": __version__, **{name: importlib.metadata.version(name) for name in VERSIONS}}


def commit() -> str | None:
    """Return the git commit of the checkout that this package runs from, with "+" if files differ from it, or None."""
    here = Path(__file__).parent

    def git(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        tracked = git("ls-files", Path(__file__).name)
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "") if tracked else None
    except (OSError, subprocess.CalledProcessError):
        return None


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON; a file that exists is complete."""
    with open_atomic(path) as file:
        file.write(json.dumps(value, indent=1, default=str).encode() + b"\n")
