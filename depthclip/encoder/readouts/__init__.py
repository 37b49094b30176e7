"""Readouts: the ways to read one feature per patch from an image tower, one class per file."""

from depthclip.checks import check_choice
from depthclip.encoder.readouts.attention_pool import AttentionPool
from depthclip.encoder.readouts.base import Readout
from depthclip.encoder.readouts.crops import Crops
from depthclip.encoder.readouts.maskclip import MaskCLIP
from depthclip.encoder.readouts.released import Released
from depthclip.encoder.readouts.tokens import Tokens
from depthclip.encoder.towers import Tower
from depthclip.errors import InputError

__all__ = [
    "READOUTS",
    "AttentionPool",
    "Crops",
    "MaskCLIP",
    "Readout",
    "Released",
    "Tokens",
    "check_fit",
    "readout_for",
    "readout_of",
]

READOUTS: dict[str, type[Readout]] = {
    "released": Released,
    "attention_pool": AttentionPool,
    "maskclip": MaskCLIP,
    "tokens": Tokens,
    "crops": Crops,
}

AUTOMATIC = ("attention_pool", "tokens", "maskclip")  # `auto` selects the first that fits


def readout_of(readout: str | Readout) -> Readout:
    """Return the readout of a name; return a `Readout` unchanged.

    Raises:
        InputError: if the name is unknown.
    """
    if isinstance(readout, Readout):
        return readout
    check_choice("readout", readout, READOUTS, "or give a class_path")
    return READOUTS[readout]()


def readout_for(tower: Tower) -> Readout:
    """Return the default readout of a tower.

    This is `attention_pool` for a ResNet, `maskclip` for a tower with an attention-pool head, and `tokens` otherwise.

    Raises:
        InputError: if no readout of patches fits the tower.
    """
    for name in AUTOMATIC:
        readout = READOUTS[name]()
        if readout.fits(tower):
            return readout
    raise InputError(f"readout 'auto' does not fit a {description(tower)}; set readout to crops, or use another model")


def check_fit(readout: Readout, tower: Tower) -> None:
    """Check that a readout fits a tower.

    Raises:
        InputError: if it does not, with the names of the readouts that fit.
    """
    if not readout.fits(tower):
        fitting = [name for name, other in READOUTS.items() if not other.towers or isinstance(tower, other.towers)]
        raise InputError(
            f"readout {type(readout).__name__} does not fit a {description(tower)}; choose one of {', '.join(fitting)}"
        )


def description(tower: Tower) -> str:
    """Return the family of a tower and why readouts of patches do not fit, for messages."""
    return f"{tower.kind} tower" + (f", {tower.limit}" if tower.limit else "")
