"""The frozen text tower: features of sentences, and differentiable features of token embeddings."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from open_clip import CLIP, CustomTextCLIP
from open_clip.transformer import TextTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip.checks import brief
from depthclip.encoder.interfaces import TokenEmbeddings
from depthclip.errors import InputError

LONGEST_SENTENCE = 4000  # characters: more exceed any context, and tokenizers need hours for very long words


class Tokenizer(Protocol):
    """An open_clip tokenizer, which truncates a sentence to the context length without a warning."""

    def __call__(self, texts: list[str], context_length: int | None = None) -> Tensor:
        """Return the token ids of N sentences, (N, L), where L is the context length (default: the model's)."""


class CLIPText:
    """The `TextEncoder` of an open_clip model.

    Features of sentences are computed once and cached. If the tower is causal, tokens after the end of the longest
    sentence cannot change the features and are not computed.

    Args:
        model: the open_clip model.
        tokenizer: the tokenizer of the model.
    """

    def __init__(self, model: CLIP | CustomTextCLIP, tokenizer: Tokenizer) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._features: dict[str, Tensor] = {}
        if isinstance(model, CLIP):
            self._tower: Any = model
            self._pool_type = model.text_pool_type
        elif isinstance(getattr(model, "text", None), TextTransformer):
            self._tower = model.text
            self._pool_type = model.text.pool_type
        else:
            self._tower = None

    @property
    def logit_scale(self) -> float:
        """The factor by which CLIP multiplies similarities, exp(logit_scale)."""
        return float(self._model.logit_scale.detach().exp())

    @property
    def dim(self) -> int:
        """The dimension of the joint space of images and sentences, D."""
        return self.encode([""]).shape[-1]

    @property
    def width(self) -> int:
        """The dimension of a token embedding, W.

        Raises:
            InputError: if the text tower cannot be run from embeddings.
        """
        return self._native().token_embedding.embedding_dim

    @property
    def device(self) -> torch.device:
        """The device of the text tower."""
        return self._model.logit_scale.device

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return the features of N sentences, (N, D), unit length, without gradients.

        Raises:
            InputError: if a sentence is longer than the tower's context.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._features]
        for start in range(0, len(new), 256):
            part = new[start : start + 256]
            with torch.no_grad():
                features = self._encode(part)
            self._features.update(zip(part, features.float().cpu(), strict=True))
        return torch.stack([self._features[text] for text in texts]).to(self.device)

    def _encode(self, texts: list[str]) -> Tensor:
        if self._tower is not None and self._is_native(self._tower):
            return self.encode_embeddings(self.embed(texts))
        return self._model.encode_text(self._tokens(texts), normalize=True)

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        for text in texts:
            if len(text) > LONGEST_SENTENCE:
                raise InputError(f"the sentence {brief(text)} has {len(text)} characters; it must be shortened")
        ids = self._tokenizer(list(texts))
        length = ids.shape[1]
        # with room for one more token, a sentence that fits has the same ids and a padding token at the end
        longer = self._tokenizer([*texts, ""], context_length=length + 1)
        cut = (longer[:-1, :length] != ids).any(1) | (longer[:-1, -1] != longer[-1, -1])
        if cut.any():
            text = texts[int(cut.int().argmax())]
            raise InputError(
                f"the sentence {brief(text)} is too long for the text tower, which takes {length} tokens; use a "
                "shorter template, shorter words or fewer learned vectors"
            )
        return ids.to(self.device)

    def _is_native(self, tower: Any) -> bool:
        plain = getattr(tower, "cls_emb", None) is None and not getattr(tower, "use_pad_mask", False)
        return plain and self._pool_type in ("argmax", "eos", "last", "first")

    def _native(self) -> Any:
        if self._tower is None or not self._is_native(self._tower):
            kind = type(getattr(self._model, "text", self._model)).__name__
            raise InputError(
                f"the text tower {kind} cannot be run from token embeddings; for learned prompts choose a model whose "
                "text tower is open_clip's own (OpenAI, LAION, MetaCLIP, DFN, SigLIP)"
            )
        return self._tower

    def embed(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Return the token embeddings of N sentences, (N, L, W), and the position at which each is read out.

        Raises:
            InputError: if the text tower cannot be run from embeddings, or a sentence is longer than its context.
        """
        tower = self._native()
        ids = self._tokens(texts)
        if self._pool_type == "argmax":
            ends = ids.argmax(-1)
        elif self._pool_type == "eos":
            eos = tower.text_eos_id if isinstance(tower, CLIP) else tower.eos_id
            ends = ids.eq(eos).int().argmax(-1)
        else:
            ends = torch.full((len(ids),), 0 if self._pool_type == "first" else ids.shape[1] - 1, device=ids.device)
        if tower.attn_mask is not None:
            ids = ids[:, : int(ends.max()) + 1]
        return TokenEmbeddings(tower.token_embedding(ids), ends)

    def encode_embeddings(self, embeddings: TokenEmbeddings) -> Tensor:
        """Return the features of N embedded sentences, (N, D), unit length; gradients flow to the embeddings.

        Raises:
            InputError: if a sequence is longer than the tower's context, or the tower cannot be run from embeddings.
        """
        tower = self._native()
        length, context = embeddings.values.shape[1], len(tower.positional_embedding)
        if length > context:
            raise InputError(f"a prompt has {length} tokens, but the text tower takes {context}; it must be shortened")
        dtype = tower.transformer.get_cast_dtype()
        x = embeddings.values.to(dtype) + tower.positional_embedding[:length].to(dtype)
        mask = None if tower.attn_mask is None else tower.attn_mask[:length, :length]
        x = tower.ln_final(tower.transformer(x, attn_mask=mask))
        x = x[torch.arange(len(x), device=x.device), embeddings.ends]
        projection = tower.text_projection
        if projection is not None:
            x = projection(x) if isinstance(projection, nn.Linear) else x @ projection
        return F.normalize(x, dim=-1)
