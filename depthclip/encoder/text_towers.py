"""The text towers of open_clip, run from token embeddings."""

from typing import Any, Protocol

import torch
from open_clip import CLIP
from open_clip.hf_model import HFTextEncoder, MaxPooler
from open_clip.transformer import TextTransformer
from torch import Tensor, nn

from depthclip.encoder.interfaces import TokenEmbeddings
from depthclip.errors import InputError


class TextTower(Protocol):
    """A frozen text tower that can be run from token embeddings.

    Attributes:
        embedding: the table of token embeddings.
        dim: dimension of the joint space, D.
    """

    embedding: nn.Embedding
    dim: int

    def embed(self, ids: Tensor) -> TokenEmbeddings:
        """Return the embeddings of N sentences, given as token ids (N, L)."""

    def run(self, embeddings: TokenEmbeddings) -> Tensor:
        """Return the features of N embedded sentences, (N, D), not normalized."""


class NativeText:
    """A text transformer of open_clip, causal or bidirectional, with or without CoCa's class token.

    If attention is causal and the feature of a sentence is the output of one of its tokens, tokens after the end of the
    longest sentence cannot change the features and are not computed. Bidirectional towers, and CoCa's, whose class
    token follows the padding, always run at their full length.

    Args:
        tower: a `CLIP`, or the `TextTransformer` of another model.

    Raises:
        InputError: if the tower has no pooling.
    """

    def __init__(self, tower: CLIP | TextTransformer) -> None:
        self.tower: Any = tower
        self.embedding = tower.token_embedding
        projection = tower.text_projection
        if isinstance(projection, nn.Linear):
            self.dim = projection.out_features
        else:
            self.dim = tower.token_embedding.embedding_dim if projection is None else projection.shape[1]
        plain = isinstance(tower, CLIP)
        self.pool_type = tower.text_pool_type if plain else tower.pool_type
        self.eos = tower.text_eos_id if plain else tower.eos_id
        self.class_token = None if plain else tower.cls_emb
        self.masks_padding = not plain and (tower.use_pad_mask or tower.cls_emb is not None)
        if self.pool_type not in ("argmax", "eos", "last", "first"):
            raise InputError(
                f"the text tower has pool_type {self.pool_type!r}, which gives no feature of a sentence; choose a "
                "model with argmax, eos, last or first"
            )

    def embed(self, ids: Tensor) -> TokenEmbeddings:
        """Return the embeddings of N sentences, given as token ids (N, L)."""
        if self.pool_type == "argmax":
            ends = ids.argmax(-1)
        elif self.pool_type == "eos":
            ends = ids.eq(self.eos).int().argmax(-1)
        else:
            ends = torch.full((len(ids),), 0 if self.pool_type == "first" else ids.shape[1] - 1, device=ids.device)
        mask = ids != self.tower.pad_id if self.masks_padding else None
        if self.tower.attn_mask is not None and self.class_token is None:
            ids = ids[:, : int(ends.max()) + 1]
        return TokenEmbeddings(self.embedding(ids), ends, mask)

    def run(self, embeddings: TokenEmbeddings) -> Tensor:
        """Return the features of N embedded sentences, (N, D), not normalized.

        Raises:
            InputError: if a sequence is longer than the tower's context.
        """
        tower, dtype = self.tower, self.tower.transformer.get_cast_dtype()
        context = len(tower.positional_embedding) - (self.class_token is not None)
        if (given := embeddings.values.shape[1]) > context:
            raise InputError(f"a prompt has {given} tokens, but the text tower takes {context}; it must be shortened")
        x = embeddings.values.to(dtype)
        if self.class_token is not None:
            x = torch.cat([x, self.class_token.to(dtype).expand(len(x), 1, -1)], dim=1)
        length = x.shape[1]
        x = x + tower.positional_embedding[:length].to(dtype)
        x = tower.transformer(x, attn_mask=self.attention_mask(embeddings.mask, length, dtype))
        if self.class_token is not None:
            x = tower.ln_final(x[:, -1])
        else:
            x = tower.ln_final(x)[torch.arange(len(x), device=x.device), embeddings.ends]
        projection = tower.text_projection
        if projection is None:
            return x
        return projection(x) if isinstance(projection, nn.Linear) else x @ projection

    def attention_mask(self, mask: Tensor | None, length: int, dtype: torch.dtype) -> Tensor | None:
        """Return the additive mask of the attention, (L, L) or (N * heads, L, L), or None.

        Args:
            mask: (N, L) bool, true where a token is not padding, or None.
            length: L, including the class token.
            dtype: type of the embeddings.
        """
        causal = None if self.tower.attn_mask is None else self.tower.attn_mask[:length, :length]
        if mask is None:
            return causal
        if self.class_token is not None:  # the weights of CoCa were trained with the mask of the class token in front
            always = mask.new_ones(len(mask), 1)
            mask = torch.cat([mask, always] if self.tower.correct_cls_mask else [always, mask], dim=1)
        padding = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -torch.inf)
        padding = padding[:, None].expand(-1, length, -1)
        return (padding if causal is None else padding + causal).repeat_interleave(self.tower.heads, dim=0)


class HFText:
    """An `HFTextEncoder` of open_clip: an encoder of transformers with a pooler and a projection.

    The encoder is bidirectional and ignores padding, so sentences run with their mask, up to the end of the longest
    one. Padding must follow the sentence, because positions are counted from the first token.

    Args:
        tower: the encoder.

    Raises:
        InputError: if its pooler is `max_pooler`, which cannot be run in open_clip.
    """

    def __init__(self, tower: HFTextEncoder) -> None:
        if isinstance(tower.pooler, MaxPooler):
            raise InputError("the text tower has hf_pooler_type 'max_pooler', which cannot run; use mean_pooler")
        self.tower: Any = tower
        self.embedding = tower.transformer.get_input_embeddings()
        self.dim = tower.output_dim

    def embed(self, ids: Tensor) -> TokenEmbeddings:
        """Return the embeddings of N sentences, given as token ids (N, L), with their mask.

        Raises:
            InputError: if the tokenizer pads at the front, or a sentence has no token.
        """
        return embed_padded(self.embedding, ids, self.tower.config.pad_token_id)

    def run(self, embeddings: TokenEmbeddings) -> Tensor:
        """Return the features of N embedded sentences, (N, D), not normalized."""
        assert embeddings.mask is not None  # from `embed`
        mask = embeddings.mask.long()
        output = self.tower.transformer(inputs_embeds=embeddings.values, attention_mask=mask)
        return self.tower.proj(self.tower.pooler(output, mask))


def embed_padded(embedding: nn.Embedding, ids: Tensor, pad: int) -> TokenEmbeddings:
    """Return the embeddings of N sentences, given as token ids (N, L), with the mask of their tokens.

    Columns that hold nothing but padding are left out.

    Raises:
        InputError: if there is padding before a token, or a sentence has no token.
    """
    mask = padding_mask(ids, pad)
    lengths = mask.sum(1)
    longest = int(lengths.max())
    return TokenEmbeddings(embedding(ids[:, :longest]), lengths - 1, mask[:, :longest])


def padding_mask(ids: Tensor, pad: int) -> Tensor:
    """Return which tokens are not padding, (N, L) bool, for sentences padded at their end.

    Args:
        ids: (N, L), the token ids.
        pad: the id of the padding.

    Raises:
        InputError: if there is padding before a token, or a sentence has no token.
    """
    mask = ids != pad
    if not mask.any(1).all():
        raise InputError("a sentence has no tokens; use sentences with letters that the tokenizer knows")
    if (mask[:, 1:] & ~mask[:, :-1]).any():
        raise InputError(
            "the tokenizer pads sentences at the front, which moves the positions of their tokens; set padding_side to "
            "right in its tokenizer_config.json"
        )
    return mask


def text_tower_of(model: nn.Module) -> TextTower:
    """Return the text tower of an open_clip model.

    Raises:
        InputError: if it cannot be run from token embeddings.
    """
    tower = model if isinstance(model, CLIP) else getattr(model, "text", None)
    if isinstance(tower, CLIP | TextTransformer):
        return NativeText(tower)
    if isinstance(tower, HFTextEncoder):
        return HFText(tower)
    raise InputError(
        f"the text tower {type(tower).__name__} is not supported; choose a model whose text tower is open_clip's own "
        "or of Hugging Face"
    )
