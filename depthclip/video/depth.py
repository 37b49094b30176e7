"""VideoDepth: the depth of the frames of a video, smoothed over time on request."""

import numpy as np
import torch
from torch import Tensor

from depthclip.checks import brief, check_number
from depthclip.encoded import EncodedPhoto
from depthclip.errors import InputError
from depthclip.head.depth_head import DepthHead
from depthclip.head.interfaces import Coarse
from depthclip.inference import PhotoEstimator
from depthclip.photograph import Photograph, focal_of
from depthclip.uncertainty import estimate


class VideoDepth:
    """Estimate the depth of the frames of a video, given in order.

    Without smoothing, the depth of each frame is that of `DepthCLIP.infer`. With smoothing A, it is computed from
    the exponential mean of the logits l over the frames t,

        m_0 = l_0,    m_t = A m_(t-1) + (1 - A) l_t,

    and, with `mirror` of the model, likewise from the logits of the mirrored frames before the depths are averaged.

    Args:
        model: a `DepthCLIP`.
        smoothing: A, from 0 to 0.999; 0 for no smoothing. An event fades with the time constant -1 / ln(A) frames.
        fov: field of view across the width of the upright frames, in degrees, for a head with a `camera`; None if it is
            not known.

    Raises:
        InputError: if the smoothing is out of its range, or the head is no `DepthHead`, whose logits can be smoothed.
    """

    def __init__(self, model: PhotoEstimator, smoothing: float = 0.0, fov: float | None = None) -> None:
        check_smoothing(smoothing)
        if smoothing and not isinstance(model.head, DepthHead):
            raise InputError(
                f"smoothing {smoothing:g} needs logits, which the head {type(model.head).__name__} does not have; use "
                "smoothing 0, or a DepthHead"
            )
        self.model = model
        self.smoothing = smoothing
        self.fov = fov
        self.means: list[Tensor] = []  # m of the frames, and of the mirrored frames

    def infer(self, image: Photograph | EncodedPhoto) -> np.ndarray:
        """Return the depth of the next frame, (H, W) float32 metres.

        Args:
            image: an (H, W, 3) uint8 RGB array, or any photograph that `DepthCLIP.infer` takes.

        Raises:
            InputError: if the frame is none of these, or differs in size from the frames before.
        """
        photo = self.model.encode_photo(image)
        return estimate(self.update(photo), photo.view, photo.size, None).depth

    @torch.no_grad()
    def update(self, image: Photograph | EncodedPhoto) -> Coarse:
        """Return the outputs of the head for the next frame, with smoothed logits, at the resolution of the patches.

        Args:
            image: the frame, as `infer` takes it.

        Raises:
            InputError: if the frame is no photograph, or differs in size from the frames before.
        """
        photo = self.model.encode_photo(image)
        known = focal_of(photo.focal, photo.size, self.fov)
        resized = None if known is None else known * photo.seen[1] / photo.size[1]
        output = self.model.read(photo.features, photo.needs, photo.view, photo.seen, [resized])[0]
        return self._smoothed(output) if self.smoothing else output

    def _smoothed(self, output: Coarse) -> Coarse:
        views = [output] if output.mirrored is None else [output, output.mirrored]
        logits = [view.logits for view in views if view.logits is not None]
        if self.means and self.means[0].shape != logits[0].shape:
            raise InputError(
                f"image has patches {brief(tuple(logits[0].shape[-2:]))}, but the frames before have "
                f"{brief(tuple(self.means[0].shape[-2:]))}; use a new VideoDepth for frames of another size"
            )
        before = self.means or logits
        self.means = [torch.lerp(new, old, self.smoothing) for new, old in zip(logits, before, strict=True)]
        smooth = [self._at(view, mean) for view, mean in zip(views, self.means, strict=True)]
        depth = torch.stack([view.depth for view in smooth]).mean(0)
        return smooth[0]._replace(depth=depth, mirrored=smooth[1] if len(smooth) > 1 else None)

    def _at(self, view: Coarse, logits: Tensor) -> Coarse:
        head = self.model.head
        assert isinstance(head, DepthHead)  # checked by the constructor
        assert view.bins is not None
        return view._replace(depth=head.depth(logits, view.bins), logits=logits)


def check_smoothing(smoothing: float) -> None:
    """Raise unless a smoothing over time is in its range.

    Raises:
        InputError: with its value.
    """
    check_number("smoothing", smoothing, at_least=0, at_most=0.999, hint="use 0 for none")
