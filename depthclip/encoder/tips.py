"""TIPS: a frozen TIPSv2 of transformers with dense image features."""

from typing import Any

import torch
from torch import Tensor

from depthclip.encoder.interfaces import TokenEmbeddings
from depthclip.encoder.readouts import Readout, check_fit, readout_of
from depthclip.encoder.text import FrozenText
from depthclip.encoder.text_towers import embed_padded
from depthclip.encoder.tips_files import load_tips, transformers_library
from depthclip.encoder.tower_encoder import TowerEncoder
from depthclip.encoder.towers.tips import TIPSTower


class TIPS(TowerEncoder):
    """A frozen TIPSv2 that maps images of any size, patch by patch, and sentences to a joint space.

    Only classes of transformers are used, and no code of a repository is run. Images stay in [0, 1], without
    normalization. Similarities are multiplied by 1 / temperature. The temperature is that of the weights. If the
    weights have none, as the published ones, it is that of `config.json` (`temperature_init_value`, which gives 197),
    and a warning names the factor. With the `temperature` 0.1 of the paper's head on top, the softmax is nearly an
    argmax; `head.logit_scale: 100` gives the scale of OpenAI's CLIP.

    Args:
        pretrained: a repository of the Hugging Face hub (`google/tipsv2-b14`), which is downloaded, or a folder with
            its files: `config.json`, `model.safetensors` and the tokenizer.
        readout: how the image tower is read densely: `maskclip` (the values of the last attention, as the authors read
            it), `tokens`, `sclip`, `clearclip`, `naclip`, `crops`, `aggregate`, or a subclass of `Readout` by
            class_path.

    Raises:
        InputError: if transformers is missing or too old, the files are missing or do not fit, a weight is not finite,
            or the readout does not fit.
    """

    def __init__(self, pretrained: str, readout: str | Readout = "maskclip") -> None:
        chosen = readout_of(readout)
        library = transformers_library()
        with torch.device("meta"):  # a readout that does not fit is refused before the weights are loaded
            blank = library.Tipsv2VisionModel(library.Tipsv2VisionConfig(num_hidden_layers=1))
        check_fit(chosen, TIPSTower(blank))
        model, tokenizer = load_tips(pretrained)
        super().__init__(model, TIPSTower(model.vision_model), chosen, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        self.pretrained = pretrained
        self.name = f"tipsv2-{model.config.vision_config.hidden_size}"
        self.text = TIPSText(model, tokenizer)


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
        return embed_padded(self.embedding, ids, self.tower.config.pad_token_id)

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
