"""Probes: regressions from frozen patch features to depth, which show what the features hold without any words."""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from depthclip.checks import check_count, check_number
from depthclip.encoder.interfaces import ImageFeatures, Needs, TextEncoder
from depthclip.errors import InputError
from depthclip.head.interfaces import Coarse, Head
from depthclip.probes.training import TrainingBatch, resized

MOST_PATCHES = 20_000  # of the ridge; 20,000 patches of 5,000 numbers take 800 MB
ALPHAS = np.logspace(0, 6, 5)
FOLDS = 3


class Probe(Head):
    """Base class of probes. The depth of a patch depends on the features of this patch alone.

    A probe predicts the logarithm of the depth, because the errors of the field are relative and depth is positive. Its
    depth is limited to the range of the training depths, as that of words is limited to the range of their bins.

    Args:
        layers: blocks of the tower whose maps are read beside the dense map, as in `Needs`.
    """

    lowest: Tensor  # () log metres
    highest: Tensor

    def __init__(self, layers: Sequence[int] = ()) -> None:
        super().__init__()
        self.needs = Needs(layers=tuple(layers))
        self.register_buffer("lowest", torch.tensor(torch.nan))
        self.register_buffer("highest", torch.tensor(torch.nan))

    def inputs(self, features: ImageFeatures) -> Tensor:
        """Return the dense map and the layers at its size, (B, C, h, w) float32."""
        grid = (features.dense.shape[-2], features.dense.shape[-1])
        return torch.cat([features.dense.float(), *(resized(layer, grid) for layer in features.layers)], 1)

    def patches(self, batches: Sequence[TrainingBatch], computed: Needs) -> tuple[Tensor, Tensor, np.ndarray]:
        """Return features (P, C), log depth (P,) and the number of the image (P,) of the training patches.

        This sets the range of the predicted depth.

        Args:
            batches: features of training images with ground truth.
            computed: needs for which the features were computed.
        """
        inputs, depths, images, first = [], [], [], 0
        for batch in batches:
            inputs.append(batch.pixels_of(self.inputs(batch.features.select(computed, self.needs))))
            depths.append(batch.pixels_of(batch.target)[:, 0].log())
            windows = len(batch.target) // len(batch.names)
            number = first + torch.arange(len(batch.names), device=batch.target.device).repeat_interleave(windows)
            images.append(batch.pixels_of(number.view(-1, 1, 1, 1).expand_as(batch.target))[:, 0])
            first += len(batch.names)
        log_depth = torch.cat(depths)
        self.lowest, self.highest = log_depth.min(), log_depth.max()
        return torch.cat(inputs), log_depth, torch.cat(images).cpu().numpy()

    def log_depth(self, inputs: Tensor) -> Tensor:
        """Return the logarithm of the depth in metres, (B, h, w), for inputs (B, C, h, w)."""
        raise NotImplementedError(f"{type(self).__name__} must implement log_depth(inputs)")

    def forward(self, features: ImageFeatures, text: TextEncoder) -> Coarse:
        """Return the depth of the patches, (B, 1, h, w) metres; the text tower is not used.

        Raises:
            InputError: if the probe is not fitted yet.
        """
        if self.lowest.isnan():
            raise InputError(f"{type(self).__name__} is not fitted; call fit_patches with training images first")
        with torch.autocast(features.dense.device.type, enabled=False):
            return Coarse(self.log_depth(self.inputs(features)).clamp(self.lowest, self.highest).exp()[:, None])


class RidgeProbe(Probe):
    """Ridge regression of log depth, by scikit-learn.

    Features are standardized. The penalty is the one with the least absolute error in a cross-validation that never
    divides the patches of an image.

    Args:
        layers: blocks of the tower whose maps are read beside the dense map, as in `Needs`.
    """

    weight: Tensor  # (C,)
    bias: Tensor  # ()

    def __init__(self, layers: Sequence[int] = ()) -> None:
        super().__init__(layers)
        self.register_buffer("weight", torch.empty(0))
        self.register_buffer("bias", torch.empty(0))

    def fit_patches(self, batches: Sequence[TrainingBatch], computed: Needs) -> None:
        """Fit the regression to at most 20,000 training patches, evenly spread.

        Args:
            batches: features of training images with ground truth.
            computed: needs for which the features were computed.
        """
        inputs, log_depth, images = self.patches(batches, computed)
        kept = np.linspace(0, len(images) - 1, min(len(images), MOST_PATCHES)).round().astype(int)
        x, y, groups = inputs[kept].cpu().double().numpy(), log_depth[kept].cpu().double().numpy(), images[kept]
        ridge = make_pipeline(StandardScaler(), Ridge())
        folds = min(FOLDS, len(np.unique(groups)))
        if folds > 1:
            score, parameters = "neg_mean_absolute_error", {"ridge__alpha": ALPHAS}
            search = GridSearchCV(ridge, parameters, scoring=score, cv=GroupKFold(folds)).fit(x, y, groups=groups)
            ridge = search.best_estimator_
        else:
            ridge.fit(x, y)
        scaler, linear = ridge[0], ridge[-1]
        weight = linear.coef_ / scaler.scale_
        self.weight = torch.from_numpy(weight).to(inputs)
        self.bias = torch.tensor(linear.intercept_ - weight @ scaler.mean_).to(inputs)

    def log_depth(self, inputs: Tensor) -> Tensor:
        """Return the logarithm of the depth in metres, (B, h, w), for inputs (B, C, h, w)."""
        return torch.einsum("bchw,c->bhw", inputs, self.weight) + self.bias


class NetworkProbe(Probe):
    """A network of two layers that predicts log depth from standardized features.

    Args:
        layers: blocks of the tower whose maps are read beside the dense map, as in `Needs`.
        hidden: number of hidden units, from 1 to 65,536.
        dropout: share of the hidden units that are dropped in training, from 0 to 0.99.

    Raises:
        InputError: if hidden or dropout is out of its range.
    """

    mean: Tensor  # (C,)
    std: Tensor  # (C,)

    def __init__(self, layers: Sequence[int] = (), hidden: int = 128, dropout: float = 0.3) -> None:
        super().__init__(layers)
        check_count("hidden", hidden, at_most=65_536)
        check_number("dropout", dropout, at_least=0, at_most=0.99, hint="use 0 for none")
        self.hidden = hidden
        self.last = nn.Linear(hidden, 1)
        self.net = nn.Sequential(nn.LazyLinear(hidden), nn.GELU(), nn.Dropout(dropout), self.last)
        self.register_buffer("mean", torch.empty(0))
        self.register_buffer("std", torch.empty(0))

    def fit_patches(self, batches: Sequence[TrainingBatch], computed: Needs) -> None:
        """Create the network and standardize its inputs; `learn` trains it.

        Args:
            batches: features of training images with ground truth.
            computed: needs for which the features were computed.
        """
        inputs, log_depth, _ = self.patches(batches, computed)
        self.mean, self.std = inputs.mean(0), inputs.std(0).clamp_min(1e-6)
        with torch.no_grad():
            self.to(inputs.device).net(inputs[:1])  # gives the lazy layer its shape
        nn.init.constant_(self.last.bias, float(log_depth.median()))

    def log_depth(self, inputs: Tensor) -> Tensor:
        """Return the logarithm of the depth in metres, (B, h, w), for inputs (B, C, h, w)."""
        return self.net((inputs.permute(0, 2, 3, 1) - self.mean) / self.std)[..., 0]
