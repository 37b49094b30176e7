"""The report of a run: a table on the screen, metrics.json, the errors of every image, and pictures."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import WandbLogger
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from depthclip import __version__
from depthclip.data.base import Split
from depthclip.evaluation.evaluation import Outcome
from depthclip.evaluation.metrics import ERRORS, higher_is_better
from depthclip.module import DepthCLIP, Prediction
from depthclip.pictures import colour_depth, compare_heads, depth_range, panel, strips

VERSIONS = ("torch", "pytorch-lightning", "open_clip_torch", "timm", "torchmetrics", "torchvision", "numpy")


class Report(Callback):
    """Prints and writes what `test` and `predict` found, into the run's folder.

    Args:
        recipe: what was run, written into metrics.json.
    """

    def __init__(self, recipe: dict[str, Any] | None = None) -> None:
        self.recipe = recipe or {}
        self.folder = Path()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds the run's folder: here, because the devices must agree on it."""
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        logger = trainer.logger
        if isinstance(logger, WandbLogger) and trainer.is_global_zero:
            logger.log_hyperparams(self.recipe)
            # its log_dir is the folder of all runs; checkpoints go here too
            folder = folder / str(logger.name) / str(logger.version)
        # on other devices a wandb run has no name
        self.folder = trainer.strategy.broadcast(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ends a Weights & Biases run, which the next run of this process would otherwise write into."""
        end_tracking(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Ends a Weights & Biases run of what failed."""
        end_tracking(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the table and writes metrics.json, errors.npz and the pictures."""
        if trainer.is_global_zero and isinstance(pl_module, DepthCLIP):
            self.report(trainer, pl_module, "test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same for `validate`; validation within `fit` has its curves."""
        if trainer.is_global_zero and isinstance(pl_module, DepthCLIP) and trainer.state.fn == "validate":
            self.report(trainer, pl_module, "val")

    def report(self, trainer: Trainer, pl_module: DepthCLIP, split: Split) -> None:
        """Prints and writes the figures of a split."""
        folder = self.folder
        outcome, data = pl_module.outcome, pl_module.datamodule
        written = [folder / "metrics.json", folder / "errors.npz"]
        samples = data.sets[split] if data is not None else None
        names = [samples.name(i) for i in outcome.result.index.tolist()] if samples is not None else []
        scenes = [samples.scene(i) for i in outcome.result.index.tolist()] if samples is not None else []
        unreadable = [names[i] for i in outcome.result.unreadable]
        metrics = {
            **summary(outcome, pl_module.published),
            "unreadable": unreadable,
            "data": data.found() if data is not None else {},
            "recipe": self.recipe,
            "versions": versions(),
            "commit": commit(),
        }
        write_json(written[0], metrics)
        errors, rows = outcome.result.errors.transpose(0, 1).numpy(), list(outcome.result.names)
        pixels = outcome.result.pixels.numpy()
        np.savez(written[1], errors=errors, rows=rows, error=ERRORS, image=names, scene=scenes, pixels=pixels)
        if pl_module.shown:
            written.append(folder / "panel.png")
            panel(pl_module.shown, pl_module.head.prompts.labels, written[-1])
            if len(pl_module.names) > 1:
                written.append(folder / "variants.png")
                draw_variants(pl_module, folder)
        if isinstance(trainer.logger, WandbLogger):
            track(trainer.logger, metrics, pl_module.names[0], folder / "panel.png" if pl_module.shown else None)
        # output that is redirected has no width of its own; the table must not be cut to 80 columns
        console = Console(width=None if sys.stdout.isatty() else 120)
        console.print(table(metrics))
        print(f"{metrics['images']} images scored, {metrics['skipped']} skipped; written:")
        for path in written:
            print(f"  {path}")

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: list[Prediction],
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Writes each depth map as 16-bit PNG in millimetres and as a picture, as soon as it is there."""
        folder = self.folder / "depth"
        for name, _, depth in outputs:
            path = folder / Path(name.strip("/").replace("/", "_")).with_suffix(".png")
            path.parent.mkdir(parents=True, exist_ok=True)
            millimetres = np.clip(depth.numpy() * 1000, 0, 65535).round().astype(np.uint16)
            Image.fromarray(millimetres).save(path)
            Image.fromarray(colour_depth(depth.numpy(), *depth_range(depth))).save(path.with_suffix(".colour.png"))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says where the depth maps are."""
        if trainer.is_global_zero:
            print(f"depth maps (16-bit PNG, millimetres) and pictures of them are in {self.folder / 'depth'}")


def draw_variants(model: DepthCLIP, folder: Path) -> None:
    """Draws the depths of all heads into variants.png, and each alone below image and truth into `variants`."""
    rows = strips(model.shown)
    compare_heads(rows, model.names, folder / "variants.png")
    (folder / "variants").mkdir(exist_ok=True)
    for number, depth in enumerate(rows[2:]):
        Image.fromarray(np.vstack([*rows[:2], depth])).save(folder / "variants" / f"{number:03d}.png")


def track(logger: WandbLogger, metrics: dict[str, Any], head: str, pictures: Path | None) -> None:
    """Gives Weights & Biases what a test found: figures as summary, all rows as a table, the panel as an image.

    Args:
        logger: of the run.
        metrics: what metrics.json has.
        head: the row of the head.
        pictures: the panel.
    """
    rows = metrics["figures"] | metrics["baselines"] | metrics["published"]
    table = [[name, *map(own.get, ERRORS)] for name, own in rows.items()]
    logger.log_table("figures", columns=["row", *ERRORS], data=table)
    if pictures is not None:
        logger.log_image("panel", [str(pictures)])
    logger.experiment.summary.update(metrics["figures"][head])


def end_tracking(trainer: Trainer) -> None:
    """Ends a Weights & Biases run; one that was kept offline says how it gets there later."""
    if isinstance(trainer.logger, WandbLogger) and trainer.is_global_zero:
        trainer.logger.experiment.finish()


def summary(outcome: Outcome, published: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The figures of an evaluation by row: the model's, the baselines' and the published ones."""
    figures = outcome.result.figures()
    baselines = {name: row for name, row in figures.items() if name not in outcome.heads}
    if outcome.best_constant is not None:
        baselines["best constant (oracle)"] = outcome.best_constant
    return {
        "figures": {name: figures[name] for name in outcome.heads},
        "baselines": baselines,
        "published": published,
        "images": outcome.result.images,
        "skipped": outcome.result.skipped,
        "pixels": int(outcome.result.pixels.clamp_min(0).sum()),
    }


def table(metrics: dict[str, Any]) -> Table:
    """The model's rows above the baselines' above the published ones; the best of the model's rows is bold."""
    result = Table(title="mean over images", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    result.add_column("", no_wrap=True)
    for error in ERRORS:
        result.add_column(f"{error}{'↑' if higher_is_better(error) else '↓'}", justify="right", no_wrap=True)
    rows = metrics["figures"]
    best = {e: (max if higher_is_better(e) else min)(row[e] for row in rows.values()) for e in ERRORS}
    for name, row in rows.items():
        result.add_row(name, *(_cell(row, error, row[error] == best[error] and len(rows) > 1) for error in ERRORS))
    for kind, style in (("baselines", "cyan"), ("published", "magenta")):
        result.add_section()
        for name, row in metrics[kind].items():
            label = f"{name} (published)" if kind == "published" else name
            result.add_row(label, *(_cell(row, error) for error in ERRORS), style=style)
    return result


def _cell(row: dict[str, float], error: str, bold: bool = False) -> str:
    text = f"{row[error]:.1f}" if error == "silog" and error in row else f"{row[error]:.3f}" if error in row else "-"
    return f"[bold]{text}[/bold]" if bold else text


def versions() -> dict[str, str]:
    """The versions of this package and of those that its figures depend on."""
    return {"depthclip": __version__, **{name: importlib.metadata.version(name) for name in VERSIONS}}


def commit() -> str | None:
    """The git commit of the checkout that this package runs from, "+" where files differ from it; None elsewhere."""
    here = Path(__file__).parent

    def git(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        tracked = git("ls-files", Path(__file__).name)
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "") if tracked else None
    except (OSError, subprocess.CalledProcessError):
        return None


def write_json(path: Path, value: Any) -> None:
    """Writes JSON so that a file that is there is whole."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=1, default=str) + "\n")
    partial.replace(path)
