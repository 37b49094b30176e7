"""Small learned layers: the adapter of patch features, and the network that conditions prompts or bins on an image."""

import torch
from torch import Tensor, nn

from depthclip.checks import check_count
from depthclip.encoder.interfaces import TextEncoder
from depthclip.errors import InputError
from depthclip.head.interfaces import unprepared


class Adapter(nn.Module):
    """Add a learned low-rank residual to every patch feature, f + U V f, as in LoRA (arXiv 2106.09685).

    U starts at zero, so the features are unchanged before training. The result is not normalized again, which keeps
    the length that the readout gives to its features.

    Args:
        rank: number of directions that can change, from 1 to D; the adapter has 2 * rank * D parameters.

    Raises:
        InputError: if the rank is smaller than 1 or (from `prepare`) larger than D.
    """

    prepared = False  # set by `prepare_once`
    up: nn.Parameter | None  # U, (D, rank)
    down: nn.Parameter | None  # V, (rank, D)

    def __init__(self, rank: int = 4) -> None:
        super().__init__()
        check_count("rank", rank, at_most=65_536, hint="for no adapter give null instead")
        self.rank = rank
        self.register_parameter("up", None)
        self.register_parameter("down", None)

    def prepare(self, text: TextEncoder) -> None:
        """Create the parameters; the head calls this method once.

        Raises:
            InputError: if the rank is larger than D.
        """
        if self.rank > text.dim:
            raise InputError(f"rank {self.rank} must be at most {text.dim}, the size of this CLIP's joint space")
        self.up = nn.Parameter(torch.zeros(text.dim, self.rank))
        self.down = nn.Parameter(torch.randn(self.rank, text.dim) / text.dim**0.5)

    def forward(self, dense: Tensor) -> Tensor:
        """Return the adapted features of patch features (B, D, h, w), in the same shape."""
        if self.up is None or self.down is None:
            raise unprepared(self)
        return dense + torch.einsum("dr,re,behw->bdhw", self.up, self.down, dense)


def zero_initialized(size: int, hidden: int, out: int) -> nn.Sequential:
    """Return a two-layer network, (..., size) -> (..., out), whose output is zero before training."""
    last = nn.Linear(hidden, out)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), last)
