"""Loading beside plain decoding: images a second of a data set's samples, and of decoding the same files alone."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from depthclip.data.base import DepthDataset
from depthclip.data.nyu import LabelledSamples, open_hdf5


def compare_speed(samples: DepthDataset, count: int) -> str:
    """Reads `count` samples and decodes their files, in one process and from the system's cache; tells both speeds."""
    indices = np.linspace(0, len(samples) - 1, min(count, len(samples)), dtype=int).tolist()
    decode = plain_decoder(samples)
    if decode is None:
        return "speed: these samples are not read from files"

    def load(index: int) -> None:
        samples[index]

    loading, decoding = [], []
    # by turns and the best of three: other programs disturb both alike
    for _ in range(3):
        loading.append(seconds(load, indices))
        decoding.append(seconds(decode, indices))
    loaded, decoded = (len(indices) / min(times) for times in (loading, decoding))
    return f"speed: {loaded:.1f} images/s loaded, {decoded:.1f} images/s plainly decoded ({loaded / decoded:.0%})"


def seconds(work: Callable[[int], None], indices: list[int]) -> float:
    """How long some work takes on all indices."""
    start = time.perf_counter()
    for index in indices:
        work(index)
    return time.perf_counter() - start


def plain_decoder(samples: DepthDataset) -> Callable[[int], None] | None:
    """What decodes the files of a sample with the library for its format, and does nothing more."""
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
    """Decodes one file."""
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
