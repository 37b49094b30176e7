"""The model and the images that are measured."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from depthclip.benchmark.files import reads_files, write_images, written_data
from depthclip.benchmark.loop import Runtime, Stopwatch, test_loop
from depthclip.benchmark.timing import Case, Timing, measure
from depthclip.data.batches import Batch
from depthclip.data.module import DepthDataModule, Loading
from depthclip.module import DepthCLIP

TRAINING_IMAGES = 2  # for heads that are fitted to training images


@dataclass(frozen=True)
class Amount:
    """How much is measured.

    Args:
        images: number of test images.
        batch_size: number of images per batch.
        repeats: number of rounds of each comparison.
        size: (height, width) in pixels of images that are written.
        quick: whether the largest sizes are left out.
    """

    images: int = 8
    batch_size: int = 4
    repeats: int = 5
    size: tuple[int, int] = (480, 640)
    quick: bool = False

    @property
    def batches(self) -> int:
        """The number of test batches."""
        return -(-self.images // self.batch_size)


@dataclass(frozen=True)
class Workload:
    """A model, and images on disk and in memory.

    Args:
        model: the model of the recipe on the device, with its heads fitted.
        data: data module that reads files.
        given: the data module of the recipe, which may draw its images.
        batches: the first batches of `data`, in the memory of the device.
        runtime: device and precision.
        amount: how much is measured.
        loading: batch size and worker processes of the recipe; `data` reads in the main process.
    """

    model: DepthCLIP
    data: DepthDataModule
    given: DepthDataModule
    batches: list[Batch]
    runtime: Runtime
    amount: Amount
    loading: Loading

    @property
    def images(self) -> int:
        """The number of images of all batches."""
        return sum(len(batch.items) for batch in self.batches)

    @property
    def seen(self) -> tuple[int, int]:
        """The (height, width) in pixels of the first image as the model sees it."""
        rgb = self.batches[0].items[0].rgb
        return rgb.shape[-2], rgb.shape[-1]

    def stacks(self) -> Iterator[tuple[Batch, Tensor]]:
        """Yield the images of each size of each batch, (n, 3, h, w), with their batch."""
        for batch in self.batches:
            for _, rgb in batch.by_size():
                yield batch, rgb

    def encoder_inputs(self) -> list[Tensor]:
        """Return the images that the encoder gets: with the mirrored ones, and cut into windows."""
        return [
            batch.view.windows(rgb.shape[-2], rgb.shape[-1]).cut(
                torch.cat([rgb, rgb.flip(-1)]) if batch.view.mirror else rgb
            )
            for batch, rgb in self.stacks()
        ]

    def loop(self, model: DepthCLIP | None = None, batches: int | None = None) -> Stopwatch:
        """Run `test` from files with the model of the recipe, or another one, and return its times."""
        limit = self.amount.batches if batches is None else batches
        with without_warnings():
            return test_loop(self.model if model is None else model, self.data, self.runtime, limit)

    @contextmanager
    def reading(self, loading: Loading) -> Iterator[None]:
        """Read with another batch size, or with worker processes, within the block."""
        before, self.data.loading = self.data.loading, loading
        try:
            yield
        finally:
            self.data.loading = before

    def ready(self, model: DepthCLIP) -> DepthCLIP:
        """Return a model whose `test_step` can be called, since it has run one batch of a test."""
        self.loop(model, 1)
        return model

    def case(self, name: str, run: Callable[[], object], images: int | None = None) -> Case:
        """Return a case without gradients at the precision of the runtime; its images are those of all batches."""

        def timed() -> None:
            with torch.inference_mode(), self.runtime.context():
                run()

        return Case(name, timed, self.images if images is None else images)

    def loop_case(self, name: str, loading: Loading | None = None) -> Case:
        """Return the case of the test loop, whose time is that between its hooks.

        Args:
            name: name of the case.
            loading: batch size and worker processes; None to read in the main process.
        """

        def run() -> float:
            with self.reading(loading or self.data.loading):
                return self.loop().seconds

        return Case(name, run, self.images)

    def measure(self, cases: list[Case], repeats: int | None = None) -> dict[str, Timing]:
        """Return the timings of cases on the device."""
        return measure(cases, self.amount.repeats if repeats is None else repeats, self.runtime.device)


def workload(
    model: DepthCLIP,
    given: DepthDataModule,
    folder: Path,
    runtime: Runtime,
    amount: Amount,
    warm: bool = True,
) -> Workload:
    """Return what is measured: the recipe's own files, or rooms that are written to a folder that has none.

    Args:
        model: the model of the recipe.
        given: the data module of the recipe.
        folder: an existing folder for images that are written.
        runtime: device and precision.
        amount: how much is measured.
        warm: whether to run one batch of a test, which fits the heads that need it.
    """
    loading = replace(given.loading, batch_size=amount.batch_size)
    given.loading = replace(loading, num_workers=0)
    data = given
    if not reads_files(given):
        if not any(folder.iterdir()):
            write_images(folder, amount.images + TRAINING_IMAGES, amount.size)
        data = written_data(folder, given, amount.size, TRAINING_IMAGES)
    model.training_baselines, model.panels = False, 0  # neither is a cost of every image
    model.to(runtime.device)
    with without_warnings():
        if warm:
            test_loop(model, data, runtime, 1)
        data.setup("test")
        batches = [batch.to(runtime.device) for batch in islice(data.test_dataloader(), amount.batches)]
    return Workload(model, data, given, batches, runtime, amount, loading)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Hide warnings, which would be repeated in every run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
