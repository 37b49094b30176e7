"""Write depth maps and what belongs to them to a folder that a later run can complete."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from depthclip.atomic import open_atomic, remove_abandoned
from depthclip.checks import check_choice
from depthclip.clouds import CLOUDS, check_trimesh, write_cloud
from depthclip.counted import counted
from depthclip.data.paths import quoted
from depthclip.depth_index import INDEX, MAPS, read_index, unwritable, write_index
from depthclip.errors import InputError
from depthclip.figure_files import VECTORS, Vector
from depthclip.file_names import PANEL, UNCERTAINTY, file_names, printable
from depthclip.further_files import write_panel, write_uncertainty
from depthclip.output_files import (
    PICTURE,
    SUFFIXES,
    content_digest,
    digest,
    is_same_photograph,
    is_written,
    remove_outdated,
    texts_of,
    version_of,
    written_suffixes,
)
from depthclip.pictures import colour_depth, depth_range, with_scale
from depthclip.png_values import to_png_values
from depthclip.shown import Prediction

FORMATS = (*MAPS, *CLOUDS, "panel", "uncertainty")
LISTED = 20  # skipped images in the summary


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
        self.paths = list(sources or [""] * len(names))
        self.sources = [printable(source) for source in self.paths]
        self.files = file_names(names)
        self.versions = [version_of(path) for path in self.paths]
        self.settings = json.loads(json.dumps(settings, default=str))
        self.digest = digest(self.settings)
        self.formats = tuple(formats)
        self.overwrite = overwrite
        self.suffixes = {each: [f".{each}"] for each in (*MAPS, *CLOUDS)} | {"uncertainty": [f"{UNCERTAINTY}.npz"]}
        self.suffixes["panel"] = [f"{PANEL}.{each}" for each in ("png", *([vector] if vector else []))]
        self.chosen = list(range(len(names)))
        self.scales: dict[str, float] = {}  # values per metre of the files in the folder; 1 except for png
        self.cloudless: dict[str, str] = {}  # images without point clouds, since their focal length is not known
        self.maps: dict[str, Any] = {}  # entries of the index

    @property
    def complete(self) -> int:
        """The number of samples whose depth map is in the folder in all formats, apart from clouds left out."""
        stems = {file.rpartition(".")[0] for file in self.scales} | self.cloudless.keys()
        return sum(all(f"{stem}.{each}" in self.scales for each in self._formats_of(stem)) for stem in stems)

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
        remove_abandoned(
            self.folder, {INDEX, *(f"{file}{each}" for file in self.files for each in (*SUFFIXES, PICTURE))}
        )
        self.maps = read_index(self.folder, self.settings, self.overwrite)
        missing = [k for k in range(len(self.files)) if not self._is_there(k)]
        if self.overwrite:
            self.scales.clear()
            self.cloudless.clear()
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

        Point clouds are left out if the focal length is not known.

        Args:
            prediction: its index is the position among the chosen samples; a position beyond them becomes the name of
                the file.

        Raises:
            InputError: if a depth is not finite, or a file cannot be written.
        """
        index, name, depth = prediction.index, prediction.name, prediction.depth.numpy()
        if not np.isfinite(depth).all():
            raise InputError(
                f"the depth of {name} is not finite; check temperature, logit_scale and bins of the head, and the "
                "weights"
            )
        known = index < len(self.chosen)
        file = self.files[self.chosen[index]] if known else f"{index:06d}"
        self.cloudless.pop(file, None)
        if prediction.focal is None and {*CLOUDS} & {*self.formats}:
            self.cloudless[file] = printable(name)
        values, scale = to_png_values(depth)
        scale_bar = depth_range(torch.from_numpy(depth))
        picture = with_scale(colour_depth(depth, *scale_bar), *scale_bar)
        texts = {"image": printable(name), "depth_scale": f"{scale:.17g}"}
        if known:
            sample = self.chosen[index]
            texts |= {"source": self.sources[sample], "photograph": self.versions[sample]}
            texts["sha256"] = content_digest(self.paths[sample])
        texts |= self._listed(file)
        # the picture is written first: if there is a depth map, its sample can be identified
        self._write_png(f"{file}{PICTURE}", picture, texts)
        for each in (each for each in FORMATS[1:] if each in self._formats_of(file)):
            for suffix in self.suffixes[each]:
                with self._opened(f"{file}{suffix}") as opened:
                    self._write(opened, prediction, each, suffix.rpartition(".")[2])
            self.scales[f"{file}.{each}"] = 1.0
        if "png" in self.formats:
            self._write_png(f"{file}.png", values, texts)
            self.scales[f"{file}.png"] = scale

    def write_index(self) -> None:
        """Write the index: the scale and the image of each depth map in the folder; further files are not in it.

        Raises:
            InputError: if the file cannot be written.
        """
        images = dict(zip(self.files, self.names, strict=True))
        self.maps = write_index(self.folder, self.settings, self.maps, images, self.scales)

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
        there = counted(self.complete, "depth map with a picture is", "depth maps with pictures are")
        parts = [f"{there} in {self.folder}: {described}"]
        if before:
            parts.append(f"{counted(before, 'was', 'were')} there already")
        if reduced:
            seen = counted(reduced, "image was reduced", "images were reduced")
            parts.append(f"{seen} before the model saw {'it' if reduced == 1 else 'them'} (max_side)")
        if skipped:
            parts.append(f"{counted(len(skipped), 'image', 'images')} could not be read: {listed(skipped)}")
        parts += [self.without_clouds()] if self.cloudless else []
        return "; ".join(parts) + f"\n{self.complete - before} written, {before} kept, {len(skipped)} skipped"

    def without_clouds(self) -> str:
        """Return which images have no point cloud, with the reason."""
        names = sorted(self.cloudless.values())
        have = counted(len(names), "image has no point cloud", "images have no point clouds")
        return (
            f"{have}, since the focal length is not known (EXIF FocalLengthIn35mmFilm; set data.fov): {listed(names)}"
        )

    def _formats_of(self, file: str) -> list[str]:
        """Return the formats of an image, without point clouds if its focal length is not known."""
        return [each for each in self.formats if each not in CLOUDS or file not in self.cloudless]

    def _suffixes(self, formats: Sequence[str]) -> set[str]:
        return {suffix for each in formats for suffix in self.suffixes[each]}

    def _is_there(self, index: int) -> bool:
        file, name = self.files[index], self.names[index]
        picture, depth = (texts_of(self.folder / f"{file}{suffix}") for suffix in (PICTURE, ".png"))
        for texts in (picture, depth):
            self._check_same(file, texts, index)
        # other settings: `--overwrite` was interrupted, or applied to other images
        current = all(texts.get("settings", self.digest) == self.digest for texts in (picture, depth))
        if current and not self.overwrite and "left_out" in picture and {*CLOUDS} & {*self.formats}:
            self.cloudless[file] = name
        written = written_suffixes(picture)
        needed = {each for each in self._suffixes(self._formats_of(file)) if each != ".png"}
        found = {each for each in needed if is_written(self.folder / f"{file}{each}", each in written)}
        if not current or picture.get("image") != name or found != needed or ("png" in self.formats and not depth):
            return False
        self.scales.update({f"{file}.{each}": 1.0 for each in self._formats_of(file) if each != "png"})
        if depth:
            self.scales[f"{file}.png"] = float(depth["depth_scale"])
        return True

    def _check_same(self, file: str, texts: dict[str, str], index: int) -> None:
        """Raise if a PNG belongs to another image than a sample, or to an earlier version of it."""
        other = texts.get("source") or texts.get("image", "")
        mine = self.sources[index] if texts.get("source") else self.names[index]
        if not texts or not mine or self.overwrite:
            return
        if other != mine:
            held = f"{quoted(other)}, not of {quoted(mine)}"
        elif not is_same_photograph(texts, self.paths[index], self.versions[index]):
            held = f"an earlier version of {quoted(mine)}"
        else:
            return
        raise InputError(
            f"{self.folder / file}.png holds the depth of {held}; choose another folder with --output, or use "
            "--overwrite"
        )

    def _listed(self, file: str) -> dict[str, str]:
        """Return the texts of an image that list its files, and remove the files of other settings."""
        formats = self._formats_of(file)
        files, left_out = self._suffixes(formats), self._suffixes([e for e in self.formats if e not in formats])
        earlier = texts_of(self.folder / f"{file}{PICTURE}")
        if self.overwrite or earlier.get("settings", self.digest) != self.digest:
            remove_outdated(self.folder, file, self._suffixes(self.formats))
        else:
            earlier_files = written_suffixes(earlier) - left_out
            files |= {each for each in earlier_files if (self.folder / f"{file}{each}").is_file()}
        texts = {"settings": self.digest, "files": " ".join(sorted(files))}
        return {**texts, "left_out": " ".join(sorted(left_out))} if left_out else texts

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

    def _write_png(self, file: str, pixels: np.ndarray, texts: dict[str, str]) -> None:
        text = PngInfo()
        for key in (key for key in texts if texts[key]):
            text.add_text(key, texts[key])
        with self._opened(file) as opened:
            Image.fromarray(pixels).save(opened, "PNG", pnginfo=text)

    @contextmanager
    def _opened(self, file: str) -> Iterator[BinaryIO]:
        """Open a file of the folder for writing, and name it in errors."""
        try:
            with open_atomic(self.folder / file) as opened:
                yield opened
        except OSError as error:
            raise unwritable(self.folder / file, error) from error


def listed(names: Sequence[str]) -> str:
    """Return the first names of a list, and the number of the others."""
    more = "" if len(names) <= LISTED else f" and {len(names) - LISTED} more"
    return ", ".join(quoted(name) for name in names[:LISTED]) + more
