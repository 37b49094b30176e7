"""Oracles: the ground truth at the resolution of the patches, and the part of it that bins can represent."""

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional as F

from depthclip.data.batches import Item
from depthclip.errors import InputError
from depthclip.estimator import DepthEstimator
from depthclip.evaluation.baselines import Baseline
from depthclip.head.interfaces import Coarse
from depthclip.protocol import Scoring, View

Size = tuple[int, int]


def patch_means(depth: Tensor, grid: Size) -> Tensor:
    """Return the mean depth of each patch, (B, 1, h, w), over its valid pixels; NaN for a patch without any.

    Args:
        depth: (B, 1, H, W) metres, 0 = invalid.
        grid: (h, w), the number of patches along each axis.
    """
    valid = F.adaptive_avg_pool2d((depth > 0).to(depth), grid)
    return torch.where(valid > 0, F.adaptive_avg_pool2d(depth, grid) / valid, torch.nan)


def filled(depth: Tensor) -> Tensor:
    """Return a map (h, w) with each NaN replaced by the nearest value; a map without any value stays NaN."""
    missing = depth.isnan()
    if not missing.any() or missing.all():
        return depth
    nearest = distance_transform_edt(missing.cpu().numpy(), return_distances=False, return_indices=True)
    rows, columns = torch.from_numpy(nearest).long().to(depth.device)
    return depth[rows, columns]


class Grid:
    """The outputs of a model for blank images, which show the number of patches of an image of any size.

    Args:
        model: model whose head is run.
        view: view of the data module.
    """

    def __init__(self, model: DepthEstimator, view: View) -> None:
        self.model = model
        self.view = view
        self.outputs: dict[tuple[Size, tuple[float, ...]], Coarse] = {}

    @torch.no_grad()
    def blank(self, size: Size, colour: tuple[float, ...] = (0.5, 0.5, 0.5)) -> Coarse:
        """Return the output of the head for an image of one colour; it is computed once for each size and colour.

        Args:
            size: (height, width) of the image in pixels.
            colour: red, green and blue in [0, 1].
        """
        if (size, colour) not in self.outputs:
            rgb = torch.tensor(colour, device=self.model.device).view(1, 3, 1, 1).expand(1, 3, *size)
            self.outputs[size, colour] = self.model.coarse(rgb.contiguous(), self.view)[0]
        return self.outputs[size, colour]

    def of(self, size: Size) -> Size:
        """Return the (h, w) of the head's map for images of a size."""
        height, width = self.blank(size).depth.shape[-2:]
        return height, width


class PatchTruth(Baseline):
    """The ground truth, averaged over each patch and upsampled as a prediction: the best case at this resolution.

    A patch without a pixel that counts takes the depth of the nearest patch that has some.

    Args:
        grid: number of patches of an image.
        scoring: pixels that count.
        name: name of the row.
    """

    def __init__(self, grid: Grid, scoring: Scoring, name: str = "truth per patch") -> None:
        self.grid = grid
        self.scoring = scoring
        self.name = name

    def predict(self, item: Item) -> Tensor:
        """Return the averaged ground truth at the size that the model saw, (h, w) metres."""
        size = size_of(item)
        counted = item.seen.cut(item.target) * self.scoring.mask(item.target, item.seen)
        coarse = self.limited(filled(patch_means(counted[None, None], self.grid.of(size))[0, 0]))
        return self.grid.view.upsample(coarse[None, None], size)[0, 0]

    def limited(self, coarse: Tensor) -> Tensor:
        """Return the depth of the patches within the limits of the oracle; here there are none."""
        return coarse


class BinnedTruth(PatchTruth):
    """The ground truth per patch as the best convex combination of the bins.

    The combinations of bins are all depths from the first bin to the last. Depth in this range is exact, with weights
    on its two neighbouring bins, and depth beyond it becomes the bin at its end.

    Args:
        grid: number of patches of an image.
        scoring: pixels that count.
        bins: (K,) metres, ascending.
        name: name of the row.

    Raises:
        InputError: if the bins are missing, or differ between images.
    """

    def __init__(self, grid: Grid, scoring: Scoring, bins: Tensor | None, name: str = "truth within the bins") -> None:
        super().__init__(grid, scoring, name)
        if bins is None or bins.ndim != 1:
            head = type(grid.model.head).__name__
            state = "has no bins" if bins is None else "predicts other bins for each image"
            raise InputError(f"model.head {head} {state}; use a DepthHead whose bins all images share")
        self.bins = bins

    def limited(self, coarse: Tensor) -> Tensor:
        """Return the depth of the patches, limited to the range of the bins."""
        bins = self.bins.to(coarse)
        return coarse.clamp(bins.min(), bins.max())


def size_of(item: Item) -> Size:
    """Return the (height, width) of an image as the model saw it, in pixels."""
    return item.rgb.shape[-2], item.rgb.shape[-1]
