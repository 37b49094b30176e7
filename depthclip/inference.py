"""PhotoEstimator: depth of photographs in Python, without a Trainer."""

from collections.abc import Sequence
from typing import Literal, overload

import numpy as np
import torch
from torch import Tensor

from depthclip.checks import LARGEST_SIDE, check_count
from depthclip.encoded import EncodedPhoto
from depthclip.errors import InputError
from depthclip.estimator import DepthEstimator
from depthclip.evaluation.conformal import Conformal
from depthclip.head.depth_head import DepthHead, not_finite
from depthclip.head.words import replace_words, with_head_of
from depthclip.photograph import Photograph, focal_of, rgb_of, stated_focal
from depthclip.protocol import View
from depthclip.uncertainty import Estimate, estimate


class PhotoEstimator(DepthEstimator):
    """A DepthEstimator that estimates the depth of photographs, whose words can be replaced."""

    @overload
    def infer(
        self,
        image: Photograph | EncodedPhoto,
        max_side: int | None = None,
        mirror: bool | None = None,
        window: tuple[int, int] | None = None,
        stride: tuple[int, int] | None = None,
        fov: float | None = None,
        focal: float | None = None,
        *,
        uncertainty: Literal[False] = False,
    ) -> np.ndarray: ...

    @overload
    def infer(
        self,
        image: Photograph | EncodedPhoto,
        max_side: int | None = None,
        mirror: bool | None = None,
        window: tuple[int, int] | None = None,
        stride: tuple[int, int] | None = None,
        fov: float | None = None,
        focal: float | None = None,
        *,
        uncertainty: Literal[True],
    ) -> Estimate: ...

    @torch.no_grad()
    def infer(
        self,
        image: Photograph | EncodedPhoto,
        max_side: int | None = None,
        mirror: bool | None = None,
        window: tuple[int, int] | None = None,
        stride: tuple[int, int] | None = None,
        fov: float | None = None,
        focal: float | None = None,
        *,
        uncertainty: bool = False,
    ) -> np.ndarray | Estimate:
        """Return the depth of a photograph, (H, W) float32 metres at its own size.

        Args:
            image: a path, a PIL image, or (H, W, 3) uint8 RGB. PIL images are turned as their EXIF orientation says.
                Or what `encode_photo` returned, to which max_side, mirror, window and stride were passed.
            max_side: the longer side that CLIP sees, in pixels; `max_side` of the model if not given.
            mirror: whether the mirrored image is averaged in; `mirror` of the model if not given.
            window: (height, width) in pixels of the windows into which the reduced photograph is cut, see `View`; None
                for the whole photograph at once. Set max_side too for a photograph larger than `max_side` of the model.
            stride: (down, across) in pixels between neighbouring windows; None for half the window.
            fov: field of view across the width of the upright photograph, in degrees, for a head with a `camera`. If
                neither `fov` nor `focal` is given, a file's or PIL image's EXIF 35 mm equivalent is used.
            focal: focal length in pixels of the photograph, instead of `fov`.
            uncertainty: whether to return an `Estimate`: the depth, its standard deviation, the entropy of the weights
                of the words, the disagreement of both views, and the interval if `intervals` is calibrated.

        Raises:
            InputError: if the image is none of these or cannot be read, a number is out of range, both `fov` and
                `focal` are given, or the depth is not finite.
        """
        photo = self.encode_photo(image, max_side, mirror, window, stride)
        known = focal_of(photo.focal, photo.size, fov, focal)
        resized = None if known is None else known * photo.seen[1] / photo.size[1]
        output = self.read(photo.features, photo.needs, photo.view, photo.seen, [resized])[0]
        if isinstance(self.head, DepthHead) and not output.depth.isfinite().all():  # unchecked on an accelerator
            parts = {"image features": photo.features.dense, "logits": output.logits, "bins": output.bins}
            raise InputError(not_finite({name: part for name, part in parts.items() if part is not None}))
        found = estimate(output, photo.view, photo.size, self.intervals if uncertainty else None)
        return found if uncertainty else found.depth

    @torch.no_grad()
    def responses(
        self,
        image: Photograph | EncodedPhoto,
        window: tuple[int, int] | None = None,
        stride: tuple[int, int] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the weight of each word in each patch of a photograph, (h, w) in [0, 1], by word.

        A head without words has none.

        Args:
            image: a photograph, or what `encode_photo` returned, as `infer` takes it.
            window: windows, as `infer` takes them; the logits are averaged where they overlap.
            stride: (down, across) in pixels between neighbouring windows; None for half the window.

        Raises:
            InputError: if an argument is none that `infer` takes.
        """
        # the weights are those of the image as it is, so that only a photograph that is encoded already is mirrored
        photo = self.encode_photo(image, None, None if isinstance(image, EncodedPhoto) else False, window, stride)
        # which do not depend on the focal length
        weights = self.read(photo.features, photo.needs, photo.view, photo.seen, [1.0])[0].weights
        return {} if weights is None else dict(zip(self.head.labels, weights[0].cpu().numpy(), strict=True))

    @torch.no_grad()
    def encode_photo(
        self,
        image: Photograph | EncodedPhoto,
        max_side: int | None = None,
        mirror: bool | None = None,
        window: tuple[int, int] | None = None,
        stride: tuple[int, int] | None = None,
    ) -> EncodedPhoto:
        """Return the features of a photograph, from which `infer` and `responses` compute with the heads alone.

        Args:
            image: a photograph, as `infer` takes it; an encoded photograph is returned as it is.
            max_side: the longer side that CLIP sees, in pixels; `max_side` of the model if not given.
            mirror: whether the mirrored image is encoded too; `mirror` of the model if not given.
            window: windows, as `infer` takes them.
            stride: (down, across) in pixels between neighbouring windows; None for half the window.

        Raises:
            InputError: if an argument is none that `infer` takes, or a photograph that is encoded already is of another
                encoder or is to be encoded in another way.
        """
        if isinstance(image, EncodedPhoto):
            image.check_arguments({"max_side": max_side, "mirror": mirror, "window": window, "stride": stride})
            image.check_readable(self.encoder, self.needs, self.device)
            return image
        if max_side is not None:
            hint = "use None for the model's max_side"
            check_count("max_side", max_side, at_most=LARGEST_SIDE, unit="pixels", hint=hint)
        pixels, mirrored = rgb_of(image), self.mirror if mirror is None else mirror
        longest = self.max_side if max_side is None else int(max_side)
        view = View(max_side=longest, mirror=mirrored, window=window, stride=stride)
        rgb, needs = self.seen(pixels, view), self.needs
        size, seen = (pixels.shape[-2], pixels.shape[-1]), (rgb.shape[-2], rgb.shape[-1])
        features = self.encode(rgb, view, needs)
        return EncodedPhoto(features, needs, view, size, seen, self.encoder, stated_focal(image, size))

    def set_words(
        self,
        words: Sequence[str] | str,
        bins: Sequence[float] | str,
        templates: Sequence[str] | None = None,
        temperature: float | None = None,
    ) -> None:
        """Replace the words and bins of the head; sentences that were encoded before are not encoded again.

        Variants stay as they are. Calibrated intervals hold for the former words, so they are discarded. The settings
        that checkpoints keep are changed too. If an argument is refused, the model stays as it is.

        Args:
            words: K distance words from near to far, or the name of a set, see `Prompts`.
            bins: K depths in metres, positive and ascending, or the name of a set, see `Bins`.
            templates: sentences with `{distance}`; None to keep those of the head.
            temperature: divisor of the logits, from 1e-6 to 1e6; None to keep that of the head.

        Raises:
            InputError: if the head has no fixed prompts and bins, or `Prompts`, `Bins` or `DepthHead` refuses a value.
        """
        replace_words(self.head, self.encoder.text, words, bins, templates, temperature)
        self.settings = with_head_of(self.settings, self.head)
        if (old := self.intervals) is not None:
            self.intervals = Conformal(old.level, old.unit, old.score, old.floor).to(self.device)

    def seen(self, pixels: Tensor, view: View) -> Tensor:
        """Return the part of a photograph (3, H, W) uint8 that the model sees, (1, 3, h, w) in [0, 1]."""
        return (view.see(pixels).float() / 255).to(self.device)[None]
