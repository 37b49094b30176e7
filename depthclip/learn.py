"""Learn, then score: `python -m depthclip learn -c RECIPE`."""

from collections.abc import Sequence


def learn(args: Sequence[str]) -> None:
    """Fit a recipe and test it with the parameters of the last epoch, into one folder.

    Args:
        args: arguments of `fit`.
    """
    from depthclip.cli import run  # slow to import

    cli = run(["fit", *args])
    cli.trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)
