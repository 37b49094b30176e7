"""Write depth maps and what belongs to them to a folder that a later run can complete."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from depthclip.atomic import open_atomic
from depthclip.checks import check_choice
from depthclip.clouds import CLOUDS, check_trimesh, write_cloud
from depthclip.data.paths import quoted
from depthclip.errors import InputError
from depthclip.figure_files import VECTORS, Vector
from depthclip.file_names import COLOUR, PANEL, UNCERTAINTY, file_names, printable
from depthclip.further_files import write_panel, write_uncertainty
from depthclip.output_files import is_array, is_companion, texts_of
from depthclip.pictures import colour_depth, depth_range, with_scale
from depthclip.shown import Prediction

SCALES = (1000, 500, 256, 100, 50, 20, 10, 5, 2, 1)  # values per metre
LARGEST = 65535
MAPS = ("png", "npy")
FORMATS = (*MAPS, *CLOUDS, "panel", "uncertainty")
INDEX = "index.json"
LISTED = 20  # skipped images in the summary


def scale_for(farthest: float) -> float:
    """Return the values per metre of a 16-bit PNG that holds depths up to `farthest` metres."""
    return next((scale for scale in SCALES if farthest * scale <= LARGEST), LARGEST / max(farthest, 1e-6))


def to_png_values(depth: np.ndarray) -> tuple[np.ndarray, float]:
    """Return depth (H, W) in metres as 16-bit values, 0 = invalid, and the values per metre."""
    scale = scale_for(float(depth.max()))
    # a valid depth that rounds to 0 is stored as 1
    values = np.where(depth > 0, np.clip((depth * scale).round(), 1, LARGEST), 0)
    return values.astype(np.uint16), scale


class DepthFolder:
    """A folder with the depth map and a picture of the depth of each sample, and an index.

    Args:
        folder: folder of the files.
        names: names of all samples.
        settings: settings that the depths depend on; `open` refuses a folder with other settings.
        formats: formats of the depth maps: `png`, 16-bit PNG that states its values per metre; `npy`, float32 metres;
            `ply` and `glb`, point clouds; `panel`, a picture of the image, its depth and the weights of the words;
            `uncertainty`, .npz of float32 maps.
        sources: for each sample, the path of its image, by which images of the same name differ; "" without a file.
        overwrite: whether depth maps in the folder are written again, also those of other images and settings. Files
            that this class did not write are never replaced.
        vector: `pdf` or `svg`, in which panels are written besides PNG; None for none.

    Raises:
        InputError: if there is no format, a format is unknown, or trimesh is missing for point clouds.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        settings: dict[str, Any],
        formats: Sequence[str] = ("png",),
        sources: Sequence[str] | None = None,
        overwrite: bool = False,
        vector: Vector | None = None,
    ) -> None:
        if not formats:
            raise InputError(f"formats [] writes no depth map; use {', '.join(FORMATS)}, or several of them")
        for each in formats:
            check_choice("formats", each, FORMATS)
        if vector is not None:
            check_choice("vector", vector, VECTORS)
        if clouds := [each for each in formats if each in CLOUDS]:
            check_trimesh(clouds)
        self.folder = folder
        self.names = [printable(name) for name in names]
        self.sources = [printable(source) for source in sources or [""] * len(names)]
        self.files = file_names(names)
        self.settings = json.loads(json.dumps(settings, default=str))
        self.formats = tuple(formats)
        self.overwrite = overwrite
        self.suffixes = {"npy": [".npy"], "ply": [".ply"], "glb": [".glb"], "uncertainty": [f"{UNCERTAINTY}.npz"]}
        self.suffixes["panel"] = [f"{PANEL}.{each}" for each in ("png", *([vector] if vector else []))]
        self.chosen = list(range(len(names)))
        self.scales: dict[str, float] = {}  # values per metre of the files in the folder; 1 except for png

    @property
    def complete(self) -> int:
        """The number of samples whose depth map is in the folder in all formats."""
        stems = {file.rpartition(".")[0] for file in self.scales}
        return sum(all(f"{stem}.{each}" in self.scales for each in self.formats) for stem in stems)

    def open(self) -> list[int]:
        """Create the folder and return the indices of the samples without a depth map in it; all with `overwrite`.

        Raises:
            InputError: if the folder cannot be created, or has other files of these names, or depth maps of other
                settings or images.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"output {self.folder} cannot be created ({error.strerror}); choose another folder with --output"
            ) from error
        self._check_index()
        missing = [k for k in range(len(self.files)) if not self._is_there(k)]
        if self.overwrite:
            self.scales.clear()
            return list(range(len(self.files)))
        return missing

    def choose(self, chosen: list[int]) -> None:
        """Select the samples that `write` writes.

        Args:
            chosen: indices of samples; the index of a prediction counts in this list.
        """
        self.chosen = chosen

    def write(self, prediction: Prediction) -> None:
        """Write the depth map of a sample and a picture of it.

        Args:
            prediction: its index is the position among the chosen samples; a position beyond them becomes the name of
                the file.

        Raises:
            InputError: if a depth is not finite, a cloud has no focal length, or a file cannot be written.
        """
        index, name, depth = prediction.index, prediction.name, prediction.depth.numpy()
        if not np.isfinite(depth).all():
            raise InputError(
                f"the depth of {name} is not finite; check temperature, logit_scale and bins of the head, and the "
                "weights"
            )
        known = index < len(self.chosen)
        file = self.files[self.chosen[index]] if known else f"{index:06d}"
        values, scale = to_png_values(depth)
        scale_bar = depth_range(torch.from_numpy(depth))
        picture = with_scale(colour_depth(depth, *scale_bar), *scale_bar)
        text = PngInfo()
        text.add_text("image", printable(name))
        text.add_text("depth_scale", f"{scale:.17g}")
        if known and self.sources[self.chosen[index]]:
            text.add_text("source", self.sources[self.chosen[index]])
        try:
            # the picture is written first: if there is a depth map, its sample can be identified
            self._write_png(f"{file}{COLOUR}.png", picture, text)
            for each in (each for each in FORMATS[1:] if each in self.formats):
                for suffix in self.suffixes[each]:
                    with open_atomic(self.folder / f"{file}{suffix}") as opened:
                        self._write(opened, prediction, each, suffix.rpartition(".")[2])
                self.scales[f"{file}.{each}"] = 1.0
            if "png" in self.formats:
                self._write_png(f"{file}.png", values, text)
                self.scales[f"{file}.png"] = scale
        except OSError as error:
            raise _unwritable(self.folder / f"{file}.{self.formats[-1]}", error) from error

    def write_index(self) -> None:
        """Write the index: the scale and the image of each depth map in the folder; further files are not in it.

        Raises:
            InputError: if the file cannot be written.
        """
        images = {f"{file}.{each}": n for file, n in zip(self.files, self.names, strict=True) for each in MAPS}
        maps = {
            file: {"image": images.get(file, ""), "depth_scale": scale}
            for file, scale in sorted(self.scales.items())
            if file.endswith(MAPS)
        }
        try:
            with open_atomic(self.folder / INDEX) as opened:
                opened.write(json.dumps({"settings": self.settings, "maps": maps}, indent=1).encode() + b"\n")
        except OSError as error:
            raise _unwritable(self.folder / INDEX, error) from error

    def closing(self, before: int, skipped: Sequence[str] = (), reduced: int = 0) -> str:
        """Return a summary of the depth maps in the folder.

        Args:
            before: number of depth maps that existed before the run.
            skipped: names of the images that could not be read.
            reduced: number of images that were reduced before the model saw them.
        """
        counts = Counter(scale for file, scale in self.scales.items() if file.endswith(".png"))
        scales = ", ".join(
            f"{scale:g}" if len(counts) == 1 else f"{scale:g} in {count}" for scale, count in sorted(counts.items())
        )
        png = f"16-bit PNG, values per metre: {scales or 'none'} (also in {INDEX} and as depth_scale in each file)"
        texts = {"png": png, "npy": ".npy, float32 metres", "ply": ".ply, points", "glb": ".glb, points"}
        texts |= {"panel": f"{PANEL}.png, panels", "uncertainty": f"{UNCERTAINTY}.npz, maps of uncertainty"}
        described = " and ".join(texts[each] for each in self.formats)
        parts = [f"{self.complete} depth maps with pictures are in {self.folder}: {described}"]
        if before:
            parts.append(f"{before} were there already")
        if reduced:
            parts.append(f"{reduced} images were reduced before the model saw them (max_side)")
        if skipped:
            listed = ", ".join(quoted(name) for name in skipped[:LISTED])
            more = "" if len(skipped) <= LISTED else f" and {len(skipped) - LISTED} more"
            parts.append(f"{len(skipped)} images could not be read: {listed}{more}")
        counted = f"{self.complete - before} written, {before} kept, {len(skipped)} skipped"
        return "; ".join(parts) + f"\n{counted}"

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
        if settings != self.settings and not self.overwrite:
            raise InputError(
                f"output {self.folder} holds depth maps of another model or view; choose another folder with --output, "
                "or use --overwrite"
            )

    def _is_there(self, index: int) -> bool:
        file, name = self.files[index], self.names[index]
        picture, depth = (texts_of(self.folder / f"{file}{suffix}.png") for suffix in (COLOUR, ""))
        for texts in (picture, depth):
            self._check_same(file, texts, index)
        scales = {"png": float(depth["depth_scale"])} if depth else {}
        if "npy" in self.formats and is_array(self.folder / f"{file}.npy", bool(picture)):
            scales["npy"] = 1.0
        for each in (each for each in FORMATS if each in self.formats and each not in MAPS):
            paths = [self.folder / f"{file}{suffix}" for suffix in self.suffixes[each]]
            found = [is_companion(path, bool(picture)) for path in paths]
            if all(found):
                scales[each] = 1.0
        if picture.get("image") != name or not scales.keys() >= set(self.formats):
            return False
        self.scales.update({f"{file}.{each}": scale for each, scale in scales.items()})
        return True

    def _check_same(self, file: str, texts: dict[str, str], index: int) -> None:
        """Raise if a PNG belongs to another image than a sample."""
        other = texts.get("source") or texts.get("image", "")
        mine = self.sources[index] if texts.get("source") else self.names[index]
        if texts and mine and other != mine and not self.overwrite:
            raise InputError(
                f"{self.folder / file}.png holds the depth of {quoted(other)}, not of {quoted(mine)}; choose another "
                "folder with --output, or use --overwrite"
            )

    def _write(self, opened: BinaryIO, prediction: Prediction, kind: str, file_type: str) -> None:
        """Write a file of one of the formats except for png."""
        if kind in CLOUDS:
            write_cloud(opened, prediction, kind)
        elif kind == "panel":
            write_panel(opened, prediction, file_type)
        elif kind == "uncertainty":
            write_uncertainty(opened, prediction)
        else:
            np.save(opened, prediction.depth.numpy().astype(np.float32, copy=False))

    def _write_png(self, file: str, pixels: np.ndarray, text: PngInfo) -> None:
        with open_atomic(self.folder / file) as opened:
            Image.fromarray(pixels).save(opened, "PNG", pnginfo=text)


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be written ({error.strerror or error}); free space and repeat the command, which continues in "
        "the same folder, or choose another folder with --output"
    )
