"""The readout aggregate against its formula."""

import numpy as np
import pytest
import scipy.special
import torch

from depthclip.encoder import (
    Aggregate,
    Needs,
)
from depthclip.encoder.readouts import Readout
from depthclip.encoder.towers import Trunk
from tests.exported import assert_near, unit


class Fixed(Readout):
    """A readout that returns a given map."""

    def __init__(self, values):
        super().__init__()
        self.register_buffer("values", values)

    def dense(self, tower, trunk):
        return self.values


class Nothing(torch.nn.Module):
    """A tower whose features no readout reads."""

    def to_stride(self, images):
        return images

    def trunk(self, images, layers):
        return Trunk(images, (1, 1))


def aggregated(values, *switches):
    return Aggregate(Fixed(values), *switches)(Nothing(), torch.zeros(len(values), 3, 8, 8), Needs()).dense


@pytest.mark.parametrize("switches", [(), (0.0, 1.0), (2.0, 100.0)])
def test_aggregate_leaves_a_constant_map_unchanged(switches):
    constant = torch.randn(2, 8, 1, 1).expand(2, 8, 3, 4)  # of any length
    assert_near(aggregated(constant, *switches), constant)


@pytest.mark.parametrize("switches", [(1.0, 10.0), (1.4, 3.0)])
def test_aggregate_is_the_weighted_mean_of_similar_cells(switches):
    values = torch.randn(2, 6, 2, 5) + 0.5
    dense = aggregated(values, *switches)
    for k in range(2):
        x = values[k].flatten(1).T.double().numpy()
        similarity = unit(x) @ unit(x).T
        logits = switches[1] * (similarity - switches[0] * similarity.mean())
        logits[logits < 0] = -np.inf
        expected = unit(scipy.special.softmax(logits, axis=1) @ x) * np.linalg.norm(x, axis=1, keepdims=True)
        np.testing.assert_allclose(dense[k].flatten(1).T, expected, atol=1e-5)


def test_aggregate_fits_where_the_aggregated_readout_fits(clip):
    assert clip("small-resnet", Aggregate("attention_pool")).encode_image(torch.rand(1, 3, 64, 64)).dense.shape[1] == 48
    with pytest.raises(ValueError, match=r"readout Aggregate.* does not fit a ResNet tower"):
        clip("small-resnet", Aggregate("tokens"))
