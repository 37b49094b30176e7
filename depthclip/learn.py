"""Fit a model, then test it: `python -m depthclip learn -c RECIPE`."""

from collections.abc import Sequence


def learn(args: Sequence[str]) -> None:
    """Fit the model of a recipe and test it with the parameters of the last epoch; both write to the same folder.

    Args:
        args: arguments of `fit`.
    """
    from depthclip.cli import run  # imported here because it is slow

    cli = run(["fit", *args])
    cli.trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)
