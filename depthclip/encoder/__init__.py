"""The frozen encoders: the only package that imports open_clip, timm and transformers."""

from depthclip.encoder.encoder import Encoder, SentenceEncoder
from depthclip.encoder.frozen import FrozenCLIP
from depthclip.encoder.interfaces import ImageFeatures, Needs, TextEncoder, TokenEmbeddings
from depthclip.encoder.readouts import AttentionPool, Crops, MaskCLIP, Readout, Released, Tokens
from depthclip.encoder.tips import TIPS

__all__ = [
    "TIPS",
    "AttentionPool",
    "Crops",
    "Encoder",
    "FrozenCLIP",
    "ImageFeatures",
    "MaskCLIP",
    "Needs",
    "Readout",
    "Released",
    "SentenceEncoder",
    "TextEncoder",
    "TokenEmbeddings",
    "Tokens",
]
