"""Write depth maps as 16-bit PNG or .npy files to a folder that a later run can complete."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from depthclip.atomic import open_atomic
from depthclip.checks import check_choice
from depthclip.errors import InputError
from depthclip.pictures import colour_depth, depth_range

SCALES = (1000, 500, 256, 100, 50, 20, 10, 5, 2, 1)  # values per metre
LARGEST = 65535
FORMATS = ("png", "npy")
INDEX = "index.json"
COLOUR = ".colour"
LONGEST = 180  # bytes; a file name may have 255, and suffixes are added to it


def scale_for(farthest: float) -> float:
    """Return the values per metre of a 16-bit PNG that holds depths up to `farthest` metres."""
    return next((scale for scale in SCALES if farthest * scale <= LARGEST), LARGEST / max(farthest, 1e-6))


def to_png_values(depth: np.ndarray) -> tuple[np.ndarray, float]:
    """Return depth (H, W) in metres as 16-bit values, 0 = invalid, and the values per metre."""
    scale = scale_for(float(depth.max()))
    # a valid depth that rounds to 0 is stored as 1
    values = np.where(depth > 0, np.clip((depth * scale).round(), 1, LARGEST), 0)
    return values.astype(np.uint16), scale


def file_names(names: Sequence[str]) -> list[str]:
    """Return a file name without suffix for each sample; no two are equal, on any file system.

    `a/b.jpg` becomes `a_b`. Samples that would share a name keep the suffix of the image; if they would still share it,
    a hash of the whole name is appended. The result depends only on the names.
    """
    assigned: dict[int, str] = {}
    taken: set[str] = set()
    forms: tuple[Callable[[int], str], ...] = (
        lambda k: _flat(str(PurePosixPath(names[k]).with_suffix("")) if PurePosixPath(names[k]).name else names[k]),
        lambda k: _flat(names[k]),
        lambda k: f"{_flat(names[k])}-{_digest(names[k])}",
        lambda k: f"{_flat(names[k])}-{_digest(names[k])}-{k}",
    )
    for form in forms:
        waiting = {k: form(k) for k in range(len(names)) if k not in assigned}
        counts = Counter(claim for name in waiting.values() for claim in _claims(name))
        unique = {
            k: name
            for k, name in waiting.items()
            if all(counts[claim] == 1 and claim not in taken for claim in _claims(name))
        }
        assigned.update(unique)
        taken.update(claim for name in unique.values() for claim in _claims(name))
    return [assigned[k] for k in range(len(names))]


def _flat(name: str) -> str:
    """Return a name without folders that is neither hidden nor too long."""
    parts = ("up" if part == ".." else part for part in name.replace("\0", "_").split("/") if part)
    flat = "_".join(parts) or "_"
    flat = f"_{flat[1:]}" if flat.startswith(".") else flat
    size = os.fsencode(flat)
    return flat if len(size) <= LONGEST else f"{os.fsdecode(size[: LONGEST - 24])}-{_digest(name)}"


def _digest(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:12]


def _claims(name: str) -> tuple[str, str]:
    """Return the file names that a sample uses, with case folded because some file systems ignore case."""
    return name.casefold(), f"{name}{COLOUR}".casefold()


class DepthFolder:
    """A folder with the depth map and a picture of the depth of each sample, and an index.

    Args:
        folder: folder of the files.
        names: names of all samples.
        settings: settings that the depths depend on; `open` refuses a folder with other settings.
        formats: formats of the depth maps: `png`, 16-bit PNG that states its values per metre, and `npy`, float32
            metres.

    Raises:
        InputError: if there is no format, or a format is unknown.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], settings: dict[str, Any], formats: Sequence[str] = ("png",)
    ) -> None:
        if not formats:
            raise InputError("formats [] writes no depth map; use png, npy, or both")
        for each in formats:
            check_choice("formats", each, FORMATS)
        self.folder = folder
        self.names = [printable(name) for name in names]
        self.files = file_names(names)
        self.settings = json.loads(json.dumps(settings, default=str))
        self.formats = tuple(formats)
        self.chosen = list(range(len(names)))
        self.scales: dict[str, float] = {}  # values per metre of the depth maps in the folder, by file

    @property
    def complete(self) -> int:
        """The number of samples whose depth map is in the folder in all formats."""
        stems = {file.rpartition(".")[0] for file in self.scales}
        return sum(all(f"{stem}.{each}" in self.scales for each in self.formats) for stem in stems)

    def open(self) -> list[int]:
        """Create the folder and return the indices of the samples without a depth map in it.

        Raises:
            InputError: if the folder cannot be created, or has other files of these names, or depth maps of other
                settings.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"output {self.folder} cannot be created ({error.strerror}); choose another folder with --output"
            ) from error
        self._check_index()
        return [k for k in range(len(self.files)) if not self._is_there(k)]

    def choose(self, chosen: list[int]) -> None:
        """Select the samples that `write` writes.

        Args:
            chosen: indices of samples; the argument `index` of `write` counts in this list.
        """
        self.chosen = chosen

    def write(self, index: int, name: str, depth: np.ndarray) -> None:
        """Write the depth map of a sample and a picture of it.

        Args:
            index: position among the chosen samples; a position beyond them becomes the name of the file.
            name: name of the sample.
            depth: (H, W) metres.

        Raises:
            InputError: if a depth is not finite, or a file cannot be written.
        """
        if not np.isfinite(depth).all():
            raise InputError(
                f"the depth of {name} is not finite; check temperature, logit_scale and bins of the head, and the "
                "weights"
            )
        file = self.files[self.chosen[index]] if index < len(self.chosen) else f"{index:06d}"
        values, scale = to_png_values(depth)
        picture = colour_depth(depth, *depth_range(torch.from_numpy(depth)))
        text = PngInfo()
        text.add_text("image", printable(name))
        text.add_text("depth_scale", f"{scale:.17g}")
        try:
            # the picture is written first: if there is a depth map, its sample can be identified
            self._write_png(f"{file}{COLOUR}.png", picture, text)
            if "npy" in self.formats:
                with open_atomic(self.folder / f"{file}.npy") as opened:
                    np.save(opened, depth.astype(np.float32, copy=False))
                self.scales[f"{file}.npy"] = 1.0
            if "png" in self.formats:
                self._write_png(f"{file}.png", values, text)
                self.scales[f"{file}.png"] = scale
        except OSError as error:
            raise _unwritable(self.folder / f"{file}.{self.formats[-1]}", error) from error

    def write_index(self) -> None:
        """Write the index: the scale and the image of each depth map in the folder.

        Raises:
            InputError: if the file cannot be written.
        """
        images = {f"{file}.{each}": n for file, n in zip(self.files, self.names, strict=True) for each in FORMATS}
        maps = {
            file: {"image": images.get(file, ""), "depth_scale": scale} for file, scale in sorted(self.scales.items())
        }
        try:
            with open_atomic(self.folder / INDEX) as opened:
                opened.write(json.dumps({"settings": self.settings, "maps": maps}, indent=1).encode() + b"\n")
        except OSError as error:
            raise _unwritable(self.folder / INDEX, error) from error

    def closing(self, before: int, skipped: int) -> str:
        """Return a summary of the depth maps in the folder.

        Args:
            before: number of depth maps that existed before the run.
            skipped: number of images that could not be read.
        """
        counts = Counter(scale for file, scale in self.scales.items() if file.endswith(".png"))
        scales = ", ".join(
            f"{scale:g}" if len(counts) == 1 else f"{scale:g} in {count}" for scale, count in sorted(counts.items())
        )
        png = f"16-bit PNG, values per metre: {scales or 'none'} (also in {INDEX} and as depth_scale in each file)"
        described = " and ".join({"png": png, "npy": ".npy, float32 metres"}[each] for each in self.formats)
        parts = [f"{self.complete} depth maps with pictures are in {self.folder}: {described}"]
        if before:
            parts.append(f"{before} were there already")
        if skipped:
            parts.append(f"{skipped} images could not be read")
        return "; ".join(parts)

    def _check_index(self) -> None:
        path = self.folder / INDEX
        if not path.exists():
            return
        try:
            settings = json.loads(path.read_bytes())["settings"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is not an index of depth maps; choose another folder with --output, or remove the file"
            ) from error
        if settings != self.settings:
            raise InputError(
                f"output {self.folder} holds depth maps of another model or view; choose another folder with --output"
            )

    def _is_there(self, index: int) -> bool:
        file, name = self.files[index], self.names[index]
        picture, depth = (_texts(self.folder / f"{file}{suffix}.png") for suffix in (COLOUR, ""))
        scales = {"png": float(depth["depth_scale"])} if depth.get("image") == name else {}
        if "npy" in self.formats and _is_array(self.folder / f"{file}.npy", bool(picture)):
            scales["npy"] = 1.0
        if picture.get("image") != name or not scales.keys() >= set(self.formats):
            return False
        self.scales.update({f"{file}.{each}": scale for each, scale in scales.items()})
        return True

    def _write_png(self, file: str, pixels: np.ndarray, text: PngInfo) -> None:
        with open_atomic(self.folder / file) as opened:
            Image.fromarray(pixels).save(opened, "PNG", pnginfo=text)


def _texts(path: Path) -> dict[str, str]:
    """Return the text fields of a PNG that this module wrote; an empty dictionary if there is no file.

    Raises:
        InputError: if the path leads to anything else.
    """
    if not path.exists():
        return {}
    try:
        if path.is_file():  # opening a pipe would block
            with Image.open(path, formats=["PNG"]) as image:
                texts = {key: str(image.info[key]) for key in ("image", "depth_scale")}
            float(texts["depth_scale"])
            return texts
    except (OSError, SyntaxError, ValueError, KeyError):
        pass
    raise _foreign(path)


def _is_array(path: Path, pictured: bool) -> bool:
    """Return whether there is an .npy file that this module wrote, which has a picture beside it.

    Raises:
        InputError: if the path leads to anything else.
    """
    if not path.exists():
        return False
    try:
        if pictured and path.is_file():
            values = np.load(path, mmap_mode="r", allow_pickle=False)
            if isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype == np.float32:
                return True
    except (OSError, ValueError, EOFError):
        pass
    raise _foreign(path)


def _foreign(path: Path) -> InputError:
    return InputError(f"{path} is there already and is no depth map of depthclip; choose another folder with --output")


def printable(name: str) -> str:
    """Return a file name with characters escaped that UTF-8 cannot encode."""
    return name.encode("utf-8", "backslashreplace").decode()


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be written ({error.strerror or error}); free space and repeat the command, which continues in "
        "the same folder, or choose another folder with --output"
    )
