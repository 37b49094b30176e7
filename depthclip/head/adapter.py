"""Small learned maps: an adapter of the patch features, and the network that looks at the whole image."""

import torch
from torch import Tensor, nn

from depthclip.checks import check_count
from depthclip.encoder.interfaces import TextEncoder
from depthclip.errors import InputError
from depthclip.head.interfaces import unprepared


class Adapter(nn.Module):
    """A low-rank residual on every patch feature, f + U V f, in the manner of LoRA (arXiv 2106.09685).

    U starts at zero, so that nothing changes until something is learned. The result is not normalised again: what a
    readout means by the length of its features stays as it was.

    Args:
        rank: number of directions to change, from 1 to D; the adapter learns 2 * rank * D numbers.

    Raises:
        InputError: if the rank is smaller than 1 or (from `prepare`) larger than D.
    """

    up: nn.Parameter | None
    down: nn.Parameter | None

    def __init__(self, rank: int = 4) -> None:
        super().__init__()
        check_count("rank", rank, at_most=65_536, hint="for no adapter give null instead")
        self.rank = rank
        self.register_parameter("up", None)
        self.register_parameter("down", None)

    def prepare(self, text: TextEncoder) -> None:
        """Create the parameters, once the D of the joint space is known.

        Raises:
            InputError: if the rank is larger than D.
        """
        if self.rank > text.dim:
            raise InputError(f"rank {self.rank} must be at most {text.dim}, the size of this CLIP's joint space")
        self.up = nn.Parameter(torch.zeros(text.dim, self.rank))
        self.down = nn.Parameter(torch.randn(self.rank, text.dim) / text.dim**0.5)

    def forward(self, dense: Tensor) -> Tensor:
        """Return the changed features, (B, D, h, w)."""
        if self.up is None or self.down is None:
            raise unprepared(self)
        return dense + torch.einsum("dr,re,behw->bdhw", self.up, self.down, dense)


def zero_ended(size: int, hidden: int, out: int) -> nn.Sequential:
    """Two layers whose output starts at zero, (..., size) -> (..., out)."""
    last = nn.Linear(hidden, out)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), last)
