"""The readout `proxy`."""

import torch
from torch import Tensor
from torch.nn import functional as F

from depthclip.checks import check_number
from depthclip.encoder.attention import similarity_weights
from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.encoder.proxies import load_proxy
from depthclip.encoder.readouts.base import BlockReadout
from depthclip.encoder.towers import Tower, TransformerTower, to_map, to_multiples


class Proxy(BlockReadout):
    """Attention of another vision model in the last block (ProxyCLIP, arXiv 2408.04883).

    With S the cosine similarities of the patches in the last layer of a frozen timm model, the attention is the softmax
    of sharpness * (S - threshold * mean(S)) over the patches at which this is not negative, and each patch attends at
    least to itself. The values of the tower's last block are resized (bilinear) to the grid of that model, which is the
    grid of the dense map. The output projection follows, then the final norm and projection of the tower. A tower with
    an attention-pool head (SigLIP, PE) pools each token as the only key.

    Args:
        model: the name of a vision transformer of timm, such as `vit_base_patch16_dinov3` or
            `vit_pe_spatial_base_patch16_512`; a weight tag may follow a dot.
        pretrained: true downloads timm's weights; a path is a `.safetensors` file of them; false gives random
            weights, with a warning.
        threshold: factor of the mean similarity of the image, below which patches get no attention; at most 100.
        sharpness: factor of the similarities in the softmax; at most 1000.
        residual: whether the input of the block, resized too, is added to the output of the attention.
        feed_forward: whether the feed-forward network of the block follows, with its residual connection.

    Raises:
        InputError: if the model is unknown or does not run at any image size, its weights cannot be loaded, or a value
            is out of range.
    """

    def __init__(
        self,
        model: str,
        pretrained: bool | str = True,
        threshold: float = 1.2,
        sharpness: float = 3.0,
        residual: bool = False,
        feed_forward: bool = False,
    ) -> None:
        super().__init__()
        check_number("threshold", threshold, at_least=0, at_most=100)
        check_number("sharpness", sharpness, above=0, at_most=1000)
        self.threshold = threshold
        self.sharpness = sharpness
        self.residual = residual
        self.feed_forward = feed_forward
        self.model = model
        self.pretrained = pretrained
        self.network, mean, std = load_proxy(model, pretrained)
        self.stride: int = self.network.feature_info[-1]["reduction"]
        self.mean: Tensor
        self.std: Tensor
        self.image_mean: Tensor
        self.image_std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.set_normalization(torch.zeros(3, 1, 1), torch.ones(3, 1, 1))

    def set_normalization(self, mean: Tensor, std: Tensor) -> None:
        """Take the normalization of the images, which the model replaces by its own."""
        self.register_buffer("image_mean", mean.clone(), persistent=False)
        self.register_buffer("image_std", std.clone(), persistent=False)

    def patches(self, images: Tensor) -> Tensor:
        """Return the features of the timm model, (B, C, h, w), for normalized images (B, 3, H, W)."""
        rgb = images * self.image_std + self.image_mean
        resized = to_multiples((rgb - self.mean) / self.std, self.stride)
        return self.network.forward_intermediates(resized, indices=1, norm=True, intermediates_only=True)[0]

    def forward(self, tower: Tower, images: Tensor, needs: Needs) -> ImageFeatures:
        """Return the dense features of normalized images (B, 3, H, W) on the grid of the timm model."""
        assert isinstance(tower, TransformerTower)  # FrozenCLIP checked that the readout fits
        trunk = tower.trunk(tower.to_stride(images), needs.layers)
        assert trunk.last_input is not None
        pooled = F.normalize(tower.pool(trunk), dim=-1) if needs.pooled else None
        features = self.patches(images)
        grid = (features.shape[-2], features.shape[-1])
        weights = similarity_weights(features.flatten(2).mT, self.threshold, self.sharpness)
        parts = tower.block_parts(trunk.grid)
        values = parts.heads(trunk.last_input).v
        heads = values.shape[1]
        resized = resize(values.transpose(1, 2).flatten(2), trunk.grid, grid)
        attended = weights[:, None] @ resized.unflatten(-1, (heads, -1)).transpose(1, 2)
        tokens = resize(trunk.last_input, trunk.grid, grid)
        output = parts.output(tokens, attended, self.residual, self.feed_forward)
        return ImageFeatures(F.normalize(tower.project_patches(output, grid), dim=1), pooled, trunk.layers)


def resize(tokens: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Resize the patch tokens of (B, prefix + h*w, C) to another grid, bilinear; return (B, h'*w', C)."""
    return F.interpolate(to_map(tokens, grid), size, mode="bilinear").flatten(2).mT
