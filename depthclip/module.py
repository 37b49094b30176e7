"""DepthCLIP, the LightningModule: a frozen CLIP, a depth head, and variants of it scored in the same image pass."""

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from depthclip.cache import FeatureCache
from depthclip.checkpoint import (
    RECIPE,
    check_recipe,
    check_state,
    fingerprint,
    learned_state,
    read_checkpoint,
    recipe,
    variants_of,
    without_variants,
)
from depthclip.checks import brief, check_count, check_number
from depthclip.data.base import Batch, DepthDataModule, Item, Split
from depthclip.data.files import read_rgb
from depthclip.encoder.frozen import FrozenCLIP
from depthclip.encoder.interfaces import ImageFeatures
from depthclip.errors import InputError
from depthclip.evaluation.baselines import Baseline, check_baselines, fit_baselines
from depthclip.evaluation.evaluation import Evaluation, Outcome, check_outcome
from depthclip.evaluation.metrics import ErrorMeasure, check_measures
from depthclip.evaluation.protocol import Scoring, View, scoring_of
from depthclip.from_file import build
from depthclip.gather import gather
from depthclip.head import Coarse, DepthHead
from depthclip.losses import Compared, Loss, SILog
from depthclip.optimization import Optimization, advance, check_finite, parameter_groups, training_steps
from depthclip.rows import HEAD, check_published, check_variants

MOST_PANELS = 100  # a picture of more rows cannot be viewed
MOST_PIXELS = 500_000_000  # of an array; a larger one would take more memory than most machines have


class Shown(NamedTuple):
    """A test image that goes into the pictures.

    Args:
        place: index in the data set.
        name: name of the sample.
        rgb: (3, h, w) in [0, 1], the part of the image that the model saw.
        truth: (h', w') metres of the same part of the scene, 0 where the protocol does not score.
        depth: (V, h', w') metres, of the head and each variant.
        weights: (K, h'', w'') in [0, 1], the weight of each word of the head in each patch; None without words.
        farthest: (V,) metres, the largest bin of the head and each variant, 0 without bins.
    """

    place: int
    name: str
    rgb: Tensor
    truth: Tensor
    depth: Tensor
    weights: Tensor | None
    farthest: Tensor


class Prediction(NamedTuple):
    """The depth of one image.

    Args:
        place: index in the data set.
        name: name of the sample.
        depth: (h', w') metres.
    """

    place: int
    name: str
    depth: Tensor


class DepthCLIP(LightningModule):
    """Depth from language: patches of an image compared with sentences (arXiv 2207.01077).

    `test` and `validate` run zero-shot. Each image is encoded once, whatever the number of heads.

    Args:
        encoder: the frozen CLIP.
        head: turns its features into depth.
        variants: further heads by name, scored beside `head` on the same features.
        mirror: whether a photograph without a data set is also seen mirrored, and both depths averaged.
        max_side: to how many pixels the longer side of such a photograph is reduced before CLIP sees it.
        loss: what `fit` minimises.
        training_scoring: which pixels the loss counts, a preset's name or a Scoring; null for those that the data
            module scores, without its crop where images are augmented.
        learning_rate: largest learning rate of the one-cycle schedule, greater than 0.
        weight_decay: decay of learned words, contexts and networks, at least 0; bins and temperatures do not decay.
        optimization: optimizer and schedule of `fit`; AdamW with one cycle if null.
        cache: where `fit` keeps the frozen tower's features, so that each training image is encoded once: `memory`, or
            a folder; null encodes it every time. Not with augmentation, which changes the images.
        training_images: how many training images fitted bins and baselines look at.
        training_baselines: whether `test` also scores the constant and the median map fitted to training images.
        published: figures to print beside ours, by row and error, as their source gives them.
        panels: how many test images go into the pictures.
        errors: error measures scored beside the nine of the package.
        baselines: baselines that `test` scores beside those of the package.

    Raises:
        InputError: if a number is out of its range, `cache` is empty, or two measures or rows have one name.
    """

    def __init__(
        self,
        encoder: FrozenCLIP,
        head: DepthHead,
        variants: dict[str, DepthHead] | None = None,
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
        errors: list[ErrorMeasure] | None = None,
        baselines: list[Baseline] | None = None,
    ) -> None:
        super().__init__()
        check_variants(variants or {})
        check_published(published or {})
        check_count("panels", panels, at_least=0, at_most=MOST_PANELS, unit="images", hint="use 0 for no pictures")
        check_number("learning_rate", learning_rate, above=0, at_most=1e6)
        check_number("weight_decay", weight_decay, at_least=0, at_most=1e6, hint="use 0 for no decay")
        check_count("training_images", training_images, unit="images")
        if cache is not None and not cache.strip():
            raise InputError(f"cache {cache!r} is empty; use memory, the path of a folder, or null")
        check_measures(errors or [])
        check_baselines(baselines or [], (HEAD, *(variants or {})))
        self.encoder = encoder
        self.head = head
        self.variants = nn.ModuleList((variants or {}).values())
        self.names = (HEAD, *(variants or {}))
        self.mirror = mirror
        check_count("max_side", max_side, unit="pixels")
        self.max_side = max_side
        self.loss = loss or SILog()
        self.training_scoring = None if training_scoring is None else scoring_of(training_scoring)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimization = optimization or Optimization()
        self.errors = errors or []
        self.baselines = baselines or []
        self.has_depths = False  # whether an epoch of training has met a valid depth
        self.cache = cache
        self.training_images = training_images
        self.training_baselines = training_baselines
        self.published = published or {}
        self.panels = panels
        self.shown: list[Shown] = []
        for each in self.heads:
            each.prepare(self.encoder.text)
        self.variants.requires_grad_(False)  # scored, not trained
        self.settings: dict[str, Any] = {}  # the arguments as YAML has them, for checkpoints; the command line sets it
        self.data_settings: dict[str, Any] = {}  # and those of the data module
        self.strict_loading = False  # checkpoints do not hold CLIP; on_load_checkpoint checks the rest
        self.features = FeatureCache(cache) if cache else None

    @property
    def heads(self) -> list[DepthHead]:
        """The head and its variants, in the order of `names`."""
        return [self.head, *self.variants]

    # ---- what the model estimates

    def coarse(self, rgb: Tensor, mirror: bool) -> tuple[Tensor, list[Coarse]]:
        """The coarse depth of all heads, mirrored views averaged, and what each head said of the images as they are.

        Args:
            rgb: (B, 3, H, W) in [0, 1].
            mirror: whether the mirrored images are encoded in the same batch and averaged in.

        Returns:
            (B, V, h, w) metres, and a `Coarse` for each of the V heads.
        """
        seen = torch.cat([rgb, rgb.flip(-1)]) if mirror else rgb
        needs = reduce(or_, (head.needs for head in self.heads))
        features = self.encoder.encode_image(seen, needs)
        said = [head(features.select(needs, head.needs), self.encoder.text) for head in self.heads]
        depth = torch.cat([one.depth for one in said], dim=1)
        if mirror:
            straight, mirrored = depth.chunk(2)
            depth = (straight + mirrored.flip(-1)) / 2
        return depth, said

    def forward(self, rgb: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to the head's depth (B, 1, H, W) in metres."""
        depth, _ = self.coarse(rgb, self.mirror)
        return View().upsample(depth[:, :1], (rgb.shape[-2], rgb.shape[-1]))

    @torch.no_grad()
    def infer(
        self, image: str | Path | Image.Image | np.ndarray, max_side: int | None = None, mirror: bool | None = None
    ) -> np.ndarray:
        """Depth of one photograph, (H, W) float32 metres at its own size.

        Args:
            image: a path, a PIL image, or (H, W, 3) uint8 RGB. PIL images are turned as their EXIF orientation says.
            max_side: the longer side that CLIP sees, in pixels; `max_side` of the model if not given.
            mirror: whether the mirrored image is averaged in; `mirror` of the model if not given.

        Raises:
            InputError: if the image is none of these or cannot be read, max_side is no positive number of pixels, or
                the depth is not finite.
        """
        if max_side is not None:
            check_count("max_side", max_side, unit="pixels", hint="use None for the model's max_side")
        pixels = rgb_of(image)
        view = View(max_side=max_side or self.max_side)
        seen = (view.see(pixels).float() / 255).to(self.device)[None]
        depth, _ = self.coarse(seen, self.mirror if mirror is None else mirror)
        full = view.upsample(depth[:, :1], (pixels.shape[-2], pixels.shape[-1]))
        return full[0, 0].float().cpu().numpy()

    @torch.no_grad()
    def responses(self, image: str | Path | Image.Image | np.ndarray) -> dict[str, np.ndarray]:
        """Return the weight of each word in the depth of each patch of a photograph, (h, w) in [0, 1], by word.

        Raises:
            InputError: if the image is not one that `infer` takes.
        """
        seen = (View(max_side=self.max_side).see(rgb_of(image)).float() / 255).to(self.device)[None]
        _, said = self.coarse(seen, mirror=False)
        weights = word_weights(said[0])
        return {} if weights is None else dict(zip(self.head.prompts.labels, weights[0].cpu().numpy(), strict=True))

    # ---- test, validate and predict

    def fit_bins(self) -> None:
        """Fit bins that wait for training depths."""
        if any(head.bins.needs_depths for head in self.heads):
            for _ in self.training_depths():
                pass

    def training_depths(self) -> Iterator[Tensor]:
        """Yield the training depths (H, W) in metres; bins that wait for them are fitted in the same pass.

        Raises:
            InputError: if there is no data module.
        """
        waiting = list(
            dict.fromkeys(head.bins for head in self.heads if head.bins.needs_depths)
        )  # heads may share bins
        if self.datamodule is None:
            kind = type(waiting[0]).__name__ if waiting else "a baseline"
            raise InputError(
                f"{kind} is fitted to training depths, but there is no data module; pass one to the trainer"
            )
        for depth, scene in self.datamodule.training_depths(self.training_images):
            for bins in waiting:
                bins.update(depth, scene)
            yield depth
        for bins in waiting:
            bins.compute()

    def on_validation_start(self) -> None:
        """Fits bins that wait for training depths."""
        self.fit_bins()

    def on_predict_start(self) -> None:
        """Fits bins that wait for training depths."""
        self.fit_bins()

    def on_test_start(self) -> None:
        """Fit bins and baselines, reset the errors, and select the images for the pictures."""
        data, fitted = self.datamodule, None
        if data is not None and self.training_baselines:
            fitted = fit_baselines(self.training_depths())  # fits the bins on the way
        else:
            self.fit_bins()
        rivals = [baseline.name for baseline in self.baselines]
        self.evaluation = Evaluation(self.names, fitted, self.device, measures=self.errors, rivals=rivals)
        self.shown = []
        images = len(data.sets["test"]) if data is not None else self.panels
        self._show = {images * k // self.panels for k in range(self.panels)}

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Score the head, its variants and the baselines on each image of a batch."""
        for item, depth, said in self.estimates(batch):
            rivals = [batch.scoring.resampled(baseline.predict(item)[None], item.seen) for baseline in self.baselines]
            self.evaluation.add(item.index, depth, truth_of(item), item.seen, batch.scoring, rivals)
            if item.index in self._show:
                self.shown.append(shown(item, depth, said, batch.scoring))
        for one in batch.unreadable:
            self.evaluation.skip(one.index)

    def on_test_epoch_end(self) -> None:
        """Gather errors and pictures of all devices, and log the figures of the head and, by name, of the variants."""
        self.shown = sorted((one for part in gather(self.shown) for one in part), key=lambda one: one.place)
        figures = self.gather_outcome("test").result.figures()
        self.log_figures("test", figures[HEAD])
        for name in self.names[1:]:
            self.log_figures(f"test/{name}", figures[name])

    def on_validation_epoch_start(self) -> None:
        """Reset the errors."""
        self.shown = []
        self.evaluation = Evaluation(self.names, None, self.device, baselines=False, measures=self.errors)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Score the head and its variants on each image of a batch."""
        for item, depth, _ in self.estimates(batch):
            self.evaluation.add(item.index, depth, truth_of(item), item.seen, batch.scoring)
        for one in batch.unreadable:
            self.evaluation.skip(one.index)

    def on_validation_epoch_end(self) -> None:
        """Gather the errors of all devices and log the figures of the head."""
        if self.trainer.sanity_checking:
            return  # a few images, of which none needs to have a valid depth
        figures = self.gather_outcome("val").result.figures()[HEAD]
        self.log_figures("val", figures)
        self.log("abs_rel", figures["abs_rel"], prog_bar=True, logger=False, sync_dist=True, reduce_fx="max")

    def gather_outcome(self, split: Split) -> Outcome:
        """Return the errors of all devices; every device must call it.

        Raises:
            InputError: if no pixel counts, a depth is not finite, or another process has ended.
        """
        gather(None)  # the metric's own gathering has no sentence for a process that is gone
        data = self.datamodule
        samples = None if data is None else data.sets[split]
        outcome = self.evaluation.outcome()
        check_outcome(
            outcome,
            None if data is None else data.scoring,
            lambda index: f"image {index}" if samples is None else samples.name(index),
        )
        self.outcome = outcome
        return outcome

    def log_figures(self, prefix: str, figures: dict[str, float]) -> None:
        """Log figures that are the same on all devices."""
        # the mean over devices, Lightning's default, would round; the largest of equal values is exact
        named = {f"{prefix}/{error}": value for error, value in figures.items()}
        self.log_dict(named, sync_dist=True, reduce_fx="max")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """Return the head's depth of what the model saw of each image, at the size it has in the image."""
        return [
            Prediction(item.index, item.name, batch.scoring.resampled(depth[:1], item.seen)[0].cpu())
            for item, depth, _ in self.estimates(batch)
        ]

    def estimates(self, batch: Batch) -> Iterator[tuple[Item, Tensor, list[Coarse]]]:
        """Yield each item, the depth of all heads (V, h, w) in metres at the size the model saw, and their coarse maps.

        A depth map with a value that is not finite becomes NaN as a whole, so that its errors show it.
        """
        for items, rgb in batch.by_size():
            coarse, said = self.coarse(rgb, batch.view.mirror)
            coarse = coarse.masked_fill(~coarse.isfinite().all(-1).all(-1)[..., None, None], torch.nan)
            for k, item in enumerate(items):
                full = batch.view.upsample(coarse[k : k + 1], (rgb.shape[-2], rgb.shape[-1]))[0]
                yield item, full.float(), said_of(said, k)

    # ---- fit

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer of what the head learns, and its schedule.

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
            steps, done = training_steps(self.trainer), self.trainer.global_step
            if isinstance(config.scheduler, OneCycleLR) and config.scheduler.total_steps != steps:
                self.print(
                    f"the learning-rate schedule of the checkpoint has {config.scheduler.total_steps} steps; it is "
                    f"stretched to {steps} and continues from step {done}"
                )
                optimizer = config.scheduler.optimizer
                config.scheduler = self.optimization.schedule(optimizer, self.learning_rate, steps)
                advance(config.scheduler, done)

    def on_fit_start(self) -> None:
        """Fit bins that wait for training depths, and open the cache.

        Raises:
            InputError: if images are augmented, which the cache does not support.
        """
        self.fit_bins()
        data = self.datamodule
        if self.features is not None and data is not None:
            if data.augment is not None:
                raise InputError(
                    f"cache {self.cache!r} keeps features of unchanged images, but data.augment changes them; "
                    "set one to null"
                )
            self.features.open(self.encoder, data.sets["train"], data.view, self.head.needs)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Return the loss of the head's depth on a batch; None if none of its images could be read."""
        compared = []
        scoring = self.training_scoring or batch.scoring
        for items, rgb in batch.by_size():
            said = self.head(self.training_features(items, rgb), self.encoder.text)
            full = batch.view.upsample(said.depth, (rgb.shape[-2], rgb.shape[-1]))[:, :1]
            for k, item in enumerate(items):
                compared.append(compare(item, full[k], said_of([said], k)[0], scoring, self.loss.needs_logits))
        if not compared:
            return None
        # once a depth was found the later batches need no look, which on a GPU would be a wait
        self.has_depths = self.has_depths or any(bool(one.mask.any()) for one in compared)
        loss = self.loss(compared)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(compared))
        return loss

    def on_train_epoch_end(self) -> None:
        """Check that the epoch has learned something, before a checkpoint is written.

        Raises:
            InputError: if no training image has a valid depth, or a parameter is not finite.
        """
        if not self.trainer.strategy.reduce_boolean_decision(self.has_depths, all=False):
            raise InputError(
                "no pixel of the training images has a valid depth within the scoring; check the scale of the depth "
                "files (values per metre), scoring.min_depth, scoring.max_depth and scoring.crop"
            )
        check_finite(self.head, f"epoch {self.current_epoch + 1}", self.learning_rate)

    def training_features(self, items: list[Item], rgb: Tensor) -> ImageFeatures:
        """Return the frozen tower's features of a stack of images, from the cache where it has them."""

        @torch.no_grad()
        def encode(images: Tensor) -> ImageFeatures:
            return self.encoder.encode_image(images, self.head.needs)

        return encode(rgb) if self.features is None else self.features.get([item.index for item in items], rgb, encode)

    # ---- checkpoints

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]  # nn.Module overloads it
        """What was learned or fitted; never CLIP's weights."""
        return learned_state(super().state_dict(*args, **kwargs))

    def recipe(self) -> dict[str, Any]:
        """Return the recipe that a checkpoint of this model keeps."""
        weights = fingerprint(self.encoder.model)
        return recipe(self.settings, self.encoder.name, weights, self.head.bins.count, self.data_settings)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the recipe."""
        checkpoint[RECIPE] = self.recipe()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise unless the checkpoint was learned with this CLIP and fits the head.

        The state of variants is left out unless they are those of the training; they are only scored beside the head.

        Raises:
            InputError: naming what differs.
        """
        if RECIPE not in checkpoint:
            raise InputError("the checkpoint has no recipe of depthclip's; pass one that depthclip fit wrote")
        own = self.recipe()
        check_recipe(checkpoint[RECIPE], own["clip"], own["weights"], own["bins"])
        expected, state = self.state_dict(), checkpoint["state_dict"]
        if variants_of(checkpoint[RECIPE]["settings"]) != variants_of(self.settings):
            expected, state = without_variants(expected), without_variants(state)
        check_state(state, expected)
        checkpoint["state_dict"] = state

    def load_learned(self, path: str | Path) -> "DepthCLIP":
        """Take what was learned from a checkpoint into this model, which may have been built in Python.

        Args:
            path: a file that `fit` or `Trainer.save_checkpoint` wrote.

        Returns:
            The model itself.

        Raises:
            InputError: if the file is no checkpoint, or another CLIP or head was trained.
        """
        checkpoint = read_checkpoint(path)
        self.on_load_checkpoint(checkpoint)
        self.load_state_dict(checkpoint["state_dict"], strict=False)
        return self

    @classmethod
    def load(cls, path: str | Path, allow: Sequence[str] = ()) -> "DepthCLIP":
        """Return the model that a checkpoint describes, with what was learned, in evaluation mode.

        Args:
            path: a file that `fit` wrote.
            allow: modules, beside this package, whose classes the recipe in the file may name; to import a module is to
                run its code.

        Raises:
            InputError: if the file is no such checkpoint, names other classes, or has settings that do not fit.
        """
        settings = {**read_checkpoint(path)[RECIPE]["settings"]}
        if settings:
            settings["cache"] = None  # a file may not decide where features are written
        model = build(cls, settings, path, allow)
        model.settings = settings
        return model.load_learned(path).eval()

    @property
    def datamodule(self) -> DepthDataModule | None:
        """The trainer's data module, where there is one."""
        data = getattr(self.trainer, "datamodule", None)
        return data if isinstance(data, DepthDataModule) else None


def word_weights(said: Coarse) -> Tensor | None:
    """The softmax weights of the words, (B, K, h, w), where a head has words."""
    return None if said.logits is None else said.logits.softmax(1)


def said_of(said: list[Coarse], k: int) -> list[Coarse]:
    """What the heads said of image `k` of a batch, as a batch of one."""
    return [
        Coarse(
            one.depth[k : k + 1],
            None if one.logits is None else one.logits[k : k + 1],
            one.bins if one.bins is None or one.bins.ndim == 1 else one.bins[k : k + 1],
        )
        for one in said
    ]


def compare(item: Item, depth: Tensor, said: Coarse, scoring: Scoring, logits: bool) -> Compared:
    """An item's depth (1, h, w) beside its truth, over what the model saw."""
    whole = truth_of(item)
    return Compared(
        scoring.resampled(depth, item.seen)[0],
        item.seen.cut(whole),
        scoring.mask(whole, item.seen),
        said.logits[0] if logits and said.logits is not None else None,
        said.bins.reshape(-1) if logits and said.bins is not None else None,
    )


def truth_of(item: Item) -> Tensor:
    """The depth map of an item that is to be scored or learned from.

    Raises:
        InputError: if it has none.
    """
    if item.depth is None:
        raise InputError(f"{item.name} has no depth map to score against; use predict for images without truth")
    return item.depth


def shown(item: Item, depth: Tensor, said: list[Coarse], scoring: Scoring) -> Shown:
    """Return the part of a test image that the pictures show."""
    weights, whole = word_weights(said[0]), truth_of(item)
    truth = item.seen.cut(whole) * scoring.mask(whole, item.seen)
    estimate = scoring.resampled(depth, item.seen)
    farthest = torch.tensor([0.0 if one.bins is None else float(one.bins.max()) for one in said])
    return Shown(
        item.index,
        item.name,
        item.rgb.cpu(),
        truth.cpu(),
        estimate.cpu(),
        None if weights is None else weights[0].cpu(),
        farthest,
    )


def rgb_of(image: str | Path | Image.Image | np.ndarray) -> Tensor:
    """Return a photograph as (3, H, W) uint8.

    Raises:
        InputError: if it is not a path, a PIL image or (H, W, 3) uint8, or too large.
    """
    if isinstance(image, str | Path):
        return read_rgb(Path(image))
    if isinstance(image, Image.Image):
        image = pixels_of(image)
    if not isinstance(image, np.ndarray):
        raise InputError(f"image {brief(image)} must be a path, a PIL image or an (H, W, 3) uint8 array")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(
            f"image is a {image.dtype} array of shape {image.shape}, but must be (H, W, 3) uint8 RGB; convert it, "
            "values in [0, 1] by (255 * image).round().astype('uint8')"
        )
    if image.size > 3 * MOST_PIXELS:
        raise InputError(f"image has the shape {image.shape}, but must have at most {MOST_PIXELS} pixels; reduce it")
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def pixels_of(image: Image.Image) -> np.ndarray:
    """Return the pixels of a PIL image, (H, W, 3) uint8 RGB, upright.

    Raises:
        InputError: if it is empty, cannot be decoded, or has more than 8 bits, which PIL would clip.
    """
    if image.mode.startswith(("I", "F")) or 0 in image.size:
        raise InputError(
            f"image is a PIL image of mode {image.mode} and size {image.size}, but must be a photograph of 8 bits; "
            "convert it to RGB with its own range of values"
        )
    try:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"image is a PIL image that cannot be decoded ({error}); fetch its file again") from error
