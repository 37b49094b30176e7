"""FrozenCLIP: an open_clip model that is loaded, checked and never changed."""

import difflib
import logging
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.encoder.readouts import Readout, check_fit, readout_of
from depthclip.encoder.text import CLIPText
from depthclip.encoder.towers import tower_of

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
NOTHING = Needs()
BUNDLED = Path(__file__).parent / "bundled"

MeanStd = tuple[tuple[float, float, float], tuple[float, float, float]]


class FrozenCLIP(nn.Module):
    """A frozen CLIP of open_clip's that reads images of any size densely and sentences in the same space.

    Parameters get no gradient, the model stays in eval mode whatever its parent does, and nothing changes its weights.

    Args:
        name: a model name of open_clip's (`RN50-quickgelu`, `ViT-B-16`, `ViT-B-16-SigLIP2`, ...), or `tiny-rooms`, the
            small one that ships with this package.
        pretrained: a weight tag of open_clip's (downloaded by it), `bundled` for `tiny-rooms`, or a file: OpenAI's JIT
            archive, or `.pt`, `.bin`, `.safetensors` as open_clip saves them. null gives random weights, with a
            warning.
        readout: how the image tower is read densely: `released`, `attention_pool`, `maskclip`, `tokens`, `crops`, or a
            class of your own by class_path.
        normalization: of the RGB values: `tower` (what the weight tag was trained with), `openai`, `imagenet`, or
            ((mean R, G, B), (std R, G, B)) in [0, 1]. A local file does not say, so there it must be given.

    Raises:
        ValueError: if the model, tag, file, readout or normalisation is unknown or they do not fit each other.
    """

    def __init__(
        self,
        name: str,
        pretrained: str | None,
        readout: str | Readout = "attention_pool",
        normalization: str | MeanStd = "tower",
    ) -> None:
        super().__init__()
        self.name = name
        self.pretrained = pretrained
        self.readout = readout_of(readout)
        self.model: Any
        self.mean: Tensor
        self.std: Tensor
        self.model, (mean, std) = load_clip(name, pretrained, normalization)
        self.model.requires_grad_(False).eval()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.tower = tower_of(self.model.visual)
        check_fit(self.readout, self.tower)
        self.text = CLIPText(self.model, tokenizer_of(name))

    def train(self, mode: bool = True) -> "FrozenCLIP":
        """Stays in eval mode: frozen means frozen, batch statistics included."""
        return super().train(False)

    def encode_image(self, rgb: Tensor, needs: Needs = NOTHING) -> ImageFeatures:
        """Return the dense features of images, and the pooled feature and intermediate maps that heads need.

        Images may have any height and width. Where these are not multiples of the tower's stride (32 for ResNets, the
        patch size for ViTs), the image is resized (bilinear, antialiased) to the nearest multiples, so that the patches
        cover all of it.

        Args:
            rgb: (B, 3, H, W) in [0, 1].
            needs: features to compute beside the dense ones.

        Raises:
            InputError: if the tower has no block that the needs name.
        """
        return self.readout(self.tower, (rgb - self.mean) / self.std, needs)


def load_clip(name: str, pretrained: str | None, normalization: str | MeanStd) -> tuple[nn.Module, MeanStd]:
    """Loads open_clip's model and says how it wants its images normalised, ((mean), (std)).

    Raises:
        ValueError: if the name, the weights or the normalisation is not to be had, or they do not fit each other.
    """
    if name == "tiny-rooms":
        open_clip.add_model_config(BUNDLED / "tiny-rooms.json")
    config = open_clip.get_model_config(name) if name in open_clip.list_models() else None
    if config is None:
        near = difflib.get_close_matches(name, open_clip.list_models(), n=3, cutoff=0.3)
        raise ValueError(f"model {name!r} is not known to open_clip; the nearest names are {', '.join(near)}")

    known = normalisation_of(name, pretrained, normalization)
    if pretrained is None:
        warnings.warn(
            f"pretrained is null: {name} has RANDOM weights, and its depth means nothing; name a weight tag or file",
            stacklevel=3,
        )
        return create(name), known
    if name == "tiny-rooms" and pretrained == "bundled":
        return load_file(name, BUNDLED / "tiny-rooms.safetensors"), known
    if open_clip.is_pretrained_cfg(name, pretrained):
        return load_tag(name, pretrained, bool(config.get("quick_gelu", False))), known
    if Path(pretrained).is_file():
        path = Path(pretrained)
        if is_jit(path) and not config.get("quick_gelu", False):
            raise ValueError(f"{path} is an OpenAI archive, which needs QuickGELU: use {quick_gelu_twin(name, True)}")
        return load_file(name, path), known
    for quick_gelu in (True, False):
        twin = quick_gelu_twin(name, quick_gelu)
        if twin != name and open_clip.is_pretrained_cfg(twin, pretrained):
            raise ValueError(
                f"the weights {pretrained!r} were trained with another activation than {name}'s: use {twin}"
            )
    tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
    raise ValueError(
        f"pretrained {pretrained!r} is neither a weight tag of {name} (known: {tags}) nor a file; "
        "name one of those, or the path of a weights file"
    )


def create(name: str, pretrained: str | None = None) -> nn.Module:
    """open_clip's model, without its remarks on random weights (ours is louder)."""
    logging.disable(logging.WARNING)
    try:
        return open_clip.create_model(name, pretrained=pretrained)
    finally:
        logging.disable(logging.NOTSET)


def load_tag(name: str, tag: str, quick_gelu: bool) -> nn.Module:
    """A model with the weights of a tag, which open_clip downloads."""
    source = open_clip.get_pretrained_cfg(name, tag)
    needed = bool(source.get("quick_gelu", False))
    if needed != quick_gelu:
        raise ValueError(
            f"{name} has {'QuickGELU' if quick_gelu else 'GELU'} but the weights {tag!r} were trained with "
            f"{'QuickGELU' if needed else 'GELU'}: use {quick_gelu_twin(name, needed)}"
        )
    try:
        return create(name, tag)
    except (RuntimeError, OSError) as error:
        where = source.get("hf_hub") or source.get("url")
        reason = str(error.__cause__ or error.__context__ or error).strip().splitlines()[0]
        raise ValueError(
            f"the weights {tag!r} of {name} could not be loaded from {where} ({reason}); fetch the file on a machine "
            "with network and pass its path as pretrained, with normalization (openai for OpenAI's weights)"
        ) from error


def load_file(name: str, path: Path) -> nn.Module:
    """A model with the weights of a local file."""
    model = create(name)
    try:
        if is_jit(path):
            state = torch.jit.load(path, map_location="cpu").state_dict()
            sizes = ("input_resolution", "context_length", "vocab_size")
            model.load_state_dict({key: value for key, value in state.items() if key not in sizes})
        else:
            open_clip.load_checkpoint(model, str(path))
    except Exception as error:  # whatever a stranger's file does to the reader, the user needs one sentence
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{path} does not hold weights of {name} ({reason}); pass OpenAI's archive or a file that open_clip saved "
            "for this model"
        ) from error
    return model


def is_jit(path: Path) -> bool:
    """Whether a file is a TorchScript archive, as OpenAI published its weights."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in member for member in archive.namelist())


def quick_gelu_twin(name: str, quick_gelu: bool) -> str:
    """The name of the same model with the other activation, or a way to find it."""
    stem = name.removesuffix("-quickgelu")
    twin = f"{stem}-quickgelu" if quick_gelu else stem
    return twin if twin in open_clip.list_models() else f"a model with quick_gelu: {str(quick_gelu).lower()}"


def normalisation_of(name: str, pretrained: str | None, normalization: str | MeanStd) -> MeanStd:
    """Mean and standard deviation of the RGB values a model wants.

    Raises:
        ValueError: if the name of the normalisation is unknown, or `tower` is asked of a local file.
    """
    if normalization == "imagenet":
        return IMAGENET
    if normalization == "openai":
        return OPENAI
    if not isinstance(normalization, str):
        mean, std = normalization
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"normalization {normalization} must be three means and three positive deviations")
        return mean, std
    if normalization != "tower":
        raise ValueError(f"normalization {normalization!r} is unknown; choose tower, openai, imagenet or (mean, std)")
    if pretrained is None or name == "tiny-rooms":
        return OPENAI
    if open_clip.is_pretrained_cfg(name, pretrained):
        source = open_clip.get_pretrained_cfg(name, pretrained)
        return source.get("mean") or OPENAI[0], source.get("std") or OPENAI[1]
    if os.path.exists(pretrained):
        raise ValueError(
            f"the weights file {pretrained} does not say how its images were normalised; "
            "pass normalization: openai, imagenet, or the mean and deviation it was trained with"
        )
    return OPENAI


def tokenizer_of(name: str) -> Callable[[list[str]], Tensor]:
    """The tokenizer that belongs to a model.

    Raises:
        ValueError: if it needs a package or a download that is missing.
    """
    try:
        return open_clip.get_tokenizer(name)
    except ImportError as error:
        raise ValueError(
            f"the tokenizer of {name} needs the transformers package: pip install 'depthclip[hf]'"
        ) from error
    except OSError as error:
        raise ValueError(
            f"the tokenizer of {name} could not be downloaded ({str(error).splitlines()[0]}); "
            "run once with network, or choose a model with open_clip's own tokenizer"
        ) from error
