"""How much do learned words, contexts and bins gain over zero-shot, with CLIP frozen?"""

import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from depthclip.data.raycast import SCENES
from depthclip.head.bins import bins_of
from depthclip.study import HeadSettings, Options, Results, Study, Variant, main, make_row, monotonicity_table

NYU_SCENES = ("bathroom", "bedroom", "classroom", "kitchen", "living_room", "office")
NEAR, FAR = 0.1, 10.0
ONE_ONE = "{context:1} object {context:1} {distance}"  # 1o1d of Auty and Mikolajczyk
ZERO = "zero-shot"
CHOSEN = "zero-shot, words and bins chosen on validation rooms"
BOTH = "words and bins learned"
KINDS = ("small room", "corridor")
MAP = "training median map"
ALL = "rooms of all kinds"
Part = dict[str, Any]


def named(name: str, **settings: Any) -> Part:
    """Return the settings of a part of the head, by class path."""
    return {"class_path": f"depthclip.head.{name}", "init_args": settings}


def start_of(options: Options) -> dict[str, Any]:
    """Return the settings of zero-shot: none for the head of the recipe, or with --quick the paper's words and bins.

    The words and bins of the quick recipe were chosen with the ground truth of validation rooms, which is not
    zero-shot.
    """
    paper = {"prompts.words": "depthclip", "bins.values": "depthclip", "temperature": 0.1}
    return {f"model.head.{key}": part for key, part in paper.items()} if options.quick else {}


def heads(head: HeadSettings, begun: Mapping[str, Any], scenes: Sequence[str]) -> dict[str, tuple[Part, Part]]:
    """Return the prompts and bins of each row that learns, which start from the settings `begun` of zero-shot."""
    words, bins = deepcopy(head["prompts"]), deepcopy(head["bins"])
    words["init_args"]["words"] = begun.get("model.head.prompts.words", words["init_args"]["words"])
    start = bins["init_args"]["values"] = begun.get("model.head.bins.values", bins["init_args"]["values"])
    reach = {"start": start, "min_depth": NEAR, "max_depth": FAR}
    learned_words = named("LearnedWords", count=len(bins_of(start)), template=ONE_ONE)
    ordinal = named("OrdinalWords", count=len(bins_of(start)), anchors=3, template=ONE_ONE)
    learned_bins = named("LearnedBins", **reach)
    context = {"words": words["init_args"]["words"], "template": "{context:3} {distance}", "phrase": "This object is"}
    coop = named("LearnedContext", **context)
    return {
        "bins learned": (words, learned_bins),
        "words learned": (learned_words, bins),
        BOTH: (learned_words, learned_bins),
        "ordinal words, 3 anchors": (ordinal, bins),
        "ordinal words, 3 anchors, and bins learned": (ordinal, learned_bins),
        "CoOp: context learned": (coop, bins),
        "CoOp: context and bins learned": (coop, learned_bins),
        "CoCoOp: context shifted by the image": (named("ConditionalContext", **context), bins),
        "bins learned for each scene": (words, named("SceneBins", scenes=dict.fromkeys(scenes, learned_bins))),
        "bins placed by the image": (words, named("ImageBins", **reach)),
    }


def variants(options: Options, head: HeadSettings) -> list[Variant]:
    """Return zero-shot and heads that learn, with --quick also heads that learn in one kind of room for corridors."""
    start = start_of(options)
    parts = heads(head, start, tuple(SCENES) if options.quick else NYU_SCENES)
    # all variants share cached features, so that each training image is encoded once
    training = {**start, "model.cache": str(options.out / "features"), "trainer.limit_val_batches": 0}

    def learned(name: str, part: str, on: str, **changes: Any) -> Variant:
        chosen = dict(zip(("model.head.prompts", "model.head.bins"), parts[part], strict=True))
        return Variant(name, {**training, **chosen, **changes}, learn=True, on=on)

    result = [Variant(ZERO, start, on=ALL), *([Variant(CHOSEN, on=ALL)] if start else [])]
    result += [learned(name, name, ALL) for name in parts]
    if options.quick and not options.data:
        target = KINDS[1]
        there = {"data.test_types": [target]}
        result.append(Variant(f"{target}s: zero-shot", {**start, **there}, on=f"{target}s"))
        for kind in KINDS:
            taken = {**there, "data.train_types": [kind]}
            result.append(learned(f"{target}s: {BOTH} in {kind}s", BOTH, f"{target}s after {kind}s", **taken))
    return result


def verdicts(results: Results) -> str:
    """Return the rows that help or hurt, learned words and bins against other rows, and the monotonicity of words."""
    learned = [row for row in results.rows if not row.baseline and row.difference]
    lines = []
    for verdict, words in {"better": "Helps", "no clear difference": "Shows no clear gain", "worse": "Hurts"}.items():
        if names := [row.name for row in learned if row.verdict == verdict]:
            lines.append(f"{words}, against the first row on the same images: {'; '.join(names)}.")
    if (both := results.find(BOTH)) is not None:
        for rival in filter(None, map(results.find, (ZERO, CHOSEN, "bins learned", MAP, f"{MAP}, {ALL}"))):
            lower = 1 - both.figures["abs_rel"].value / rival.figures["abs_rel"].value
            verdict = make_row(BOTH, False, both.scored, rival, {}).verdict
            side = "below" if lower > 0 else "above"
            lines.append(f"{BOTH} has an abs_rel {abs(lower):.1%} {side} that of {rival.name}: {verdict}.")
    return "\n\n".join(filter(None, [*lines, monotonicity_table(results)]))


STUDY = Study(
    name="prompt_learning",
    question="How much do learned words, contexts and bins gain over zero-shot, with CLIP frozen?",
    variants=variants,
    settings={
        "model.published": None,
        "model.training_baselines": True,
        "trainer.max_epochs": 10,
        "model.learning_rate": 0.05,
        "model.weight_decay": 0.0,
    },
    quick_settings={"data.train_size": 128, "trainer.max_epochs": 40},
    notes=verdicts,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
