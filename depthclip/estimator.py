"""DepthEstimator: a frozen encoder with depth heads that read its features."""

import warnings
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import UninitializedParameter

from depthclip.accelerator import sent
from depthclip.checkpointed import CheckpointedModule
from depthclip.checks import LARGEST_SIDE, check_count
from depthclip.encoder.encoder import Encoder
from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.evaluation.conformal import Conformal
from depthclip.head.interfaces import Coarse, Head, prepare_once
from depthclip.protocol import View
from depthclip.rows import HEAD, check_variants
from depthclip.stitching import mean_of_mirrored, stitch

UNKNOWN_FOCAL = (
    "the focal length of an image is not known, so that its depth is not multiplied by focal / camera; pass fov or "
    "focal to infer, --fov to the command video, set data.fov of Photos, or set camera of the head to null"
)


class DepthEstimator(CheckpointedModule):
    """A frozen encoder and depth heads that read its features.

    Args:
        encoder: the frozen encoder of images and sentences.
        head: turns its features into depth.
        variants: further heads by name, which read the same features.
        mirror: whether the mirrored photograph is encoded too, and the depths averaged.
        max_side: number of pixels to which the longer side of a photograph is reduced before CLIP sees it.
        intervals: intervals around the depth of the head; None for none.

    Raises:
        InputError: if max_side is not a whole number of pixels from 1 to 16384, two rows have one name, or the encoder
            does not compute the features that a head needs.
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
        check_count("max_side", max_side, at_most=LARGEST_SIDE, unit="pixels")
        self.encoder = encoder.requires_grad_(False).eval()
        self.head = head
        self.variants = nn.ModuleList((variants or {}).values())
        self.names = (HEAD, *(variants or {}))
        self.mirror = mirror
        self.max_side = int(max_side)
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
        return output.scaled(sent(torch.tensor(factors), output.depth.device))

    def forward(self, rgb: Tensor, focal: Sequence[float | None] | None = None) -> Tensor:
        """Return the head's depth of images, (B, 1, H, W) metres.

        Args:
            rgb: (B, 3, H, W) in [0, 1].
            focal: focal length of each image in pixels; None where it is not known, or for all.
        """
        depth = self.coarse(rgb, View(mirror=self.mirror), focal)[0].depth
        return View().upsample(depth, (rgb.shape[-2], rgb.shape[-1]))
