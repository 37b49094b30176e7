"""Images in the results of a run: test images in the pictures, and predicted depth maps."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from depthclip.data.batches import Batch, Item
from depthclip.depth_maps import nan_unless_finite
from depthclip.evaluation.conformal import Conformal
from depthclip.head.interfaces import Coarse
from depthclip.protocol import View
from depthclip.uncertainty import Estimate, estimate, spread_maps


@dataclass(frozen=True)
class Shown:
    """A test image that goes into the pictures.

    Args:
        index: index in the data set.
        name: name of the sample.
        rgb: (3, h, w) in [0, 1], the part of the image that the model saw.
        target: (h', w') metres, the ground truth of the same part of the scene, 0 where the protocol does not score;
            None without ground truth.
        depth: (V, h', w') metres, of the head and each variant.
        weights: (K, h'', w'') in [0, 1], the weight of each word of the head in each patch; None without words.
        farthest: (V,) metres, the largest bin of the head and each variant, 0 without bins.
        spread: (h', w') metres, the standard deviation of the depth of the head; None if it has none.
        bins: (K,) metres, the bin of each word of the head in this image; None without bins.
    """

    index: int
    name: str
    rgb: Tensor
    target: Tensor | None
    depth: Tensor
    weights: Tensor | None
    farthest: Tensor
    spread: Tensor | None = None
    bins: Tensor | None = None

    def cpu(self) -> "Shown":
        """Return the image on the CPU."""
        return replace(
            self,
            rgb=self.rgb.cpu(),
            target=None if self.target is None else self.target.cpu(),
            depth=self.depth.cpu(),
            weights=None if self.weights is None else self.weights.cpu(),
            farthest=self.farthest.cpu(),
            spread=None if self.spread is None else self.spread.cpu(),
            bins=None if self.bins is None else self.bins.cpu(),
        )


@dataclass(frozen=True)
class Prediction:
    """The depth of one image.

    Args:
        index: index in the data set.
        name: name of the sample.
        depth: (H, W) metres, of the part of the image that the model saw, at its size in the image.
        rgb: (3, h, w) in [0, 1], what the model saw: the same part of the image, resized.
        seen: (h, w) metres, the depth at that size.
        focal: focal length in pixels of `rgb`; None if the data set does not state it.
        center: (x, y) of the centre of the whole image in pixels of `rgb`; None for the centre of `rgb`.
        output: output of the head for this image, on the device of the model, for panels and maps of uncertainty.
        view: view by which its maps are upsampled.
        words: labels of the K words of the head.
        intervals: intervals around the depth; None for none.
    """

    index: int
    name: str
    depth: Tensor
    rgb: Tensor
    seen: Tensor
    focal: float | None = None
    center: tuple[float, float] | None = None
    output: Coarse | None = None
    view: View = field(default_factory=View)
    words: tuple[str, ...] = ()
    intervals: Conformal | None = None

    def estimate(self) -> Estimate:
        """Return the depth and its uncertainty, as `infer` does, at the size of `depth`."""
        output = self.output or Coarse(self.depth[None, None])
        return estimate(output, self.view, (self.depth.shape[0], self.depth.shape[1]), self.intervals)

    def shown(self) -> Shown:
        """Return the image and its depth for a panel, at the size that the model saw."""
        weights, spread, output = None, None, self.output
        if output is not None and output.weights is not None:
            weights = output.weights[0].float().cpu()
        if output is not None and output.spread is not None:
            spread = spread_maps([output], self.view, (self.seen.shape[0], self.seen.shape[1]))[0].cpu()
        bins = None if output is None else bins_of_image(output)
        farthest = self.seen.new_zeros(1)
        shown = Shown(self.index, self.name, self.rgb, None, self.seen[None], weights, farthest, spread, bins)
        return shown.cpu()


def prediction_of(
    item: Item,
    depth: Tensor,
    output: Coarse,
    batch: Batch,
    words: tuple[str, ...] = (),
    intervals: Conformal | None = None,
) -> Prediction:
    """Return the depth of an image, on the CPU.

    The map of an image without ground truth is upsampled once, as in `infer`; with ground truth, it is resampled from
    the size that the model saw, as it is scored.

    Args:
        item: the image.
        depth: (h, w) metres, at the size the model saw.
        output: output of the head for this image.
        batch: the batch of the image, for its view and scoring.
        words: labels of the K words of the head.
        intervals: intervals around the depth; None for none.
    """
    if item.depth is None:
        full = batch.view.upsample(nan_unless_finite(output.depth), item.seen.size)[0, 0].float()
    else:
        full = batch.scoring.resampled(depth[None], item.seen)[0]
    whole, box = item.size if item.depth is None else item.depth.shape[-2:], item.seen
    center = None
    if whole is not None:
        (height, width), (rows, columns) = box.size, depth.shape
        center = (whole[1] / 2 - box.left) * columns / width, (whole[0] / 2 - box.top) * rows / height
    return Prediction(
        item.index,
        item.name,
        full.cpu(),
        item.rgb.cpu(),
        depth.cpu(),
        item.focal,
        center,
        output,
        batch.view,
        words,
        intervals,
    )


def shown_image(item: Item, depth: Tensor, batch: Batch, coarse: Sequence[Coarse] = ()) -> Shown:
    """Return a test image for the pictures, on its device.

    Args:
        item: the image.
        depth: (V, h, w) metres, of the head and its variants, at the size the model saw.
        batch: the batch of the image, for its view and scoring.
        coarse: outputs of the heads for this image; () for depth maps from files.
    """
    aligned = batch.scoring.align(depth, item.target, item.seen)
    weights, spread = coarse[0].weights if coarse else None, None
    if coarse and coarse[0].spread is not None:
        maps = spread_maps(coarse[:1], batch.view, (depth.shape[-2], depth.shape[-1]))
        spread = batch.scoring.resampled(maps, item.seen)[0]
    farthest = depth.new_zeros(len(coarse))
    for place, each in zip(farthest, coarse, strict=True):
        if each.bins is not None:
            place.copy_(each.bins.max())
    return Shown(
        item.index,
        item.name,
        item.rgb,
        aligned.target * aligned.mask,
        aligned.prediction,
        None if weights is None else weights[0],
        farthest,
        spread,
        bins_of_image(coarse[0]) if coarse else None,
    )


def bins_of_image(output: Coarse) -> Tensor | None:
    """Return the bins (K,) of an output for one image; None without bins."""
    return None if output.bins is None else output.bins.reshape(-1).float()
