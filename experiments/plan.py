"""The plan of a study: variants of a recipe, the passes over the images that score them, and running them.

Variants that differ only in their head are scored in one image pass; others run in a process each. Every pass is a
plain command on a recipe file, in a folder whose name is the fingerprint of what is run, so that nothing that finished
needs to be repeated.
"""

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from depthclip import __version__
from depthclip.errors import InputError
from depthclip.report import write_json

FINISHED = "finished.json"


class StudyError(ValueError):
    """What the user can mend, in one sentence."""


@dataclass(frozen=True)
class Variant:
    """One answer to the question.

    Args:
        name: what it is called.
        settings: what it changes in the recipe, by dotted key: `{"model.head.temperature": 0.2}`.
        published: figures from a paper to stand beside its own, by error.
        row: variants of one row are averaged over, such as seeds; by default each has its own.
        learn: whether it is trained before it is scored, which it is alone.
        on: what the images are called, where the variants of a study are scored on different ones.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)
    row: str = ""
    learn: bool = False
    on: str = ""


@dataclass(frozen=True)
class Pass:
    """Variants that are scored together: one command, one folder.

    Args:
        variants: the first is the recipe's head, the others its variants.
        recipe: the whole run as YAML has it.
        folder: where it writes.
        learn: whether it trains before it scores.
    """

    variants: tuple[Variant, ...]
    recipe: dict[str, Any]
    folder: Path
    learn: bool

    @property
    def path(self) -> Path:
        """The recipe file."""
        return self.folder.parent.parent / "recipes" / f"{self.folder.name}.yaml"

    @property
    def finished(self) -> bool:
        """Whether it ran to its end before."""
        return (self.folder / FINISHED).is_file()

    def command(self, devices: str | None) -> list[str]:
        """What runs it, in the repository root."""
        module = ["experiments.learn"] if self.learn else ["depthclip", "test"]
        return [
            "python",
            "-m",
            *module,
            "-c",
            str(self.path),
            *([] if devices is None else ["--trainer.devices", devices]),
        ]

    def row_of(self, variant: Variant) -> str:
        """What the run itself calls a variant."""
        return "head" if variant is self.variants[0] else variant.name


def plan(variants: Sequence[Variant], arguments_of: Callable[[Variant], list[str]], out: Path) -> list[Pass]:
    """The passes over the images that some variants take.

    Args:
        variants: what is compared.
        arguments_of: the command line of a variant.
        out: the folder of the study's results.

    Raises:
        StudyError: if a setting is refused, or two variants have one name.
    """
    names = [variant.name for variant in variants]
    if twice := {name for name in names if names.count(name) > 1}:
        raise StudyError(f"variants must differ in name, but {', '.join(sorted(twice))} is there twice")
    shared: dict[str, list[tuple[Variant, dict[str, Any]]]] = {}
    for variant in variants:
        recipe = resolve(arguments_of(variant), variant.learn)
        head = recipe["model"].pop("head")
        key = json.dumps([recipe, variant.name if variant.learn else ""], sort_keys=True)
        shared.setdefault(key, []).append((variant, head))
    return [join(json.loads(key)[0], members, out) for key, members in shared.items()]


def join(rest: dict[str, Any], members: list[tuple[Variant, dict[str, Any]]], out: Path) -> Pass:
    """One pass for variants that share all but the head."""
    (first, head), *others = members
    recipe = {
        **rest,
        "model": {**rest["model"], "head": head, "variants": {variant.name: own for variant, own in others} or None},
    }
    digest = hashlib.sha256(json.dumps([__version__, recipe], sort_keys=True).encode()).hexdigest()[:12]
    # a word in front, because to YAML 465e95993509 is a number, and infinite
    fingerprint = f"run-{digest}"
    folder = out / "runs" / fingerprint
    csv = {"save_dir": str(folder.parent), "name": fingerprint, "version": ""}
    recipe["trainer"]["logger"] = {"class_path": "pytorch_lightning.loggers.CSVLogger", "init_args": csv}
    recipe["name"] = fingerprint
    return Pass(tuple(variant for variant, _ in members), recipe, folder, first.learn)


def resolve(arguments: Sequence[str], learn: bool) -> dict[str, Any]:
    """The whole recipe that a command line stands for, all defaults included.

    Raises:
        StudyError: if a setting is refused.
    """
    from depthclip.cli import resolve as whole_recipe  # slow to import, and `--help` can do without

    try:
        return whole_recipe(["fit" if learn else "test", *arguments])
    except InputError as error:
        raise StudyError(f"{shlex.join(arguments)} is refused: {error}") from error


def write_recipes(passes: Sequence[Pass]) -> None:
    """Writes the recipe file of each pass, so that its command can be run as it stands."""
    for one in passes:
        one.path.parent.mkdir(parents=True, exist_ok=True)
        one.path.write_text(yaml.safe_dump(one.recipe, sort_keys=False))


def run_pass(one: Pass, devices: str | None, tell: Callable[[str], None]) -> str | None:
    """Runs a pass in a process of its own and marks it as finished; what went wrong, if anything did.

    Args:
        one: the pass.
        devices: as on the command line.
        tell: is told the last line of what the process prints, its progress bar mostly.
    """
    shutil.rmtree(one.folder, ignore_errors=True)
    one.folder.mkdir(parents=True)
    start = time.monotonic()
    command = [sys.executable, *one.command(devices)[1:]]
    last = ""
    # it writes into a pipe, so that it ends soon when this process is killed
    with (
        (one.folder / "log.txt").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:  # universal newlines: each state of a progress bar is a line
            log.write(line)
            if line.strip():
                last = line.strip()
                tell(last)
    if process.returncode:
        return f"{last or 'no word'} (exit code {process.returncode}; {one.folder / 'log.txt'})"
    names = {one.row_of(variant): variant.name for variant in one.variants}
    write_json(one.folder / FINISHED, {"variants": names, "seconds": round(time.monotonic() - start, 1)})
    return None


def run_passes(passes: Sequence[Pass], devices: str | None, resume: bool, console: Console) -> dict[str, str]:
    """Runs passes one by one; the names of variants that failed, and why.

    Args:
        passes: what is to be run.
        devices: as on the command line.
        resume: whether what finished before is kept.
        console: where the progress is shown.
    """
    waiting = [one for one in passes if not (resume and one.finished)]
    kept = len(passes) - len(waiting)
    if kept:
        console.print(f"{kept} of {len(passes)} image passes finished before and are kept")
    failed: dict[str, str] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}", style="dim"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("image passes", total=len(passes), completed=kept, last="")
        for one in waiting:
            label = escape(
                f"{one.variants[0].name}" + (f" and {len(one.variants) - 1} more" if len(one.variants) > 1 else "")
            )
            progress.update(task, description=label)
            start = time.monotonic()
            wrong = run_pass(one, devices, lambda line: progress.update(task, last=escape(line[-60:])))
            took = f"{time.monotonic() - start:.0f} s"
            progress.console.print(
                f"{label}: {f'[red]failed[/red]: {escape(wrong)}' if wrong else took}", soft_wrap=True
            )
            failed.update(dict.fromkeys((variant.name for variant in one.variants), wrong) if wrong else {})
            progress.update(task, advance=1, description="image passes", last="")
    return failed
