"""Which words know depth? Score long lists of words by the correlation of their similarity with depth.

With `--quick`, 2,000 common words are scored on the rooms of the package; the other options are those of the studies.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import yaml
from rich.console import Console

from depthclip.checks import check_count
from depthclip.encoder.vocabulary import encode_words, vocabulary_of
from depthclip.errors import InputError
from depthclip.head import DepthHead
from depthclip.head.prompts import WORDS
from depthclip.instantiate import instantiate
from depthclip.signals import exit_code
from depthclip.study import Options, Study, Variant, arguments_of
from depthclip.study.command import make_console, parse, run_study
from depthclip.study.files import save_text
from depthclip.study.plan import resolve_recipe
from depthclip.vocabulary import (
    candidates_of,
    choose_words,
    collect_patches,
    leading_of,
    patch_batches,
    read_words,
    recipe_of,
    rotated_maxima,
    save_report,
    score_words,
    stream_scores,
    with_words,
)
from depthclip.vocabulary.intervals import word_intervals
from depthclip.vocabulary.picture import draw_words
from depthclip.vocabulary.report import describe_controls
from experiments.prompt_words import QUICK_BINS

QUESTION = "Do the best words of the training images give good depth on the test images?"
TOP, CONTROLS, ROTATIONS, COMMON = 20, 99, 10, 2000


STUDY = Study("vocabulary", "Which words know depth?", lambda options, head: [], recipe="nyu_vit_b16")


def run(options: Options, own: argparse.Namespace, console: Console) -> int:
    """Score the words, write the tables and the recipe, and score the recipe on the test split."""
    if options.dry_run:
        raise InputError("--dry-run: the recipe of the best words is not known before the words are scored; remove it")
    check_count("--images", own.images, at_least=2, unit="images")
    check_count("--best", own.best, at_least=2, at_most=1000, unit="words")
    check_count("--sample", own.sample, at_least=2, unit="images")
    recipe = resolve_recipe(arguments_of(STUDY, options, Variant("")), learn=False)
    model, data = instantiate(recipe)
    if not isinstance(model.head, DepthHead):
        raise InputError(f"model.head {type(model.head).__name__} has no words; use depthclip.DepthHead")
    prompts, text = model.head.prompts, model.encoder.text
    distance = with_words(prompts.labels, [word for words in WORDS.values() for word in words])
    common = vocabulary_of(text)[: COMMON if options.quick else None] if own.words is None else []
    words = with_words(distance, common or read_words(own.words))
    features = encode_words(text, words, prompts.sentences).numpy()
    sample = collect_patches(model, data, min(own.images, own.sample) if own.stream else own.images)
    console.print(f"scoring {len(words)} words on {own.images} training images at most ...")
    controls = [sample.depth_of_another(seed) for seed in range(CONTROLS)]
    scores = score_words(features, sample, controls)
    if own.stream:
        streamed = stream_scores(features, sample, patch_batches(model, data, own.images))
        scores = streamed._replace(control=scores.control)
    rotated = rotated_maxima(features, sample, len(distance), TOP, ROTATIONS)

    leading, best = leading_of(scores, TOP), candidates_of(scores, own.best)
    kept = np.concatenate([leading, best])
    shown = sample._replace(features=sample.features @ features[kept].T)
    if own.stream:
        shown = collect_patches(model, data, own.images, features[kept])
    ends = shown._replace(features=shown.features[:, : len(leading)])
    intervals = word_intervals(ends)
    notes = describe_controls(words, len(distance), scores, rotated, TOP)
    written = save_report(options.out, words, len(distance), scores, leading, intervals, notes)
    draw_words(options.out / "words.png", words, len(distance), scores, leading, intervals, ends, options.vector)

    chosen = shown._replace(features=shown.features[:, len(leading) :])
    choice = choose_words([words[k] for k in best], features[best], chosen, own.best, text.logit_scale)
    path = options.out / "recipe.yaml"
    save_text(path, yaml.safe_dump(recipe_of(recipe, choice, prompts), sort_keys=False, allow_unicode=True))
    for name in [*written, options.out / "words.png", path]:
        console.print(f"written: {name}", soft_wrap=True, markup=False)
    paper = {"model.head.prompts.words": "depthclip", "model.head.temperature": model.head.temperature}
    paper |= {"model.head.bins.values": QUICK_BINS["depthclip"] if options.quick else "depthclip"}
    rivals = [
        Variant("best words", {}),
        Variant("the recipe as it is", {"model.head": recipe["model"]["head"]}),
        Variant("the paper's words", paper),
    ]
    test = Study("vocabulary", QUESTION, lambda *_: rivals, str(path))
    scored = replace(options, out=options.out / "test", data=None, model=None, settings={}, quick=False)
    return run_study(test, scored, console)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--words", metavar="FILE", help="a word per line; the tokenizer's vocabulary by default")
    parser.add_argument("--images", type=int, default=100, help="largest number of training images")
    parser.add_argument("--best", type=int, default=7, help="number of words of recipe.yaml")
    parser.add_argument("--stream", action="store_true", help="keep the features of a sample of the images only")
    parser.add_argument("--sample", type=int, default=100, help="images of that sample")
    own, rest = parser.parse_known_args(args)
    return exit_code(lambda: run(parse(STUDY, rest), own, make_console()), "give the command again")


if __name__ == "__main__":
    sys.exit(main())
