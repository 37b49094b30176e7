"""A model without its image tower: the features of the first batch are stored, and only the rest is computed."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from depthclip.encoder.encoder import NOTHING, Encoder
from depthclip.encoder.interfaces import ImageFeatures, Needs, TextEncoder
from depthclip.evaluation.measures import Measure
from depthclip.head.interfaces import Head
from depthclip.module import DepthCLIP
from depthclip.protocol import Alignment


class StoredFeatures(Encoder):
    """An encoder that encodes the first batch of each shape, and returns these features for every later batch.

    Args:
        encoder: the encoder.
        text: a text encoder instead of that of `encoder`; None for that of `encoder`.
    """

    def __init__(self, encoder: Encoder, text: TextEncoder | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.text = encoder.text if text is None else text
        self.stored: dict[tuple[tuple[int, ...], Needs], ImageFeatures] = {}

    def encode_image(self, rgb: Tensor, needs: Needs = NOTHING) -> ImageFeatures:
        """Return the features of the first batch of this shape."""
        key = (tuple(rgb.shape), needs)
        if key not in self.stored:
            self.stored[key] = self.encoder.encode_image(rgb, needs)
        return self.stored[key]


def without_tower(
    model: DepthCLIP,
    head: Head | None = None,
    variants: Mapping[str, Head] | None = None,
    text: TextEncoder | None = None,
    alignments: Sequence[Alignment] | None = None,
    errors: Sequence[Measure] | None = None,
) -> DepthCLIP:
    """Return a model with stored features in place of the image tower.

    Args:
        model: the model whose encoder, heads and evaluation are used.
        head: another head, with its `variants`; None for those of the model.
        variants: variants beside `head`.
        text: another text encoder; None for that of the model.
        alignments: further alignments; None for those of the model.
        errors: further measures; None for those of the model.
    """
    if head is None:
        head, variants = model.head, dict(zip(model.names[1:], model.heads[1:], strict=True))
    return DepthCLIP(
        StoredFeatures(model.encoder, text),
        head,
        variants,
        panels=0,
        errors=list(model.errors if errors is None else errors),
        baselines=model.baselines,
        alignments=list(model.alignments if alignments is None else alignments),
    )
