"""Photographs that are encoded once and read by the heads many times."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from depthclip.encoder.encoder import Encoder
from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.errors import InputError
from depthclip.protocol import View


@dataclass(frozen=True)
class EncodedPhoto:
    """The features of a photograph, as `DepthCLIP.encode_photo` returns them.

    Args:
        features: features of the N windows of the photograph, and of its mirrored copy if `view.mirror`.
        needs: the features that they hold besides the dense ones.
        view: how the photograph was resized, mirrored and cut.
        size: (H, W) of the photograph in pixels, upright.
        seen: (h, w) of the image that the encoder saw, in pixels.
        encoder: the encoder of the features.
        focal: focal length in pixels of the photograph, from its EXIF block; None if it is not known.
    """

    features: ImageFeatures = field(repr=False)
    needs: Needs = field(repr=False)
    view: View
    size: tuple[int, int]
    seen: tuple[int, int]
    encoder: Encoder = field(repr=False)
    focal: float | None = None

    def check_arguments(self, given: Mapping[str, object]) -> None:
        """Raise if an argument of the encoding is given again.

        Args:
            given: values by the name of the argument; None for a value that is not given.

        Raises:
            InputError: naming the argument.
        """
        for name, value in given.items():
            if value is not None:
                raise InputError(f"{name} {value!r} is fixed when a photograph is encoded; pass it to encode_photo")

    def check_readable(self, encoder: Encoder, needs: Needs, device: torch.device) -> None:
        """Raise unless a model can read the features.

        Args:
            encoder: encoder of the model.
            needs: the features that its heads need.
            device: device of the model.

        Raises:
            InputError: if they are features of another encoder or on another device, or lack some that a head needs.
        """
        if encoder is not self.encoder:
            raise InputError("the encoded photograph is of another encoder; use encode_photo of this model")
        if self.features.dense.device.type != device.type:
            raise InputError(
                f"the encoded photograph is on the device {self.features.dense.device}, but the model on {device}; use "
                "encode_photo again"
            )
        if self.needs | needs != self.needs:
            raise InputError(
                "the encoded photograph lacks features that the present head needs; use encode_photo again"
            )
