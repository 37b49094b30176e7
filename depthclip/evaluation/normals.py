"""Angular errors of surface normals."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from depthclip.checks import check_count
from depthclip.evaluation.measures import Measure, ScoredImage
from depthclip.protocol import median

LARGEST_RADIUS = 50  # pixels
WITHIN = 11.25  # degrees, the strictest of the usual thresholds


class NormalErrors(Measure):
    """Angular errors of the surface normals of depth, in degrees: mean, median, and share below 11.25 degrees.

    The normal of a pixel is that of the plane fitted to the inverse depth of a square window around it, for the
    prediction and for the ground truth alike; see `surface_normals`. A pixel counts if its whole window counts, so that
    sparse laser depth has hardly any. Normals need planar depth and the focal length. Pixels are assumed to be square,
    and the principal point to lie at the centre of the image. An image without a focal length or without such a pixel
    has no figures.

    Args:
        radius: the window has 2 radius + 1 pixels of the ground truth on each side, 1 to 50. Windows of 3 x 3 are
            for exact depth; the default of 7 x 7 averages the noise of depth sensors.

    Raises:
        InputError: if the radius is out of range.
    """

    names = ("normals mean deg", "normals median deg", f"normals within {WITHIN} deg")
    higher = (f"normals within {WITHIN} deg",)

    def __init__(self, radius: int = 3) -> None:
        check_count("radius", radius, at_most=LARGEST_RADIUS, unit="pixels")
        self.radius = radius

    def of(self, image: ScoredImage) -> Tensor:
        """Return mean, median and share of the angular errors of each prediction, (V, 3); NaN where undefined."""
        side = 2 * self.radius + 1
        missing = image.prediction.new_full((len(image.prediction), len(self.names)), math.nan)
        if image.focal is None or min(image.mask.shape) < side:
            return missing
        whole = F.avg_pool2d(image.mask.float()[None], side, stride=1)[0] == 1
        if not whole.any():
            return missing
        maps = torch.where(image.mask, image.on_grid(torch.cat([image.target[None], image.prediction])), 1)
        center = image.center or (image.mask.shape[0] / 2, image.mask.shape[1] / 2)
        # one map at a time stays in the cache
        target, *predictions = (surface_normals(depth, image.focal, center, self.radius)[:, whole] for depth in maps)
        errors = torch.stack([angles(prediction, target) for prediction in predictions])
        return torch.stack([errors.mean(1), median(errors, 1), (errors < WITHIN).float().mean(1)], 1)


def surface_normals(depth: Tensor, focal: float, center: tuple[float, float], radius: int = 1) -> Tensor:
    """Return unit normals of the surfaces of a depth map, which point away from the camera.

    A plane n . X = d has the inverse depth 1 / z = (n_x x + n_y y + n_z) / d at the ray (x, y, 1), which is linear in
    the pixel coordinates. The slopes and the mean of 1 / z over the window, by least squares, therefore give the
    normal, which is exact for planes.

    Args:
        depth: (h, w) metres, positive planar depth: along the optical axis.
        focal: focal length in pixels of the map.
        center: (row, column) of the principal point, in pixels from the upper left corner of the map.
        radius: the windows have 2 radius + 1 pixels on each side.

    Returns:
        (3, h - 2 radius, w - 2 radius): x to the right, y down, z ahead.
    """
    side = 2 * radius + 1
    offsets = torch.arange(-radius, radius + 1, dtype=depth.dtype, device=depth.device).expand(side, side)
    slope = offsets / offsets.square().sum()
    kernels = torch.stack([slope, slope.T, torch.full_like(slope, 1 / side**2)])
    across, down, inverse = F.conv2d(depth.reciprocal()[None, None], kernels[:, None])[0]
    rows, columns = (
        torch.arange(size, dtype=depth.dtype, device=depth.device) + radius + 0.5 - origin
        for size, origin in zip(inverse.shape, center, strict=True)
    )
    ahead = inverse - across * columns - down * rows[:, None]
    normals = torch.stack([focal * across, focal * down, ahead])
    return normals / length(normals)


def angles(first: Tensor, second: Tensor) -> Tensor:
    """Return the angles between vectors (3, N) in degrees, (N,)."""
    # the arc cosine of a float32 product near 1 has errors of up to 0.03 degrees
    sine = length(torch.linalg.cross(first, second, dim=0))
    return torch.rad2deg(torch.atan2(sine, (first * second).sum(0)))


def length(vectors: Tensor) -> Tensor:
    """Return the length of vectors (3, ...)."""
    return vectors.square().sum(0).sqrt()  # many times faster than torch.linalg.vector_norm over the first dimension
