"""Check that a video file is complete: FFmpeg decodes a truncated file up to its end without an error."""

import re
import struct
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from depthclip.data.paths import quoted
from depthclip.data.samples import DataError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

LEAST = Fraction(9, 10)  # of the duration that the header states; it may include the delay of the encoder
CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def check_whole_file(path: Path) -> None:
    """Raise if an MP4 or QuickTime file is shorter than its boxes state.

    Other formats are not checked, see `check_duration`.

    Raises:
        DataError: with the number of missing bytes.
    """
    end, position = path.stat().st_size, 0
    with path.open("rb") as file:
        while len(header := file.read(16)) >= 8:
            size, kind = struct.unpack(">I4s", header[:8])
            if position == 0 and kind != b"ftyp":
                return
            if size == 1 and len(header) == 16:
                size = struct.unpack(">Q", header[8:])[0]
            if size < 8:  # 0 for a box that ends with the file
                return
            position += size
            if position > end:
                raise DataError(
                    f"video {quoted(path)} is truncated: {position - end} bytes are missing at its end; fetch it again"
                )
            file.seek(position)


def stated_duration(container: "InputContainer", stream: "VideoStream") -> Fraction | None:
    """Return the duration of a stream in seconds that the header of a Matroska, WebM or AVI file states.

    Args:
        container: the file.
        stream: its video stream.

    Returns:
        None if the header states no duration of this stream, or the format is another.
    """
    if "matroska" in container.format.name and (match := CLOCK.fullmatch(stream.metadata.get("DURATION", ""))):
        hours, minutes, seconds = match.groups()
        return (int(hours) * 60 + int(minutes)) * 60 + Fraction(seconds)
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        return stream.frames / stream.average_rate
    return None


def check_duration(path: Path, stated: Fraction | None, end: Fraction, max_frames: int) -> None:
    """Raise if the frames of a video end before 90 % of the duration that its header states.

    Args:
        path: the file.
        stated: stated duration in seconds; None if it is not known.
        end: end of the last frame in seconds.
        max_frames: number of frames that can be used.

    Raises:
        DataError: with both times.
    """
    if stated is not None and end < LEAST * stated:
        raise DataError(
            f"video {quoted(path)} is truncated: its header states {float(stated):.2f} s, but its frames end at "
            f"{float(end):.2f} s; fetch it again, or use --max_frames {max_frames}"
        )
