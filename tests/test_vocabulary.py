"""Words scored by depth: against scipy and scikit-learn, streamed against exact, and the study end to end."""

import csv
import json
import warnings

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import spearmanr
from sklearn.metrics import mutual_info_score

from depthclip.__main__ import main as depthclip_main
from depthclip.data import Rooms
from depthclip.encoder.vocabulary import encode_words, vocabulary_of
from depthclip.errors import InputError
from depthclip.head import Prompts
from depthclip.vocabulary import Patches, choose_words, read_words, rotated_maxima, score_words, stream_scores
from depthclip.vocabulary.intervals import resampled_correlations, word_intervals
from depthclip.vocabulary.patches import patch_depth
from experiments.vocabulary import main

SIZES = ((4, 5), (6, 3), (4, 5), (2, 7), (5, 5))


def patches(seed=0, sizes=SIZES, missing=True):
    rng = np.random.default_rng(seed)
    count = sum(height * width for height, width in sizes)
    depth = np.round(rng.uniform(0.5, 10, count), 1).astype(np.float32)  # rounded, so that there are ties
    features = rng.normal(size=(count, 8)).astype(np.float32)
    features[:, 0] += depth
    if missing:
        depth[::7] = np.nan
    return Patches(np.round(features, 1), depth, sizes)


def words(count=12, seed=1):
    return np.round(np.random.default_rng(seed).normal(size=(count, 8)), 1).astype(np.float32)


def test_scores_agree_with_scipy_and_scikit_learn():
    given, listed = patches(), words()
    other = given.depth_of_another(3)
    scores = score_words(listed, given, [other], bins=4)
    similarity, seen = listed @ given.features.T, ~np.isnan(given.depth)
    ends = np.cumsum([h * w for h, w in SIZES])
    for k, of_word in enumerate(similarity):
        assert scores.overall[k] == pytest.approx(spearmanr(of_word[seen], given.depth[seen]).statistic, abs=1e-9)
        within = [
            spearmanr(of_word[part][seen[part]], given.depth[part][seen[part]]).statistic
            for part in (slice(end - h * w, end) for end, (h, w) in zip(ends, SIZES, strict=True))
        ]
        assert scores.within[k] == pytest.approx(np.mean(within), abs=1e-9)
    both = seen & ~np.isnan(other)
    strongest = max(abs(spearmanr(of_word[both], other[both]).statistic) for of_word in similarity)
    assert scores.control == pytest.approx([strongest])


def test_information_is_that_of_scikit_learn_with_the_correction_of_miller_and_madow():
    rng = np.random.default_rng(0)
    depth = rng.permutation(400).astype(np.float32)
    features = (depth + rng.normal(size=400) * 100).astype(np.float32)[:, None]
    information = score_words(np.ones((1, 1), np.float32), Patches(features, depth, ((20, 20),)), bins=4).information
    x, y = (each.argsort().argsort() // 100 for each in (features[:, 0], depth))  # quarters, by hand
    occupied = len(set(zip(x.tolist(), y.tolist(), strict=True)))
    nats = mutual_info_score(x, y) + (3 + 3 - (occupied - 1)) / (2 * 400)
    assert information == pytest.approx([nats / np.log(2)], abs=1e-9)


def test_streaming_agrees_with_the_exact_scores():
    given, listed = patches(2, ((30, 40),) * 8), words()
    exact = score_words(listed, given)
    sample = patches(3, ((30, 40),) * 2)
    parts = [Patches(given.features[start:end], given.depth[start:end], given.sizes[:1]) for start, end in given.bounds]
    streamed = stream_scores(listed, sample, parts)
    np.testing.assert_allclose(streamed.overall, exact.overall, atol=2e-3)
    np.testing.assert_allclose(streamed.within, exact.within, atol=1e-9)
    np.testing.assert_allclose(streamed.information, exact.information, atol=0.03)
    assert np.abs(exact.overall).max() > 0.5


def test_intervals_rank_each_draw_anew():
    rng = np.random.default_rng(0)
    values, depth = rng.integers(0, 9, 40).astype(float), rng.integers(0, 9, 40).astype(float)
    weights = rng.integers(0, 4, (3, 40))
    expected = [spearmanr(np.repeat(values, weight), np.repeat(depth, weight)).statistic for weight in weights]
    assert resampled_correlations(values, depth, weights) == pytest.approx(expected)
    given = patches()
    ((overall, within),) = word_intervals(given._replace(features=given.features[:, :1]), draws=50)
    assert overall.low < overall.value < overall.high
    assert within.low < within.value < within.high


def test_no_image_keeps_its_depth():
    given = Patches(np.zeros((12, 1)), np.repeat([1.0, 2.0, 3.0], 4).astype(np.float32), ((2, 2),) * 3)
    for seed in range(5):
        other = given.depth_of_another(seed)
        assert not (other == given.depth).any()
        assert sorted(other) == sorted(given.depth)


def test_rotations_keep_angles_so_that_a_list_of_one_direction_has_one_correlation():
    given = patches(missing=False)
    direction = np.eye(8, dtype=np.float32)[:1]
    rotated = rotated_maxima(np.repeat(direction, 3, 0), given, marked=2, top=2, draws=4)
    assert all(0 <= largest < 1 for largest, _ in rotated)
    assert [count for _, count in rotated] == [2] * 4  # ties: the first words lead


def test_the_depth_of_a_patch_is_the_mean_of_the_pixels_that_count():
    data = Rooms(train_size=1)
    (item,) = next(iter(data.training_batches(1))).items
    item.depth[:60, :40] = 0
    depth = patch_depth(item, data.scoring, (2, 4))
    assert depth[0, 0].isnan()
    assert depth[1, 3] == pytest.approx(item.depth[60:, 120:].mean().item(), rel=1e-5)


def test_chosen_words_ascend_and_equal_words_are_chosen_once():
    depth = np.linspace(1, 8, 200, dtype=np.float32)
    centres = np.array([1.2, 1.2, 3.0, 7.5, 7.4])
    similarity = -np.abs(np.log(depth[:, None] / centres)).astype(np.float32)
    features = np.eye(5, dtype=np.float32)
    features[1] = features[0]
    given = Patches(similarity, depth, ((10, 20),))
    choice = choose_words(["near", "close", "middle", "far", "remote"], features, given, 3, logit_scale=10)
    assert choice.words == ("near", "middle", "far")
    assert choice.bins == pytest.approx((1.2, 3.0, 7.5), rel=0.05)
    assert choice.abs_rel < 0.2
    with pytest.raises(InputError, match="respond to the same depth; use a longer list"):
        choose_words(["a", "b"], features[:2], given._replace(features=similarity[:, :2]), 2, logit_scale=10)


def test_the_vocabulary_of_clip_starts_with_common_words(clip):
    listed = vocabulary_of(clip("small-vit", "tokens").text)
    assert listed[:6] == ["the", "ing", "on", "er", "in", "to"]  # the first merges of CLIP's byte-pair encoding
    assert {"far", "close", "near"} < set(listed[:2000])
    assert len(listed) == len(set(listed)) > 30_000
    assert all(word.isalpha() and word.islower() for word in listed)


def test_an_encoder_without_a_vocabulary_is_refused():
    from depthclip.encoder import SentenceEncoder

    with pytest.raises(InputError, match=r"SentenceEncoder has no vocabulary .*; use --words FILE"):
        vocabulary_of(SentenceEncoder(lambda texts: torch.ones(len(texts), 3), 100.0))


def test_words_are_encoded_as_the_prompts_do(clip):
    text = clip("small-vit", "tokens").text
    prompts = Prompts(["near", "far"], ["This {object} is {distance}", "It is {distance}"], ["wall", "door"])
    prompts.prepare(text)
    torch.testing.assert_close(encode_words(text, ["near", "far"], prompts.sentences), prompts(text))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n \n", "has 0 words; it must have 2 to 200000"),
        ("near\nfar\n near \n", "has 'near' in lines 1 and 3; remove one"),
        (b"\xff\xfe", "is not UTF-8 at byte 0; save it as UTF-8"),
    ],
)
def test_lists_that_cannot_be_used_are_refused(tmp_path, content, message):
    path = tmp_path / "words.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        read_words(path)


def test_a_word_without_tokens_is_refused(clip):
    with pytest.raises(InputError, match="words has '&nbsp;', for which the tokenizer has no token; remove it"):
        encode_words(clip("small-vit", "tokens").text, ["near", "&nbsp;"], lambda word: [f"It is {word}"])


@pytest.mark.parametrize("stream", [[], ["--stream", "--sample", "4"]], ids=["exact", "streamed"])
def test_the_study_writes_tables_a_picture_and_a_recipe_that_is_scored(tmp_path, stream, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listed = tmp_path / "words.txt"
    listed.write_text("red\nbanana\nvery close\nnear\nmiddle\nfar\nhuge\n")
    sizes = [f"--set=data.{split}_size={size}" for split, size in (("train", 6), ("test", 3))]
    own = ["--words", str(listed), "--images", "6", "--best", "3", *stream]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = main(["--quick", *own, *sizes, "--set=model.panels=0", "--out", str(tmp_path / "out")])
    assert code == 0, capsys.readouterr()
    with (tmp_path / "out" / "table.csv").open(newline="") as file:
        rows = {row["word"]: float(row["spearman"]) for row in csv.DictReader(file)}
    assert rows["far"] > 0.7 > abs(rows["red"])
    assert rows["very close"] < -0.7
    assert "depth of another image, p =" in (tmp_path / "out" / "table.md").read_text()
    assert (tmp_path / "out" / "words.png").stat().st_size > 10_000
    head = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())["model"]["head"]["init_args"]
    bins = head["bins"]["init_args"]["values"]
    assert bins == sorted(bins)
    results = json.loads((tmp_path / "out" / "test" / "results.json").read_text())
    assert list(results["rows"])[:3] == ["best words", "the recipe as it is", "the paper's words"]
    assert results["rows"]["best words"]["figures"]["abs_rel"]["value"] < 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        depthclip_main(["test", "-c", "out/recipe.yaml"])  # as docs/vocabulary.md has it
    (metrics,) = tmp_path.glob("runs/best_words/*/metrics.json")
    again = json.loads(metrics.read_text())["figures"]["head"]["abs_rel"]
    assert again == pytest.approx(results["rows"]["best words"]["figures"]["abs_rel"]["value"])
