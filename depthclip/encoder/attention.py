"""The parts of the last block of a transformer, from which readouts compute another output than the block itself.

The parts share their parameters with the block, which stays as it is. A tower whose blocks are of another library
subclasses `BlockParts`.
"""

from typing import Any, NamedTuple

import torch
from open_clip.transformer import ResidualAttentionBlock
from timm.layers import Attention, AttentionRope, apply_rot_embed_cat
from timm.models.eva import EvaAttention, EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip.errors import InputError


class Heads(NamedTuple):
    """Queries, keys and values of the attention heads, (B, heads, N, d) each."""

    q: Tensor
    k: Tensor
    v: Tensor


class BlockParts:
    """The parts of a transformer block, for readouts that replace its attention.

    Args:
        block: the block; it is not changed.
    """

    def __init__(self, block: nn.Module) -> None:
        self.block: Any = block

    def heads(self, tokens: Tensor) -> Heads:
        """Return the queries, keys and values of the tokens (B, N, C), after all norms and rotary positions."""
        raise NotImplementedError

    def project(self, values: Tensor) -> Tensor:
        """Return the output of the attention branch, (B, N, C), for attended values (B, heads, N, d).

        The branch ends with the output projection, and the layer scale or norm of the block if there is one.
        """
        raise NotImplementedError

    def feed_forward(self, tokens: Tensor) -> Tensor:
        """Return the output of the feed-forward branch, (B, N, C), without the residual connection around it."""
        raise NotImplementedError

    def output(self, tokens: Tensor, values: Tensor, residual: bool, feed_forward: bool) -> Tensor:
        """Return the output of the block, (B, N, C), with attended values of the readout's choice.

        Args:
            tokens: (B, N, C), the input of the block.
            values: (B, heads, N, d), the attended values.
            residual: whether the input is added to the output of the attention branch.
            feed_forward: whether the feed-forward branch follows, with the residual connection around it.
        """
        output = self.project(values)
        if residual:
            output = tokens + output
        return output + self.feed_forward(output) if feed_forward else output


class NativeParts(BlockParts):
    """The parts of a ResidualAttentionBlock of open_clip."""

    def heads(self, tokens: Tensor) -> Heads:
        """Return the queries, keys and values of the tokens (B, N, C)."""
        attention = self.block.attn
        joint = F.linear(self.block.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias)
        return split_heads(joint, attention.num_heads)

    def project(self, values: Tensor) -> Tensor:
        """Return the output of the attention branch, (B, N, C)."""
        return self.block.ls_1(self.block.attn.out_proj(join_heads(values)))

    def feed_forward(self, tokens: Tensor) -> Tensor:
        """Return the output of the feed-forward branch, (B, N, C)."""
        return self.block.ls_2(self.block.mlp(self.block.ln_2(tokens)))


class TimmParts(BlockParts):
    """The parts of a Block of timm's VisionTransformer."""

    def heads(self, tokens: Tensor) -> Heads:
        """Return the queries, keys and values of the tokens (B, N, C)."""
        attention = self.block.attn
        q, k, v = split_heads(attention.qkv(self.block.norm1(tokens)), attention.num_heads)
        return Heads(attention.q_norm(q), attention.k_norm(k), v)

    def project(self, values: Tensor) -> Tensor:
        """Return the output of the attention branch, (B, N, C)."""
        return self.block.ls1(project_values(self.block.attn, values))

    def feed_forward(self, tokens: Tensor) -> Tensor:
        """Return the output of the feed-forward branch, (B, N, C)."""
        return self.block.ls2(self.block.mlp(self.block.norm2(tokens)))


class EvaParts(BlockParts):
    """The parts of an EvaBlock of timm.

    Args:
        block: the block.
        rope: (h*w, 2 d), the rotary positions of the patches as timm's `get_embed` returns them; None for a model
            without them.
    """

    def __init__(self, block: nn.Module, rope: Tensor | None) -> None:
        super().__init__(block)
        self.rope = rope

    def heads(self, tokens: Tensor) -> Heads:
        """Return the queries, keys and values of the tokens (B, N, C)."""
        return eva_heads(self.block.attn, self.block.norm1(tokens), self.rope)

    def project(self, values: Tensor) -> Tensor:
        """Return the output of the attention branch, (B, N, C)."""
        return scale(project_values(self.block.attn, values), self.block.gamma_1)

    def feed_forward(self, tokens: Tensor) -> Tensor:
        """Return the output of the feed-forward branch, (B, N, C)."""
        return scale(self.block.mlp(self.block.norm2(tokens)), self.block.gamma_2)


class EvaPostNormParts(EvaParts):
    """The parts of an EvaBlockPostNorm of timm, whose norms end the branches."""

    def heads(self, tokens: Tensor) -> Heads:
        """Return the queries, keys and values of the tokens (B, N, C)."""
        return eva_heads(self.block.attn, tokens, self.rope)

    def project(self, values: Tensor) -> Tensor:
        """Return the output of the attention branch, (B, N, C)."""
        return self.block.norm1(project_values(self.block.attn, values))

    def feed_forward(self, tokens: Tensor) -> Tensor:
        """Return the output of the feed-forward branch, (B, N, C)."""
        return self.block.norm2(self.block.mlp(tokens))


def parts_of(block: nn.Module, rope: Tensor | None = None) -> BlockParts:
    """Return the parts of a block of open_clip or timm.

    Args:
        block: the block.
        rope: (h*w, 2 d), the rotary positions of the patches, for an Eva model that has them.

    Raises:
        InputError: if blocks of this type are not supported.
    """
    attention = getattr(block, "attn", None)
    supported = getattr(attention, "gate", None) is None and getattr(attention, "num_kv_groups", 1) == 1
    if isinstance(block, ResidualAttentionBlock):
        return NativeParts(block)
    if supported and isinstance(block, Block) and isinstance(attention, Attention):
        return TimmParts(block)
    if supported and isinstance(attention, EvaAttention | AttentionRope):
        if isinstance(block, EvaBlock):
            return EvaParts(block, rope)
        if isinstance(block, EvaBlockPostNorm):
            return EvaPostNormParts(block, rope)
    raise InputError(
        f"readout: no readout can replace the attention of the tower's last block ({type(block).__name__} with "
        f"{type(attention).__name__}); use tokens or crops"
    )


def split_heads(joint: Tensor, heads: int) -> Heads:
    """Split the output of a joint projection, (B, N, 3 C), into the queries, keys and values of the heads."""
    q, k, v = joint.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return Heads(q, k, v)


def join_heads(values: Tensor) -> Tensor:
    """Join the values of the heads, (B, heads, N, d), to (B, N, heads * d)."""
    return values.transpose(1, 2).flatten(2)


def project_values(attention: Any, values: Tensor) -> Tensor:
    """Return the output of a timm attention, (B, N, C), for attended values (B, heads, N, d)."""
    return attention.proj(attention.norm(join_heads(values)))


def eva_heads(attention: Any, tokens: Tensor, rope: Tensor | None) -> Heads:
    """Return the queries, keys and values of an attention of timm's Eva for tokens (B, N, C)."""
    if attention.qkv is None:
        joint = torch.cat([attention.q_proj(tokens), attention.k_proj(tokens), attention.v_proj(tokens)], dim=-1)
    else:
        joint = attention.qkv(tokens)
        if getattr(attention, "q_bias", None) is not None:
            joint = joint + torch.cat([attention.q_bias, attention.k_bias, attention.v_bias])
    q, k, v = split_heads(joint, attention.num_heads)
    q, k = attention.q_norm(q), attention.k_norm(k)
    if rope is not None:
        q, k = (rotate(part, rope, attention) for part in (q, k))
    return Heads(q, k, v)


def rotate(part: Tensor, rope: Tensor, attention: Any) -> Tensor:
    """Apply rotary positions to the patch tokens of queries or keys, (B, heads, N, d)."""
    prefix = attention.num_prefix_tokens
    patches = apply_rot_embed_cat(part[:, :, prefix:], rope, half=attention.rotate_half)
    return torch.cat([part[:, :, :prefix], patches], dim=2)


def scale(branch: Tensor, gamma: Tensor | None) -> Tensor:
    """Multiply the output of a branch by a layer scale, if there is one."""
    return branch if gamma is None else gamma * branch


def similarity_weights(features: Tensor, threshold: float, sharpness: float) -> Tensor:
    """Return the weights with which positions with similar features are averaged.

    With S the cosine similarities of the positions, the weights of a position are the softmax of
    sharpness * (S - threshold * mean(S)) over the positions at which this is not negative. Each position keeps itself.

    Args:
        features: (B, N, C), the feature of each position.
        threshold: factor of the mean similarity of the image, below which positions have no weight.
        sharpness: factor of the similarities in the softmax.

    Returns:
        (B, N, N), of which each row adds up to 1.
    """
    unit = F.normalize(features, dim=-1)
    similarity = unit @ unit.mT
    logits = sharpness * (similarity - threshold * similarity.mean((1, 2), keepdim=True))
    itself = torch.eye(logits.shape[-1], dtype=torch.bool, device=logits.device)
    return logits.masked_fill((logits < 0) & ~itself, -torch.inf).softmax(dim=-1)
