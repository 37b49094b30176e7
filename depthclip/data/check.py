"""Checks a copy of a data set: `python -m experiments.check_data --data configs/data/nyu.yaml --data.root DIR`.

Reads every sample once, prints what it found (count, sizes, valid share, range and histogram of depth, unreadable
files) and writes a picture of a few samples. The exit code is 1 where something is wrong. With --speed, loading is
timed beside plain decoding of the same files.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
from jsonargparse import ArgumentParser
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

import depthclip.data  # noqa: F401  # makes `--data NYU` a known name
from depthclip.data.base import DataError, DepthDataModule, DepthDataset, Sample, Split
from depthclip.evaluation.protocol import Scoring, View, seen_in_truth
from experiments.loading_speed import compare_speed

LIMITS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 80.0, float("inf"))  # metres
SHOWN = 4


@dataclass
class Findings:
    """What reading a split found.

    Args:
        samples: how many were to be read.
        sizes: how often each (image size, depth size) occurs.
        without_truth: how many have none.
        unscored: those with truth, but without a pixel that counts.
        unreadable: what the errors say.
        shares: the valid share of each depth map.
        lowest: depth in metres.
        highest: depth in metres.
        histogram: pixels between `LIMITS`.
        scenes: how many images each scene has.
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

    @property
    def wrong(self) -> bool:
        """Whether something is: unreadable files, images without a pixel to score, or nothing at all."""
        return bool(self.unreadable or self.unscored) or not self.samples

    def add(self, sample: Sample, view: View, scoring: Scoring) -> None:
        """Adds a sample."""
        size = (sample.image.shape[-2], sample.image.shape[-1])
        box = view.box(size[0], size[1])
        shown = f"{size[0]} x {size[1]}"
        self.scenes[sample.scene] += 1
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
    """A data set whose unreadable samples are the sentence that says why."""

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
    """Every sample, or why it cannot be read, in order."""
    yield from DataLoader(Attempts(samples), batch_size=None, num_workers=workers)


def examine(name: str, samples: DepthDataset, data: DepthDataModule, console: Console) -> tuple[Findings, list[Sample]]:
    """Reads every sample of a split once; also returns a few, evenly spread."""
    findings, shown = Findings(len(samples)), []
    wanted = set(np.linspace(0, len(samples) - 1, min(SHOWN, len(samples)), dtype=int).tolist())
    reading = attempts(samples, data.num_workers)
    for index, read in enumerate(track(reading, f"reading {name}", len(samples), console=console)):
        if isinstance(read, str):
            findings.unreadable.append(read)
            continue
        try:
            findings.add(read, data.view, data.scoring)
        except ValueError as error:  # the view's crop does not fit this image
            findings.unreadable.append(f"{read.name}: {error}")
        if index in wanted:
            shown.append(read)
    return findings, shown


def report(name: str, findings: Findings, console: Console) -> None:
    """Prints what a split holds."""
    told = Table(title=f"{name}: {findings.samples} images", show_header=False, min_width=60)
    for size, count in findings.sizes.most_common():
        told.add_row("size", f"{count} of {size}")
    if len(findings.scenes) > 1:
        told.add_row(
            "scenes", ", ".join(f"{escape(scene or '(none)')} {n}" for scene, n in findings.scenes.most_common(8))
        )
    if findings.without_truth:
        told.add_row("without truth", str(findings.without_truth))
    if findings.shares:
        low, mean, high = min(findings.shares), float(np.mean(findings.shares)), max(findings.shares)
        told.add_row("valid share", f"{mean:.1%} (from {low:.1%} to {high:.1%})")
        told.add_row("depth", f"{findings.lowest:.3f} to {findings.highest:.3f} m")
        total = max(1, int(findings.histogram.sum()))
        for low, high, count in zip(LIMITS, LIMITS[1:], findings.histogram, strict=False):
            if count:
                told.add_row(f"{low:g} to {high:g} m", f"{count / total:6.1%} {'█' * round(40 * count / total)}")
    console.print(told)
    for what, names in (("unreadable", findings.unreadable), ("no pixel to score", findings.unscored)):
        if names:
            console.print(f"[red]{what}: {len(names)}[/red]")
            for one in names:
                console.print(f"  {escape(one)}", soft_wrap=True)


def draw(shown: Sequence[Sample], view: View, path: Path) -> None:
    """Writes a picture of samples: the image, with a frame around what the model sees, and the depth."""
    tallest = max(sample.image.shape[-2] / sample.image.shape[-1] for sample in shown)
    figure = Figure(figsize=(10, len(shown) * (4.5 * tallest + 0.3)), layout="constrained")
    rows = figure.subplots(len(shown), 2, squeeze=False)
    for (left, right), sample in zip(rows, shown, strict=True):
        height, width = sample.image.shape[-2:]
        left.imshow(sample.image.permute(1, 2, 0).numpy())
        left.set_title(sample.name, fontsize=7)
        _frame(left, view, height, width)
        if sample.depth is not None:
            _depth(right, sample.depth.numpy(), height, width)
        for axes in (left, right):
            axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def _depth(axes: Axes, depth: np.ndarray, height: int, width: int) -> None:
    rows, columns = np.nonzero(depth)
    # a laser grid spans the whole image, whatever its own shape; points far apart are drawn larger than a pixel
    down, across = height / depth.shape[0], width / depth.shape[1]
    if len(rows) < 0.1 * depth.size:
        drawn: ScalarMappable = axes.scatter(columns * across, rows * down, s=0.5, c=depth[rows, columns], cmap="turbo")
        axes.set_aspect("equal")
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
    else:
        drawn = axes.imshow(
            np.ma.masked_equal(depth, 0), cmap="turbo", extent=(0, width, height, 0), interpolation="nearest"
        )
    axes.figure.colorbar(drawn, ax=axes, label="m", fraction=0.03)


def _frame(axes: Axes, view: View, height: int, width: int) -> None:
    try:
        box = view.box(height, width)
    except ValueError:  # the report says so
        return
    axes.add_patch(Rectangle((box.left, box.top), box.size[1], box.size[0], fill=False, color="white"))


def check(data: DepthDataModule, splits: Sequence[Split], out: Path, speed: int, console: Console) -> bool:
    """Checks some splits of a data set; whether all is well."""
    well = True
    for split in splits:
        try:
            samples = data.samples(split)
        except DataError as error:
            console.print(f"[red]{split}: {escape(str(error))}[/red]", soft_wrap=True)
            well = False
            continue
        findings, shown = examine(split, samples, data, console)
        report(split, findings, console)
        if shown:
            path = out / f"{type(data).__name__.lower()}_{split}.png"
            draw(shown, data.view, path)
            console.print(f"picture: {path}", soft_wrap=True)
        if speed:
            console.print(compare_speed(samples, speed))
        well = well and not findings.wrong
    console.print("[green]all is well[/green]" if well else "[red]something is wrong[/red]")
    return well


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command line; 0 where all is well, 1 where something is wrong, 2 where the data set cannot be told."""
    parser = ArgumentParser(
        prog="python -m experiments.check_data", description="Reads every sample of a data set once."
    )
    parser.add_subclass_arguments(
        DepthDataModule, "data", required=True, help="a file of configs/data, or a class and --data.*"
    )
    parser.add_argument(
        "--splits", type=list[Split], default=None, help="which to check; by default all that there are to be"
    )
    parser.add_argument("--out", default="results/check_data", help="folder of the pictures")
    parser.add_argument("--speed", type=int, default=0, help="time loading of this many images beside plain decoding")
    given = ["--data" if arg in ("-c", "--config") else arg for arg in (sys.argv[1:] if args is None else args)]
    console = Console()
    chosen = parser.parse_args(given)
    # named so since jsonargparse 4.49
    instantiate = parser.instantiate if hasattr(parser, "instantiate") else parser.instantiate_classes
    data = instantiate(chosen).data
    splits = chosen.splits or [split for split in get_args(Split) if data.has(split)]
    return 0 if check(data, splits, Path(chosen.out), chosen.speed, console) else 1


if __name__ == "__main__":
    sys.exit(main())
