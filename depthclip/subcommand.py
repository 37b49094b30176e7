"""The parser of a subcommand that has options besides those of a recipe."""

import argparse


def subcommand_parser(name: str, description: str, epilog: str, usage: str | None = None) -> argparse.ArgumentParser:
    """Return a parser without options, whose errors are raised and whose texts keep their lines.

    Args:
        name: name of the subcommand.
        description: text before the options.
        epilog: text after the options.
        usage: first line of the help; None for that of argparse.
    """
    return argparse.ArgumentParser(
        prog=f"python -m depthclip {name}",
        usage=usage,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        exit_on_error=False,
    )
