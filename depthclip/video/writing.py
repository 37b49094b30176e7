"""Write the pictures of a video as MP4, and its depth as .npz, one frame at a time."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.lib import format as npy

from depthclip.errors import InputError
from depthclip.video.reading import INSTALL

ENCODER: Final = "libx264"
BT709 = 1  # of colour spaces, primaries and transfer functions, in ISO/IEC 23091-2


def check_encoder() -> None:
    """Raise unless PyAV can write H.264.

    Raises:
        InputError: with the command that installs a complete PyAV.
    """
    import av  # an optional dependency

    if ENCODER not in av.codecs_available:
        raise InputError(f"this PyAV {av.__version__} has no {ENCODER} to write MP4; use {INSTALL}, which has it")


@contextmanager
def mp4(
    file: BinaryIO, size: tuple[int, int], rate: Fraction, time_base: Fraction
) -> Iterator[Callable[[np.ndarray, int], None]]:
    """Open an H.264 video for writing.

    Args:
        file: opened binary file.
        size: (height, width) of the pictures in pixels, even numbers.
        rate: frames per second, which players show; the time of each frame is its own.
        time_base: unit of the times, in seconds.

    Yields:
        A function that writes a picture (height, width, 3) uint8 and its time in units of `time_base`.
    """
    import av

    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(ENCODER, rate, options={"crf": "18", "preset": "veryfast"})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = time_base
        stream.codec_context.colorspace = BT709
        stream.codec_context.color_primaries = BT709
        stream.codec_context.color_trc = BT709

        def write(picture: np.ndarray, pts: int) -> None:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
            frame.pts, frame.time_base = pts, time_base
            container.mux(stream.encode(frame))

        yield write
        container.mux(stream.encode(None))


@contextmanager
def npz(
    file: BinaryIO, name: str, shape: tuple[int, ...], others: Mapping[str, Any]
) -> Iterator[Callable[[np.ndarray], None]]:
    """Open an .npz file for writing, one of whose arrays may be larger than the memory.

    Args:
        file: opened binary file.
        name: name of the large array, float32.
        shape: its shape; the first axis is written in parts.
        others: other arrays by name.

    Yields:
        A function that writes the next part of the large array.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for other, value in others.items():
            with archive.open(f"{other}.npy", "w") as member:
                npy.write_array(member, np.asarray(value), allow_pickle=False)
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            npy.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": shape})

            def write(part: np.ndarray) -> None:
                member.write(np.ascontiguousarray(part, "<f4").tobytes())

            yield write
