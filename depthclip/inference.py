"""DepthEstimator: everything of the model that works without a Trainer."""

import warnings
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn import UninitializedParameter

from depthclip.checkpoint import (
    RECIPE,
    check_bins,
    check_recipe,
    check_state,
    fingerprint,
    learned_state,
    read_checkpoint,
    recipe,
    same_intervals,
    variants_of,
    without_intervals,
    without_variants,
)
from depthclip.checks import check_count
from depthclip.encoder.encoder import Encoder
from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.errors import InputError
from depthclip.evaluation.conformal import Conformal
from depthclip.from_file import build
from depthclip.head.interfaces import Coarse, Head, prepare_once
from depthclip.photograph import Photograph, focal_of, rgb_of
from depthclip.protocol import View, Windows
from depthclip.rows import HEAD, check_variants
from depthclip.uncertainty import Estimate, estimate

Model = TypeVar("Model", bound="DepthEstimator")
UNKNOWN_FOCAL = (
    "the focal length of an image is not known, so that its depth is not multiplied by focal / camera; pass fov or "
    "focal to infer, set data.fov of Photos, or set camera of the head to null"
)


class DepthEstimator(LightningModule):
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
        needs, windows = self.needs, view.windows(rgb.shape[-2], rgb.shape[-1])
        features = self.encode(rgb, view, needs)
        outputs = [head(features.select(needs, head.needs), self.encoder.text) for head in self.heads]
        stitched = [stitch(output, windows) for output in outputs]
        whole = [mean_of_mirrored(output) for output in stitched] if view.mirror else stitched
        focal = [None] * len(rgb) if focal is None else focal
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
        image: Photograph,
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
        image: Photograph,
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
        image: Photograph,
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
        if max_side is not None:
            check_count("max_side", max_side, unit="pixels", hint="use None for the model's max_side")
        pixels, mirrored = rgb_of(image), self.mirror if mirror is None else mirror
        view = View(max_side=max_side or self.max_side, mirror=mirrored, window=window, stride=stride)
        known = focal_of(image, (pixels.shape[-2], pixels.shape[-1]), fov, focal)
        rgb = self.seen(pixels, view)
        resized = None if known is None else known * rgb.shape[-1] / pixels.shape[-1]
        output = self.coarse(rgb, view, [resized])[0]
        found = estimate(output, view, (pixels.shape[-2], pixels.shape[-1]), self.intervals if uncertainty else None)
        return found if uncertainty else found.depth

    @torch.no_grad()
    def responses(
        self,
        image: Photograph,
        window: tuple[int, int] | None = None,
        stride: tuple[int, int] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the weight of each word in each patch of a photograph, (h, w) in [0, 1], by word.

        A head without words has none.

        Args:
            image: a photograph, as `infer` takes it.
            window: windows, as `infer` takes them; the logits are averaged where they overlap.
            stride: (down, across) in pixels between neighbouring windows; None for half the window.

        Raises:
            InputError: if an argument is none that `infer` takes.
        """
        view = View(max_side=self.max_side, window=window, stride=stride)
        weights = self.coarse(self.seen(rgb_of(image), view), view, [1.0])[0].weights  # at any focal length
        return {} if weights is None else dict(zip(self.head.labels, weights[0].cpu().numpy(), strict=True))

    def seen(self, pixels: Tensor, view: View) -> Tensor:
        """Return the part of a photograph (3, H, W) uint8 that the model sees, (1, 3, h, w) in [0, 1]."""
        return (view.see(pixels).float() / 255).to(self.device)[None]

    # ---- checkpoints

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]  # nn.Module overloads it
        """Return what was learned or fitted; never CLIP's weights."""
        return learned_state(super().state_dict(*args, **kwargs))

    def recipe(self) -> dict[str, Any]:
        """Return the recipe that a checkpoint of this model keeps."""
        weights = fingerprint(self.encoder.weights)
        return recipe(self.settings, self.encoder.name, weights, len(self.head.labels), self.data_settings)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the recipe."""
        checkpoint[RECIPE] = self.recipe()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise unless the checkpoint was learned with this CLIP and fits the head.

        The state of variants is left out unless they are those of the training; they are only scored beside the head.
        So is that of intervals unless their settings are those of the training; they can be calibrated again.

        Raises:
            InputError: naming what differs.
        """
        if RECIPE not in checkpoint:
            raise InputError("the checkpoint has no recipe of depthclip's; pass one that depthclip fit wrote")
        mine = self.recipe()
        check_recipe(checkpoint[RECIPE], mine["clip"], mine["weights"])
        expected, state = self.state_dict(), checkpoint["state_dict"]
        if variants_of(checkpoint[RECIPE]["settings"]) != variants_of(self.settings):
            expected, state = without_variants(expected), without_variants(state)
        check_bins(checkpoint[RECIPE]["bins"], mine["bins"], state, expected)
        if not same_intervals(state, expected):
            expected, state = without_intervals(expected), without_intervals(state)
        check_state(state, expected)
        checkpoint["state_dict"] = state

    def load_learned(self: Model, path: str | Path) -> Model:
        """Load what was learned from a checkpoint into this model, which may have been built in Python.

        Args:
            path: a file that `fit` or `Trainer.save_checkpoint` wrote.

        Returns:
            The model itself.

        Raises:
            InputError: if the file is no checkpoint, or another CLIP or head was trained.
        """
        checkpoint = read_checkpoint(path)
        self.on_load_checkpoint(checkpoint)
        self.load_state_dict(checkpoint["state_dict"], strict=False)
        return self

    @classmethod
    def load(cls: type[Model], path: str | Path, allow: Sequence[str] = ()) -> Model:
        """Return the model that a checkpoint describes, with what was learned, in evaluation mode.

        Args:
            path: a file that `fit` wrote.
            allow: modules, beside this package, whose classes the recipe in the file may name. To import a module is
                to run its code.

        Raises:
            InputError: if the file is no such checkpoint, names other classes, or has settings that do not fit.
        """
        settings = {**read_checkpoint(path)[RECIPE]["settings"]}
        if settings:
            settings["cache"] = None  # a file must not decide where features are written
        model: Model = build(cls, settings, path, allow)
        model.settings = settings
        return model.load_learned(path).eval()


def stitch(output: Coarse, windows: Windows) -> Coarse:
    """Return the output of B images from that of their B * N windows; bins of the windows of an image are averaged."""
    logits, bins, deviation = output.logits, output.bins, output.deviation
    return Coarse(
        windows.stitch(output.depth),
        None if logits is None else windows.stitch(logits),
        bins if bins is None or bins.ndim == 1 else windows.mean(bins),
        None if deviation is None else windows.stitch(deviation),
    )


def mean_of_mirrored(output: Coarse) -> Coarse:
    """Return the output of B images from that of B images and their B mirrored copies.

    The depth is the mean of both, the mirrored one mirrored back; all other fields are those of the images as they are.
    """
    count = len(output.depth) // 2
    straight, mirrored = output.images(slice(count)), output.images(slice(count, None)).flipped()
    return straight._replace(depth=(straight.depth + mirrored.depth) / 2, mirrored=mirrored)
