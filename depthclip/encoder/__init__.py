"""The frozen CLIP: the only package that imports open_clip and timm."""

from depthclip.encoder.frozen import FrozenCLIP
from depthclip.encoder.interfaces import ImageFeatures, Needs, TextEncoder, TokenEmbeddings
from depthclip.encoder.readouts import AttentionPool, Crops, MaskCLIP, Readout, Released, Tokens

__all__ = [
    "AttentionPool",
    "Crops",
    "FrozenCLIP",
    "ImageFeatures",
    "MaskCLIP",
    "Needs",
    "Readout",
    "Released",
    "TextEncoder",
    "TokenEmbeddings",
    "Tokens",
]
