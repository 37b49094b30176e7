"""Arguments of the Trainer out of their domain."""

import math

from depthclip.trainer_checks import check_trainer
from tests.bad.command_line import command, recipe
from tests.bad.judge import Case


def argument(name: str, value: object, *shown: str) -> Case:
    """Return the case of an argument that is checked before the Trainer is built."""
    return Case(
        "argument trainer",
        f"{name} = {value!r}",
        lambda folder: check_trainer({"accelerator": "cpu", name: value}),
        (name, *(shown or (str(value),))),
    )


def built(name: str, value: str, subcommand: str = "test") -> Case:
    """Return the case of an argument that only the Trainer itself can refuse, on the whole command line."""
    return Case(
        "argument trainer, whole",
        f"{name} = {value}",
        lambda folder: command(subcommand, "-c", recipe(folder), f"--trainer.{name}", value),
        (name, value),
    )


LIMITS = ("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches", "overfit_batches")
COUNTS = ("num_nodes", "accumulate_grad_batches", "check_val_every_n_epoch")
CASES = [
    *(argument(name, value) for name in LIMITS for value in (-1, -0.5, 1.5, math.nan, math.inf)),
    *(argument("val_check_interval", value) for value in (-1, 1.5, math.nan)),
    *(argument(name, value) for name in COUNTS for value in (0, -1, 10**12)),
    *(argument("max_epochs", value) for value in (-5, 10**12)),
    *(argument("max_steps", value) for value in (-5, 10**12)),
    *(argument(name, -1) for name in ("log_every_n_steps", "min_epochs", "min_steps")),
    argument("num_sanity_val_steps", -2),
    argument("fast_dev_run", -1),
    *(argument("gradient_clip_val", value) for value in (-1.0, math.nan, math.inf)),
    *(argument("gradient_clip_algorithm", value) for value in ("nonsense", "l2")),
    *(argument("profiler", value) for value in ("nonsense", "3", "os.system")),
    *(argument("precision", value) for value in ("64-true", "16-true", "bf16-true", "transformer-engine", 64, 8)),
    *(argument("accelerator", value) for value in ("cdua", "", "graphics")),
    *(argument("devices", value) for value in (0, -2, 1000, 1.5, True, "x", "", "1.5", "0", "-3")),
    argument("devices", []),
    argument("devices", [-1], "-1"),
    argument("devices", [0.5], "0.5"),
    *(argument("max_time", value) for value in ("x", "1", "1:2", "aa:bb:cc:dd", {"nonsense": 1}, {"hours": "x"})),
    *(argument("max_time", value) for value in ({"hours": math.nan}, {"hours": -1})),
    built("strategy", "nonsense"),
    built("devices", "0"),
    built("limit_test_batches", "1.5"),
    built("limit_test_batches", "0"),
    built("limit_val_batches", "0.0", "validate"),
    built("limit_predict_batches", "0", "predict"),
    built("precision", "64-true"),
    built("gradient_clip_val", "-1", "fit"),
    built("max_time", "x", "fit"),
]
