"""Check a copy of a data set: `python -m depthclip.data.check -c configs/data/nyu.yaml --data.root DIR`.

Every sample is read once. Count, sizes, valid share, range and histogram of depth and unreadable files are printed, and
a picture of a few samples is written. The exit code is 1 if a sample cannot be read or has no pixel to score.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

import depthclip.data  # noqa: F401  # registers the data modules, as for `--data NYU`
from depthclip.data.module import DepthDataModule, Split
from depthclip.data.samples import DataError, DepthDataset, Sample
from depthclip.data.samples_picture import draw_samples
from depthclip.data.workers import starting
from depthclip.errors import InputError
from depthclip.protocol import Scoring, View, seen_in_truth
from depthclip.recipe_option import MODE, with_presets

LIMITS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 80.0, float("inf"))  # metres
SHOWN = 4


@dataclass
class Findings:
    """The content of a split.

    Args:
        samples: number of samples in the split.
        sizes: number of samples of each image and depth size.
        without_truth: number of samples without depth.
        unscored: names of samples with depth, but without a pixel that counts.
        unreadable: messages of samples that cannot be read.
        shares: valid share of each depth map.
        lowest: smallest depth in metres.
        highest: largest depth in metres.
        histogram: number of pixels between `LIMITS`.
        scenes: number of images of each scene.
        focals: focal length of each image that has one, in pixels.
    """

    samples: int
    sizes: Counter[str] = field(default_factory=Counter)
    without_truth: int = 0
    unscored: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    lowest: float = float("inf")
    highest: float = 0.0
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(len(LIMITS) - 1, np.int64))
    scenes: Counter[str] = field(default_factory=Counter)
    focals: list[float] = field(default_factory=list)

    @property
    def wrong(self) -> bool:
        """Return whether files are unreadable, images have no pixel to score, or there are no samples."""
        return bool(self.unreadable or self.unscored) or not self.samples

    def add(self, sample: Sample, view: View, scoring: Scoring) -> None:
        """Add a sample."""
        size = (sample.image.shape[-2], sample.image.shape[-1])
        box = view.box(size[0], size[1])
        shown = f"{size[0]} x {size[1]}"
        self.scenes[sample.scene] += 1
        if sample.focal is not None:
            self.focals.append(sample.focal)
        if sample.depth is None:
            self.without_truth += 1
            self.sizes[shown] += 1
            return
        depth = sample.depth
        self.sizes[f"{shown}, depth {depth.shape[0]} x {depth.shape[1]}"] += 1
        valid = depth[depth > 0]
        self.shares.append(len(valid) / depth.numel())
        if len(valid):
            self.lowest, self.highest = min(self.lowest, float(valid.min())), max(self.highest, float(valid.max()))
            self.histogram += np.histogram(valid.numpy(), LIMITS)[0]
        if not scoring.mask(depth, seen_in_truth(box, size, (depth.shape[0], depth.shape[1]))).any():
            self.unscored.append(sample.name)


class Attempts(Dataset[Sample | str]):
    """A data set that returns the message of the error for a sample that cannot be read."""

    def __init__(self, samples: DepthDataset) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample | str:
        try:
            return self.samples[index]
        except DataError as error:
            return str(error)


def attempts(samples: DepthDataset, workers: int) -> Iterator[Sample | str]:
    """Yield every sample, or the message why it cannot be read, in order."""
    with starting(workers):
        reading = iter(DataLoader(Attempts(samples), batch_size=None, num_workers=workers))
    yield from reading


def examine(name: str, samples: DepthDataset, data: DepthDataModule, console: Console) -> tuple[Findings, list[Sample]]:
    """Read every sample of a split once; return the findings and a few samples, evenly spread."""
    findings, shown = Findings(len(samples)), []
    chosen = set(np.linspace(0, len(samples) - 1, min(SHOWN, len(samples)), dtype=int).tolist())
    reading = attempts(samples, data.workers(len(samples)))
    for index, read in enumerate(track(reading, f"reading {name}", len(samples), console=console)):
        if isinstance(read, str):
            findings.unreadable.append(read)
            continue
        try:
            findings.add(read, data.view, data.scoring)
        except ValueError as error:  # the view's crop does not fit this image
            findings.unreadable.append(f"{read.name}: {error}")
        if index in chosen:
            shown.append(read)
    return findings, shown


def print_findings(name: str, findings: Findings, console: Console) -> None:
    """Print the findings of a split."""
    table = Table(title=f"{name}: {findings.samples} images", show_header=False, min_width=60)
    for size, count in findings.sizes.most_common():
        table.add_row("size", f"{count} of {size}")
    if len(findings.scenes) > 1:
        table.add_row(
            "scenes", ", ".join(f"{escape(scene or '(none)')} {n}" for scene, n in findings.scenes.most_common(8))
        )
    if findings.focals:
        low, high = min(findings.focals), max(findings.focals)
        known = f"{len(findings.focals)} of {findings.samples}"
        table.add_row("focal length", f"{low:.1f}{f' to {high:.1f}' if high > low else ''} pixels ({known} images)")
    if findings.without_truth:
        table.add_row("without truth", str(findings.without_truth))
    if findings.shares:
        low, mean, high = min(findings.shares), float(np.mean(findings.shares)), max(findings.shares)
        table.add_row("valid share", f"{mean:.1%} (from {low:.1%} to {high:.1%})")
        table.add_row("depth", f"{findings.lowest:.3f} to {findings.highest:.3f} m")
        total = max(1, int(findings.histogram.sum()))
        for low, high, count in zip(LIMITS, LIMITS[1:], findings.histogram, strict=False):
            if count:
                table.add_row(f"{low:g} to {high:g} m", f"{count / total:6.1%} {'█' * round(40 * count / total)}")
    console.print(table)
    for title, names in (("unreadable", findings.unreadable), ("no pixel to score", findings.unscored)):
        if names:
            console.print(f"[red]{title}: {len(names)}[/red]")
            for line in names:
                console.print(f"  {escape(line)}", soft_wrap=True)


def check(data: DepthDataModule, splits: Sequence[Split], out: Path, console: Console) -> bool:
    """Check some splits of a data set; return whether every sample can be read and scored.

    Args:
        data: data set.
        splits: splits to check.
        out: folder of the pictures.
        console: console for the report.
    """
    correct = True
    for split in splits:
        try:
            samples = data.samples(split)
        except DataError as error:
            console.print(f"[red]{split}: {escape(str(error))}[/red]", soft_wrap=True)
            correct = False
            continue
        findings, shown = examine(split, samples, data, console)
        print_findings(split, findings, console)
        if shown:
            path = out / f"{type(data).__name__.lower()}_{split}.png"
            draw_samples(shown, data.view, path)
            console.print(f"picture: {path}", soft_wrap=True)
        correct = correct and not findings.wrong
    console.print("[green]all is well[/green]" if correct else "[red]something is wrong[/red]")
    return correct


def data_parser(module: str, description: str) -> ArgumentParser:
    """Return a parser with the option --data.

    Args:
        module: module of the command.
        description: description of the command.
    """
    parser = ArgumentParser(prog=f"python -m {module}", description=description, parser_mode=MODE)
    parser.add_subclass_arguments(
        DepthDataModule, "data", required=True, help="a file of configs/data, or a class and --data.*"
    )
    return parser


def read_arguments(parser: ArgumentParser, args: Sequence[str] | None) -> tuple[DepthDataModule, Namespace]:
    """Return the data set of a command line, and its other options; `-c FILE` stands for `--data FILE`.

    Raises:
        InputError: if the data set refuses an argument.
    """
    given = ["--data" if arg in ("-c", "--config") else arg for arg in (sys.argv[1:] if args is None else args)]
    options = parser.parse_args(with_presets(given))
    # named so since jsonargparse 4.49
    instantiate = parser.instantiate if hasattr(parser, "instantiate") else parser.instantiate_classes
    try:
        return instantiate(options).data, options
    except ValueError as error:  # of a constructor, which has only the values of the user
        reason: BaseException = error
        while reason.__cause__ is not None:  # the parser adds every type that it has tried
            reason = reason.__cause__
        raise InputError(str(reason)) from error


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 if all is well, 1 if something is wrong, 2 for bad input."""
    parser = data_parser("depthclip.data.check", "Read every sample of a data set once, and report what is wrong.")
    parser.add_argument("--splits", type=list[Split] | None, default=None, help="splits to check; all by default")
    parser.add_argument("--out", default="results/check_data", help="folder of the pictures")
    try:
        data, options = read_arguments(parser, args)
        splits = options.splits or [split for split in get_args(Split) if data.has(split)]
        return 0 if check(data, splits, Path(options.out), Console()) else 1
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
