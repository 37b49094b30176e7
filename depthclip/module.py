"""DepthCLIP, the LightningModule: a frozen CLIP, a depth head, and variants of it scored in the same image pass."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

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
from depthclip.data.base import Batch, DepthDataModule, Item
from depthclip.data.files import read_rgb
from depthclip.encoder.features import ImageFeatures
from depthclip.encoder.frozen import FrozenCLIP
from depthclip.errors import InputError
from depthclip.evaluation.baselines import fit_baselines
from depthclip.evaluation.evaluation import Evaluation
from depthclip.evaluation.protocol import Scoring, View
from depthclip.from_file import build
from depthclip.head.depth_head import Coarse, DepthHead
from depthclip.losses import Compared, Loss, SILog

HEAD = "head"


class Shown(NamedTuple):
    """A test image that goes into the pictures.

    Args:
        name: the sample's.
        rgb: (3, h, w) in [0, 1], what the model saw.
        truth: (h', w') metres of the same part of the scene, 0 where the protocol does not score.
        depth: (V, h', w') metres, of the head and each variant.
        weights: (K, h'', w''), the weight of each of the head's words, patch by patch.
    """

    name: str
    rgb: Tensor
    truth: Tensor
    depth: Tensor
    weights: Tensor | None


class Prediction(NamedTuple):
    """The depth of one image.

    Args:
        name: the sample's.
        rgb: (3, h, w) in [0, 1], what the model saw.
        depth: (h', w') metres.
    """

    name: str
    rgb: Tensor
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
        learning_rate: the largest of the one-cycle schedule, for AdamW.
        weight_decay: of AdamW, for learned words, contexts and networks; bins and temperatures do not decay.
        cache: where `fit` keeps the frozen tower's features, so that each training image is encoded once: `memory`, or
            a folder; null encodes it every time. Not with augmentation, which changes the images.
        training_images: how many training images fitted bins and baselines look at.
        training_baselines: whether `test` also scores the constant and the median map fitted to training images.
        published: figures to print beside ours, by row and error, as their source gives them.
        panels: how many test images go into the pictures.
    """

    def __init__(
        self,
        encoder: FrozenCLIP,
        head: DepthHead,
        variants: dict[str, DepthHead] | None = None,
        mirror: bool = True,
        max_side: int = 640,
        loss: Loss | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.1,
        cache: str | None = None,
        training_images: int = 500,
        training_baselines: bool = False,
        published: dict[str, dict[str, float]] | None = None,
        panels: int = 4,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.variants = nn.ModuleList((variants or {}).values())
        self.names = (HEAD, *(variants or {}))
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"variants must not be called {HEAD!r}: that is the head's own row")
        self.mirror = mirror
        self.max_side = max_side
        self.loss = loss or SILog()
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
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
        features = self.encoder.encode_image(seen, pooled=any(head.needs_pooled for head in self.heads))
        said = [head(features, self.encoder.text) for head in self.heads]
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
            image: a path, a PIL image, or (H, W, 3) uint8 RGB.
            max_side: the longer side CLIP sees, in pixels; the model's own where not given.
            mirror: whether the mirrored image is averaged in; the model's own where not given.

        Raises:
            ValueError: if the image is none of these.
        """
        pixels = rgb_of(image)
        view = View(max_side=max_side or self.max_side)
        seen = (view.see(pixels).float() / 255).to(self.device)[None]
        depth, _ = self.coarse(seen, self.mirror if mirror is None else mirror)
        full = view.upsample(depth[:, :1], (pixels.shape[-2], pixels.shape[-1]))
        return full[0, 0].float().cpu().numpy()

    @torch.no_grad()
    def responses(self, image: str | Path | Image.Image | np.ndarray) -> dict[str, np.ndarray]:
        """The weight of each word in the depth of each patch of a photograph, (h, w) in [0, 1], by word.

        Raises:
            ValueError: if the image is not one that `infer` takes.
        """
        seen = (View(max_side=self.max_side).see(rgb_of(image)).float() / 255).to(self.device)[None]
        _, said = self.coarse(seen, mirror=False)
        weights = word_weights(said[0])
        return {} if weights is None else dict(zip(self.head.prompts.labels, weights[0].cpu().numpy(), strict=True))

    # ---- test, validate and predict

    def fit_bins(self) -> None:
        """Fits bins that wait for training depths."""
        waiting = [head.bins for head in self.heads if head.bins.needs_depths]
        if waiting and self.datamodule is None:
            raise ValueError(
                f"{type(waiting[0]).__name__} is fitted to training depths, but there is no data module to ask"
            )
        for bins in waiting:
            bins.fit(self.datamodule.training_depths(self.training_images))  # type: ignore[union-attr]  # checked above

    def on_validation_start(self) -> None:
        """Fits bins that wait for training depths."""
        self.fit_bins()

    def on_predict_start(self) -> None:
        """Fits bins that wait for training depths."""
        self.fit_bins()

    def on_test_start(self) -> None:
        """Fits bins and baselines, starts counting errors, and decides which images go into the pictures."""
        self.fit_bins()
        data, fitted = self.datamodule, None
        if data is not None and self.training_baselines:
            fitted = fit_baselines(depth for depth, _ in data.training_depths(self.training_images))
        self.evaluation = Evaluation(self.names, fitted, self.device)
        self.shown = []
        images = len(data.sets["test"]) if data is not None else self.panels
        self._show = {images * k // self.panels for k in range(self.panels)}

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Scores the head and its variants, and the baselines, on each image of a batch."""
        for item, depth, said in self.estimates(batch):
            self.evaluation.add(item.index, depth, truth_of(item), item.seen, batch.scoring)
            if item.index in self._show:
                self.shown.append(shown(item, depth, said, batch.scoring))
        for one in batch.unreadable:
            self.evaluation.skip(one.index)

    def on_test_epoch_end(self) -> None:
        """Gathers the errors of all devices and logs the head's figures, and the variants' under their names."""
        self.outcome = self.evaluation.outcome()
        figures = self.outcome.result.figures()
        self.log_dict({f"test/{error}": value for error, value in figures[HEAD].items()})
        for name in self.names[1:]:
            self.log_dict({f"test/{name}/{error}": value for error, value in figures[name].items()})

    def on_validation_epoch_start(self) -> None:
        """Starts counting errors."""
        self.evaluation = Evaluation(self.names, None, self.device, baselines=False)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Scores the head on each image of a batch."""
        for item, depth, _ in self.estimates(batch):
            self.evaluation.add(item.index, depth, truth_of(item), item.seen, batch.scoring)
        for one in batch.unreadable:
            self.evaluation.skip(one.index)

    def on_validation_epoch_end(self) -> None:
        """Gathers the errors of all devices and logs the head's figures."""
        self.outcome = self.evaluation.outcome()
        figures = self.outcome.result.figures()[HEAD]
        self.log_dict({f"val/{error}": value for error, value in figures.items()})
        self.log("abs_rel", figures["abs_rel"], prog_bar=True, logger=False)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """The head's depth of what the model saw of each image, at the size it has in the image."""
        return [
            Prediction(item.name, item.rgb.cpu(), batch.scoring.resampled(depth[:1], item.seen)[0].cpu())
            for item, depth, _ in self.estimates(batch)
        ]

    def estimates(self, batch: Batch) -> Iterator[tuple[Item, Tensor, list[Coarse]]]:
        """Each item, the depth of all heads (V, h, w) in metres at the size the model saw, and their coarse answers."""
        for items, rgb in batch.by_size():
            coarse, said = self.coarse(rgb, batch.view.mirror)
            for k, item in enumerate(items):
                full = batch.view.upsample(coarse[k : k + 1], (rgb.shape[-2], rgb.shape[-1]))[0]
                yield item, full.float(), said_of(said, k)

    # ---- fit

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with one cycle of the learning rate, over what the head learns.

        Raises:
            ValueError: if it learns nothing.
        """
        learned = [parameter for parameter in self.head.parameters() if parameter.requires_grad]
        if not learned:
            raise ValueError(
                "there is nothing to train: CLIP is frozen and the head is fixed; set head.prompts to LearnedWords or "
                "LearnedContext, head.bins to LearnedBins, or head.learn_temperature: true"
            )
        # decay draws towards 0, which means nothing for the gaps between bins or the logarithm of a temperature
        matrices = {"params": [p for p in learned if p.ndim > 1], "weight_decay": self.weight_decay}
        vectors = {"params": [p for p in learned if p.ndim < 2], "weight_decay": 0.0}
        optimizer = torch.optim.AdamW([g for g in (matrices, vectors) if g["params"]], lr=self.learning_rate)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Fits bins that wait for training depths, and says what the cache will hold."""
        self.fit_bins()
        data = self.datamodule
        if self.features is not None and data is not None:
            if data.augment is not None:
                raise ValueError(
                    "cache keeps the features of unchanged images, but data.augment changes them; set one to null"
                )
            self.features.open(self.encoder, data.sets["train"], data.view, self.head.needs_pooled)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """The loss of the head's depth on a batch; None where nothing of it could be read."""
        compared = []
        for items, rgb in batch.by_size():
            said = self.head(self.training_features(items, rgb), self.encoder.text)
            full = batch.view.upsample(said.depth, (rgb.shape[-2], rgb.shape[-1]))[:, :1]
            for k, item in enumerate(items):
                compared.append(compare(item, full[k], said_of([said], k)[0], batch.scoring, self.loss.needs_logits))
        if not compared:
            return None
        loss = self.loss(compared)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(compared))
        return loss

    def training_features(self, items: list[Item], rgb: Tensor) -> ImageFeatures:
        """The frozen tower's features of a stack of images, from the cache where it has them."""
        pooled = self.head.needs_pooled

        def encode(missing: list[int]) -> ImageFeatures:
            with torch.no_grad():
                return self.encoder.encode_image(rgb[missing], pooled)

        if self.features is None:
            return encode(list(range(len(items))))
        return self.features.get([item.index for item in items], encode, self.device)

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
        ValueError: if it has none.
    """
    if item.depth is None:
        raise ValueError(f"{item.name} has no depth map to score against; use predict for images without truth")
    return item.depth


def shown(item: Item, depth: Tensor, said: list[Coarse], scoring: Scoring) -> Shown:
    """What the pictures show of a test image."""
    weights, whole = word_weights(said[0]), truth_of(item)
    truth = item.seen.cut(whole) * scoring.mask(whole, item.seen)
    estimate = scoring.resampled(depth, item.seen)
    return Shown(item.name, item.rgb.cpu(), truth.cpu(), estimate.cpu(), None if weights is None else weights[0].cpu())


def rgb_of(image: str | Path | Image.Image | np.ndarray) -> Tensor:
    """A photograph as (3, H, W) uint8.

    Raises:
        ValueError: if it is not a path, a PIL image or (H, W, 3) uint8.
    """
    if isinstance(image, str | Path):
        return read_rgb(Path(image))
    pixels = np.array(image.convert("RGB")) if isinstance(image, Image.Image) else image
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        kind = (
            f"{pixels.dtype} array of shape {pixels.shape}" if isinstance(pixels, np.ndarray) else type(image).__name__
        )
        raise ValueError(f"image is a {kind}; pass a path, a PIL image or an (H, W, 3) uint8 array")
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
