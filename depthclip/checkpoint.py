"""Checkpoints: what was learned and how to build what learned it, never CLIP's weights.

Beside the state dict a checkpoint has a recipe under a key of its own: the settings of the model as its YAML has them,
which CLIP it was learned with, and how many bins it has. Lightning's own hyperparameters are not used: they would
override the command line.
"""

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

RECIPE = "depthclip_recipe"
PACKAGE = __name__.partition(".")[0]


def learned_state(state: Mapping[str, Tensor], frozen: str = "encoder.") -> dict[str, Tensor]:
    """What of a state dict was learned or fitted: all but the frozen encoder's."""
    return {key: value for key, value in state.items() if not key.startswith(frozen)}


def fingerprint(model: nn.Module) -> str:
    """Sixteen hexadecimal digits that tell sets of weights apart, from up to 64 numbers of every parameter."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        numbers = parameter.detach().flatten()
        some = numbers[:: max(1, len(numbers) // 64)][:64].float().cpu()
        digest.update(f"{name}{tuple(parameter.shape)}".encode() + some.numpy().tobytes())
    return digest.hexdigest()[:16]


def recipe(settings: dict[str, Any], clip: str, weights: str, bins: int) -> dict[str, Any]:
    """What a checkpoint says of the model it belongs to.

    Args:
        settings: the model's arguments as YAML has them, `class_path` and `init_args` included; plain values only.
        clip: the model name of the encoder.
        weights: the `fingerprint` of its weights.
        bins: K.
    """
    return {"settings": settings, "clip": clip, "weights": weights, "bins": bins}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint file, read without running anything that is in it.

    Raises:
        ValueError: if there is no such file, or it is not a checkpoint of this package.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(f"there is no checkpoint {path}; pass the path of a .ckpt file that fit wrote") from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} cannot be read as a checkpoint ({reason}); pass one that fit wrote") from error
    if not isinstance(checkpoint, dict) or not {"state_dict", RECIPE} <= checkpoint.keys():
        raise ValueError(f"{path} has no recipe of depthclip's; pass a checkpoint that depthclip fit wrote")
    return checkpoint


def check_recipe(saved: Mapping[str, Any], clip: str, weights: str, bins: int) -> None:
    """Refuses what was learned with another CLIP or another number of bins.

    Args:
        saved: the recipe in the checkpoint.
        clip: the model name of the encoder at hand.
        weights: the `fingerprint` of its weights.
        bins: its number of bins.

    Raises:
        ValueError: naming both.
    """
    if saved["clip"] != clip:
        raise ValueError(f"the checkpoint was learned with {saved['clip']}; use that CLIP instead of {clip}")
    if saved["weights"] != weights:
        raise ValueError(
            f"the checkpoint was learned with other weights of {clip} (fingerprint {saved['weights']}, not {weights}); "
            "set pretrained to those"
        )
    if saved["bins"] != bins:
        raise ValueError(f"the checkpoint has {saved['bins']} bins; give the head as many instead of {bins}")


def check_state(saved: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuses a state dict that does not fit, which loading with `strict=False` would hide.

    Args:
        saved: the state dict of the checkpoint.
        expected: the `learned_state` of the model at hand.

    Raises:
        ValueError: naming what is missing, left over, or of another shape.
    """
    way_out = "build the model from the checkpoint's own recipe, or as it was when it was trained"
    if missing := [key for key in expected if key not in saved]:
        raise ValueError(f"the checkpoint has no {', '.join(missing)}, which the model learns; {way_out}")
    if extra := [key for key in saved if key not in expected]:
        raise ValueError(f"the checkpoint has {', '.join(extra)}, which the model does not learn; {way_out}")
    for key, value in expected.items():
        if saved[key].shape != value.shape:
            raise ValueError(
                f"{key} is {tuple(saved[key].shape)} in the checkpoint but {tuple(value.shape)} in the model; {way_out}"
            )


def check_classes(settings: object, allow: Sequence[str] = ()) -> None:
    """Refuses settings from a file that would have other classes built than this package's.

    Args:
        settings: the settings of a recipe.
        allow: further modules that the user trusts, for classes of one's own.

    Raises:
        ValueError: naming the class.
    """
    if isinstance(settings, Mapping):
        if "class_path" in settings and not may_build(settings["class_path"], (PACKAGE, *allow)):
            raise ValueError(
                f"the checkpoint asks for the class {settings['class_path']!r}, which is not {PACKAGE}'s; "
                "if you trust it, allow its module by name"
            )
        for value in settings.values():
            check_classes(value, allow)
    elif isinstance(settings, Sequence) and not isinstance(settings, str):
        for value in settings:
            check_classes(value, allow)


def may_build(class_path: object, modules: Sequence[str]) -> bool:
    """Whether a class was defined in one of these modules or their submodules: not one that they merely import."""
    home, _, name = str(class_path).rpartition(".")
    if not within(home, modules):
        return False
    try:
        found = getattr(import_module(home), name, None)
    except ImportError:
        return False
    return isinstance(found, type) and within(found.__module__, modules)


def within(module: str, modules: Sequence[str]) -> bool:
    """Whether a module is one of these or below one of them."""
    return any(module == one or module.startswith(f"{one}.") for one in modules)
