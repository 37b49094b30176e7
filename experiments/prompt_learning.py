"""What is gained by learning? Words, contexts and bins learned while CLIP stays frozen, beside zero-shot."""

import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from depthclip.data.raycast import SCENES
from depthclip.head.bins import bins_of
from experiments.results import Results, compare
from experiments.study import Head, Options, Study, Variant, main

NYU_SCENES = ("bathroom", "bedroom", "classroom", "kitchen", "living_room", "office")
NEAR, FAR = 0.1, 10.0
ZERO = "zero-shot"
CHOSEN = "zero-shot, words and bins chosen on validation rooms"
BOTH = "words and bins learned"
KINDS = ("small room", "corridor")
MAP = "training median map"
ALL = "rooms of all kinds"

Part = dict[str, Any]


def named(name: str, **settings: Any) -> Part:
    """A part of the head as YAML has it."""
    return {"class_path": f"depthclip.head.{name}", "init_args": settings}


def start_of(options: Options) -> dict[str, Any]:
    """What zero-shot and all that learns begin with: the recipe's head, but the paper's words and bins in the box.

    There the recipe's own were chosen on validation rooms, with their truth; that is no zero-shot any more.
    """
    paper = {"prompts.words": "depthclip", "bins.values": "depthclip", "temperature": 0.1}
    return {f"model.head.{key}": part for key, part in paper.items()} if options.quick else {}


def heads(head: Head, begun: Mapping[str, Any], scenes: Sequence[str]) -> dict[str, tuple[Part, Part]]:
    """What learns: prompts and bins of each row, starting at the words and bins of zero-shot.

    Args:
        head: the recipe's.
        begun: what `start_of` changes in it.
        scenes: what CLIP is to tell apart.
    """
    words, bins = deepcopy(head["prompts"]), deepcopy(head["bins"])
    words["init_args"]["words"] = begun.get("model.head.prompts.words", words["init_args"]["words"])
    start = bins["init_args"]["values"] = begun.get("model.head.bins.values", bins["init_args"]["values"])
    reach = {"start": start, "min_depth": NEAR, "max_depth": FAR}
    # Auty and Mikolajczyk's 1o1d
    sentence = "{context:1} object {context:1} {distance}"
    learned_words = named("LearnedWords", count=len(bins_of(start)), template=sentence)
    learned_bins = named("LearnedBins", **reach)
    context = {"words": words["init_args"]["words"], "template": "{context:3} {distance}", "phrase": "This object is"}
    return {
        "bins learned": (words, learned_bins),
        "words learned": (learned_words, bins),
        BOTH: (learned_words, learned_bins),
        "CoOp: context learned": (named("LearnedContext", **context), bins),
        "CoOp: context and bins learned": (named("LearnedContext", **context), learned_bins),
        "CoCoOp: context shifted by the image": (named("ConditionalContext", **context), bins),
        "bins learned for each scene": (words, named("SceneBins", scenes=dict.fromkeys(scenes, learned_bins))),
        "bins placed by the image": (words, named("ImageBins", **reach)),
    }


def variants(options: Options, head: Head) -> list[Variant]:
    """Zero-shot, what learns, and what is learned in small rooms taken to corridors."""
    start = start_of(options)
    own = heads(head, start, tuple(SCENES) if options.quick else NYU_SCENES)
    result = [Variant(ZERO, start, on=ALL)]
    if start:
        result.append(Variant(CHOSEN, on=ALL))
    # each training image is encoded once for all of them
    training = {**start, "model.cache": str(options.out / "features"), "trainer.limit_val_batches": 0}
    for name, (prompts, placed) in own.items():
        parts = {"model.head.prompts": prompts, "model.head.bins": placed}
        result.append(Variant(name, {**training, **parts}, learn=True, on=ALL))
    if options.quick and not options.data:
        small, corridor = KINDS
        there = {"data.test_types": [corridor]}
        prompts, placed = own[BOTH]
        taken = {**training, "model.head.prompts": prompts, "model.head.bins": placed, **there}
        result += [
            Variant(f"{corridor}s: zero-shot", {**start, **there}, on=f"{corridor}s"),
            Variant(
                f"{corridor}s: {BOTH} in {small}s",
                {**taken, "data.train_types": [small]},
                learn=True,
                on=f"{corridor}s after {small}s",
            ),
            Variant(
                f"{corridor}s: {BOTH} in {corridor}s",
                {**taken, "data.train_types": [corridor]},
                learn=True,
                on=f"{corridor}s after {corridor}s",
            ),
        ]
    return result


def verdicts(found: Results) -> str:
    """Who helps, who does not, and what the best is compared with."""
    learned = [row for row in found.rows if not row.baseline and row.difference]
    lines = []
    for verdict, words in (("better", "Helps"), ("no clear difference", "Shows no clear gain"), ("worse", "Hurts")):
        if names := [row.name for row in learned if row.verdict == verdict]:
            lines.append(f"{words}, against the first row on the same images: {'; '.join(names)}.")
    both = found.row(BOTH)
    rivals = [ZERO, CHOSEN, "bins learned", MAP, f"{MAP}, {ALL}"]
    for rival in (row for row in found.rows if row.name in rivals):
        lower = 1 - both.figures["abs_rel"].value / rival.figures["abs_rel"].value
        verdict = compare(BOTH, False, both.scored, rival, {}).verdict
        side = "below" if lower > 0 else "above"
        lines.append(f"{BOTH} has an abs_rel {abs(lower):.1%} {side} that of {rival.name}: {verdict}.")
    return "\n\n".join(lines)


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
