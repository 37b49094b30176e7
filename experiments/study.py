"""A study: a question, the variants that answer it, and the command line that all studies share."""

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from rich.console import Console
from rich.markup import escape

from experiments import results, tracking
from experiments.plan import Pass, StudyError, Variant, plan, resolve, run_passes, write_recipes

Head = Mapping[str, Any]


@dataclass(frozen=True)
class Options:
    """What the command line of a study says, the same for all of them.

    Args:
        data: a file of configs/data, or None for the recipe's own.
        model: a file of configs/model, or None for the recipe's own.
        settings: further settings of all variants, by dotted key.
        devices: how many devices each pass uses; None leaves it to the recipe.
        out: the folder of the results.
        quick: whether the small set-up that ships with the package is used.
        dry_run: whether the plan is printed instead of run.
        resume: whether passes that finished before are kept.
        wandb: whether Weights & Biases gets the runs, and how.
    """

    out: Path
    data: str | None = None
    model: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    devices: str | None = None
    quick: bool = False
    dry_run: bool = False
    resume: bool = False
    wandb: Literal["online", "offline"] | None = None


def no_notes(found: results.Results) -> str:
    """Nothing beside the table."""
    return ""


@dataclass(frozen=True)
class Study:
    """A question and how it is answered.

    Args:
        name: of the module in `experiments` and of the folder in `results`.
        question: one sentence.
        variants: what is compared, given the command line and the arguments of the recipe's head; the differences are
            to the first.
        recipe: the run that the variants change.
        quick_recipe: the same with `--quick`.
        settings: what all variants change in either recipe.
        quick_settings: what they change with `--quick`, unless other data are asked for.
        notes: more of the answer, as Markdown, from the results.
        draw: draws figure.png; by default the rows with their intervals.
        needs: what to fetch and where to put it, said when nothing could be scored.
    """

    name: str
    question: str
    variants: Callable[[Options, Head], list[Variant]]
    recipe: str = "configs/nyu_rn50.yaml"
    quick_recipe: str = "configs/rooms.yaml"
    settings: Mapping[str, Any] = field(default_factory=dict)
    quick_settings: Mapping[str, Any] = field(default_factory=dict)
    notes: Callable[[results.Results], str] = no_notes
    draw: Callable[[results.Results, Path], None] = results.draw_rows
    needs: str = ""


def main(study: Study, args: Sequence[str] | None = None) -> int:
    """Runs a study's command line; 0 where all variants were scored."""
    options = parse(study, args)
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        return answer(study, options, console)
    except (ValueError, FileNotFoundError) as error:
        console.print(f"error: {escape(str(error))}", soft_wrap=True, style="red")
        return 2


def answer(study: Study, options: Options, console: Console) -> int:
    """Plans, runs, and writes the results of what could be run.

    Raises:
        StudyError: if this is not the root of the repository, or nothing could be run.
    """
    if not Path("configs").is_dir():
        raise StudyError(f"there is no folder configs in {Path.cwd()}; run studies in the root of the repository")
    console.print("reading the recipes ...")
    head = resolve(arguments_of(study, options, Variant("")), learn=False)["model"]["head"]["init_args"]
    passes = plan(study.variants(options, head), lambda one: arguments_of(study, options, one), options.out)
    write_recipes(passes)
    if options.dry_run:
        show_plan(study, passes, options, console)
        return 0
    failed = run_passes(passes, options.devices, options.resume, console)
    done = [one for one in passes if not failed.keys() & {variant.name for variant in one.variants}]
    if not done:
        raise StudyError(f"nothing could be scored: {next(iter(failed.values()))}\n\n{study.needs}".rstrip())
    found = results.collect(study.question, done, failed)
    notes = study.notes(found)
    console.print(results.table(found))
    console.print(results.footnote(found), notes, markup=False, soft_wrap=True, sep="\n")
    written = results.write(found, notes, options.out)
    study.draw(found, options.out / "figure.png")
    if options.wandb is not None:
        tracking.track(study.name, done, options.out, options.wandb, console)
    console.print("written:")
    for path in (*written, options.out / "figure.png"):
        console.print(f"  {path}", soft_wrap=True)
    return 1 if failed else 0


def parse(study: Study, args: Sequence[str] | None = None) -> Options:
    """Reads the command line of a study."""
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{study.name}", description=study.question)
    parser.add_argument("--data", metavar="FILE", help="a file of configs/data instead of the recipe's data")
    parser.add_argument("--model", metavar="FILE", help="a file of configs/model instead of the recipe's model")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of all variants; repeatable"
    )
    parser.add_argument("--devices", help="devices of each pass, as --trainer.devices")
    parser.add_argument("--out", type=Path, default=Path("results") / study.name, help="folder of the results")
    parser.add_argument(
        "--quick", action="store_true", help=f"the small set-up of {study.quick_recipe}, a few minutes on two cores"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and its commands, run nothing")
    parser.add_argument("--resume", action="store_true", help="keep what finished before and run the rest")
    parser.add_argument(
        "--wandb",
        nargs="?",
        const="offline",
        choices=["offline", "online"],
        help="one Weights & Biases run a variant; offline by default",
    )
    given = parser.parse_args(args)
    settings = {}
    for entry in given.set:
        key, equals, value = entry.partition("=")
        if not equals:
            parser.error(f"--set {entry} must be KEY=VALUE, as in --set model.head.temperature=0.2")
        settings[key] = yaml.safe_load(value)
    return Options(
        given.out,
        given.data,
        given.model,
        settings,
        given.devices,
        given.quick,
        given.dry_run,
        given.resume,
        given.wandb,
    )


def arguments_of(study: Study, options: Options, variant: Variant) -> list[str]:
    """The command line of a variant: the recipe, then what the study, the user and the variant change in it."""
    quick = study.quick_settings if options.quick and not options.data else {}
    chosen = {key: value for key, value in (("model", options.model), ("data", options.data)) if value is not None}
    settings = {**study.settings, **quick, **chosen, **options.settings, **variant.settings}
    # whole files first: what follows changes them
    ordered = sorted(settings.items(), key=lambda setting: setting[0] not in ("model", "data"))
    spelled = [(f"--{key}", value if isinstance(value, str) else json.dumps(value)) for key, value in ordered]
    recipe = study.quick_recipe if options.quick else study.recipe
    return ["-c", recipe, *(word for pair in spelled for word in pair)]


def show_plan(study: Study, passes: Sequence[Pass], options: Options, console: Console) -> None:
    """Prints what would be run, as commands that can be run as they stand."""
    console.print(f"[bold]{study.question}[/bold]")
    for one in passes:
        state = " (finished)" if one.finished and options.resume else ""
        console.print(
            f"\n{len(one.variants)} variants in one image pass{state}:"
            if len(one.variants) > 1
            else f"\none variant{state}:"
        )
        for variant in one.variants:
            settings = ", ".join(f"{key} = {json.dumps(value)}" for key, value in variant.settings.items())
            console.print(f"  {escape(variant.name)}: {escape(settings) or 'the recipe as it is'}", soft_wrap=True)
        console.print(escape(shlex.join(one.command(options.devices))), soft_wrap=True, style="cyan")
