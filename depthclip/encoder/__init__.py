"""The frozen CLIP: the only package that imports open_clip and timm."""

from depthclip.encoder.fitting import readouts_of
from depthclip.encoder.frozen import FrozenCLIP
from depthclip.encoder.interfaces import ImageFeatures, Needs, TextEncoder, TokenEmbeddings
from depthclip.encoder.readouts import (
    NACLIP,
    SCLIP,
    Aggregate,
    AttentionPool,
    ClearCLIP,
    Crops,
    MaskCLIP,
    Proxy,
    Readout,
    Released,
    Tokens,
)

__all__ = [
    "NACLIP",
    "SCLIP",
    "Aggregate",
    "AttentionPool",
    "ClearCLIP",
    "Crops",
    "FrozenCLIP",
    "ImageFeatures",
    "MaskCLIP",
    "Needs",
    "Proxy",
    "Readout",
    "Released",
    "TextEncoder",
    "TokenEmbeddings",
    "Tokens",
    "readouts_of",
]
