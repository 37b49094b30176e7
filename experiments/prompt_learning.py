"""What is gained by learning? Words, contexts and bins learned while CLIP stays frozen, beside zero-shot."""

import sys
from collections.abc import Sequence
from typing import Any

from depthclip.data.raycast import SCENES
from depthclip.head.bins import bins_of
from experiments.results import Results, compare
from experiments.study import Head, Options, Study, Variant, main

NYU_SCENES = ("bathroom", "bedroom", "classroom", "kitchen", "living_room", "office")
NEAR, FAR = 0.1, 10.0
ZERO = "zero-shot"
PAPER = "zero-shot, the paper's words and bins"
BOTH = "words and bins learned"
KINDS = ("small room", "corridor")
MAP = "training median map"
ALL = "rooms of all kinds"

Part = dict[str, Any]


def named(name: str, **settings: Any) -> Part:
    """A part of the head as YAML has it."""
    return {"class_path": f"depthclip.head.{name}", "init_args": settings}


def heads(head: Head, scenes: Sequence[str]) -> dict[str, tuple[Part, Part]]:
    """What learns: prompts and bins of each row, starting at the words and bins of zero-shot."""
    words, bins = head["prompts"], head["bins"]
    start = bins["init_args"]["values"]
    reach = {"start": start, "min_depth": NEAR, "max_depth": FAR}
    learned_words, learned_bins = named("LearnedWords", count=len(bins_of(start))), named("LearnedBins", **reach)
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
    own = heads(head, tuple(SCENES) if options.quick else NYU_SCENES)
    result = [Variant(ZERO, on=ALL)]
    if options.quick:
        # the recipe's own words and bins were chosen on validation rooms; the paper's never saw one
        paper = {"prompts.words": "depthclip", "bins.values": "depthclip", "temperature": 0.1}
        result.insert(0, Variant(PAPER, {f"model.head.{key}": part for key, part in paper.items()}, on=ALL))
    # each training image is encoded once for all of them
    training = {"model.cache": str(options.out / "features"), "trainer.limit_val_batches": 0}
    for name, (prompts, placed) in own.items():
        parts = {"model.head.prompts": prompts, "model.head.bins": placed}
        result.append(Variant(name, {**training, **parts}, learn=True, on=ALL))
    if options.quick and not options.data:
        small, corridor = KINDS
        there = {"data.test_types": [corridor]}
        prompts, placed = own[BOTH]
        taken = {**training, "model.head.prompts": prompts, "model.head.bins": placed, **there}
        result += [
            Variant(f"{corridor}s: zero-shot", there, on=f"{corridor}s"),
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
    rivals = [PAPER, ZERO, "bins learned", MAP, f"{MAP}, {ALL}"]
    for rival in (row for row in found.rows if row.name in rivals):
        lower = 1 - both.figures["abs_rel"].value / rival.figures["abs_rel"].value
        verdict = compare(BOTH, False, both.scored, rival, {}).verdict
        lines.append(f"{BOTH} has an abs_rel {lower:.1%} below that of {rival.name}: {verdict}.")
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
    quick_settings={"data.train_size": 128, "data.test_size": 100},
    notes=verdicts,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
