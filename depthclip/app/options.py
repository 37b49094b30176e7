"""The options of `python -m depthclip app`, apart from what is slow to import."""

import argparse
from collections.abc import Sequence

from depthclip.checks import check_count

LARGEST_UPLOAD = 1024  # megabytes
ABOUT = "Serve a page on this machine: depth of a photograph, whose words can be edited."


def app_options(args: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line.

    Raises:
        InputError: if a number is out of its range.
    """
    parser = argparse.ArgumentParser(prog="python -m depthclip app", description=ABOUT, allow_abbrev=False)
    parser.add_argument(
        "-c", "--config", default="rooms", metavar="RECIPE", help="recipe: a YAML file, or a name such as rooms, photos"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets the network in (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, help="port; by default the first free one from 7860")
    parser.add_argument(
        "--max_upload", type=int, default=40, metavar="MB", help="largest file in megabytes (default: %(default)s)"
    )
    options = parser.parse_args(list(args))
    if options.port is not None:
        check_count("--port", options.port, at_most=65535, hint="leave it out for the first free port")
    check_count("--max_upload", options.max_upload, at_most=LARGEST_UPLOAD, unit="megabytes")
    return options
