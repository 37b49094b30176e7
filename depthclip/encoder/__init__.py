"""The frozen encoders: the only package that imports open_clip, timm and transformers."""

from depthclip.encoder.encoder import Encoder, SentenceEncoder
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
from depthclip.encoder.tips import TIPS

__all__ = [
    "NACLIP",
    "SCLIP",
    "TIPS",
    "Aggregate",
    "AttentionPool",
    "ClearCLIP",
    "Crops",
    "Encoder",
    "FrozenCLIP",
    "ImageFeatures",
    "MaskCLIP",
    "Needs",
    "Proxy",
    "Readout",
    "Released",
    "SentenceEncoder",
    "TextEncoder",
    "TokenEmbeddings",
    "Tokens",
    "readouts_of",
]
