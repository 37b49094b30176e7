"""The cost of an evaluation as DepthCLIP's released script runs it (Adonis-galaxy/DepthCLIP, eval.py)."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from depthclip.data.batches import Batch, Item
from depthclip.module import DepthCLIP


def evaluate_as_released(model: DepthCLIP, batch: Batch) -> list[dict[str, float]]:
    """Return the errors of each image of a batch, computed one by one.

    Each view of an image is a pass of batch size 1. The mean of both maps is upsampled and copied to the CPU, pasted
    into the whole image, clamped, and compared with the ground truth in NumPy. The script evaluates one head.

    Args:
        model: the model, of which the first head is evaluated.
        batch: images on the device of the model.
    """
    return [numpy_errors(depth_of_both_views(model, item, batch), item, batch) for item in batch.items]


def depth_of_both_views(model: DepthCLIP, item: Item, batch: Batch) -> Tensor:
    """Return the mean depth of an image and its mirrored copy, (h, w) metres, each encoded alone."""
    rgb, single = item.rgb[None], replace(batch.view, mirror=False)
    depth = model.coarse(rgb, single, [item.focal])[0].depth
    if batch.view.mirror:
        depth = (depth + model.coarse(rgb.flip(-1), single, [item.focal])[0].depth.flip(-1)) / 2
    return batch.view.upsample(depth, (rgb.shape[-2], rgb.shape[-1]))[0, 0]


def numpy_errors(depth: Tensor, item: Item, batch: Batch) -> dict[str, float]:
    """Return the errors of a depth map in NumPy on the CPU."""
    pasted, mask = torch.zeros_like(item.target), torch.zeros_like(item.target, dtype=torch.bool)
    item.seen.cut(pasted).copy_(batch.scoring.resampled(depth[None].float(), item.seen)[0])
    item.seen.cut(mask).copy_(batch.scoring.mask(item.target, item.seen))
    inside = mask.cpu().numpy()
    p, g = np.clip(pasted.cpu().numpy(), *batch.scoring.limits)[inside], item.target.cpu().numpy()[inside]
    ratio = np.maximum(p / g, g / p)
    return {
        "abs_rel": float(np.mean(np.abs(p - g) / g)),
        "sq_rel": float(np.mean((p - g) ** 2 / g)),
        "rmse": float(np.sqrt(np.mean((p - g) ** 2))),
        "rmse_log": float(np.sqrt(np.mean((np.log(p) - np.log(g)) ** 2))),
        "log10": float(np.mean(np.abs(np.log10(p) - np.log10(g)))),
        **{f"delta{k}": float(np.mean(ratio < 1.25**k)) for k in (1, 2, 3)},
    }
