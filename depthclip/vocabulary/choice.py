"""Choose an ordered set of words, their bins and the temperature on training patches."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import softmax

from depthclip.errors import InputError
from depthclip.head.prompts import Prompts
from depthclip.vocabulary.patches import Patches
from depthclip.vocabulary.scores import Scores

TEMPERATURES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 2.0)
SHARE = 0.05  # of the patches, those to which a word responds most
CANDIDATES = 10  # for each chosen word
SAME = 1 - 1e-5  # similarity of the features of words that a head could not tell apart


class Choice(NamedTuple):
    """An ordered set of words with bins.

    Args:
        words: K words, near to far.
        bins: K depths in metres, ascending.
        temperature: divisor of the logits.
        abs_rel: mean relative error over training patches with these settings.
    """

    words: tuple[str, ...]
    bins: tuple[float, ...]
    temperature: float
    abs_rel: float


def candidates_of(scores: Scores, count: int) -> np.ndarray:
    """Return the indices of the words with the largest mutual information, best first.

    Mutual information is the criterion because a word for a middle depth has no rank correlation.

    Args:
        scores: scores of all words.
        count: number of words that will be chosen, K; there are 10 K candidates.
    """
    ranked = np.argsort(-scores.information, kind="stable")
    return ranked[: CANDIDATES * count]


def choose_words(
    names: Sequence[str], features: np.ndarray, patches: Patches, count: int, logit_scale: float
) -> Choice:
    """Return at most `count` words with bins and temperature, chosen on training patches.

    The bin of a word is the median depth of the 5 % of patches that are most similar to it. The range of these depths
    is divided into `count` equal ratios, and the best candidate of each part is chosen; a part may have none. The
    temperature has the smallest mean relative error over the patches.

    Args:
        names: C candidates, best first.
        features: (C, D), their features.
        patches: training patches, whose features (P, C) are the similarities with the candidates.
        count: number of words, K.
        logit_scale: factor of the similarities.

    Raises:
        InputError: if fewer than two words respond to different depths.
    """
    seen = ~np.isnan(patches.depth)
    similarity, depth = patches.features[seen], patches.depth[seen].astype(np.float64)
    most = max(1, round(SHARE * len(depth)))
    preferred = np.median(depth[np.argpartition(-similarity, most - 1, axis=0)[:most]], axis=0)
    edges = np.geomspace(preferred.min(), preferred.max(), count + 1)[1:-1]
    part = np.searchsorted(edges, preferred, side="right")
    chosen: dict[int, int] = {}
    for candidate, place in enumerate(part.tolist()):
        if place not in chosen and all(features[candidate] @ features[other] < SAME for other in chosen.values()):
            chosen[place] = candidate
    order = [chosen[place] for place in sorted(chosen)]
    if len(order) < 2:
        raise InputError("the best words respond to the same depth; use a longer list of --words, or more --images")
    bins = np.round(preferred[order], 4)
    errors = {
        temperature: float(np.mean(np.abs(expected(similarity[:, order], bins, logit_scale / temperature) / depth - 1)))
        for temperature in TEMPERATURES
    }
    best = min(errors, key=errors.__getitem__)
    return Choice(tuple(names[k] for k in order), tuple(bins.tolist()), best, errors[best])


def expected(similarity: np.ndarray, bins: np.ndarray, scale: float) -> np.ndarray:
    """Return the expected depth (P,) of a softmax over similarities (P, K), as `DepthHead` computes it."""
    return softmax(similarity * scale, axis=1) @ bins


def recipe_of(recipe: Mapping[str, Any], choice: Choice, prompts: Prompts) -> dict[str, Any]:
    """Return a recipe with the head of a choice; encoder, data and trainer stay as they are.

    Args:
        recipe: the resolved recipe.
        choice: words, bins and temperature.
        prompts: the prompts whose templates and objects the words were scored with.
    """
    words = {"words": list(choice.words), "templates": list(prompts.templates), "objects": list(prompts.objects)}
    head = {
        "class_path": "depthclip.DepthHead",
        "init_args": {
            "prompts": {"class_path": "depthclip.Prompts", "init_args": words},
            "bins": {"class_path": "depthclip.Bins", "init_args": {"values": list(choice.bins)}},
            "temperature": choice.temperature,
        },
    }
    model = {**recipe["model"], "head": head, "variants": None, "published": None}
    return {"name": "best_words", "model": model, "data": recipe["data"], "trainer": recipe["trainer"]}
