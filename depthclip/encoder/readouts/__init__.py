"""Readouts: the ways to read one feature per patch from an image tower, one class per file."""

import inspect
from contextlib import suppress
from typing import Any

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
    "fitting_names",
    "readout_for",
    "readout_of",
    "with_arguments",
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

AUTOMATIC = ("attention_pool", "tokens", "maskclip")  # `auto` selects the first that fits


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


def with_arguments(readout: Any) -> Any:
    """Return the readout of a recipe with all of its arguments; a name becomes its class path and the defaults.

    Args:
        readout: a name, or a mapping with `class_path` and `init_args`; anything else is returned unchanged.
    """
    if isinstance(readout, str) and readout in READOUTS:
        cls = READOUTS[readout]
        parameters = inspect.signature(cls).parameters.values()
        # the class of a readout without arguments has the *args and **kwargs of Module
        defaults = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
        readout = {"class_path": f"depthclip.encoder.{cls.__name__}", "init_args": defaults}
    if not isinstance(readout, dict):
        return readout
    arguments = readout.get("init_args") or {}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()}
    inner = {"readout": with_arguments(plain["readout"])} if "readout" in plain else {}
    return {**readout, "init_args": {**plain, **inner}}


def check_fit(readout: Readout, tower: Tower) -> None:
    """Check that a readout fits a tower.

    Raises:
        InputError: if it does not, with the names of the readouts that fit.
    """
    if not readout.fits(tower):
        names = ", ".join(fitting_names(tower))
        raise InputError(f"readout {type(readout).__name__} does not fit a {description(tower)}; choose one of {names}")


def fitting_names(tower: Tower) -> list[str]:
    """Return the names of the readouts that fit a tower with their default arguments."""
    fitting = []
    for name, readout in READOUTS.items():
        with suppress(InputError):  # the readout replaces the attention of the last block, whose type is not supported
            fitting += [name] if readout().fits(tower) else []
    return fitting


def description(tower: Tower) -> str:
    """Return the family of a tower and why readouts of patches do not fit, for messages."""
    return f"{tower.kind} tower" + (f", {tower.limit}" if tower.limit else "")
