"""Check the arguments of the Trainer before anything is built; Lightning detects some errors only after hours."""

import math
import os
import re
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning.accelerators import AcceleratorRegistry

from depthclip.checks import brief, check_choice, check_count, check_number
from depthclip.errors import InputError

COUNTS = {  # smallest allowed value; null selects the default
    "num_nodes": 1,
    "accumulate_grad_batches": 1,
    "log_every_n_steps": 0,
    "check_val_every_n_epoch": 1,
    "reload_dataloaders_every_n_epochs": 0,
    "num_sanity_val_steps": -1,
    "min_epochs": 0,
    "min_steps": 0,
    "max_epochs": -1,
    "max_steps": -1,
}
BATCHES = (
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "limit_predict_batches",
    "overfit_batches",
    "val_check_interval",
)
LIMITS = {  # by subcommand
    "fit": "limit_train_batches",
    "validate": "limit_val_batches",
    "test": "limit_test_batches",
    "predict": "limit_predict_batches",
}
PRECISIONS = ("32-true", "32", "16-mixed", "bf16-mixed", "16", "bf16")
FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")  # keys of torch.cpu.get_capabilities
PROFILERS = ("simple", "advanced", "pytorch", "xla")
TIMES = ("weeks", "days", "hours", "minutes", "seconds")


def check_trainer(given: Mapping[str, Any], subcommand: str | None = None) -> None:
    """Raise unless the plain arguments of a Trainer are in their ranges.

    Args:
        given: arguments of `pytorch_lightning.Trainer` by name.
        subcommand: subcommand that runs, which needs at least one batch; None for any.

    Raises:
        InputError: if an argument is out of its range.
    """
    for name, least in COUNTS.items():
        if given.get(name) is not None:
            check_count(f"trainer.{name}", given[name], at_least=least)
    for name in BATCHES:
        check_batches(name, given.get(name))
    if subcommand in LIMITS and given.get(LIMITS[subcommand]) == 0:
        raise InputError(
            f"trainer.{LIMITS[subcommand]} {given[LIMITS[subcommand]]} leaves nothing for {subcommand}; use null for "
            "all batches, or a number of batches from 1"
        )
    if given.get("gradient_clip_val") is not None:
        check_number("trainer.gradient_clip_val", given["gradient_clip_val"], at_least=0, hint="use null for none")
    if given.get("gradient_clip_algorithm") is not None:
        check_choice("trainer.gradient_clip_algorithm", given["gradient_clip_algorithm"], ("norm", "value"))
    if isinstance(given.get("fast_dev_run"), int):
        check_count("trainer.fast_dev_run", int(given["fast_dev_run"]), at_least=0, unit="batches")
    if isinstance(given.get("profiler"), str | int | float):
        check_choice("trainer.profiler", given["profiler"], PROFILERS)
    check_accelerator(given.get("accelerator"))
    check_precision(given.get("precision"), given.get("accelerator"))
    check_devices(given.get("devices"), given.get("accelerator"))
    check_time(given.get("max_time"))


def check_batches(name: str, value: object) -> None:
    """Raise unless a limit of batches is null, a count, or a share from 0 to 1.

    Args:
        name: name of the argument.
        value: the limit.

    Raises:
        InputError: if the limit is anything else.
    """
    if value is None or isinstance(value, str | dict):  # val_check_interval may be a time
        return
    if isinstance(value, float):
        check_number(f"trainer.{name}", value, at_least=0, at_most=1, hint="give a whole number for a count of batches")
    else:
        check_count(f"trainer.{name}", value, at_least=0, unit="batches")  # type: ignore[arg-type]  # checked there


def check_precision(value: object, accelerator: object = None) -> None:
    """Raise unless the precision is supported; warn if it is slow on the processor.

    Lightning replaces float16 by bfloat16 on a CPU, with a warning.

    Args:
        value: the precision.
        accelerator: the accelerator, or None for the default.

    Raises:
        InputError: if the precision is not supported.
    """
    if value is None:
        return
    if str(value) not in PRECISIONS:
        raise InputError(
            f"trainer.precision {brief(value)} is not supported, because depth is computed in 32 bits; choose one of "
            f"{', '.join(PRECISIONS)}"
        )
    if str(value) not in ("32-true", "32") and not has_fast_half(str(value), accelerator):
        warnings.warn(
            f"trainer.precision {value}: this processor has no instructions for bfloat16, so that it is slower than 32 "
            "bits; use 32-true",
            stacklevel=2,
        )


def has_fast_half(precision: str, accelerator: object) -> bool:
    """Return whether the processor multiplies matrices in the reduced precision, as far as PyTorch can know.

    Args:
        precision: one of bfloat16 or float16.
        accelerator: the accelerator, or None for the default.
    """
    if accelerator == "mps" or (accelerator != "cpu" and torch.backends.mps.is_available()):
        return True
    if accelerator != "cpu" and torch.cuda.is_available():
        return not precision.startswith("bf16") or torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: dict[str, object] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # older versions of PyTorch have none
    known = [bool(capabilities[name]) for name in FAST_BFLOAT16 if name in capabilities]
    return any(known) or not known


def check_accelerator(value: object) -> None:
    """Raise unless the accelerator is known and available.

    Raises:
        InputError: if it is not.
    """
    if not isinstance(value, str):
        return
    check_choice("trainer.accelerator", value, ("auto", "gpu", *AcceleratorRegistry.available_accelerators()))
    gpu, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if (value == "cuda" and not gpu) or (value == "mps" and not mps) or (value == "gpu" and not (gpu or mps)):
        raise InputError(f"trainer.accelerator {value!r} was not found on this machine; use cpu or auto")


def check_devices(value: object, accelerator: object) -> None:
    """Raise unless `devices` is a number that the machine can have, a list of indices, or auto.

    Raises:
        InputError: if it is anything else.
    """
    hint = "use auto for all that are found"
    if isinstance(value, list):
        if not value:
            raise InputError(f"trainer.devices [] must name at least one device; {hint}")
        for index in value:
            check_count("trainer.devices", index, at_least=0, at_most=1023, unit="a device", hint=hint)
        return
    if value is None or value == "auto" or (isinstance(value, str) and re.fullmatch(r"\d+(,\d*)+", value)):
        return
    count = int(value) if isinstance(value, str) and re.fullmatch(r"-?\d+", value) else value
    if count == -1 and accelerator not in ("cpu", "auto"):
        return
    most = 1024
    if accelerator == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        most = max(8, os.cpu_count() or 1)  # each device is a process with a copy of the model
    check_count("trainer.devices", count, at_most=most, unit="devices", hint=hint)  # type: ignore[arg-type]


def check_time(value: object) -> None:
    """Raise unless a time limit is a text DD:HH:MM:SS or a mapping of units to numbers.

    Raises:
        InputError: if it is anything else.
    """
    way_out = "use DD:HH:MM:SS, such as 00:02:30:00, or {hours: 2.5}"
    if isinstance(value, str) and not re.fullmatch(r"\d+:\d\d?:\d\d?:\d\d?", value):
        raise InputError(f"trainer.max_time {value!r} is not a time limit; {way_out}")
    if isinstance(value, Mapping):
        for unit, amount in value.items():
            numeric = isinstance(amount, int | float) and not isinstance(amount, bool)
            if unit not in TIMES or not numeric or not math.isfinite(amount) or amount < 0:
                raise InputError(f"trainer.max_time {dict(value)!r} is not a time limit; {way_out}")
