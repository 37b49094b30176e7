"""The part of `test` that does not depend on how depth is estimated."""

from pytorch_lightning import LightningModule

from depthclip.data.batches import BatchLoader
from depthclip.data.module import DepthDataModule
from depthclip.evaluation.evaluation import OF_A_MODEL, Evaluation, Outcome, check_outcome
from depthclip.shown import Shown


class EvaluatedModule(LightningModule):
    """Base class of the modules whose depth is scored; the report reads its attributes.

    Args:
        names: names of the rows that are scored beside the baselines.
        published: published figures by row and error.
        evaluation: errors of the images that this device has scored.
        outcome: errors of all images, once `gather_outcome` has returned.
        shown: images for the pictures.
        not_finite_hint: what to check if a depth is not finite.
    """

    names: tuple[str, ...]
    published: dict[str, dict[str, float]]
    evaluation: Evaluation
    outcome: Outcome
    shown: list[Shown]
    not_finite_hint = OF_A_MODEL

    def setup(self, stage: str) -> None:
        """Remove the outcome of an earlier test, which would pass for that of a test without batches."""
        if stage in ("test", "validate") and hasattr(self, "outcome"):
            del self.outcome

    def gather_outcome(self) -> Outcome:
        """Return the errors of all devices; every device must call it.

        Warnings about the data are printed first: with a limit of batches, the loader has not reached its last batch.

        Raises:
            InputError: if no pixel counts, a depth is not finite, or another process has ended.
        """
        trainer = self.trainer
        loaders = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
        for loader in loaders if isinstance(loaders, list) else [loaders]:
            if isinstance(loader, BatchLoader):
                loader.conclude()
        outcome = self.evaluation.outcome()
        scoring = None if self.datamodule is None else self.datamodule.scoring
        check_outcome(outcome, scoring, self.not_finite_hint)
        self.outcome = outcome
        return outcome

    def log_figures(self, prefix: str, figures: dict[str, float]) -> None:
        """Log figures that are the same on all devices."""
        # the mean over devices, Lightning's default, would round; the largest of equal values is exact
        named = {f"{prefix}/{error}": value for error, value in figures.items()}
        self.log_dict(named, sync_dist=True, reduce_fx="max")

    @property
    def datamodule(self) -> DepthDataModule | None:
        """The trainer's data module, where there is one."""
        data = getattr(self.trainer, "datamodule", None)
        return data if isinstance(data, DepthDataModule) else None


def evenly_spread(images: int, count: int) -> set[int]:
    """Return the indices of `count` images for the pictures, evenly spread over the images of a data set."""
    return {images * k // count for k in range(count)}
