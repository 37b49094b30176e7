"""Lists of KITTI frames, and the paths of their files."""

import re
from collections.abc import Sequence
from pathlib import Path

from depthclip.data.files import Entry
from depthclip.data.focal import kitti_focal
from depthclip.data.layouts import Repeated
from depthclip.data.paths import fault, quoted, read_list_text
from depthclip.data.samples import DataError
from depthclip.data.splits import DriveFrame, kitti_eigen

IMAGE_LINE = re.compile(r"/?(\d{4}_\d\d_\d\d)/\1_drive_(\d{4})_sync/image_0([23])/data/(\d+)\.\w+\s+(\S+)")
SIDE_LINE = re.compile(r"(\d{4}_\d\d_\d\d)/\1_drive_(\d{4})_sync\s+(\d+)\s+([lr])\s*$")


def read_drive_list(path: Path, name: str = "list") -> list[DriveFrame]:
    """Return the frames of a list file in the format of BTS (`image depth focal`) or Monodepth2 (`folder frame side`).

    Args:
        path: list file.
        name: name of its argument, for messages.

    Raises:
        DataError: if the list is missing, empty, names a frame twice, or has a line that is neither.
    """
    lines = read_list_text(path, name, f"set {name} to a text file with a line for each image").splitlines()
    repeated = Repeated()
    bare = {frame[:4] for frame in kitti_eigen("test") if not frame.annotated}
    frames = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        image, side = IMAGE_LINE.match(line), SIDE_LINE.match(line)
        if image:
            date, drive, camera, frame, depth = image.groups()
            key, annotated = (date, drive, int(camera), int(frame)), depth != "None"
        elif side:
            date, drive, frame, letter = side.groups()
            key = (date, drive, {"l": 2, "r": 3}[letter], int(frame))
            annotated = key not in bare
        else:
            raise DataError(
                f"{name} {path} line {number} {quoted(line)!r} must be `image depth focal`, as BTS writes it, or "
                "`folder frame side`"
            )
        repeated.check(key, number, f"{name} {path}")
        frames.append(DriveFrame(*key, annotated))
    if not frames:
        raise DataError(f"{name} {path} is empty; it must have a line for each image")
    return frames


def entry_of(frame: DriveFrame, raw: Path, depth: Path) -> Entry:
    """Return the files of a frame; images are .png as in KITTI, or .jpg as converted by Monodepth2."""
    image = raw / frame.date / frame.recording / f"image_{frame.camera:02d}" / "data" / f"{frame.frame:010d}.png"
    if fault(image) and not fault(image.with_suffix(".jpg")):
        image = image.with_suffix(".jpg")
    return Entry(image, depth, str(image.relative_to(raw)), frame.recording, focal=kitti_focal(frame.date))


def sweep_of(frame: DriveFrame, raw: Path) -> Path:
    """Return the path of the laser sweep of a frame in the raw recordings."""
    return raw / frame.date / frame.recording / "velodyne_points" / "data" / f"{frame.frame:010d}.bin"


class AnnotatedFiles:
    """Paths of annotated depth maps; copies of the data set have them in train/ and val/, or in a single folder.

    Args:
        places: folders that may contain drives.
    """

    def __init__(self, places: Sequence[Path]) -> None:
        self.places = list(places)
        self.known: dict[str, Path] = {}

    def path(self, frame: DriveFrame) -> Path:
        """Return the path of the depth map of a frame, in the first folder if none contains its drive."""
        drive = frame.recording
        if drive not in self.known:
            holding = (place for place in self.places if (place / drive / "proj_depth").is_dir())
            self.known[drive] = next(holding, self.places[0])
        inside = f"proj_depth/groundtruth/image_{frame.camera:02d}/{frame.frame:010d}.png"
        return self.known[drive] / drive / inside
