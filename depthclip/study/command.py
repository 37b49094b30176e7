"""Run a study from the command line."""

import argparse
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from depthclip.figure_files import VECTORS, copies
from depthclip.signals import exit_code
from depthclip.study.collect import collect
from depthclip.study.plan import Pass, StudyError, Variant, plan_passes, resolve_recipe, write_recipes
from depthclip.study.run import run_passes
from depthclip.study.study import Options, Study, arguments_of
from depthclip.study.tables import footnote, layout_of, save_tables, screen_table
from depthclip.study.tracking import track_study

KEY = re.compile(r"(model|data|trainer|seed_everything|ckpt_path)(\.\w+)*\+?")
TAKEN = ("trainer.logger", "trainer.devices")  # settings that the study determines
DEVICES = re.compile(r"auto|-1|[1-9]\d*|\d+(,\d+)+")


def main(study: Study, args: Sequence[str] | None = None) -> int:
    """Run the command line of a study.

    Args:
        study: study to run.
        args: arguments; None for those of the process.

    Returns:
        The exit code: 0 if all variants were scored, 1 if some were not, 2 for bad input, 130 after Ctrl-C, and 143
        after SIGTERM.
    """
    return exit_code(
        lambda: run_study(study, parse(study, args), make_console()), "use --resume to run the remaining passes"
    )


def make_console() -> Console:
    """Return a console as wide as the terminal, or 160 characters wide without a terminal."""
    return Console(width=None if sys.stdout.isatty() else 160)


def run_study(study: Study, options: Options, console: Console) -> int:
    """Plan and run the passes, print and write the results of all scored variants, and return the exit code.

    Raises:
        InputError: if a setting is refused, nothing could be scored, or the results cannot be written.
    """
    console.print("reading the recipes ...")
    head = resolve_recipe(arguments_of(study, options, Variant("")), learn=False)["model"]["head"]["init_args"]
    variants = study.variants(options, head)
    passes = plan_passes(variants, lambda variant: arguments_of(study, options, variant), options.out)
    write_recipes(passes)
    if options.dry_run:
        show_plan(study, passes, options, console)
        return 0
    failed = run_passes(passes, options.devices, options.resume, console)
    done = [image_pass for image_pass in passes if image_pass.variants[0].name not in failed]
    if not done:
        raise StudyError(f"nothing could be scored: {next(iter(failed.values()))}\n\n{study.needs}".rstrip())
    results = collect(study.question, done, failed)
    layout = layout_of(results)
    notes = ""
    try:  # printed first, because writing and drawing may fail
        console.print(screen_table(results, layout))
        console.print(footnote(results, layout), markup=False, soft_wrap=True)
        notes = study.notes(results)
        console.print(notes, markup=False, soft_wrap=True)
    finally:  # printing may fail if the pipe is closed, as with `| head`
        written = save_tables(results, layout, notes, options.out)
        for path in copies(options.out / "figure.png", options.vector):
            study.draw(results, path)
            written.append(path)
    if options.wandb is not None:
        track_study(study.name, done, options.out, options.wandb, console)
    console.print("written:")
    for path in written:
        console.print(f"  {path}", soft_wrap=True, markup=False)
    return 1 if failed else 0


def parse(study: Study, args: Sequence[str] | None = None) -> Options:
    """Return the options of a study's command line.

    Raises:
        StudyError: if an option is refused.
    """
    module = getattr(sys.modules["__main__"], "__spec__", None)
    parser = argparse.ArgumentParser(prog=f"python -m {module.name}" if module else None, description=study.question)
    parser.add_argument("--data", metavar="FILE", help="file of configs/data that replaces the data of the recipe")
    parser.add_argument("--model", metavar="FILE", help="file of configs/model that replaces the model of the recipe")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="setting of all variants; may be repeated"
    )
    parser.add_argument("--devices", help="devices of each pass, as for --trainer.devices")
    parser.add_argument("--out", type=Path, default=Path("results") / study.name, help="folder of the results")
    parser.add_argument(
        "--quick", action="store_true", help=f"use the recipe {study.quick_recipe}; takes a few minutes on two cores"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and its commands without running them")
    parser.add_argument("--resume", action="store_true", help="keep passes that have finished, and run the others")
    parser.add_argument(
        "--wandb",
        nargs="?",
        const="offline",
        choices=["offline", "online"],
        help="record each variant as a Weights & Biases run; offline by default",
    )
    parser.add_argument("--vector", choices=VECTORS, help="format of the figure besides PNG, for papers")
    given = vars(parser.parse_args(args))
    if given["devices"] is not None and not DEVICES.fullmatch(given["devices"]):
        raise StudyError(f"--devices {given['devices']} must be a number of devices, `auto`, or a list such as 0,1")
    return Options(settings=parse_settings(given.pop("set")), **given)


def parse_settings(entries: Sequence[str]) -> dict[str, str]:
    """Return settings by dotted key.

    Args:
        entries: texts `KEY=VALUE`; a value is YAML, as on the command line of `depthclip`.

    Raises:
        StudyError: if an entry is not KEY=VALUE, or its key cannot be set or occurs twice.
    """
    settings: dict[str, str] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals or not KEY.fullmatch(key):
            raise StudyError(
                f"--set {entry} must be KEY=VALUE with a key of model, data or trainer, as in "
                "--set model.head.temperature=0.2"
            )
        if key.startswith(TAKEN):
            raise StudyError(f"--set {entry}: the study determines {key}; use --devices or --wandb")
        if key in settings:
            raise StudyError(f"--set {entry}: {key} is given twice; give it once")
        settings[key] = value
    return settings


def show_plan(study: Study, passes: Sequence[Pass], options: Options, console: Console) -> None:
    """Print the variants and the command of each pass."""
    console.print(f"[bold]{escape(study.question)}[/bold]")
    for image_pass in passes:
        state = " (finished)" if options.resume and image_pass.finished else ""
        count = len(image_pass.variants)
        title = f"{count} variants in one image pass" if count > 1 else "one variant"
        console.print(f"\n{title}{state}:")
        for variant in image_pass.variants:
            settings = ", ".join(f"{key} = {json.dumps(value)}" for key, value in variant.settings.items())
            console.print(f"  {escape(variant.name)}: {escape(settings) or 'the recipe as it is'}", soft_wrap=True)
        console.print(escape(shlex.join(image_pass.command(options.devices))), soft_wrap=True, style="cyan")
