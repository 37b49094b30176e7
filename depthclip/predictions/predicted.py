"""A row of an evaluation whose depth is read from files."""

import math
import statistics
import warnings
from pathlib import Path

from torch import Tensor

from depthclip.checks import check_choice
from depthclip.data.batches import Item
from depthclip.data.files import check_scale, header_size
from depthclip.data.module import DepthDataModule
from depthclip.data.paths import argument_path, quoted
from depthclip.data.samples import DataError, DepthDataset
from depthclip.errors import InputError
from depthclip.evaluation.baselines import Baseline
from depthclip.predictions.coverage import Part, part_of
from depthclip.predictions.files import DepthMap, read_prediction
from depthclip.predictions.matching import LISTED, SUFFIXES, match
from depthclip.protocol import Box, Scoring, View, median, seen_in_truth

FIRST = 8  # images whose depth is compared with the ground truth
LARGEST_RATIO = 5.0  # between the medians of prediction and ground truth


class Predicted(Baseline):
    """Depth maps that any method wrote to files, matched with the test images by name.

    Dataset Format: 16-bit PNG, TIFF with 16-bit or floating-point values, .npy, or .npz with a single array or an array
    `depth`; (H, W), at the size of the image, of its ground truth, or of the view's crop. Missing, unreadable and
    implausible files are reported before the first image is scored.

    Args:
        name: name of the row.
        folder: folder of the depth maps, with its subfolders.
        scale: values per metre, such as 1000 for millimetres; null for the scale that the files of `predict` state, and
            for floating-point values in metres.
        covers: part that maps of any size show, and over which they are resampled: the whole `image`, or the part in
            the `view`; null to decide by the size.
        suffix: suffix of the files that count, such as `.npy`; null for all.
        any_unit: whether to accept depths that differ from the ground truth by a factor of more than 5, as if the unit
            was wrong.

    Raises:
        InputError: if the scale is out of range, or `covers` or `suffix` is unknown.
        DataError: if the folder does not exist.
    """

    def __init__(
        self,
        name: str,
        folder: str,
        scale: float | None = None,
        covers: Part | None = None,
        suffix: str | None = None,
        any_unit: bool = False,
    ) -> None:
        self.name = name
        self.folder = argument_path("folder", folder)
        if not self.folder.is_dir():
            raise DataError(
                f"folder {quoted(self.folder)} of the predictions {name!r} is not a folder; pass the folder that holds "
                "the depth maps"
            )
        if scale is not None:
            check_scale("scale", scale)
        if covers is not None:
            check_choice("covers", covers, ("image", "view"), "or null to decide by the size")
        if suffix is not None:
            check_choice("suffix", suffix, SUFFIXES, "or null for all")
        self.scale = scale
        self.covers = covers
        self.suffix = suffix
        self.any_unit = any_unit
        self.paths: list[Path] = []
        self.scales: list[float | None] = []
        self.view, self.scoring = View(), Scoring()

    def prepare(self, data: DepthDataModule) -> None:
        """Find the depth map of each test image, read each once, and check sizes, values and unit.

        Raises:
            DataError: if a file is missing, cannot be read or has wrong values, or the unit looks wrong.
        """
        samples = data.sets["test"]
        self.view, self.scoring = data.view, data.scoring
        names = [samples.name(k) for k in range(len(samples))]
        self.paths, self.scales, extra = match(self.folder, names, self.suffix)
        if extra:
            shown = ", ".join(extra[:LISTED])
            warnings.warn(
                f"{len(extra)} depth maps in {quoted(self.folder)} belong to no test image, such as {shown}; check "
                "that the split is the intended one",
                stacklevel=2,
            )
        ratios, grids = [], False
        for k in range(min(FIRST, len(samples))):
            try:
                target, size = samples.truth(k)
            except DataError:  # the run reports it, or skips the image
                continue
            if target is None:
                continue
            grids = grids or shape(target) != size
            seen = seen_in_truth(self.view.box(*size), size, shape(target))
            part = self.part(self.read(k).depth, k, size, target, seen)
            prediction, true = self.scoring.align(part[None], target, seen).pixels()
            if len(true):
                ratios.append(float(median(prediction[0], 0) / median(true, 0)))
        self.check_all(samples, grids)
        self.check_unit(ratios)

    def check_all(self, samples: DepthDataset, grids: bool) -> None:
        """Read each depth map, check its values, and its size where the size of the image is known without decoding it.

        Args:
            samples: test images.
            grids: whether the ground truth differs from the images in size.

        Raises:
            DataError: if a file cannot be read, or its values or its size are wrong.
        """
        holes = 0
        for k in range(len(samples)):
            depth, files = self.read(k).depth, samples.files(k)
            holes += bool((depth == 0).any())
            size = header_size(files[0]) if files and not grids else None
            if size is not None:  # else the size is checked with the image
                part_of(shape(depth), size, size, self.view, self.paths[k], self.covers)
        if holes:
            warnings.warn(
                f"{holes} depth maps in {quoted(self.folder)} are 0 at some pixels, which count as "
                f"{self.scoring.limits[0]:g} m; check that 0 does not stand for missing depth",
                stacklevel=2,
            )

    def check_unit(self, ratios: list[float]) -> None:
        """Check the unit of files that do not state it, unless the scoring aligns predictions.

        Args:
            ratios: the median of the prediction divided by that of the ground truth, for some images.

        Raises:
            DataError: if the ratio is greater than 5 or less than 1/5, or 0.
        """
        first = self.read(0)
        if self.any_unit or first.stated or self.scoring.alignment != "none" or not ratios:
            return
        ratio = statistics.median(ratios)
        if 1 / LARGEST_RATIO <= ratio <= LARGEST_RATIO:
            return
        if not ratio:
            raise DataError(
                f"at least half of the scored depths in {quoted(self.folder)} are 0 (medians of the first "
                f"{len(ratios)} images); check that 0 does not stand for missing depth, or set any_unit to score it as "
                f"{self.scoring.limits[0]:g} m"
            )
        likely = first.scale * 10.0 ** round(math.log10(ratio))
        raise DataError(
            f"the depths in {quoted(self.folder)} are {ratio:.3g} times the ground truth with scale {first.scale:g} "
            f"(medians of the first {len(ratios)} images); set scale to the values per metre, such as {likely:g}, or "
            "set any_unit if the depths are in metres"
        )

    def predict(self, item: Item) -> Tensor:
        """Return the depth of the view of an image, (h, w) metres at the size of the map or of the ground truth.

        Raises:
            DataError: if the file cannot be read or its size fits neither the image nor the view.
            InputError: if there is no data module, so that the files were not matched.
        """
        if not self.paths:
            raise InputError(f"predictions {self.name!r} need a data module to be matched; pass one to the trainer")
        size = shape(item.target) if item.size is None else item.size
        return self.part(self.read(item.index).depth, item.index, size, item.target, item.seen)

    def read(self, index: int) -> DepthMap:
        """Return the depth map of a test image."""
        return read_prediction(self.paths[index], self.scale, self.scales[index])

    def part(self, depth: Tensor, index: int, image: tuple[int, int], target: Tensor, seen: Box) -> Tensor:
        """Return the part of a depth map that shows the view of an image.

        Args:
            depth: (h, w) metres.
            index: index of the image.
            image: (height, width) of the image.
            target: (H, W), the ground truth.
            seen: box of the view in the ground truth.
        """
        size = shape(target)
        if part_of(shape(depth), image, size, self.view, self.paths[index], self.covers) == "view":
            return depth
        return seen.cut(self.scoring.resampled(depth[None], Box(0, 0, *size))[0])


def shape(depth: Tensor) -> tuple[int, int]:
    """Return the (height, width) of a map."""
    return depth.shape[0], depth.shape[1]
