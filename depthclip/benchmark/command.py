"""Measure the cost of a recipe: `python -m depthclip benchmark -c RECIPE`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from depthclip.subcommand import subcommand_parser

DESCRIPTION = """Measure what a recipe costs: the speed of its image tower alone, of the model, and of the whole test
from files; the share of each part, memory, dispatched operations, growth, precision, training, processes, and the
start."""
FORMATS = """sections: speed, shares, counts, memory, growth, precision, training, devices, startup. All figures are
medians of rounds in which the cases alternate, with quartiles. The images are those of the recipe if its files exist;
else rooms are rendered and written into a temporary folder.

options of the model and the data, as for `test` (python -m depthclip test --help):
  -c RECIPE             use the model and the data of a recipe
  --model.*, --data.*   change their arguments

examples:
  python -m depthclip benchmark -c rooms --quick
  python -m depthclip benchmark -c nyu_rn50 --model.encoder.pretrained null --sections speed,shares"""
SECTIONS = ("speed", "shares", "counts", "memory", "growth", "precision", "training", "devices", "startup")
QUICK = ("speed", "shares", "counts")
DEVICES, PRECISIONS = ("auto", "cpu", "cuda"), ("32-true", "bf16-mixed", "16-mixed")


def benchmark(args: Sequence[str]) -> None:
    """Measure the recipe that a command line names.

    Args:
        args: arguments without the subcommand.

    Raises:
        InputError: if an argument, a recipe or a file cannot be used.
    """
    options, rest = benchmark_options(args)
    from depthclip.benchmark.run import run  # imported here because it is slow and `--help` works without it

    run(options, rest)


def benchmark_options(args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the options of the benchmark, and the other arguments.

    Raises:
        InputError: if an option is refused.
    """
    from depthclip.errors import InputError

    parser = subcommand_parser("benchmark", DESCRIPTION, FORMATS)
    parser.add_argument("--sections", help="sections separated by commas; all if not given")
    parser.add_argument("--quick", action="store_true", help="few images and rounds; speed, shares and counts only")
    parser.add_argument("--images", type=int, help="number of test images; 8, or 2 with --quick")
    parser.add_argument("--batch_size", type=int, help="images per batch; 4, or 2 with --quick")
    parser.add_argument("--repeats", type=int, help="number of rounds; 5, or 2 with --quick")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(480, 640), metavar=("H", "W"), help="pixels of images that are written"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--precision", default="32-true", help="32-true, bf16-mixed or 16-mixed")
    parser.add_argument("--threads", type=int, help="number of threads; those of torch if not given")
    parser.add_argument("--learned_words", type=int, default=7, help="section training: number of words")
    parser.add_argument("--context", type=int, default=16, help="section training: learned vectors before each word")
    parser.add_argument("--output", type=Path, default=Path("results/benchmark"), help="folder of the results")
    try:
        options, rest = parser.parse_known_args(list(args))
    except argparse.ArgumentError as error:
        raise InputError(f"{error}; use --help to list the options") from error
    complete(options)
    return options, rest


def complete(options: argparse.Namespace) -> None:
    """Check the options, and set those that depend on others.

    Raises:
        InputError: if a value is out of its range.
    """
    from depthclip.checks import check_choice, check_count

    quick = options.quick
    for name, full, few in (("images", 8, 2), ("batch_size", 4, 2), ("repeats", 5, 2)):
        if getattr(options, name) is None:
            setattr(options, name, few if quick else full)
    for name, most in (("images", 10_000), ("batch_size", 10_000), ("repeats", 1000)):
        check_count(f"--{name}", getattr(options, name), at_most=most)
    for side in options.size:
        check_count(f"--size {options.size[0]} {options.size[1]}: side", side, at_least=32, at_most=4096, unit="pixels")
    check_count("--learned_words", options.learned_words, at_least=2, at_most=10_000, unit="words")
    check_count("--context", options.context, at_most=64, unit="vectors")
    if options.threads is not None:
        check_count("--threads", options.threads, at_most=1024)
    check_choice("--device", options.device, DEVICES)
    check_choice("--precision", options.precision, PRECISIONS)
    given = (QUICK if quick else SECTIONS) if options.sections is None else tuple(options.sections.split(","))
    for section in given:
        check_choice("--sections", section, SECTIONS)
    options.sections = [section for section in SECTIONS if section in given]
