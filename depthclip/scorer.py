"""Score depth maps from files under the protocol of a data set, beside the baselines; no image is encoded."""

from collections.abc import Mapping, Sequence

import torch

from depthclip.checks import check_count
from depthclip.data.batches import Batch
from depthclip.errors import InputError
from depthclip.evaluated import EvaluatedModule, evenly_spread
from depthclip.evaluation.baselines import Baseline, check_baselines, fit_baselines, predictions_of
from depthclip.evaluation.evaluation import Evaluation
from depthclip.evaluation.measures import Measure, check_measures
from depthclip.evaluation.metrics import ERRORS
from depthclip.fit_heads import depths_for_heads
from depthclip.gather import gather
from depthclip.module import MOST_PANELS
from depthclip.predictions import Predicted
from depthclip.protocol import Alignment, check_alignments
from depthclip.rows import check_published
from depthclip.shown import shown_image


class PredictionScorer(EvaluatedModule):
    """Score depth maps that any method wrote, by the same steps as `test`.

    Args:
        predictions: depth maps in files, at least one; each is a row of the table.
        training_images: number of training images to which baselines are fitted.
        training_baselines: whether to also score the constant and the median map fitted to training images.
        published: published figures to print beside the measured ones, by row and error, as their source gives them.
        panels: number of test images in the pictures.
        errors: figures to compute in addition to the nine errors.
        baselines: baselines to score in addition to those of the package.
        alignments: alignments in which the nine errors of every row are computed, in addition to `scoring.alignment`:
            `none`, `median`, `scale`, `affine`, `log_affine`, `disparity_affine`.

    Raises:
        InputError: if there are no predictions, a number is out of its range, an alignment is unknown, two alignments,
            measures or rows have the same name, or a measure needs the spread of a model.
    """

    not_finite_hint = "check the values of its depth map, and scoring.alignment"

    def __init__(
        self,
        predictions: Sequence[Predicted],
        training_images: int = 500,
        training_baselines: bool = False,
        published: Mapping[str, dict[str, float]] | None = None,
        panels: int = 4,
        errors: list[Measure] | None = None,
        baselines: list[Baseline] | None = None,
        alignments: list[Alignment] | None = None,
    ) -> None:
        super().__init__()
        if not predictions:
            raise InputError("predictions [] has no row to score; pass at least one folder")
        check_published(published or {})
        check_count("panels", panels, at_least=0, at_most=MOST_PANELS, unit="images", hint="use 0 for no pictures")
        check_count("training_images", training_images, unit="images")
        check_measures(errors or [], ERRORS)
        check_alignments(alignments or [])
        check_baselines([*predictions, *(baselines or [])], ())
        for measure in errors or []:
            if measure.needs_spread:
                raise InputError(
                    f"errors {type(measure).__name__} needs the spread of a model, which depth maps in files do not "
                    "have; remove it, or use test"
                )
        self.predictions = list(predictions)
        self.names = tuple(each.name for each in predictions)
        self.training_images = training_images
        self.training_baselines = training_baselines
        self.published = dict(published or {})
        self.panels = panels
        self.errors = errors or []
        self.baselines = baselines or []
        self.alignments = alignments or []
        self.shown = []
        self.shown_indices: set[int] = set()

    def on_test_start(self) -> None:
        """Check the files, fit the baselines, reset the errors, and select the images for the pictures.

        Raises:
            InputError: if there is no data module, or a file of the predictions cannot be used.
        """
        data = self.datamodule
        if data is None:
            raise InputError("predictions are matched with the images of a data module; pass one to the trainer")
        for baseline in (*self.predictions, *self.baselines):
            baseline.prepare(data)
        fitted = fit_baselines(depths_for_heads([], data, self.training_images)) if self.training_baselines else None
        rivals = [baseline.name for baseline in self.baselines]
        self.evaluation = Evaluation(
            self.names, fitted, self.device, measures=self.errors, rivals=rivals, alignments=self.alignments
        )
        self.shown = []
        self.shown_indices = evenly_spread(len(data.sets["test"]), self.panels)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Score the predictions and the baselines on each image of a batch."""
        for item in batch.items:
            # resampled one by one, because methods differ in resolution
            maps = [batch.scoring.resampled(each.predict(item)[None], item.seen) for each in self.predictions]
            depth = torch.cat([each.to(item.target) for each in maps])
            self.evaluation.add(item, depth, batch.scoring, predictions_of(self.baselines, item))
            if item.index in self.shown_indices:
                self.shown.append(shown_image(item, depth, batch))
        self.evaluation.skip(batch.unreadable)

    def on_test_epoch_end(self) -> None:
        """Gather errors and pictures of all devices, and log the figures by row."""
        shown = [image.cpu() for image in self.shown]
        self.shown = sorted((image for part in gather(shown) for image in part), key=lambda image: image.index)
        figures = self.gather_outcome().result.figures()
        for name in self.names:
            self.log_figures(f"test/{name}", figures[name])
