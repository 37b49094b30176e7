"""Losses against NumPy."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from depthclip.losses import L1, BinCrossEntropy, LossInput, SILog

BINS = torch.tensor([1.0, 1.5, 2.0, 3.0])


def loss_input(seed, height=12, width=18, **more):
    """A prediction, a truth with holes, and the pixels of both that count."""
    torch.manual_seed(seed)
    depth = (0.5 + 3 * torch.rand(height, width)).requires_grad_()
    truth = (0.5 + 3 * torch.rand(height, width)) * (torch.rand(height, width) > 0.3)
    return LossInput(depth, truth, truth > 0, **more)


def pixels(one):
    """Predicted and true metres of the pixels that count."""
    return one.prediction.detach()[one.mask].double().numpy(), one.target[one.mask].double().numpy()


def silog(pairs, focus=0.85, scale=10.0):
    g = np.concatenate([np.log(depth) - np.log(truth) for depth, truth in map(pixels, pairs)])
    return scale * np.sqrt((g**2).mean() - focus * g.mean() ** 2)


@pytest.mark.parametrize(("focus", "scale"), [(0.85, 10), (1, 1), (0, 2)])
def test_silog(focus, scale):
    pairs = [loss_input(0), loss_input(1, 7, 9), loss_input(2)]
    loss = SILog(focus, scale)(pairs)
    assert loss.item() == pytest.approx(np.mean([silog([one], focus, scale) for one in pairs]), rel=1e-4)
    pooled = SILog(focus, scale, pooled=True)(pairs)
    assert pooled.item() == pytest.approx(silog(pairs, focus, scale), rel=1e-4)


def test_silog_ignores_scale_by_its_variance_focus():
    one = loss_input(0)
    double = one._replace(prediction=2 * one.target)
    assert SILog(1)([double]).item() == pytest.approx(0, abs=1e-2)
    assert SILog(0, 1)([double]).item() == pytest.approx(np.log(2), rel=1e-5)


def test_l1():
    pairs = [loss_input(0), loss_input(1)]
    errors = [np.abs(depth - truth).mean() for depth, truth in map(pixels, pairs)]
    assert L1()(pairs).item() == pytest.approx(np.mean(errors), rel=1e-5)


def cross_entropy(one, logits, target):
    """The definition, pixel by pixel, from logits (K, H, W)."""
    weights = np.exp(logits.double().log_softmax(0).numpy())
    bins, total = BINS.double().numpy(), []
    for y, x in zip(*np.nonzero(one.mask.numpy()), strict=True):
        depth, wanted = float(one.target[y, x]), np.zeros(len(bins))
        after = int(np.clip(np.searchsorted(bins, depth), 1, len(bins) - 1))
        share = np.clip((depth - bins[after - 1]) / (bins[after] - bins[after - 1]), 0, 1)
        if target == "nearest":
            wanted[np.abs(bins - depth).argmin()] = 1
        else:
            wanted[after - 1], wanted[after] = 1 - share, share
            if bins[0] <= depth <= bins[-1]:
                assert wanted @ bins == pytest.approx(depth, rel=1e-5)
        total.append(-(wanted * np.log(weights[:, y, x])).sum())
    return np.mean(total)


@pytest.mark.parametrize("target", ["nearest", "neighbours"])
@pytest.mark.parametrize("at", ["patches", "pixels"])
def test_bin_cross_entropy(target, at):
    logits = (3 * torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(0))).requires_grad_()
    one = loss_input(3, 12, 18, logits=logits, bins=BINS)
    full = logits.detach().repeat_interleave(4, 1).repeat_interleave(3, 2)
    if at == "pixels":
        full = F.interpolate(logits.detach()[None], (12, 18), mode="bilinear", align_corners=False)[0]
    loss = BinCrossEntropy(target, at)([one])
    assert loss.item() == pytest.approx(cross_entropy(one, full, target), rel=1e-4)
    loss.backward()
    assert logits.grad.abs().sum() > 0


def test_bin_cross_entropy_takes_the_patch_of_each_pixels_centre():
    logits = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    one = loss_input(0, 13, 19, logits=logits, bins=BINS)
    rows, columns = (np.floor((np.arange(n) + 0.5) * k / n).astype(int) for n, k in ((13, 3), (19, 5)))
    expected = cross_entropy(one, logits[:, rows][:, :, columns], "nearest")
    assert BinCrossEntropy()([one]).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("loss", [SILog(), SILog(pooled=True), L1(), BinCrossEntropy()])
def test_pixels_that_do_not_count_change_nothing(loss):
    logits = torch.randn(4, 3, 6, requires_grad=True)
    one = loss_input(0, logits=logits, bins=BINS)
    spoilt = one._replace(target=torch.where(one.mask, one.target, torch.nan))
    empty = one._replace(mask=torch.zeros_like(one.mask))
    assert loss([spoilt]).item() == loss([one]).item()
    loss([empty]).backward()
    loss([spoilt]).backward()
    for tensor in (one.prediction, logits):
        assert tensor.grad is None or tensor.grad.isfinite().all()


@pytest.mark.parametrize("loss", [SILog(), L1()])
def test_the_loss_of_a_batch_is_the_mean_of_its_halves(loss):
    pairs = [loss_input(0), loss_input(1, 20, 20), loss_input(2), loss_input(3, 5, 5)]
    pairs[2] = pairs[2]._replace(mask=torch.zeros_like(pairs[2].mask))  # an image without truth counts as one image
    halves = (loss(pairs[:2]) + loss(pairs[2:])) / 2
    torch.testing.assert_close(loss(pairs), halves)


def test_a_perfect_prediction_has_a_finite_gradient():
    one = loss_input(0)
    depth = one.target.clamp(min=0.1).requires_grad_()
    SILog()([one._replace(prediction=depth)]).backward()
    assert depth.grad.isfinite().all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: SILog(variance_focus=1.2), "variance_focus 1.2"),
        (lambda: SILog(scale=0), "scale 0"),
        (lambda: BinCrossEntropy()([loss_input(0)]), "needs a head with logits"),
    ],
)
def test_errors_name_the_argument(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
