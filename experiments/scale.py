"""Memory and time of a test split of many images, and what several devices would exchange.

    python -m experiments.scale --images 100000

The images are random, 32 x 32 pixels, so that everything but the tower dominates. Of N images, the errors of each row
are kept (72 bytes per row and image in float64), and the name of each image. The processes of a run on several devices
are simulated: the images of each, and the bytes that it sends.
"""

import argparse
import pickle
import resource
import tempfile
import time
from collections.abc import Sequence

import torch

from depthclip import DepthCLIP, evaluate
from depthclip.data.batches import Viewed
from depthclip.data.module import DepthDataModule, Loading, Split
from depthclip.data.samples import DepthDataset, Sample
from depthclip.data.sampling import UnrepeatedSampler
from depthclip.protocol import View


class RandomImages(DepthDataset):
    """Random images of 32 x 32 pixels with random depth of 1 to 9 m."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def name(self, index: int) -> str:
        """Return the name of image `index`, as long as that of a file."""
        return f"recording_{index // 1000:04d}/rgb_{index:07d}.png"

    def __getitem__(self, index: int) -> Sample:
        generator = torch.Generator().manual_seed(index)
        image = torch.randint(256, (3, 32, 32), generator=generator, dtype=torch.uint8)
        return Sample(image, 1 + 8 * torch.rand(32, 32, generator=generator), self.name(index), "office", 40.0)


class RandomData(DepthDataModule):
    """A test split of random images."""

    def __init__(self, size: int, workers: int) -> None:
        super().__init__(View(size=(64, 64)), "whole", Loading(batch_size=64, num_workers=workers))
        self.size = size

    def samples(self, split: Split) -> DepthDataset:
        """Return the images, the same in every split."""
        return RandomImages(self.size)


def peak() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def bytes_sent(images: int, rows: int, devices: int) -> list[int]:
    """Return the bytes that each of some devices sends: names and scenes, pickled, and the errors as float64."""
    samples = RandomImages(images)
    sent = []
    for rank in range(devices):
        mine = list(UnrepeatedSampler(Viewed(samples, View()), devices, rank))
        labels = {index: (samples.name(index), "office") for index in mine}
        sent.append(len(pickle.dumps(labels)) + 8 * len(mine) * (2 + 9 * rows))
    return sent


def main(args: Sequence[str] | None = None) -> None:
    """Run `test` on random images; print its memory and time, and what several devices would exchange."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="number of images")
    parser.add_argument("--workers", type=int, default=0, help="number of processes that read")
    options = parser.parse_args(args)
    model = DepthCLIP.from_recipe("rooms")
    model.training_baselines, model.panels = False, 0
    with tempfile.TemporaryDirectory() as folder:
        evaluate(
            model, RandomData(min(256, options.images), options.workers), folder, accelerator="cpu"
        )  # libraries allocate their memory
        before, start = peak(), time.perf_counter()
        evaluate(model, RandomData(options.images, options.workers), folder, accelerator="cpu")
    seconds, rows = time.perf_counter() - start, len(model.outcome.result.names)
    print(f"{options.images} images in {seconds:.0f} s, {1000 * seconds / options.images:.2f} ms each")
    print(f"peak memory {peak():.0f} MB, {peak() - before:.0f} MB more than for the first {min(256, options.images)}")
    print(f"errors of {rows} rows: {8 * options.images * (2 + 9 * rows) / 2**20:.1f} MB")
    for devices in (1, 2, 4):
        sent = ", ".join(f"{size / 2**20:.2f}" for size in bytes_sent(options.images, rows, devices))
        print(f"{devices} devices send {sent} MB")


if __name__ == "__main__":
    main()
