"""Options of `benchmark` that are refused."""

from tests.bad.command_line import command
from tests.bad.judge import Case


def refused(option, *values, names=()):
    """An option with a value that is refused before anything is built."""
    run = lambda folder: command("benchmark", "-c", "rooms", option, *values)  # noqa: E731
    return Case("benchmark", f"{option} {' '.join(values)}", run, (option, *(names or values)))


CASES = [
    refused("--sections", "speed,taste", names=("taste", "shares")),
    refused("--images", "0"),
    refused("--images", "many", names=("many",)),
    refused("--batch_size", "-1"),
    refused("--repeats", "0"),
    refused("--size", "8", "640"),
    refused("--device", "tpu"),
    refused("--precision", "64-true"),
    refused("--precision", "16-mixed"),
    refused("--threads", "0"),
    refused("--learned_words", "1"),
    refused("--context", "0"),
    Case(
        "benchmark",
        "an option that does not exist",
        lambda folder: command("benchmark", "-c", "rooms", "--imagse", "3"),
        ("imagse",),
    ),
    Case("benchmark", "no recipe", lambda folder: command("benchmark", "--quick"), ("data",)),
]
