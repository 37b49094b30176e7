"""Score depth maps that any method wrote: `python -m depthclip score --predictions DIR -c RECIPE`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from depthclip.subcommand import subcommand_parser

DESCRIPTION = "Score depth maps in files under the protocol of a data set, with baselines, as `test` scores a model."
FORMATS = """files are matched with the test images by name: the path of an image in the data set with another suffix,
such as bathroom/rgb_00045.npy for bathroom/rgb_00045.jpg; the same with _ in place of /; or only rgb_00045.npy
if no two images share it. Folders of `predict` have an index. Formats: 16-bit PNG, TIFF, .npy, .npz.

options of the data and the evaluation, as for `test` (python -m depthclip test --help):
  -c RECIPE             use the data, and of the model the options below
  --data CLASS          data set, such as NYU, or a file of configs/data; --data.* sets its arguments
  --model.*             published, panels, errors, alignments, baselines, training_baselines ...
  --trust MODULE        allow classes of a module of yours, which runs its code

examples:
  python -m depthclip score --predictions depth -c configs/nyu_released.yaml --data.root data/nyu
  python -m depthclip score --predictions zoe=out/zoe --scale zoe=256 --predictions mine=out/mine --data NYU"""


def score(args: Sequence[str]) -> None:
    """Score the depth maps that a command line names.

    Args:
        args: arguments without the subcommand.

    Raises:
        InputError: if an argument, a recipe or a file cannot be used.
    """
    options, rest = score_options(args)
    from depthclip.score_run import run  # imported here because it is slow and `--help` works without it

    run(options, rest)


def score_options(args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the options about the files, and the other arguments.

    Raises:
        InputError: if an option is refused.
    """
    from depthclip.errors import InputError

    parser = subcommand_parser("score", DESCRIPTION, FORMATS)
    several = "; NAME=VALUE for one of several"
    parser.add_argument(
        "--predictions",
        action="append",
        default=[],
        metavar="DIR",
        help="folder of the depth maps, or NAME=DIR; may be repeated, one row for each",
    )
    parser.add_argument(
        "--scale",
        action="append",
        default=[],
        help=f"values per metre, such as 1000, where the files do not state it{several}",
    )
    parser.add_argument(
        "--covers",
        action="append",
        default=[],
        help=f"image or view: the part that maps of another size show, which are then resampled{several}",
    )
    parser.add_argument(
        "--suffix", action="append", default=[], help=f"suffix of the files to score, such as .npy{several}"
    )
    parser.add_argument(
        "--any_unit", action="store_true", help="accept depths beyond 5 times or below 1/5 of the truth"
    )
    parser.add_argument("--name", default="score", help="the run's folder within runs/")
    parser.add_argument("--vector", choices=["pdf", "svg"], help="format of the pictures besides PNG, for papers")
    try:
        options, rest = parser.parse_known_args(list(args))
    except argparse.ArgumentError as error:
        raise InputError(f"{error}; use --help to list the options") from error
    if not options.predictions:
        raise InputError("--predictions is missing; pass the folder of the depth maps, as in --predictions depth")
    return options, rest


def named(folders: Sequence[str]) -> dict[str, str]:
    """Return the folder of each row, by name.

    Args:
        folders: texts `NAME=DIR`, or `DIR`, whose name is the last part of the path.

    Raises:
        InputError: if two rows have the same name.
    """
    from depthclip.errors import InputError

    rows: dict[str, str] = {}
    for given in folders:
        name, equals, folder = given.partition("=")
        if not equals or Path(given).exists():
            name, folder = Path(given).name or Path(given).resolve().name, given
        if name in rows:
            raise InputError(f"--predictions {given}: two rows are named {name!r}; give a name, as in first={folder}")
        rows[name] = folder
    return rows


def by_row(option: str, values: Sequence[str], rows: Sequence[str]) -> dict[str, str]:
    """Return the value of an option for each row; rows without a value are left out.

    Args:
        option: name of the option, for the message.
        values: texts `VALUE`, for all rows, or `NAME=VALUE`.
        rows: names of the rows.

    Raises:
        InputError: if a name is no row, or a row has two values.
    """
    from depthclip.errors import InputError

    of_row: dict[str, str] = {}
    for given in values:
        name, equals, value = given.rpartition("=")
        if equals and name not in rows:
            raise InputError(f"{option} {given}: there is no row {name!r}; use one of {', '.join(rows)}")
        for row in [name] if equals else rows:
            if row in of_row:
                raise InputError(f"{option} {given}: {row!r} has the value {of_row[row]} already; give it once")
            of_row[row] = value
    return of_row
