"""How much time do many heads and cached features take? Measure ratios of times: `python -m experiments.cost`.

Tests with 50 heads, and in all alignments with the rank correlation, are compared with the test of a single head; an
epoch of learning seven words with cached features with an epoch without. The encoder is RN50 with random weights.
"""

import argparse
import time
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table

from depthclip import Bins, DepthCLIP, DepthHead, FrozenCLIP, Prompts
from depthclip.data import DepthDataModule, DepthDataset, Loading, Sample
from depthclip.evaluation import Spearman
from depthclip.head import LearnedWords
from depthclip.protocol import ALIGNMENTS


class Noise(DepthDataset):
    """Images of noise with random depth, kept in memory so that reading takes no time."""

    def __init__(self, count: int, size: Sequence[int]) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 256, (count, 3, *size), generator=generator, dtype=torch.uint8)
        self.depths = torch.rand(count, *size, generator=generator) * 9 + 0.5

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        """Return the number of the image."""
        return str(index)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.images[index], self.depths[index], self.name(index))


class NoiseModule(DepthDataModule):
    """A data module with the same images in every split."""

    def __init__(self, count: int, size: Sequence[int], batch_size: int) -> None:
        super().__init__("whole", "whole", Loading(batch_size))
        self.noise = Noise(count, size)

    def samples(self, split: str) -> DepthDataset:
        """Return the images."""
        return self.noise


class Stopwatch(Callback):
    """Record the time at the start and the end of every test and of every training epoch."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def mark(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the time."""
        self.marks.append(time.perf_counter())

    on_test_start = on_test_end = on_train_epoch_start = on_train_epoch_end = mark


def trainer(watch: Stopwatch, epochs: int = 1) -> Trainer:
    """Return a trainer without logs and checkpoints."""
    off: Any = dict.fromkeys(("logger", "enable_checkpointing", "enable_model_summary", "enable_progress_bar"), False)
    return Trainer(max_epochs=epochs, limit_val_batches=0, callbacks=[watch], **off)


def test_seconds(encoder: FrozenCLIP, data: DepthDataModule, variants: int, aligned: bool) -> float:
    """Return the seconds that a test with a head and some variants takes, measured in the second of two runs."""
    heads = {f"temperature {k}": DepthHead(Prompts(), Bins(), k) for k in range(1, variants + 1)}
    further: Any = {"alignments": list(ALIGNMENTS), "errors": [Spearman()]} if aligned else {}
    model, watch = DepthCLIP(encoder, DepthHead(Prompts(), Bins()), heads, panels=0, **further), Stopwatch()
    for _ in range(2):
        trainer(watch).test(model, data, verbose=False)
    return watch.marks[-1] - watch.marks[-2]


def epoch_seconds(encoder: FrozenCLIP, data: DepthDataModule, cache: str | None) -> float:
    """Return the seconds that the second epoch of learning seven words takes."""
    model, watch = DepthCLIP(encoder, DepthHead(LearnedWords(7), Bins("depthclip")), cache=cache), Stopwatch()
    trainer(watch, epochs=2).fit(model, data)
    return watch.marks[-1] - watch.marks[-2]


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="RN50", help="name of an open_clip model; its weights are random")
    parser.add_argument("--size", type=int, nargs=2, default=(416, 544), help="height and width of the images")
    parser.add_argument("--images", type=int, default=4, help="number of test images")
    parser.add_argument("--variants", type=int, default=50, help="number of heads")
    parser.add_argument("--batch_size", type=int, default=16, help="batch size of training; an epoch has two batches")
    given = parser.parse_args(args)
    warnings.filterwarnings("ignore", message="pretrained is null")
    torch.manual_seed(0)
    encoder = FrozenCLIP(given.model, None, "attention_pool")
    table = Table("", "seconds", "ratio", title=f"{given.model}, {given.size}, {torch.get_num_threads()} threads")
    test = NoiseModule(given.images, given.size, batch_size=2)
    single, aligned = (test_seconds(encoder, test, 0, aligned) for aligned in (False, True))
    many = test_seconds(encoder, test, given.variants - 1, aligned=False)
    rows = ((f"test of {given.images} images, 1 head", single), ("... all alignments, rank correlation", aligned))
    for name, seconds in (*rows, (f"... {given.variants} heads", many)):
        table.add_row(name, f"{seconds:.2f}", f"{seconds / single:.2f}")
    fit = NoiseModule(2 * given.batch_size, given.size, given.batch_size)
    plain, cached = (epoch_seconds(encoder, fit, cache) for cache in (None, "memory"))
    table.add_row(f"epoch of {2 * given.batch_size} images, 7 words", f"{plain:.2f}", "1")
    table.add_row("... with cached features", f"{cached:.2f}", f"{cached / plain:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
