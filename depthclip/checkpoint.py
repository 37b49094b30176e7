"""Checkpoints: the learned state of a head and the recipe of its model, without the weights of CLIP.

Beside the state dict a checkpoint has a recipe under a key of its own: the settings of the model and of the data as a
YAML recipe has them, the CLIP of the training, and the number of bins. Lightning's hyperparameters are never read: they
would override the command line, and the file may come from a stranger.
"""

import hashlib
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from depthclip.errors import InputError
from depthclip.recipe_files import check_file, shorten
from depthclip.trust import PACKAGE, within

RECIPE = "depthclip_recipe"
KEYWORDS = ("last", "hpc")  # Lightning finds these checkpoints when it resumes a training
# Lightning resumes from these; a file that lacks one was not written by fit, or is damaged.
RESUMED = {
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
    "loops": Mapping,
    "optimizer_states": Sequence,
    "lr_schedulers": Sequence,
}
FIELDS = {"settings": Mapping, "clip": str, "weights": str, "bins": int}


def learned_state(state: Mapping[str, Tensor], frozen: str = "encoder.") -> dict[str, Tensor]:
    """Return the learned and fitted part of a state dict, without the frozen encoder."""
    return {key: value for key, value in state.items() if not key.startswith(frozen)}


def without_variants(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without the state of variants."""
    return {key: value for key, value in state.items() if not key.startswith("variants.")}


def without_intervals(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without the state of the intervals."""
    return {key: value for key, value in state.items() if not key.startswith("intervals.")}


def same_intervals(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Return whether two state dicts hold intervals of the same settings; a quantile holds for no other settings."""
    settings = [state.get("intervals.settings") for state in (one, other)]
    return settings[0] is not None and settings[1] is not None and settings[0].tolist() == settings[1].tolist()


def variants_of(settings: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the variants of a model's settings in their order, which the keys of their state follow."""
    variants = settings.get("variants")
    return list(variants.items()) if isinstance(variants, Mapping) else []


def fingerprint(model: nn.Module) -> str:
    """Return sixteen hexadecimal digits that identify weights, computed from up to 64 numbers of every parameter."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        numbers = parameter.detach().flatten()
        some = numbers[:: max(1, len(numbers) // 64)][:64].float().cpu()
        digest.update(f"{name}{tuple(parameter.shape)}".encode() + some.numpy().tobytes())
    return digest.hexdigest()[:16]


def recipe(
    settings: dict[str, Any], clip: str, weights: str, bins: int, data: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the recipe that a checkpoint keeps.

    Args:
        settings: the model's arguments as YAML has them, `class_path` and `init_args` included; plain values only.
        clip: model name of the encoder.
        weights: `fingerprint` of its weights.
        bins: K.
        data: the data module as YAML has it.
    """
    return {"settings": settings, "clip": clip, "weights": weights, "bins": bins, "data": data or {}}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the content of a checkpoint file without running code in it.

    Raises:
        InputError: if there is no such file, or it is not a whole checkpoint of this package.
    """
    way_out = "pass the path of a .ckpt file that fit wrote"
    if str(path) == "best":
        raise InputError(f"checkpoint 'best' is known only within the run that trained; {way_out} at its end")
    check_file(path, "checkpoint", way_out)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises any exception on a damaged or hostile file
        reason = shorten((str(error) or type(error).__name__).splitlines()[0], 120)
        raise InputError(f"{path} cannot be read as a checkpoint ({reason}); {way_out}") from error
    if not isinstance(checkpoint, dict) or not {"state_dict", RECIPE} <= checkpoint.keys():
        raise InputError(f"{path} has no recipe of {PACKAGE}'s; {way_out}")
    saved, state = checkpoint[RECIPE], checkpoint["state_dict"]
    if not isinstance(saved, Mapping) or any(not isinstance(saved.get(key), kind) for key, kind in FIELDS.items()):
        raise InputError(f"{path} has a recipe without whole {', '.join(FIELDS)}; {way_out}")
    if not isinstance(state, Mapping):
        raise InputError(f"{path} has a {type(state).__name__} in place of a state dict; {way_out}")
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise InputError(f"{path} has a {type(value).__name__} in place of the tensor {key}; {way_out}")
        if not value.isfinite().all():
            raise InputError(f"{path} has NaN or infinity in {key}; the training diverged: use an earlier checkpoint")
    return checkpoint


def check_resumable(path: str | Path, loop: Mapping[str, Any]) -> None:
    """Raise unless a training can be resumed from a checkpoint.

    Args:
        path: the file.
        loop: state of a fit loop, as Lightning gives it, whose keys and types the saved one must have.

    Raises:
        InputError: naming the part that is missing or damaged.
    """
    checkpoint, way_out = read_checkpoint(path), "pass another one that fit wrote"
    for key, kind in RESUMED.items():
        if not isinstance(checkpoint.get(key), kind):
            raise InputError(f"{path} has no whole {key} to resume a training from; {way_out}")
    if bad := unlike(checkpoint["loops"].get("fit_loop"), loop, "fit_loop"):
        raise InputError(f"{path} has no whole loops.{bad} to resume a training from; {way_out}")
    for state in checkpoint["optimizer_states"]:
        if not isinstance(state, Mapping) or not {"state", "param_groups"} <= state.keys():
            raise InputError(f"{path} has a damaged optimizer state; {way_out}")


def unlike(saved: object, expected: object, name: str) -> str:
    """Return the name of the first part of a nested mapping whose type differs from the expected, or ""."""
    if not isinstance(expected, Mapping):
        same = isinstance(saved, type(expected)) or isinstance(expected, type(None))
        return "" if same else name
    if not isinstance(saved, Mapping):
        return name
    return next((bad for key in expected if (bad := unlike(saved.get(key), expected[key], f"{name}.{key}"))), "")


def settings_of(path: str | Path, allow: Sequence[str] = ()) -> str:
    """Return the recipe in a checkpoint as YAML text on one line.

    Args:
        path: the file.
        allow: further modules that the user trusts.

    Raises:
        InputError: if the checkpoint cannot be read, has no settings, or names classes of other modules.
    """
    saved = read_checkpoint(path)[RECIPE]
    check_settings(saved["settings"], path, allow)
    parts = {"model": saved["settings"] | {"cache": None}, "data": saved.get("data") or {}}
    check_classes(parts, allow)
    try:
        return yaml.safe_dump({key: part for key, part in parts.items() if part}, default_flow_style=True, width=10**9)
    except yaml.YAMLError as error:
        raise InputError(f"{path} has settings that are no plain values; pass a checkpoint that fit wrote") from error


def check_settings(settings: Mapping[str, Any], path: str | Path, allow: Sequence[str] = ()) -> None:
    """Raise unless the settings in a file can be used to build a model.

    Raises:
        InputError: if there are none, a key has dots, which would reach into other settings, or a class is not allowed.
    """
    if not settings:
        raise InputError(
            f"{path} was written from Python without settings; build the model and pass the file to its load_learned"
        )
    for key in keys_of(settings):
        if not isinstance(key, str) or ("." in key and not set(key) & set(" /")):
            raise InputError(f"{path} has the setting {key!r}, whose name must not have dots; pass one that fit wrote")
    check_classes(settings, allow)


def keys_of(settings: object) -> list[Any]:
    """Return the keys of all mappings in nested settings, except names that the user chose."""
    if isinstance(settings, Mapping):
        named = ("variants", "published")  # rows of a table, whose names are free
        inner = [settings[key] for key in settings if key not in named]
        inner += [row for key in named if isinstance(settings.get(key), Mapping) for row in settings[key].values()]
        return [*settings, *(key for value in inner for key in keys_of(value))]
    if isinstance(settings, list | tuple):
        return [key for value in settings for key in keys_of(value)]
    return []


def check_recipe(saved: Mapping[str, Any], clip: str, weights: str) -> None:
    """Raise if the checkpoint was learned with another CLIP.

    Args:
        saved: the recipe in the checkpoint.
        clip: the model name of the encoder at hand.
        weights: the `fingerprint` of its weights.

    Raises:
        InputError: naming both.
    """
    if saved["clip"] != clip:
        raise InputError(f"the checkpoint was learned with {saved['clip']}; use that CLIP instead of {clip}")
    if saved["weights"] != weights:
        raise InputError(
            f"the checkpoint was learned with other weights of {clip} (fingerprint {saved['weights']}, not {weights}); "
            "set pretrained to those"
        )


def check_bins(before: int, bins: int, saved: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise if the checkpoint has another number of bins and its tensors depend on that number.

    The tensors of `OrdinalWords` with fixed bins, for example, do not depend on it.

    Args:
        before: the number of bins in the checkpoint.
        bins: the number of bins of the model at hand.
        saved: the state dict of the checkpoint.
        expected: the `learned_state` of the model at hand.

    Raises:
        InputError: naming both numbers.
    """
    if before != bins and {k: v.shape for k, v in saved.items()} != {k: v.shape for k, v in expected.items()}:
        raise InputError(f"the checkpoint has {before} bins; give the head as many instead of {bins}")


def check_state(saved: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise if a state dict does not fit, which loading with `strict=False` would hide.

    Args:
        saved: the state dict of the checkpoint.
        expected: the `learned_state` of the model at hand.

    Raises:
        InputError: naming what is missing, left over, or of another shape.
    """
    way_out = "build the model from the checkpoint's own recipe, or as it was when it was trained"
    if missing := [key for key in expected if key not in saved]:
        raise InputError(f"the checkpoint has no {', '.join(missing)}, which the model learns; {way_out}")
    if extra := [key for key in saved if key not in expected]:
        raise InputError(f"the checkpoint has {', '.join(extra)}, which the model does not learn; {way_out}")
    for key, value in expected.items():
        if saved[key].shape != value.shape:
            raise InputError(
                f"{key} is {tuple(saved[key].shape)} in the checkpoint but {tuple(value.shape)} in the model; {way_out}"
            )


def check_classes(settings: object, allow: Sequence[str] = ()) -> None:
    """Raise if settings from a file name classes outside this package.

    Args:
        settings: the settings of a recipe.
        allow: further modules that the user trusts.

    Raises:
        InputError: naming the class.
    """
    if isinstance(settings, Mapping):
        if "class_path" in settings and not may_build(settings["class_path"], (PACKAGE, *allow)):
            raise InputError(
                f"the checkpoint names the class {settings['class_path']!r}, which is not {PACKAGE}'s; "
                "if you trust it, allow its module by name"
            )
        for value in settings.values():
            check_classes(value, allow)
    elif isinstance(settings, Sequence) and not isinstance(settings, str):
        for value in settings:
            check_classes(value, allow)


def may_build(class_path: object, modules: Sequence[str]) -> bool:
    """Return whether a class is defined in one of these modules or their submodules, not merely imported there."""
    home, _, name = str(class_path).rpartition(".")
    if not within(home, modules):
        return False
    try:
        found = getattr(import_module(home), name, None)
    except ImportError:
        return False
    return isinstance(found, type) and within(found.__module__, modules)
