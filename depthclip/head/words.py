"""Replace the words and bins of a head."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from depthclip.encoder.interfaces import TextEncoder
from depthclip.errors import InputError
from depthclip.head.bins import Bins, LinearBins, LogBins
from depthclip.head.depth_head import DepthHead
from depthclip.head.interfaces import Head, prepare_once
from depthclip.head.prompts import Prompts

FIXED = (Bins, LinearBins, LogBins)
WAY_OUT = "use a DepthHead with Prompts and Bins"


def replace_words(
    head: Head,
    text: TextEncoder,
    words: Sequence[str] | str,
    bins: Sequence[float] | str,
    templates: Sequence[str] | None = None,
    temperature: float | None = None,
) -> None:
    """Replace the words and bins of a head in place; the head stays as it is if a value is refused.

    Args:
        head: a DepthHead with fixed prompts and bins.
        text: the text tower.
        words: K distance words from near to far, or the name of a set.
        bins: K depths in metres, positive and ascending, or the name of a set.
        templates: sentences with `{distance}`; None to keep those of the head.
        temperature: divisor of the logits, from 1e-6 to 1e6; None to keep that of the head.

    Raises:
        InputError: if the head has other prompts or bins, subtracts mean logits, or a value is refused.
    """
    head = with_fixed_words(head)
    old = head.prompts
    prompts = Prompts(words, old.templates if templates is None else templates, old.objects, old.centred)
    # a new head checks the values as a whole
    new = DepthHead(prompts, Bins(bins), head.temperature if temperature is None else temperature)
    prepare_once(new, text)
    new.to(head.bins.values.device).train(head.training)
    head.prompts, head.bins, head.labels, head.temperature = new.prompts, new.bins, new.labels, new.temperature
    if temperature is not None and head.log_temperature is not None:
        with torch.no_grad():
            head.log_temperature.fill_(torch.tensor(temperature).log())


def with_fixed_words(head: Head) -> DepthHead:
    """Return a head whose words and bins can be replaced.

    Raises:
        InputError: naming the part of the head that is learned, fitted or calibrated.
    """
    if not isinstance(head, DepthHead):
        raise InputError(f"set_words cannot replace the words of {type(head).__name__}; {WAY_OUT}")
    if type(head.prompts) is not Prompts:
        raise InputError(f"set_words cannot replace the learned words of {type(head.prompts).__name__}; {WAY_OUT}")
    if type(head.bins) not in FIXED:
        raise InputError(f"set_words cannot replace {type(head.bins).__name__}, which are not fixed; {WAY_OUT}")
    if head.calibration is not None:
        raise InputError(
            "set_words cannot replace the words of a calibrated head, which subtracts their mean logits over training "
            "images; set calibrated to false"
        )
    return head


def with_head_of(settings: Mapping[str, Any], head: Head) -> dict[str, Any]:
    """Return the settings of a model with the words, bins and temperature of a head that `replace_words` changed.

    Args:
        settings: the arguments of the model as YAML has them; empty for a model built in Python.
        head: the head.
    """
    if not settings or not isinstance(head, DepthHead):
        return {**settings}
    given = settings["head"]
    prompts = {"words": head.prompts.words, "templates": head.prompts.templates, "objects": head.prompts.objects}
    changed = {
        "prompts": {
            "class_path": "depthclip.head.Prompts",
            "init_args": {**{name: list(value) for name, value in prompts.items()}, "centred": head.prompts.centred},
        },
        "bins": {"class_path": "depthclip.head.Bins", "init_args": {"values": metres(head.bins)}},
        "temperature": head.temperature,
    }
    arguments = {**given.get("init_args", given), **changed}
    return {**settings, "head": {"class_path": "depthclip.head.DepthHead", "init_args": arguments}}


def metres(bins: Bins) -> list[float]:
    """Return fixed bins in metres, rounded to the digits that float32 holds, such as 1.2 for 1.2000000476837158."""
    return [float(f"{value:.7g}") for value in bins.values.tolist()]
