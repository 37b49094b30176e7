"""Studies on Weights & Biases: one run a variant, in one group a study."""

import csv
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import wandb
from rich.console import Console

from depthclip.evaluation.metrics import ERRORS
from experiments.plan import Pass, Variant

PROJECT = "depthclip"


def track(
    study: str, passes: Sequence[Pass], out: Path, mode: Literal["online", "offline"], console: Console
) -> list[Path]:
    """Uploads each variant of a study as a run of its own, or keeps it for later.

    Args:
        study: its name, which becomes the group's.
        passes: what finished.
        out: the folder of its results; the runs go to `wandb` in it.
        mode: `offline` needs neither account nor network.
        console: is told how to upload later.

    Returns:
        The folders of the runs.
    """
    folders = [track_variant(study, one, variant, out, mode) for one in passes for variant in one.variants]
    if mode == "offline":
        console.print("upload the runs later with:")
        console.print(f"  wandb sync {shlex.join(map(str, folders))}", soft_wrap=True, markup=False)
    return folders


def track_variant(study: str, one: Pass, variant: Variant, out: Path, mode: Literal["online", "offline"]) -> Path:
    """Records a variant: recipe as config, figures as summary, the rows of its run as a table, pictures and losses."""
    metrics = json.loads((one.folder / "metrics.json").read_text())
    row = one.row_of(variant)
    out.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=PROJECT,
        group=study,
        name=variant.name,
        config=config_of(one, variant),
        dir=out,
        mode=mode,
        # a run that is under way in this process is somebody else's
        reinit="create_new",
        settings=wandb.Settings(silent=True, console="off"),
    )
    for losses in read_losses(one.folder / "metrics.csv"):
        run.log(losses)
    rows = {**metrics["figures"], **metrics["baselines"], **metrics["published"]}
    table = wandb.Table(columns=["row", *ERRORS], data=[[name, *map(own.get, ERRORS)] for name, own in rows.items()])
    number = list(metrics["figures"]).index(row)
    picture = one.folder / ("panel.png" if number == 0 else f"variants/{number:03d}.png")
    # a recipe with `panels: 0` draws none
    run.log({"figures": table} | ({"panel": wandb.Image(str(picture))} if picture.is_file() else {}))
    run.summary.update(metrics["figures"][row])
    folder = Path(run.dir).parent
    run.finish()
    return folder


def config_of(one: Pass, variant: Variant) -> dict[str, Any]:
    """The recipe of one variant: its own head, and no others beside it."""
    model = one.recipe["model"]
    head = model["head"] if one.row_of(variant) == "head" else model["variants"][variant.name]
    settings = {key: json.dumps(value) for key, value in variant.settings.items()}
    return {**one.recipe, "model": {**model, "head": head, "variants": None}, "variant": settings}


def read_losses(path: Path) -> list[dict[str, float]]:
    """The training losses that Lightning's CSV log has, if the run learned."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{"train/loss": float(row["train/loss"])} for row in rows if row.get("train/loss")]
