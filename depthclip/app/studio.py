"""Studio: depth of photographs for several people at once, with different words and one model."""

import warnings
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import cast

import numpy as np
import torch
from torch import Tensor

from depthclip.app.wording import Wording, wording_of
from depthclip.checks import check_choice
from depthclip.encoded import EncodedPhoto
from depthclip.encoder.encoder import Encoder
from depthclip.encoder.readouts import READOUTS, check_fit, fitting_names, readout_of
from depthclip.encoder.tower_encoder import TowerEncoder
from depthclip.head.words import replace_words, with_fixed_words
from depthclip.inference import PhotoEstimator
from depthclip.photograph import focal_of, rgb_of, stated_focal

RECIPE = "recipe"  # the readout of the recipe, which may have arguments


@dataclass(frozen=True)
class OpenedPhoto:
    """A photograph that is encoded.

    Args:
        path: its file.
        readout: name of the readout that encoded it.
        encoded: its features.
        rgb: (h, w, 3) uint8, the image that the encoder saw.
    """

    path: Path
    readout: str
    encoded: EncodedPhoto
    rgb: np.ndarray = field(repr=False)

    def at_most(self, side: int) -> EncodedPhoto:
        """Return the encoded photograph at a smaller size, for maps that are quick to draw.

        Args:
            side: number of pixels to which the longer side is reduced.
        """
        height, width = self.encoded.size
        share = min(1.0, side / max(height, width))
        return self.resized((max(1, round(height * share)), max(1, round(width * share))))

    def resized(self, size: tuple[int, int]) -> EncodedPhoto:
        """Return the encoded photograph for maps of another size.

        Args:
            size: (H, W) in pixels.
        """
        focal = self.encoded.focal
        return replace(self.encoded, size=size, focal=None if focal is None else focal * size[1] / self.encoded.size[1])


@dataclass(frozen=True)
class Reading:
    """The depth of an encoded photograph and the weights of the words.

    Args:
        depth: (H, W) float32 in metres.
        spread: (H, W) float32, its standard deviation in metres.
        weights: (K, h, w) in [0, 1], the weight of each word in each patch.
        words: the K words.
        bins: their K depths in metres, multiplied by the factor of the camera if the head has one.
        focal: focal length in pixels of the maps; None if it is not known.
        notes: warnings, such as of words out of order.
    """

    depth: np.ndarray
    spread: np.ndarray
    weights: np.ndarray
    words: tuple[str, ...]
    bins: tuple[float, ...]
    focal: float | None
    notes: tuple[str, ...] = ()


class Studio:
    """Encode photographs, and read them with any words; no call changes the model.

    Args:
        model: a model whose head has fixed words and bins.

    Raises:
        InputError: if the words of its head cannot be replaced.
    """

    def __init__(self, model: PhotoEstimator) -> None:
        self.model = model
        self.head = with_fixed_words(model.head)
        self.wording = wording_of(self.head)
        self.lock = Lock()  # the text tower keeps encoded sentences; a run of a tower uses all cores

    @property
    def bundled(self) -> bool:
        """Whether the encoder is the bundled CLIP, which was trained on procedural rooms only."""
        return self.model.encoder.name == "tiny-rooms"

    @property
    def readouts(self) -> list[tuple[str, str]]:
        """The readouts that fit the tower, as (label, name); the first one is that of the recipe."""
        encoder = self.model.encoder
        if not isinstance(encoder, TowerEncoder):
            return [(f"{type(encoder).__name__} (recipe)", RECIPE)]
        kind = type(encoder.readout)
        label = next((name for name, each in READOUTS.items() if each is kind), kind.__name__)
        others = [(name, name) for name in fitting_names(encoder.tower) if READOUTS[name] is not kind]
        return [(f"{label} (recipe)", RECIPE), *others]

    def encoder(self, readout: str) -> Encoder:
        """Return an encoder with a readout, which shares the towers of the model.

        Raises:
            InputError: if the readout is unknown or does not fit the tower.
        """
        encoder = self.model.encoder
        if readout == RECIPE or not isinstance(encoder, TowerEncoder):
            check_choice("readout", readout, [name for _, name in self.readouts])
            return encoder
        chosen = readout_of(readout)
        check_fit(chosen, encoder.tower)
        mean, std = (tuple(each.flatten().tolist()) for each in (encoder.mean, encoder.std))
        other = TowerEncoder(encoder.model, encoder.tower, chosen, mean, std)
        other.name, other.text = encoder.name, encoder.text
        return other.to(encoder.mean.device)

    def open(self, path: str | Path, readout: str, mirror: bool) -> OpenedPhoto:
        """Return a photograph after an image pass.

        Args:
            path: its file.
            readout: `recipe`, or the name of a readout.
            mirror: whether the mirrored photograph is encoded too, and the depths averaged.

        Raises:
            InputError: if the file cannot be read or the readout does not fit.
        """
        path = Path(path)
        pixels = rgb_of(path)
        with self.lock:
            estimator = self.estimator(self.encoder(readout))
            encoded = estimator.encode_photo(pixels.permute(1, 2, 0).numpy(), mirror=mirror)
        encoded = replace(encoded, focal=stated_focal(path, encoded.size))
        return OpenedPhoto(path, readout, encoded, encoded.view.see(pixels).permute(1, 2, 0).numpy())

    def estimator(self, encoder: Encoder, wording: Wording | None = None) -> PhotoEstimator:
        """Return an estimator with a copy of the head.

        Args:
            encoder: its encoder.
            wording: words, bins, templates and temperature; None for those of the recipe.

        Raises:
            InputError: if a value is refused.
        """
        head = deepcopy(self.head)
        if wording is not None:
            replace_words(head, encoder.text, wording.words, wording.bins, wording.templates, wording.temperature)
        return PhotoEstimator(encoder, head, None, self.model.mirror, self.model.max_side).eval()

    @torch.no_grad()
    def read(self, photo: EncodedPhoto, wording: Wording, fov: float | None = None) -> Reading:
        """Return the depth of an encoded photograph, as `infer` computes it, and the weights of the words.

        Args:
            photo: the features.
            wording: words, bins, templates and temperature.
            fov: field of view across the width in degrees; None for that of the EXIF block.

        Raises:
            InputError: if a value is refused.
        """
        focal = focal_of(photo.focal, photo.size, fov)
        seen = None if focal is None else focal * photo.seen[1] / photo.size[1]
        with self.lock, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator = self.estimator(photo.encoder, wording)
            output = estimator.read(photo.features, photo.needs, photo.view, photo.seen, [seen])[0]
        # a DepthHead has words and bins, and so a spread
        spread, bins, weights = (cast(Tensor, each) for each in (output.spread, output.bins, output.weights))
        maps = [photo.view.upsample(each, photo.size)[0, 0].float().cpu().numpy() for each in (output.depth, spread)]
        notes = tuple(dict.fromkeys(str(warning.message) for warning in caught))
        return Reading(
            depth=maps[0],
            spread=maps[1],
            weights=weights[0].cpu().numpy(),
            words=wording.words,
            bins=tuple(bins.flatten().tolist()),
            focal=focal,
            notes=notes,
        )
