"""How fast is loading, compared with decoding the same files? Measure images per second of a data set.

Run `python -m experiments.loading_speed -c configs/data/nyu.yaml --data.root DIR`.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from depthclip.data.check import data_parser, read_arguments
from depthclip.data.hdf5 import open_hdf5
from depthclip.data.nyu_mat import LabelledSamples
from depthclip.data.samples import DepthDataset
from depthclip.errors import InputError


def compare_speed(samples: DepthDataset, count: int) -> str:
    """Return a line with the speeds of loading samples and of decoding their files, in one process.

    Args:
        samples: samples to read; later rounds read from the file cache of the system.
        count: largest number of samples.
    """
    indices = np.linspace(0, len(samples) - 1, min(count, len(samples)), dtype=int).tolist()
    decode = plain_decoder(samples)
    if decode is None:
        return "speed: these samples are not read from files"

    def load(index: int) -> None:
        samples[index]

    loading, decoding = [], []
    # alternate, and take the best of three, so that other programs disturb both equally
    for _ in range(3):
        loading.append(seconds(load, indices))
        decoding.append(seconds(decode, indices))
    loaded, decoded = (len(indices) / min(times) for times in (loading, decoding))
    return f"speed: {loaded:.1f} images/s loaded, {decoded:.1f} images/s plainly decoded ({loaded / decoded:.0%})"


def seconds(work: Callable[[int], None], indices: list[int]) -> float:
    """Return the seconds that a function takes for all indices."""
    start = time.perf_counter()
    for index in indices:
        work(index)
    return time.perf_counter() - start


def plain_decoder(samples: DepthDataset) -> Callable[[int], None] | None:
    """Return a function that only decodes the files of a sample, or None if samples are not read from files."""
    if isinstance(samples, LabelledSamples):
        file = open_hdf5(samples.path)

        def read_frame(index: int) -> None:
            for key in ("images", samples.key):
                np.asarray(file[key][samples.indices[index]])

        return read_frame
    if not len(samples) or not samples.files(0):
        return None

    def decode_files(index: int) -> None:
        for path in samples.files(index):
            decode(path)

    return decode_files


def decode(path: Path) -> None:
    """Decode a file."""
    if path.suffix == ".h5":
        with open_hdf5(path) as file:
            np.asarray(file["rgb"]), np.asarray(file["depth"])
    elif path.suffix == ".mat":
        from scipy.io import loadmat

        loadmat(path)
    elif path.suffix == ".bin":
        np.fromfile(path, "<f4")
    elif path.suffix == ".npy":
        np.load(path)
    else:
        with Image.open(path) as image:
            np.array(image)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code, 2 for bad input."""
    parser = data_parser("experiments.loading_speed", "Compare the speed of loading test images with decoding.")
    parser.add_argument("--count", type=int, default=100, help="number of images")
    try:
        data, given = read_arguments(parser, args)
        print(compare_speed(data.samples("test"), given.count))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
