"""Intervals, paired differences, p-values and averages over seeds, compared with formulas and literal numbers."""

from math import erf

import numpy as np
import pytest

from depthclip.evaluation.bootstrap import draw_means, holm, p_values, units_of
from depthclip.evaluation.metrics import ERRORS
from depthclip.study.collect import make_row
from tests.fake_runs import scored


def row_of(name, *seeds, reference=None):
    return make_row(name, False, [scored(errors) for errors in seeds], reference, {})


def test_interval_is_that_of_the_normal_distribution():
    errors = np.random.default_rng(1).normal(0.3, 0.1, 400)
    row = row_of("a", errors)
    reach = 1.96 * errors.std() / np.sqrt(400)
    assert row.figures["abs_rel"].low == pytest.approx(errors.mean() - reach, abs=0.1 * reach)
    assert row.figures["abs_rel"].high == pytest.approx(errors.mean() + reach, abs=0.1 * reach)


def test_scenes_are_drawn_whole_where_there_are_ten():
    means = np.random.default_rng(1).normal(0.3, 0.1, 40)
    errors, scenes = np.repeat(means, 25), [f"drive {k // 25}" for k in range(1000)]
    assert units_of(scored(errors, scenes))[0] == "scenes"
    drawn = draw_means([scored(errors, scenes)])[:, 0]
    assert drawn.std() == pytest.approx(means.std() / np.sqrt(40), rel=0.1)
    assert units_of(scored(errors, [name[-1] for name in scenes][:9] * 111 + ["0"]))[0] == "images"


def test_differences_are_paired():
    errors = np.random.default_rng(1).normal(0.3, 0.1, 50)
    first = row_of("a", errors)
    worse = row_of("b", errors + 0.01, reference=first)
    change = worse.difference["abs_rel"]
    assert (change.low, change.value, change.high) == pytest.approx((0.01, 0.01, 0.01))
    assert worse.verdict == "worse"
    assert worse.verdict_of("delta1") == "better"
    assert row_of("b", errors, reference=first).verdict == "no clear difference"


def test_p_values_count_the_draws_beyond_zero():
    rng = np.random.default_rng(2)
    errors = rng.normal(0.3, 0.1, 200)
    first = row_of("a", errors)
    noise = rng.normal(0, 0.02, 200)
    noise += 2 * noise.std() / np.sqrt(200) - noise.mean()  # two standard errors from 0
    p = row_of("b", errors + noise, reference=first).p["abs_rel"]
    assert p == pytest.approx(1 - erf(2 / np.sqrt(2)), abs=0.015)  # of the normal distribution
    assert row_of("b", errors, reference=first).p["abs_rel"] == 1
    drawn = np.full((1999, len(ERRORS)), -1.0)
    drawn[:9] = 1
    assert p_values(drawn)["abs_rel"] == pytest.approx(2 * 10 / 2000)


def test_holm_by_hand():
    # .005 x 4, .01 x 3, .03 x 2, .04 x 1, each at least the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1, 1]
    assert holm([]) == []


def test_skipped_images_do_not_count():
    row = row_of("a", [0.1, np.nan, 0.3])
    assert row.figures["rmse"].value == pytest.approx(0.2)
    assert row.figures["rmse"].low >= 0.1


def test_seeds_are_averaged_by_value():
    # means by hand: (.1 + .2 + .6) / 3 = .3 and (.3 + .5 + .4) / 3 = .4, so .35 over both seeds
    first, second = [0.1, 0.2, np.nan, 0.6], [0.3, 0.5, np.nan, 0.4]
    row = row_of("few", first, second)
    assert row.figures["abs_rel"].value == pytest.approx(0.35)
    reference = row_of("zero", [0.2, 0.1, np.nan, 0.3])
    change = row_of("few", first, second, reference=reference).difference["abs_rel"]
    assert change.value == pytest.approx(0.15)
    # the seeds are units of the bootstrap: with one image, a draw is the mean of two seeds drawn with replacement
    drawn = draw_means([scored([0.0]), scored([1.0])])[:, 0]
    assert np.unique(drawn).tolist() == [0, 0.5, 1]
    assert (drawn == 0.5).mean() == pytest.approx(0.5, abs=0.05)
