"""The frozen text tower: features of sentences, and differentiable features of token embeddings."""

import warnings
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from depthclip.checks import brief
from depthclip.encoder.interfaces import TokenEmbeddings
from depthclip.encoder.text_towers import TextTower, text_tower_of
from depthclip.errors import InputError

LONGEST_SENTENCE = 4000  # characters: more exceed any context, and tokenizers need hours for very long words
BATCH = 256  # sentences in a forward pass without gradients
# Tokens in a forward pass with gradients. The layers of CLIP's text tower (12 of width 512) keep 0.4 MB for each token.
KEPT_TOKENS = 8192


class Tokenizer(Protocol):
    """An open_clip tokenizer, which truncates a sentence to the context length without a warning."""

    def __call__(self, texts: list[str], context_length: int | None = None) -> Tensor:
        """Return the token ids of N sentences, (N, L), where L is the context length (default: the model's)."""


class FrozenText:
    """Base class of text encoders: it encodes sentences once, and refuses sentences that a tokenizer would cut.

    Args:
        tower: the text tower.
        tokenizer: its tokenizer.
    """

    def __init__(self, tower: TextTower, tokenizer: Tokenizer) -> None:
        self._tower = tower
        self._tokenizer = tokenizer
        self._features: dict[str, Tensor] = {}
        self._ids: dict[str, bytes] = {}

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the text tower."""
        return self._tokenizer

    @property
    def logit_scale(self) -> float:
        """The factor by which the model multiplies similarities."""
        raise NotImplementedError

    @property
    def dim(self) -> int:
        """The dimension of the joint space of images and sentences, D."""
        return self._tower.dim

    @property
    def width(self) -> int:
        """The dimension of a token embedding, W."""
        return self._tower.embedding.embedding_dim

    @property
    def device(self) -> torch.device:
        """The device of the text tower."""
        return self._tower.embedding.weight.device

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return the features of N sentences, (N, D), unit length, without gradients.

        Sentences are encoded in the first call that has them. A warning names two different sentences of a call that
        have the same tokens: some tokenizers ignore case or punctuation.

        Raises:
            InputError: if a sentence is longer than the tower's context.
        """
        different = list(dict.fromkeys(texts))
        new = [text for text in different if text not in self._features]
        if new:
            ids = self._tokens(new)
            self._features.update(zip(new, self._encode_ids(ids).cpu(), strict=True))
            self._ids.update(zip(new, (row.numpy().tobytes() for row in ids), strict=True))
        self._warn_of_equal(different)
        return torch.stack([self._features[text] for text in texts]).to(self.device)

    def encode_anew(self, texts: Sequence[str]) -> Tensor:
        """Return the features of N sentences as `encode`, (N, D), without remembering them.

        Raises:
            InputError: if a sentence is longer than the tower's context.
        """
        return self._encode_ids(self._tokens(texts))

    @torch.no_grad()
    def _encode_ids(self, ids: Tensor) -> Tensor:
        # in float32 under any precision; sentences of similar length share a batch, because a batch is as long as its
        # longest sentence where the tower allows that
        order = torch.arange(len(ids))
        if len(ids) > BATCH:
            order = (ids != self._tokenizer([""])[0, -1]).sum(1).argsort(stable=True)
        with torch.autocast(self.device.type, enabled=False):
            parts = [self._tower.embed(ids[part].to(self.device)) for part in order.split(BATCH)]
            features = torch.cat([self.encode_embeddings(part).float() for part in parts])
        return features[order.argsort().to(features.device)]

    def _warn_of_equal(self, texts: Sequence[str]) -> None:
        first: dict[bytes, str] = {}
        pairs = [(first[ids], text) for text in texts if first.setdefault(ids := self._ids[text], text) != text]
        if pairs:
            more = f" (and {len(pairs) - 1} more such pairs)" if len(pairs) > 1 else ""
            warnings.warn(
                f"the sentences {brief(pairs[0][0])} and {brief(pairs[0][1])} have the same tokens{more}, because the "
                "tokenizer ignores their difference, such as case or punctuation; remove one of them",
                stacklevel=3,
            )

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        for text in texts:
            if len(text) > LONGEST_SENTENCE:
                raise InputError(f"the sentence {brief(text)} has {len(text)} characters; it must be shortened")
        ids = self._tokenizer(list(texts))
        length = ids.shape[1]
        # a sentence that was cut ends without padding, or with one token that is padding and end in one (SigLIP)
        full = (ids[:, -2:] != self._tokenizer([""])[:, -2:]).any(1).nonzero().flatten().tolist()
        if not full:
            return ids
        # with room for one more token, a sentence that fits has the same ids and a padding token at the end
        longer = self._tokenizer([*(texts[k] for k in full), ""], context_length=length + 1)
        cut = (longer[:-1, :length] != ids[full]).any(1) | (longer[:-1, -1] != longer[-1, -1])
        if cut.any():
            text = texts[full[int(cut.int().argmax())]]
            raise InputError(
                f"the sentence {brief(text)} is too long for the text tower, which takes {length} tokens; use a "
                "shorter template, shorter words or fewer learned vectors"
            )
        return ids

    def embed(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Return the token embeddings of N sentences, (N, L, W), and the position at which each is read out.

        Raises:
            InputError: if a sentence is longer than the tower's context.
        """
        return self._tower.embed(self._tokens(texts).to(self.device))

    def encode_embeddings(self, embeddings: TokenEmbeddings) -> Tensor:
        """Return the features of N embedded sentences, (N, D), unit length; gradients flow to the embeddings.

        Many sentences are encoded in parts. If they have gradients, the backward pass computes the layers of each part
        again (gradient checkpointing), so that memory does not grow with the number of sentences.
        """
        values = embeddings.values
        keeps = torch.is_grad_enabled() and values.requires_grad
        most = max(1, KEPT_TOKENS // values.shape[1]) if keeps else BATCH
        if len(values) <= most:
            return unit_length(self._tower.run(embeddings))
        features = []
        for k in range(0, len(values), most):
            rows = slice(k, k + most)
            mask = None if embeddings.mask is None else embeddings.mask[rows]
            part = TokenEmbeddings(values[rows], embeddings.ends[rows], mask)
            if keeps:  # the frozen tower draws no random numbers
                features.append(checkpoint(self._tower.run, part, use_reentrant=False, preserve_rng_state=False))
            else:
                features.append(self._tower.run(part))
        return unit_length(torch.cat(features))


class CLIPText(FrozenText):
    """The `TextEncoder` of an open_clip model.

    Args:
        model: the open_clip model.
        tokenizer: the tokenizer of the model.

    Raises:
        InputError: if the text tower of the model is not supported.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer) -> None:
        super().__init__(text_tower_of(model), tokenizer)
        self._model = model
        self._logit_scale: float | None = None

    @property
    def logit_scale(self) -> float:
        """The factor by which CLIP multiplies similarities, exp(logit_scale)."""
        if self._logit_scale is None:  # read once, because reading it makes an accelerator wait
            self._logit_scale = float(self._model.get_parameter("logit_scale").detach().exp())
        return self._logit_scale


def unit_length(features: Tensor) -> Tensor:
    """Return features (N, D) of unit length, in float32 if their precision is lower."""
    return F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=-1)
