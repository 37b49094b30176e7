"""DepthEstimator: everything of the model that works without a Trainer."""

import warnings
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import UninitializedParameter

from depthclip.checkpointed import CheckpointedModule
from depthclip.checks import check_count
from depthclip.encoded import EncodedPhoto
from depthclip.encoder.encoder import Encoder
from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.evaluation.conformal import Conformal
from depthclip.head.interfaces import Coarse, Head, prepare_once
from depthclip.head.words import replace_words, with_head_of
from depthclip.photograph import Photograph, focal_of, rgb_of, stated_focal
from depthclip.protocol import View
from depthclip.rows import HEAD, check_variants
from depthclip.stitching import mean_of_mirrored, stitch
from depthclip.uncertainty import Estimate, estimate

UNKNOWN_FOCAL = (
    "the focal length of an image is not known, so that its depth is not multiplied by focal / camera; pass fov or "
    "focal to infer, set data.fov of Photos, or set camera of the head to null"
)


class DepthEstimator(CheckpointedModule):
    """A frozen encoder and depth heads that read its features: depth of photographs, and checkpoints.

    Args:
        encoder: the frozen encoder of images and sentences.
        head: turns its features into depth.
        variants: further heads by name, which read the same features.
        mirror: whether the mirrored photograph is encoded too, and the depths averaged.
        max_side: number of pixels to which the longer side of a photograph is reduced before CLIP sees it.
        intervals: intervals around the depth of the head; None for none.

    Raises:
        InputError: if max_side is not a positive number of pixels, two rows have one name, or the encoder does not
            compute the features that a head needs.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: Head,
        variants: Mapping[str, Head] | None,
        mirror: bool,
        max_side: int,
        intervals: Conformal | None = None,
    ) -> None:
        super().__init__()
        check_variants(variants or {})
        check_count("max_side", max_side, unit="pixels")
        self.encoder = encoder.requires_grad_(False).eval()
        self.head = head
        self.variants = nn.ModuleList((variants or {}).values())
        self.names = (HEAD, *(variants or {}))
        self.mirror = mirror
        self.max_side = max_side
        self.intervals = intervals
        self.warned_of_focal = False  # whether an image without a focal length has met a head with a camera
        self.settings: dict[str, Any] = {}  # the arguments as YAML has them, for checkpoints; the command line sets it
        self.data_settings: dict[str, Any] = {}  # and those of the data module
        encoder.check(self.needs)
        self.strict_loading = False  # checkpoints do not hold CLIP; on_load_checkpoint checks the rest
        for each in self.heads:
            prepare_once(each, self.encoder.text)
        self.initialize_lazy_parameters()
        self.variants.requires_grad_(False)  # scored, not trained

    @property
    def heads(self) -> list[Head]:
        """The head and its variants, in the order of `names`."""
        return [self.head, *(head for head in self.variants if isinstance(head, Head))]

    @property
    def needs(self) -> Needs:
        """The features that all heads together need."""
        return reduce(or_, (head.needs for head in self.heads))

    @torch.no_grad()
    def initialize_lazy_parameters(self) -> None:
        """Run heads with lazy modules, such as `nn.LazyConv2d`, on a blank image, which gives them their shapes."""
        if any(isinstance(each, UninitializedParameter) for head in self.heads for each in head.parameters()):
            self.coarse(torch.zeros(1, 3, 224, 224, device=self.device), View(), [1.0])

    def encode(self, rgb: Tensor, view: View, needs: Needs) -> ImageFeatures:
        """Return the features of all windows of images, encoded as one batch.

        Args:
            rgb: (B, 3, H, W) in [0, 1].
            view: its `mirror` appends the mirrored images to the batch; its `window` cuts the images.
            needs: the features to compute besides the dense ones.
        """
        images = torch.cat([rgb, rgb.flip(-1)]) if view.mirror else rgb
        return self.encoder.encode_image(view.windows(rgb.shape[-2], rgb.shape[-1]).cut(images), needs)

    def coarse(self, rgb: Tensor, view: View, focal: Sequence[float | None] | None = None) -> list[Coarse]:
        """Return the coarse output of each head; the images are encoded once.

        Args:
            rgb: (B, 3, H, W) in [0, 1].
            view: its `mirror` averages in the depth of the mirrored images; its `window` cuts the images, and averages
                the maps of the windows.
            focal: focal length of each of the B images, in pixels of `rgb`, None where it is not known; None for all.

        Returns:
            V outputs of B images. With `mirror`, logits and bins are those of the images as they are.
        """
        needs = self.needs
        return self.read(self.encode(rgb, view, needs), needs, view, (rgb.shape[-2], rgb.shape[-1]), focal)

    def read(
        self,
        features: ImageFeatures,
        needs: Needs,
        view: View,
        size: tuple[int, int],
        focal: Sequence[float | None] | None = None,
    ) -> list[Coarse]:
        """Return the coarse output of each head for features that `encode` returned, see `coarse`.

        Args:
            features: features of the windows of B images, and of their mirrored copies with `mirror`.
            needs: the features that they hold besides the dense ones.
            view: the view with which they were encoded.
            size: (H, W) of the images that were encoded, in pixels.
            focal: focal length of each of the B images, see `coarse`.
        """
        windows = view.windows(*size)
        outputs = [head(features.select(needs, head.needs), self.encoder.text) for head in self.heads]
        stitched = [stitch(output, windows) for output in outputs]
        whole = [mean_of_mirrored(output) for output in stitched] if view.mirror else stitched
        focal = [None] * len(whole[0].depth) if focal is None else focal
        return [self.at_focal(output, head, focal) for output, head in zip(whole, self.heads, strict=True)]

    def at_focal(self, output: Coarse, head: Head, focal: Sequence[float | None]) -> Coarse:
        """Return the output of a head for B images with its metres multiplied by focal / `head.camera`.

        Without a camera of the head, or where the focal length is not known, metres stay as they are.

        Args:
            output: output for whole images, not for their windows or mirrored copies.
            head: the head.
            focal: focal length of each image in pixels of the image that the model sees; None where it is not known.
        """
        if head.camera is None:
            return output
        if None in focal and not self.warned_of_focal:
            self.warned_of_focal = True
            warnings.warn(UNKNOWN_FOCAL, stacklevel=2)
        factors = [1.0 if each is None else each / head.camera for each in focal]
        return output.scaled(torch.tensor(factors, device=output.depth.device))

    def forward(self, rgb: Tensor, focal: Sequence[float | None] | None = None) -> Tensor:
        """Return the head's depth of images, (B, 1, H, W) metres.

        Args:
            rgb: (B, 3, H, W) in [0, 1].
            focal: focal length of each image in pixels; None where it is not known, or for all.
        """
        depth = self.coarse(rgb, View(mirror=self.mirror), focal)[0].depth
        return View().upsample(depth, (rgb.shape[-2], rgb.shape[-1]))

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
            check_count("max_side", max_side, unit="pixels", hint="use None for the model's max_side")
        pixels, mirrored = rgb_of(image), self.mirror if mirror is None else mirror
        view = View(max_side=max_side or self.max_side, mirror=mirrored, window=window, stride=stride)
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
