"""Record studies with Weights & Biases: one run for each variant, in one group for each study."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import wandb
from rich.console import Console

from depthclip.errors import InputError
from depthclip.evaluation.summary import plain_table
from depthclip.study.files import read_losses, read_run
from depthclip.study.plan import Pass, Variant

PROJECT = "depthclip"


def track_study(
    study: str, passes: Sequence[Pass], out: Path, mode: Literal["online", "offline"], console: Console
) -> list[Path]:
    """Record each variant of a study as a separate run; return the folders of the runs.

    Args:
        study: name of the study and of the group.
        passes: passes that finished.
        out: folder of the results; the runs go to its subfolder `wandb`.
        mode: `online` uploads the runs; `offline` needs neither account nor network, and prints the upload command.
        console: console for the upload command.

    Raises:
        InputError: if Weights & Biases raises an error, for instance without an account.
    """
    try:
        folders = [
            track_variant(study, image_pass, variant, out, mode)
            for image_pass in passes
            for variant in image_pass.variants
        ]
    except wandb.Error as error:
        raise InputError(f"--wandb {mode}: {error}; use --wandb offline and upload with `wandb sync` later") from error
    if mode == "offline":
        console.print("upload the runs later with:")
        console.print(f"  wandb sync {shlex.join(map(str, folders))}", soft_wrap=True, markup=False)
    return folders


def track_variant(
    study: str, image_pass: Pass, variant: Variant, out: Path, mode: Literal["online", "offline"]
) -> Path:
    """Record the recipe, figures, table, picture and training losses of a variant; return the folder of the run."""
    metrics = read_run(image_pass.folder).metrics
    row = image_pass.row_of(variant)
    run = wandb.init(
        project=PROJECT,
        group=study,
        name=variant.name,
        config=variant_config(image_pass, variant),
        dir=out,
        mode=mode,
        # does not end a run that the caller has started
        reinit="create_new",
        settings=wandb.Settings(silent=True, console="off"),
    )
    for loss in read_losses(image_pass.folder):
        run.log({"train/loss": loss})
    columns, data = plain_table(metrics)
    number = list(metrics["figures"]).index(row)
    picture = image_pass.folder / ("panel.png" if number == 0 else f"variants/{number:03d}.png")
    run.log({"figures": wandb.Table(columns=[*columns], data=data)})
    if picture.is_file():  # a recipe with `panels: 0` draws none
        run.log({"panel": wandb.Image(str(picture))})
    run.summary.update(metrics["figures"][row])
    folder = Path(run.dir).parent
    run.finish()
    return folder


def variant_config(image_pass: Pass, variant: Variant) -> dict[str, Any]:
    """Return the recipe of a variant, without the other heads of its pass."""
    model = image_pass.recipe["model"]
    head = model["head"] if image_pass.row_of(variant) == "head" else model["variants"][variant.name]
    settings = {key: json.dumps(value) for key, value in variant.settings.items()}
    return {**image_pass.recipe, "model": {**model, "head": head, "variants": None}, "variant": settings}
