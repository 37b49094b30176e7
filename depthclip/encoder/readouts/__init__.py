"""The readouts: how an image tower is read densely, one small class in each file."""

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
    "readout_of",
]

READOUTS: dict[str, type[Readout]] = {
    "released": Released,
    "attention_pool": AttentionPool,
    "maskclip": MaskCLIP,
    "tokens": Tokens,
    "crops": Crops,
}


def readout_of(readout: str | Readout) -> Readout:
    """Return a readout by name, or the one given.

    Raises:
        InputError: if the name is unknown.
    """
    if isinstance(readout, Readout):
        return readout
    check_choice("readout", readout, READOUTS, "or give a class_path")
    return READOUTS[readout]()


def check_fit(readout: Readout, tower: Tower) -> None:
    """Raise unless a readout can read a tower.

    Raises:
        InputError: naming the readouts that can.
    """
    if not readout.fits(tower):
        fitting = [name for name, other in READOUTS.items() if not other.towers or isinstance(tower, other.towers)]
        raise InputError(
            f"readout {type(readout).__name__} does not fit a {tower.kind} tower; choose one of {', '.join(fitting)}"
        )
