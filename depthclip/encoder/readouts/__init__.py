"""Readouts: the ways to read one feature per patch from an image tower, one class per file."""

from depthclip.checks import check_choice
from depthclip.encoder.readouts.aggregate import Aggregate
from depthclip.encoder.readouts.attention_pool import AttentionPool
from depthclip.encoder.readouts.base import Readout
from depthclip.encoder.readouts.clearclip import ClearCLIP
from depthclip.encoder.readouts.crops import Crops
from depthclip.encoder.readouts.maskclip import MaskCLIP
from depthclip.encoder.readouts.naclip import NACLIP
from depthclip.encoder.readouts.proxy import Proxy
from depthclip.encoder.readouts.released import Released
from depthclip.encoder.readouts.sclip import SCLIP
from depthclip.encoder.readouts.tokens import Tokens
from depthclip.encoder.towers import Tower
from depthclip.errors import InputError

__all__ = [
    "NACLIP",
    "READOUTS",
    "SCLIP",
    "Aggregate",
    "AttentionPool",
    "ClearCLIP",
    "Crops",
    "MaskCLIP",
    "Proxy",
    "Readout",
    "Released",
    "Tokens",
    "check_fit",
    "readout_of",
]

READOUTS: dict[str, type[Readout]] = {
    "released": Released,
    "attention_pool": AttentionPool,
    "maskclip": MaskCLIP,
    "tokens": Tokens,
    "sclip": SCLIP,
    "clearclip": ClearCLIP,
    "naclip": NACLIP,
    "crops": Crops,
    "aggregate": Aggregate,
}


def readout_of(readout: str | Readout) -> Readout:
    """Return the readout of a name; return a `Readout` unchanged.

    Raises:
        InputError: if the name is unknown, or the readout has no defaults.
    """
    if isinstance(readout, Readout):
        return readout
    if readout == "proxy":
        raise InputError(
            "readout 'proxy' needs a timm model; use {class_path: depthclip.encoder.Proxy, init_args: {model: "
            "vit_base_patch16_dinov3}}"
        )
    check_choice("readout", readout, READOUTS, "or give a class_path")
    return READOUTS[readout]()


def check_fit(readout: Readout, tower: Tower) -> None:
    """Check that a readout fits a tower.

    Raises:
        InputError: if it does not, with the names of the readouts that fit.
    """
    if not readout.fits(tower):
        fitting = [name for name, other in READOUTS.items() if not other.towers or isinstance(tower, other.towers)]
        raise InputError(
            f"readout {type(readout).__name__} does not fit a {tower.kind} tower; choose one of {', '.join(fitting)}"
        )
