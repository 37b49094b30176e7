"""Photographs without truth, for `predict`."""

import glob
import os
from pathlib import Path
from typing import Any

from depthclip.data.files import Entry, FileSamples
from depthclip.data.images import SKIP
from depthclip.data.module import DepthDataModule, Loading, Split
from depthclip.data.paths import argument_path, fault, regular_file, shown
from depthclip.data.samples import DataError, DepthDataset
from depthclip.errors import InputError
from depthclip.protocol import VIEWS, View

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class Photos(DepthDataModule):
    """Photographs without truth, for `predict`: files, folders and globs.

    Dataset Format: images that PIL reads, of any size; they are turned as their EXIF orientation says. Folders give the
    images in them, not those in folders below.

    Args:
        images: paths of images or of folders, or globs such as `holiday/*.jpg`.
        view: part of an image that the model sees: a `View`, or the name of a preset.
        loading: batch size, worker processes, and unreadable files.

    Raises:
        InputError: if no images are named, or an argument is not in its range.
        DataError: at setup, if a path, folder or glob has no image, or another stage than `predict` is asked for.
    """

    def __init__(
        self,
        images: list[str],
        view: View | str = VIEWS["whole"],
        loading: Loading = Loading(batch_size=1),
    ) -> None:
        super().__init__(view, "whole", loading)
        if isinstance(images, str) or not images:
            raise InputError(f"images {images!r} must be a list of files, folders or globs; images is empty otherwise")
        for image in images:
            argument_path("images", image)
        self.images = list(images)

    def setup(self, stage: str) -> None:
        """Find the photographs.

        Raises:
            DataError: if there are none, or truth would be needed.
        """
        if stage != "predict":
            raise DataError(f"Photos have no truth to {stage} with; use predict, or the data module Pairs")
        super().setup(stage)

    def samples(self, split: Split) -> DepthDataset:
        """Return all photographs, in the order in which they were named.

        Raises:
            DataError: if there are none, or, unless unreadable files are skipped, a path is not a regular file.
        """
        paths = dict.fromkeys(path for image in self.images for path in photographs(image))
        if self.loading.on_error == "raise":
            for path in paths:
                regular_file(path, "images", f"check the path, or {SKIP}")
        return FileSamples([Entry(path, None, str(path)) for path in paths])

    def metadata(self) -> dict[str, Any]:
        """What was asked for, and how many photographs that is."""
        return {**super().metadata(), "paths": self.images}


def photographs(named: str) -> list[Path]:
    """Return the images that a path, a folder or a glob names, sorted.

    Raises:
        DataError: if there are none.
    """
    path = argument_path("images", named)
    if os.path.isdir(path):
        try:
            found = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and not os.path.isdir(file)]
        except OSError as error:
            raise DataError(f"images {named} cannot be listed ({error.strerror}); check the folder") from error
        if not found:
            raise DataError(f"images {named} is a folder without images ({', '.join(SUFFIXES)}); give their folder")
        return sorted(found)
    if os.path.lexists(path):
        return [path]
    if not glob.has_magic(named):
        raise DataError(f"images {shown(named)} {fault(path)}; check the path")
    found = [Path(match) for match in glob.glob(str(path), recursive=True) if not os.path.isdir(match)]
    if not found:
        raise DataError(f"images {shown(named)} matches no file; check the pattern")
    return sorted(found)
