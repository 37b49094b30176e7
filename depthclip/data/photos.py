"""Photographs without truth, for `predict`."""

from pathlib import Path
from typing import Any, Literal

from depthclip.data.base import DataError, DepthDataModule, DepthDataset, Split
from depthclip.data.files import Entry, FileSamples
from depthclip.evaluation.protocol import View

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class Photos(DepthDataModule):
    """Photographs without truth, for `predict`: files, folders and globs.

    Dataset Format: images that PIL reads, of any size. Folders give the images in them, not those in folders below.

    Args:
        images: paths of images or of folders, or globs such as `holiday/*.jpg`.
        view: what the model sees: a preset's name or a View.
        batch_size: images a batch; they may differ in size.
        num_workers: processes that read; 0 reads in the main one.
        on_error: what an unreadable file does: `raise` its error, or `skip` it, name it and count it.

    Raises:
        ValueError: if no images are named.
        DataError: at setup, if a path, folder or glob has no image, or another stage than `predict` is asked for.
    """

    def __init__(
        self,
        images: list[str],
        view: View | str = "whole",
        batch_size: int = 1,
        num_workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        super().__init__(view, "whole", batch_size, num_workers, on_error)
        if not images:
            raise ValueError("images is empty; name files, folders or globs")
        self.images = list(images)

    def setup(self, stage: str) -> None:
        """Finds the photographs.

        Raises:
            DataError: if there are none, or truth would be needed.
        """
        if stage != "predict":
            raise DataError(f"Photos have no truth to {stage} with; use predict, or the data module Pairs")
        super().setup(stage)

    def samples(self, split: Split) -> DepthDataset:
        """All photographs, in the order in which they were named."""
        paths = [path for image in self.images for path in photographs(image)]
        return FileSamples([Entry(path, None, str(path)) for path in dict.fromkeys(paths)])

    def found(self) -> dict[str, Any]:
        """What was asked for, and how many photographs that is."""
        return {**super().found(), "paths": self.images}


def photographs(named: str) -> list[Path]:
    """The images that a path, a folder or a glob names, sorted.

    Raises:
        DataError: if there are none.
    """
    path = Path(named).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES]
    elif path.is_absolute():
        found = list(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    else:
        found = list(Path().glob(named))
    if not found:
        raise DataError(
            f"images {named} is no image, no folder with images and no glob that matches one; check the path"
        )
    return sorted(found)
