"""Photographs without ground truth, for `predict`."""

import glob
import os
import warnings
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from depthclip.camera import check_fov, focal_length
from depthclip.counted import counted
from depthclip.data.files import Entry, FileSamples
from depthclip.data.focal import exif_focal
from depthclip.data.images import SKIP
from depthclip.data.module import DepthDataModule, Loading, Split
from depthclip.data.paths import argument_path, fault, quoted, regular_file
from depthclip.data.samples import DataError, DepthDataset
from depthclip.errors import InputError
from depthclip.output_files import is_output
from depthclip.protocol import VIEWS, View

# HEIF needs a plug-in of PIL, without which such photographs are skipped with the reason
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif")


class Photos(DepthDataModule):
    """Photographs without ground truth, for `predict`, given as files, folders or globs.

    Dataset Format: images of any size that PIL reads; their EXIF orientation is applied, and the focal length is
    that of their EXIF block (FocalLengthIn35mmFilm). Subfolders of a folder are ignored.

    Args:
        images: paths of images or folders, or globs such as `holiday/*.jpg`.
        view: part of an image that the model sees: a `View`, or the name of a preset; null for the view of `infer`:
            the whole photograph, reduced to `max_side` of the model, and `mirror` of the model. `max_side` of the model
            also applies to a view that sets neither `size` nor `max_side`.
        loading: batch size, worker processes, and unreadable files, which are skipped with a warning by default.
        fov: field of view across the width of the upright photographs, in degrees, for point clouds and for a head with
            a `camera`; null for the EXIF block of each photograph.

    Raises:
        InputError: if images is empty, or an argument is out of range.
        DataError: at setup, if a path, folder or glob has no image, or the stage is not `predict`.
    """

    def __init__(
        self,
        images: list[str],
        view: View | str | None = None,
        loading: Loading = Loading(batch_size=1, on_error="skip"),
        fov: float | None = None,
    ) -> None:
        super().__init__(VIEWS["whole"] if view is None else view, "whole", loading)
        if fov is not None:
            check_fov("fov", fov, hint="use null for the EXIF block of each photograph")
        if isinstance(images, str) or not images:
            raise InputError(f"images {images!r} must be a list of files, folders or globs, such as [holiday.jpg]")
        for image in images:
            argument_path("images", image)
        self.images = list(images)
        self.fov = fov
        self.given = None if view is None else self.view

    def follow(self, view: View) -> None:
        """Use the view of a model where no view was given, and its `max_side` for a view without limits of size.

        Args:
            view: the view by which `infer` of the model sees a photograph.
        """
        if self.given is None:
            self.view = view
        elif self.given.size is None and self.given.max_side is None:
            self.view = replace(self.given, max_side=view.max_side)

    def setup(self, stage: str) -> None:
        """Find the photographs.

        Raises:
            DataError: if there are none, or the stage needs ground truth.
        """
        if stage != "predict":
            raise DataError(f"Photos have no ground truth, which {stage} needs; use predict, or the data module Pairs")
        super().setup(stage)

    def has(self, split: Split) -> bool:
        """Return whether the split is `test`."""
        return split == "test"

    def samples(self, split: Split) -> DepthDataset:
        """Return all photographs in the order of `images`.

        Raises:
            DataError: if there are none, a path is not a regular file and `loading.on_error` is `raise`, or the split
                is `train`.
        """
        if split == "train":
            raise DataError(
                "Photos have no training images, which fitted bins and calibrated heads need; fit them with another "
                "data module, and pass the checkpoint as --ckpt_path"
            )
        # a photograph may be named in several ways; a link beside it has a name of its own
        paths = unrepeated(path for image in self.images for path in photographs(image))
        if self.loading.on_error == "raise":
            for path in paths:
                regular_file(path, "images", f"check the path, or {SKIP}")
        focal_of = exif_focal if self.fov is None else partial(focal_of_fov, self.fov)
        return PhotoSamples([Entry(path, None, str(path)) for path in paths], focal_of)

    def metadata(self) -> dict[str, Any]:
        """Return `images` and the number of photographs."""
        return {**super().metadata(), "paths": self.images}


class PhotoSamples(FileSamples):
    """Photographs that were named by their paths."""

    hint = f"check the path, or {SKIP}"


def unrepeated(paths: Iterable[Path]) -> list[Path]:
    """Return paths without those that name a file in a folder again in another way; the first of them stays."""
    found: dict[str, Path] = {}
    for path in paths:
        found.setdefault(os.path.join(os.path.realpath(path.parent), path.name), path)
    return list(found.values())


def focal_of_fov(fov: float, path: Path, size: tuple[int, int]) -> float:
    """Return the focal length in pixels of a photograph of a (height, width), from its field of view in degrees."""
    return focal_length(size[1], fov)


def photographs(named: str) -> list[Path]:
    """Return the images of a path, a folder or a glob, sorted by path.

    Files in a folder or of a glob that `predict` wrote are left out, with a warning that states their number.

    Raises:
        DataError: if there are none.
    """
    path = argument_path("images", named)
    if os.path.isdir(path):
        try:
            files = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES]
        except OSError as error:
            raise DataError(f"images {named} cannot be listed ({error.strerror}); check the folder") from error
        if not files:
            raise DataError(f"images {named} is a folder without images ({', '.join(SUFFIXES)}); give their folder")
        return sorted(without_outputs(files, named))
    if os.path.lexists(path):
        return [path]
    if not glob.has_magic(named):
        raise DataError(f"images {quoted(named)} {fault(path)}; check the path")
    files = [Path(match) for match in glob.glob(str(path), recursive=True) if not os.path.isdir(match)]
    if not files:
        raise DataError(f"images {quoted(named)} matches no file; check the pattern")
    return sorted(without_outputs(files, named))


def without_outputs(files: list[Path], named: str) -> list[Path]:
    """Return files without the pictures and depth maps of `predict`.

    Raises:
        DataError: if there are no others.
    """
    others = [file for file in files if not is_output(file)]
    count = len(files) - len(others)
    if not others:
        raise DataError(f"images {quoted(named)} has no photographs, only files that predict wrote; give their folder")
    if count:
        left_out = counted(count, "file that predict wrote is", "files that predict wrote are")
        warnings.warn(f"{left_out} left out of images {quoted(named)}", stacklevel=2)
    return others
