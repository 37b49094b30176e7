"""Fits a recipe's head and scores what was learned, in one process: `python -m experiments.learn -c RECIPE`."""

import sys

from depthclip.messages import sentence


def main() -> int:
    """Fits, then tests with the parameters of the last epoch, into one folder."""
    from depthclip.cli import run

    try:
        cli = run(["fit", *sys.argv[1:]])
        cli.trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
