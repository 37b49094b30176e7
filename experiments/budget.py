"""Where does the error of language depth come from? Climb down from the ground truth to a blank image, cause by cause.

The rows are scored in one image pass by the protocol of the recipe. Probes and words are fitted to training images,
and each image is encoded once.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from depthclip import DepthCLIP, evaluate
from depthclip.cli import resolve
from depthclip.figure_files import copies
from depthclip.instantiate import instantiate
from depthclip.probes import Ladder, blank_table, build_ladder, draw_waterfall, row_of, step_tables
from depthclip.probes.ladder import CONTROLS, STEPS, WORDS
from depthclip.signals import exit_code
from depthclip.study import HeadSettings, Options, Results, Study, StudyError, Variant, arguments_of
from depthclip.study.collect import collect
from depthclip.study.command import make_console, parse
from depthclip.study.files import save_json
from depthclip.study.plan import FINISHED, Pass
from depthclip.study.tables import Layout, footnote, save_tables, screen_table


def variants(options: Options, head: HeadSettings) -> list[Variant]:
    """Return the recipe as it is; the other rows are built from its model."""
    return [Variant(WORDS)]


STUDY = Study(
    name="budget",
    question="Where does the error of language depth come from?",
    variants=variants,
    settings={"model.published": None, "model.training_baselines": True},
)


def run(options: Options, console: Console) -> int:
    """Build the ladder, score it, print and write the results, and return the exit code."""
    if options.resume or options.devices or options.wandb:
        raise StudyError("budget is a single pass on one device; leave out --resume, --devices and --wandb")
    recipe = resolve(["test", *arguments_of(STUDY, options, Variant(WORDS))])
    if options.dry_run:
        for rung in (*STEPS, *CONTROLS):
            console.print(f"{rung.name}: {rung.isolates}", soft_wrap=True, markup=False)
        return 0
    torch.manual_seed(int(recipe["seed_everything"]))
    model, data = instantiate(recipe)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    console.print("fitting probes and words to the training images ...")
    began = time.monotonic()
    ladder = build_ladder(model, data)
    console.print(f"scoring {len(data.sets['test'])} images ...")
    rungs = DepthCLIP(
        model.encoder,
        model.head,
        ladder.heads,
        errors=model.errors,
        baselines=list(ladder.baselines),
        training_images=model.training_images,
        training_baselines=True,
        panels=model.panels,
    )
    folder = options.out / "runs" / "ladder"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("w", encoding="utf-8") as log, redirect_stdout(log):
        evaluate(rungs, data, folder)
    save_json(folder / FINISHED, {"seconds": round(time.monotonic() - began, 1)})
    results, layout = collected(ladder, folder, recipe), Layout()
    notes = f"{step_tables(results)}\n\n{blank_table(results, ladder.blanks())}"
    console.print(screen_table(results, layout))
    console.print(f"{footnote(results, layout)}\n\n{notes}", markup=False, soft_wrap=True)
    written = save_tables(results, layout, notes, options.out)
    pictures = copies(options.out / "figure.png", options.vector)
    for path in pictures:
        draw_waterfall(results, path)
    console.print("written:", *map(str, [*written, *pictures]), sep="\n  ", soft_wrap=True, markup=False)
    return 0


def collected(ladder: Ladder, folder: Path, recipe: dict[str, Any]) -> Results:
    """Return the results of the run in a folder: the words, the steps, the controls, then the other baselines."""
    heads = [Variant(WORDS), *(Variant(name, row=row_of(name)) for name in ladder.heads)]
    results = collect(STUDY.question, [Pass(tuple(heads), recipe, folder, False)], dict(ladder.missing))
    order = [WORDS, *(rung.name for rung in (*STEPS, *CONTROLS))]
    rows = sorted(results.rows, key=lambda row: order.index(row.name) if row.name in order else len(order))
    return replace(results, rows=rows, runs=[{**run, "recipe": recipe} for run in results.runs])


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return exit_code(lambda: run(parse(STUDY, args), make_console()), "run the command again")


if __name__ == "__main__":
    sys.exit(main())
