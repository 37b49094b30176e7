"""Studies on Weights & Biases: one run for each variant, in one group for each study."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import wandb
from rich.console import Console

from depthclip.errors import InputError
from depthclip.evaluation.metrics import ERRORS
from depthclip.study.files import read_losses, read_run
from depthclip.study.plan import Pass, Variant

PROJECT = "depthclip"


def track_study(
    study: str, passes: Sequence[Pass], out: Path, mode: Literal["online", "offline"], console: Console
) -> list[Path]:
    """Upload each variant of a study as its own run, or keep it for a later upload; return the folders of the runs.

    Args:
        study: name of the study, which becomes the name of the group.
        passes: passes that finished.
        out: folder of the results; the runs go to `wandb` in it.
        mode: `offline` needs neither account nor network.
        console: console for the command that uploads the runs later.

    Raises:
        InputError: if Weights & Biases refuses, for instance without an account.
    """
    try:
        folders = [track_variant(study, one, variant, out, mode) for one in passes for variant in one.variants]
    except wandb.Error as error:
        raise InputError(f"--wandb {mode}: {error}; use --wandb offline and upload with `wandb sync` later") from error
    if mode == "offline":
        console.print("upload the runs later with:")
        console.print(f"  wandb sync {shlex.join(map(str, folders))}", soft_wrap=True, markup=False)
    return folders


def track_variant(study: str, one: Pass, variant: Variant, out: Path, mode: Literal["online", "offline"]) -> Path:
    """Record a variant: recipe as config, figures as summary, the rows of its run as a table, picture and losses."""
    metrics = read_run(one.folder).metrics
    row = one.row_of(variant)
    run = wandb.init(
        project=PROJECT,
        group=study,
        name=variant.name,
        config=variant_config(one, variant),
        dir=out,
        mode=mode,
        # a run that is under way in this process belongs to the caller
        reinit="create_new",
        settings=wandb.Settings(silent=True, console="off"),
    )
    for loss in read_losses(one.folder):
        run.log({"train/loss": loss})
    # a list, because a published row may have the name of another one
    rows = [*metrics["figures"].items(), *metrics["baselines"].items(), *metrics["published"].items()]
    data = [[name, *map(figures.get, ERRORS)] for name, figures in rows]
    number = list(metrics["figures"]).index(row)
    picture = one.folder / ("panel.png" if number == 0 else f"variants/{number:03d}.png")
    run.log({"figures": wandb.Table(columns=["row", *ERRORS], data=data)})
    if picture.is_file():  # a recipe with `panels: 0` draws none
        run.log({"panel": wandb.Image(str(picture))})
    run.summary.update(metrics["figures"][row])
    folder = Path(run.dir).parent
    run.finish()
    return folder


def variant_config(one: Pass, variant: Variant) -> dict[str, Any]:
    """Return the recipe of one variant, without the other heads of its pass."""
    model = one.recipe["model"]
    head = model["head"] if one.row_of(variant) == "head" else model["variants"][variant.name]
    settings = {key: json.dumps(value) for key, value in variant.settings.items()}
    return {**one.recipe, "model": {**model, "head": head, "variants": None}, "variant": settings}
