"""Video: the frames of a video file, decoded one at a time with PyAV."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from depthclip.checks import check_count
from depthclip.data.paths import argument_path, quoted, regular_file
from depthclip.data.samples import DataError
from depthclip.errors import InputError
from depthclip.video.complete import check_duration, check_whole_file, stated_duration
from depthclip.video.orientation import matrix_of, shown

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

INSTALL = "pip install 'depthclip[video]'"
USUAL_RATE = Fraction(25)  # frames per second of a file that states no rate


class Frame(NamedTuple):
    """A frame of a video.

    Args:
        rgb: (H, W, 3) uint8, upright and with square pixels, as players show it.
        time: seconds, as the file states it.
        pts: the same time in units of `Video.time_base`.
    """

    rgb: np.ndarray
    time: float
    pts: int


class Video:
    """A video file. Iteration decodes its frames one at a time, and can be repeated.

    Args:
        path: a file that FFmpeg decodes, such as MP4.
        every: the frames 0, `every`, 2 * `every`, ... are used.
        max_frames: the largest number of frames to use; None for all.

    Attributes:
        path: the file.
        rate: frames per second; of a video with a variable rate the average, in Matroska files the rate in
            the header; divided by `every`.
        time_base: unit of the times of frames, in seconds.
        count: number of frames to use, as far as the header of the file states it; None if it does not.

    Raises:
        InputError: if PyAV is missing, a number is out of its range, the file is missing, truncated or no video, or
            (from the iteration) it cannot be decoded, has no frames, or ends before the time in its header.
    """

    def __init__(self, path: str | Path, every: int = 1, max_frames: int | None = None) -> None:
        check_count("every", every, unit="frames", hint="use 1 for all frames")
        if max_frames is not None:
            check_count("max_frames", max_frames, unit="frames", hint="leave it out for all frames")
        self.path = regular_file(argument_path("video", str(path)), "video")
        self.every = every
        self.max_frames = max_frames
        if importlib.util.find_spec("av") is None:
            raise InputError(f"video {quoted(path)} needs PyAV, which is not installed; use {INSTALL}")
        check_whole_file(self.path)
        with opened_video(self.path) as (_, stream):
            native = stream.average_rate or stream.guessed_rate or USUAL_RATE
            frames = stream.frames or int((stream.duration or 0) * (stream.time_base or 0) * native)
            self.time_base = Fraction(stream.time_base or 1 / native)
        self.rate = Fraction(native) / every
        self.count = min(-(-frames // every), max_frames or frames) if frames else None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in the order in which they are shown."""
        with opened_video(self.path) as (container, stream):
            stream.thread_type = "AUTO"
            ratio = stream.sample_aspect_ratio or Fraction(1)
            stop = None if self.max_frames is None else self.max_frames * self.every
            size, matrix, pts, index, end = None, np.eye(2), -1, -1, Fraction(0)
            for index, frame in enumerate(islice(self._decoded(container, stream), 0, stop)):
                # a stream may state no times, or the same time twice
                stated = round(index / (self.rate * self.every) / self.time_base) if frame.pts is None else frame.pts
                end = max(end, (stated + (frame.duration or 0)) * self.time_base)
                if index % self.every:
                    continue
                if size is None:
                    size, pts = (round(frame.width * ratio) or 1, frame.height), (frame.pts or 0) - 1
                    # once, since frames whose side data was read stay in memory until the next garbage collection
                    matrix = matrix_of(frame)
                pts = max(pts + 1, stated)
                pixels = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
                yield Frame(shown(pixels, matrix), float(pts * self.time_base), pts)
            if size is None:
                raise DataError(f"video {quoted(self.path)} has no frames; fetch it again, or convert it to MP4")
            if index + 1 != stop:
                check_duration(self.path, stated_duration(container, stream), end, self._usable(index + 1))

    def _usable(self, count: int) -> int:
        """Return the largest `max_frames` for which no more than `count` frames are decoded."""
        return max(count // self.every, 1)

    def _decoded(self, container: "InputContainer", stream: "VideoStream") -> Iterator["VideoFrame"]:
        import av

        count = 0
        try:
            for frame in container.decode(stream):
                count += 1
                yield frame
        except av.FFmpegError as error:
            raise DataError(
                f"video {quoted(self.path)} cannot be decoded after {counted(count)} ({error.strerror}); fetch it "
                f"again, or use --max_frames {self._usable(count)}"
            ) from error


def counted(frames: int) -> str:
    """Return a number of frames as text, such as `1 frame`."""
    return f"{frames} frame" + ("" if frames == 1 else "s")


@contextmanager
def opened_video(path: Path) -> Iterator[tuple["InputContainer", "VideoStream"]]:
    """Open a video file, and select its first video stream that is no cover picture.

    Raises:
        DataError: if it is no video, or an image.
    """
    import av  # an optional dependency

    try:
        # FFmpeg also reads playlists, which must not open other addresses than files
        container = av.open(str(path.absolute()), container_options={"protocol_whitelist": "file"})
    except (av.FFmpegError, OSError) as error:
        raise DataError(
            f"video {quoted(path)} cannot be read ({error.strerror}); give a video file, or convert it to MP4"
        ) from error
    with container:
        if container.format.name == "image2" or container.format.name.endswith("_pipe"):
            raise DataError(
                f"video {quoted(path)} is an image; use `python -m depthclip predict`, or give a video file"
            )
        attached = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & attached]
        if not streams:
            raise DataError(f"video {quoted(path)} has no video stream; give a file with moving pictures")
        yield container, streams[0]
