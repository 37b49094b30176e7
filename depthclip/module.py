"""DepthCLIP, the LightningModule: the steps of `test`, `validate`, `predict` and `fit`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from depthclip.cache import FeatureCache
from depthclip.checks import check_count, check_number
from depthclip.data.batches import Batch, Item
from depthclip.data.photos import Photos
from depthclip.depth_maps import BatchDepth, ImageDepth
from depthclip.encoder.encoder import Encoder
from depthclip.encoder.frozen import FrozenCLIP
from depthclip.encoder.interfaces import ImageFeatures
from depthclip.errors import InputError
from depthclip.evaluated import EvaluatedModule, evenly_spread
from depthclip.evaluation.baselines import Baseline, check_baselines, fit_baselines, predictions_of
from depthclip.evaluation.conformal import Conformal
from depthclip.evaluation.evaluation import Evaluation
from depthclip.evaluation.measures import Measure, check_measures
from depthclip.evaluation.metrics import ERRORS
from depthclip.fit_heads import calibrate_heads, depths_for_heads
from depthclip.gather import gather
from depthclip.head.depth_head import DepthHead
from depthclip.head.interfaces import Head
from depthclip.inference import PhotoEstimator
from depthclip.intervals import add_image, calibrate, check_intervals, quality_of, restart
from depthclip.losses import Loss, LossInput, SILog, loss_input
from depthclip.optimization import Optimization, check_not_diverged, parameter_groups, training_steps
from depthclip.protocol import Alignment, Scoring, View, check_alignments, scoring_of
from depthclip.rows import HEAD, check_published
from depthclip.shown import Prediction, prediction_of, shown_image
from depthclip.stitching import stitch

MOST_PANELS = 100  # a picture of more rows cannot be viewed


class DepthCLIP(PhotoEstimator, EvaluatedModule):
    """Estimate depth by comparing image patches with sentences (arXiv 2207.01077).

    `test` and `validate` score the head and its variants; each image is encoded once for all of them. A head with fixed
    prompts and bins is zero-shot: it needs no training.

    Args:
        encoder: frozen CLIP: a FrozenCLIP, or another Encoder by class_path.
        head: head that turns features into depth: a DepthHead, or another Head by class_path.
        variants: further heads by name, scored beside `head` on the same features.
        mirror: whether the mirrored photograph is encoded too and the depths averaged, in `infer` and for `Photos`
            without a view. With another data module, `view.mirror` decides.
        max_side: number of pixels to which the longer side of a photograph is reduced before CLIP sees it, in `infer`
            and for `Photos`.
        loss: loss that `fit` minimizes; SILog if null.
        training_scoring: Scoring, or the name of a preset, that selects the pixels of the loss; null for the scoring of
            the data module, without its crop if images are augmented.
        learning_rate: largest learning rate of the one-cycle schedule, greater than 0.
        weight_decay: decay of learned words, contexts and networks, at least 0; bins and temperatures do not decay.
        optimization: optimizer and schedule of `fit`; AdamW with one cycle if null.
        cache: where `fit` keeps the features of the frozen tower, so that each training image is encoded once:
            `memory`, or the path of a folder; null encodes it in every epoch. A cache excludes augmentation.
        training_images: number of training images to which bins, baselines and calibrated heads are fitted.
        training_baselines: whether `test` also scores the constant and the median map fitted to training images.
        published: published figures to print beside the measured ones, by row and error, as their source gives them.
        panels: number of test images in the pictures.
        errors: figures that `test` and `validate` compute in addition to the nine errors.
        baselines: baselines that `test` scores in addition to those of the package.
        alignments: alignments in which `test` computes the nine errors of every row, in addition to
            `scoring.alignment`: `none`, `median`, `scale`, `affine`, `log_affine`, `disparity_affine`.
        intervals: intervals around the depth of `head`, calibrated on the validation images by `validate` and `fit`,
            and by `test` before it starts unless a checkpoint holds them; null for none.

    Raises:
        InputError: if a number is out of its range, `cache` is empty, an alignment is unknown, or two alignments,
            measures or rows have the same name.
    """

    def __init__(
        self,
        encoder: FrozenCLIP | Encoder,
        head: DepthHead | Head,
        variants: Mapping[str, DepthHead | Head] | None = None,
        mirror: bool = True,
        max_side: int = 640,
        loss: Loss | None = None,
        training_scoring: Scoring | str | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.1,
        cache: str | None = None,
        training_images: int = 500,
        training_baselines: bool = False,
        published: dict[str, dict[str, float]] | None = None,
        panels: int = 4,
        optimization: Optimization | None = None,
        errors: list[Measure] | None = None,
        baselines: list[Baseline] | None = None,
        alignments: list[Alignment] | None = None,
        intervals: Conformal | None = None,
    ) -> None:
        check_published(published or {})
        check_count("panels", panels, at_least=0, at_most=MOST_PANELS, unit="images", hint="use 0 for no pictures")
        check_number("learning_rate", learning_rate, above=0, at_most=1e6)
        check_number("weight_decay", weight_decay, at_least=0, at_most=1e6, hint="use 0 for no decay")
        check_count("training_images", training_images, unit="images")
        if cache is not None and not cache.strip():
            raise InputError(f"cache {cache!r} is empty; use memory, the path of a folder, or null")
        check_measures([*(errors or []), *quality_of(intervals)], ERRORS)
        check_alignments(alignments or [])
        check_baselines(baselines or [], (HEAD, *(variants or {})))
        super().__init__(encoder, head, variants, mirror, max_side, intervals)
        self.loss = loss or SILog()
        self.training_scoring = None if training_scoring is None else scoring_of(training_scoring)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimization = optimization or Optimization()
        self.errors, self.baselines, self.alignments = errors or [], baselines or [], alignments or []
        self.has_depths = False  # whether an epoch of training has met a valid depth
        self.cache = cache
        self.training_images = training_images
        self.training_baselines = training_baselines
        self.published = published or {}
        self.panels = panels
        self.shown = []
        self.shown_indices: set[int] = set()
        self.features = FeatureCache(cache) if cache else None

    def setup(self, stage: str) -> None:
        """Check before the work starts that the data can calibrate the intervals, and set the view of photographs."""
        super().setup(stage)
        self.view_photographs()
        check_intervals(self.intervals, self.datamodule, stage)

    def view_photographs(self) -> None:
        """Set the view of `Photos` to that of `infer`, unless a view was given."""
        if isinstance(self.datamodule, Photos):
            self.datamodule.follow(View(max_side=self.max_side, mirror=self.mirror))

    # ---- training depths and images, to which heads and baselines are fitted

    def fit_heads(self) -> None:
        """Fit the heads that need training depths, and calibrate those that need training images."""
        if any(head.needs_depths for head in self.heads):
            for _ in self.training_depths():
                pass
        if any(head.needs_images for head in self.heads):
            calibrate_heads(self, self.datamodule, self.training_images)

    on_validation_start = on_predict_start = fit_heads

    def training_depths(self) -> Iterator[Tensor]:
        """Yield the training depths (H, W) in metres; heads that need them are fitted in the same pass."""
        return depths_for_heads(self.heads, self.datamodule, self.training_images)

    # ---- test, validate and predict

    def on_test_start(self) -> None:
        """Fit bins and baselines, reset the errors, and select the images for the pictures."""
        data, fitted = self.datamodule, None
        if data is not None and self.training_baselines:
            fitted = fit_baselines(self.training_depths())  # which fits the heads too
        self.fit_heads()
        if data is not None:
            for baseline in self.baselines:
                baseline.prepare(data)
        calibrate(self.intervals, data, self.device, self.estimates)
        rivals, measures = [baseline.name for baseline in self.baselines], [*self.errors, *quality_of(self.intervals)]
        self.evaluation = Evaluation(
            self.names, fitted, self.device, measures=measures, rivals=rivals, alignments=self.alignments
        )
        self.shown = []
        images = len(data.sets["test"]) if data is not None else self.panels
        self.shown_indices = evenly_spread(images, self.panels)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Score the head, its variants and the baselines on each image of a batch."""
        for item, depth in self.estimates(batch):
            rivals = predictions_of(self.baselines, item)
            spread = depth.spread() if self.evaluation.needs_spread else None
            self.evaluation.add(item, depth, batch.scoring, rivals, spread)
            if item.index in self.shown_indices:
                self.shown.append(shown_image(item, depth.stack(), batch, depth.coarse()))
        self.evaluation.skip(batch.unreadable)

    def on_test_epoch_end(self) -> None:
        """Gather errors and pictures of all devices, and log the figures of the head and, by name, of the variants."""
        shown = [image.cpu() for image in self.shown]
        self.shown = sorted((image for part in gather(shown) for image in part), key=lambda image: image.index)
        figures = self.gather_outcome().result.figures()
        self.log_figures("test", figures[HEAD])
        for name in self.names[1:]:
            self.log_figures(f"test/{name}", figures[name])

    def on_validation_epoch_start(self) -> None:
        """Reset the errors."""
        self.shown = []
        self.evaluation = Evaluation(self.names, None, self.device, baselines=False, measures=self.errors)
        restart(self.intervals)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Score the head and its variants on each image of a batch."""
        for item, depth in self.estimates(batch):
            spread = depth.spread() if self.evaluation.needs_spread else None
            self.evaluation.add(item, depth, batch.scoring, spread=spread)
            add_image(self.intervals, item, depth, batch)
        self.evaluation.skip(batch.unreadable)

    def on_validation_epoch_end(self) -> None:
        """Gather the errors of all devices, log the figures of the head, and compute its intervals."""
        if self.trainer.sanity_checking:
            return  # a few images, of which none needs to have a valid depth
        figures = self.gather_outcome().result.figures()[HEAD]
        if self.intervals is not None:
            self.intervals.compute()
        self.log_figures("val", figures)
        self.log("abs_rel", figures["abs_rel"], prog_bar=True, logger=False, sync_dist=True, reduce_fx="max")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """Return the head's depth of the part of each image that the model saw, at its size in the image."""
        words, intervals = self.head.labels, self.intervals
        return [
            prediction_of(item, depth.stack(1)[0], depth.coarse()[0], batch, words, intervals)
            for item, depth in self.estimates(batch)
        ]

    def estimates(self, batch: Batch) -> Iterator[tuple[Item, ImageDepth]]:
        """Yield each item with the depth of all heads at the size that the model saw, and their outputs."""
        for items, rgb in batch.by_size():
            outputs = self.coarse(rgb, batch.view, [item.focal for item in items])
            depths = BatchDepth(outputs, batch.view, (rgb.shape[-2], rgb.shape[-1]))
            for k, item in enumerate(items):
                yield item, depths.image(k)

    # ---- fit

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer of the head's parameters, and its schedule.

        Raises:
            InputError: if the head learns nothing.
        """
        groups = parameter_groups(self.head, self.weight_decay)
        optimizer = self.optimization.optimizer(groups, self.learning_rate)
        schedule = self.optimization.schedule(optimizer, self.learning_rate, training_steps(self.trainer))
        interval, monitor = self.optimization.interval, self.optimization.monitor
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": interval, "monitor": monitor},
        }

    def on_train_start(self) -> None:
        """Stretch the schedule of a checkpoint that was made for another number of steps."""
        for config in self.trainer.lr_scheduler_configs:
            config.scheduler = self.optimization.stretched(config.scheduler, self.learning_rate, self.trainer)

    def on_fit_start(self) -> None:
        """Fit the heads that need training data, and open the cache.

        Raises:
            InputError: if images are augmented or cut into windows, which the cache does not support.
        """
        self.fit_heads()
        data = self.datamodule
        if self.features is not None and data is not None:
            for name, value in (("augment", data.augment), ("view.window", data.view.window)):
                if value is not None:
                    raise InputError(
                        f"cache {self.cache!r} keeps features of whole, unchanged images, but data.{name} changes "
                        "them; set one to null"
                    )
            self.features.open(self.encoder, data.sets["train"], data.view, self.head.needs)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Return the loss of the head's depth on a batch; None if none of its images could be read."""
        inputs: list[LossInput] = []
        scoring = self.training_scoring or batch.scoring
        for items, rgb in batch.by_size():
            size = (rgb.shape[-2], rgb.shape[-1])
            features = self.training_features(items, rgb, batch.view)
            output = stitch(self.head(features, self.encoder.text), batch.view.windows(*size))
            output = self.at_focal(output, self.head, [item.focal for item in items])
            depth = batch.view.upsample(output.depth, size)
            for k, item in enumerate(items):
                aligned = scoring.align(depth[k], item.target, item.seen)
                inputs.append(loss_input(aligned, output.image(k) if self.loss.needs_logits else None))
        if not inputs:
            return None
        # after the first depth the later batches are not searched, which on a GPU would be a synchronization each
        self.has_depths = self.has_depths or any(bool(each.mask.any()) for each in inputs)
        loss = self.loss(inputs)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(inputs))
        return loss

    def on_train_epoch_end(self) -> None:
        """Check before a checkpoint is written that the epoch had valid depths and finite parameters.

        Raises:
            InputError: if no training image has a valid depth, or a parameter is not finite.
        """
        if not self.trainer.strategy.reduce_boolean_decision(self.has_depths, all=False):
            raise InputError(
                "no pixel of the training images has a valid depth within the scoring; check the scale of the depth "
                "files (values per metre), scoring.min_depth, scoring.max_depth and scoring.crop"
            )
        check_not_diverged(self.head, f"epoch {self.current_epoch + 1}", self.learning_rate)

    def training_features(self, items: list[Item], rgb: Tensor, view: View) -> ImageFeatures:
        """Return the features of the windows of a stack of images, not mirrored, from the cache where it has them."""
        view = replace(view, mirror=False)

        @torch.no_grad()
        def encode(images: Tensor) -> ImageFeatures:
            return self.encode(images, view, self.head.needs)

        return encode(rgb) if self.features is None else self.features.get([item.index for item in items], rgb, encode)
