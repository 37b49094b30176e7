"""TIPS: a frozen TIPSv2 of transformers with dense image features."""

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from safetensors import safe_open
from torch import Tensor, nn

from depthclip.checks import brief
from depthclip.encoder.hub import unreachable
from depthclip.encoder.interfaces import ImageFeatures, Needs, TokenEmbeddings
from depthclip.encoder.readouts import Readout, check_fit, readout_of
from depthclip.encoder.text import FrozenText
from depthclip.encoder.text_towers import padding_mask
from depthclip.encoder.towers.tips import TIPSTower
from depthclip.encoder.weights import LARGEST_LOGIT_SCALE, reason_of
from depthclip.errors import InputError

NOTHING = Needs()
OLDEST = (5, 18)  # transformers 5.14 has TIPSv2, 5.18 the projections of its image attention that readouts use
OPTION = "pretrained (--model.encoder.pretrained)"
FILES = ["*.json", "*.safetensors", "tokenizer*"]  # of a hub repository; neither code nor pickled files


class TIPS(nn.Module):
    """A frozen TIPSv2 that maps images of any size, patch by patch, and sentences to a joint space.

    Only transformers' classes are used, and no code of a repository is run. Images stay in [0, 1], without
    normalization. Similarities are multiplied by 1 / temperature, with the temperature of the weights. If the weights
    have none, as the published ones, it is that of `config.json` (`temperature_init_value`, which gives 197), and a
    warning tells so. Divided by the `temperature` 0.1 of the paper's head, these logits make the softmax nearly an
    argmax; `head.logit_scale: 100` gives the scale of OpenAI's CLIP.

    Args:
        pretrained: a repository of the Hugging Face hub (`google/tipsv2-b14`), which is downloaded, or a folder with
            its files: `config.json`, `model.safetensors` and the tokenizer.
        readout: how the image tower is read densely: `maskclip` (the values of the last attention, as the authors read
            it), `tokens`, `crops`, or a subclass of `Readout` by class_path.

    Raises:
        InputError: if transformers is missing or too old, the files are missing or do not fit, a weight is not finite,
            or the readout does not fit.
    """

    def __init__(self, pretrained: str, readout: str | Readout = "maskclip") -> None:
        super().__init__()
        self.pretrained = pretrained
        self.readout = readout_of(readout)
        self.model: Any
        self.mean: Tensor
        self.std: Tensor
        self.model, tokenizer = load_tips(pretrained)
        self.model.requires_grad_(False).eval()
        self.name = f"tipsv2-{self.model.config.vision_config.hidden_size}"
        self.register_buffer("mean", torch.zeros(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.ones(3, 1, 1), persistent=False)
        self.tower = TIPSTower(self.model.vision_model)
        check_fit(self.readout, self.tower)
        self.text = TIPSText(self.model, tokenizer)

    def train(self, mode: bool = True) -> "TIPS":
        """Stay in eval mode."""
        return super().train(False)

    def encode_image(self, rgb: Tensor, needs: Needs = NOTHING) -> ImageFeatures:
        """Return the dense features of images, and the pooled features and intermediate maps that heads need.

        Images may have any height and width. If these are not multiples of the patch size, images are resized
        (bilinear, antialiased) to the nearest multiples, so that the patches cover the whole image.

        Args:
            rgb: (B, 3, H, W) in [0, 1].
            needs: the features to compute besides the dense ones.

        Raises:
            InputError: if a layer in `needs` is not a block of the tower.
        """
        return self.readout(self.tower, rgb, needs)


class TIPSText(FrozenText):
    """The `TextEncoder` of a TIPSv2.

    Args:
        model: a `Tipsv2Model` of transformers.
        tokenizer: a `Tipsv2Tokenizer`.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        context = model.config.text_config.max_position_embeddings
        super().__init__(TIPSTextTower(model.text_model), PaddedTokenizer(tokenizer, context))
        self._model = model

    @property
    def logit_scale(self) -> float:
        """The factor by which TIPSv2 multiplies similarities, 1 / temperature."""
        return 1 / float(self._model.temperature.detach())


class TIPSTextTower:
    """A `Tipsv2TextModel` of transformers: bidirectional, with the mean over the tokens that are not padding.

    Args:
        tower: the text tower.
    """

    def __init__(self, tower: Any) -> None:
        self.tower = tower
        self.embedding = tower.get_input_embeddings()
        self.dim = tower.config.hidden_size

    def embed(self, ids: Tensor) -> TokenEmbeddings:
        """Return the embeddings of N sentences, given as token ids (N, L), with their mask.

        Raises:
            InputError: if the tokenizer pads at the front, or a sentence has no token.
        """
        mask = padding_mask(ids, self.tower.config.pad_token_id)
        return TokenEmbeddings(self.embedding(ids), mask.sum(1) - 1, mask)

    def run(self, embeddings: TokenEmbeddings) -> Tensor:
        """Return the features of N embedded sentences, (N, D), not normalized."""
        assert embeddings.mask is not None  # from `embed`
        return self.tower(inputs_embeds=embeddings.values, attention_mask=embeddings.mask.long()).pooler_output


class PaddedTokenizer:
    """A tokenizer of transformers as one of open_clip's: it pads and truncates sentences to the context length.

    Args:
        tokenizer: the tokenizer.
        context: number of tokens.
    """

    def __init__(self, tokenizer: Any, context: int) -> None:
        self.tokenizer = tokenizer
        self.context = context

    def __call__(self, texts: list[str], context_length: int | None = None) -> Tensor:
        """Return the token ids of N sentences, (N, L)."""
        length = context_length or self.context
        padded = self.tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        return padded.input_ids


def load_tips(pretrained: str) -> tuple[Any, Any]:
    """Return the model and the tokenizer of a TIPSv2 in float32.

    Args:
        pretrained: a repository of the Hugging Face hub, or a folder.

    Raises:
        InputError: if they cannot be loaded, or a weight is not finite.
    """
    if importlib.util.find_spec("transformers") is None:
        raise InputError("TIPSv2 needs the transformers package, version 5.18 or later; pip install 'depthclip[hf]'")
    import transformers  # slow to import, and optional

    if tuple(map(int, transformers.__version__.split(".")[:2])) < OLDEST:
        raise InputError(
            f"TIPSv2 needs transformers 5.18 or later, not {transformers.__version__}; pip install -U 'depthclip[hf]'"
        )
    folder = folder_of(pretrained)
    way_out = "pass google/tipsv2-b14 or another TIPSv2 of the hub, or a folder with all its files"
    try:
        kind = transformers.Tipsv2Config.get_config_dict(folder)[0].get("model_type")
        if kind != "tipsv2":
            raise InputError(f"{OPTION}: {pretrained} has no config.json of a TIPSv2 (model_type {kind!r}); {way_out}")
        tokenizer = transformers.Tipsv2Tokenizer.from_pretrained(folder)
        options: Any = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
        loaded: Any = transformers.Tipsv2Model.from_pretrained(folder, **options)
    except InputError:
        raise
    except Exception as error:  # transformers raises many types for missing and damaged files
        raise InputError(f"{OPTION}: {pretrained} could not be loaded ({reason_of(error)}); {way_out}") from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise InputError(f"{OPTION}: {pretrained} has no weights {', '.join(missing[:3])}; {way_out}")
    for key, value in model.state_dict().items():
        if not value.isfinite().all():
            raise InputError(f"{OPTION}: the weights of {pretrained} are NaN or infinite in {key}; fetch them again")
    temperature = model.temperature.item()
    if not 1 / LARGEST_LOGIT_SCALE <= temperature <= LARGEST_LOGIT_SCALE:
        raise InputError(
            f"{OPTION}: {pretrained} has the temperature {temperature:g}, far from the 0.005 of TIPSv2; fetch the "
            "weights again"
        )
    if not has_temperature(folder):
        warnings.warn(
            f"the weights of {pretrained} have no temperature, so that similarities are multiplied by "
            f"{1 / temperature:.4g}, from its config.json; set head.logit_scale for another factor",
            stacklevel=3,
        )
    return model, tokenizer


def has_temperature(folder: Path) -> bool:
    """Return whether the weights in a folder have the temperature of the logits."""
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            if "temperature" in file.keys():  # noqa: SIM118  # a file is not a mapping
                return True
    return False


def folder_of(pretrained: str) -> Path:
    """Return the folder with the files of a model; those of a hub repository are downloaded unless they are cached.

    Raises:
        InputError: if there is no such folder, or the repository cannot be reached.
    """
    if isinstance(pretrained, str) and pretrained and Path(pretrained).is_dir():
        return Path(pretrained)
    try:
        validate_repo_id(pretrained)
        named = "/" in pretrained
    except (HFValidationError, TypeError):
        named = False
    if not named:
        raise InputError(
            f"{OPTION} {brief(pretrained)} is neither a folder nor a repository of the hub; use google/tipsv2-b14, or "
            "the path of a folder with its files"
        )
    reason = unreachable(pretrained, "config.json")
    try:
        # without a network, use cached files only, which avoids repeated attempts to download
        return Path(snapshot_download(pretrained, allow_patterns=FILES, local_files_only=bool(reason)))
    except Exception as error:  # the libraries that download raise many types
        raise InputError(
            f"{OPTION}: {pretrained} could not be loaded from the Hugging Face hub ({reason or reason_of(error)}); "
            "fetch its files on a machine with network and pass their folder"
        ) from error
