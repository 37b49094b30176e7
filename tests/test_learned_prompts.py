"""Learned prompts against open_clip's own encode_text, for every supported kind of text tower."""

import json
from copy import deepcopy

import numpy as np
import open_clip
import pytest
import torch
from torch.nn import functional as F

from depthclip.encoder.interfaces import ImageFeatures
from depthclip.encoder.text import CLIPText
from depthclip.head import (
    Adapter,
    Bins,
    ConditionalContext,
    DepthHead,
    LearnedContext,
    LearnedTokens,
    LearnedWords,
    LinearBins,
    Prompts,
)

VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
TEXT = {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
SIGLIP = {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}
TOWERS = {
    "clip": {"text_cfg": TEXT},
    "custom": {"text_cfg": TEXT, "custom_text": True},
    "custom-eos": {"text_cfg": TEXT | {"pool_type": "eos", "eos_id": 49407}, "custom_text": True},
    "bidirectional": {"text_cfg": TEXT | SIGLIP, "custom_text": True},
    "class-token": {"text_cfg": TEXT | {"embed_cls": True}, "custom_text": True},
}
REFUSED = {"no-pool": {"text_cfg": TEXT | {"pool_type": "none"}, "custom_text": True}}
CONTEXT = "{context:4} {distance}."
WORDS = ["close", "extremely far away", "unseen"]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Return a function from the kind of a tower to open_clip's model, its tokenizer, and their `CLIPText`."""
    folder, made = tmp_path_factory.mktemp("text"), {}

    def tower(kind):
        if kind not in made:
            path = folder / f"text-{kind}.json"
            path.write_text(json.dumps({"embed_dim": 24, "vision_cfg": VISION} | (TOWERS | REFUSED)[kind]))
            open_clip.add_model_config(path)
            torch.manual_seed(1)
            model = open_clip.create_model(path.stem, pretrained=None).requires_grad_(False).eval()
            tokenizer = open_clip.get_tokenizer(path.stem)
            if kind == "bidirectional":
                tokenizer = without_start(tokenizer)
            made[kind] = model, tokenizer, CLIPText(model, tokenizer)
        return made[kind]

    return tower


@pytest.fixture(params=TOWERS)
def tower(make, request):
    """Each supported kind of tower."""
    return make(request.param)


def without_start(tokenizer):
    """Return a tokenizer without start token that pads to the full length, like SigLIP's tokenizers."""
    return lambda texts, context_length=None: F.pad(tokenizer(texts, context_length)[:, 1:], (0, 1))


def prepared(module, text):
    """Return prompts or a head after `prepare`."""
    module.prepare(text)
    return module


def by_open_clip(tower, sentences):
    """Return the features of open_clip's own encode_text."""
    model, tokenizer, _ = tower
    with torch.no_grad():
        return model.encode_text(tokenizer(sentences), normalize=True)


def test_embedded_sentences_have_the_features_of_encode_text(tower):
    sentences = ["This object is far", "a photo of a very large room, unseen", ""]
    text = tower[2]
    torch.testing.assert_close(text.encode_embeddings(text.embed(sentences)), by_open_clip(tower, sentences))
    torch.testing.assert_close(text.encode(sentences), by_open_clip(tower, sentences))


def test_causal_towers_stop_at_the_longest_sentence(make):
    lengths = {kind: make(kind)[2].embed(["far", "very far"]).values.shape[1] for kind in TOWERS}
    assert lengths == {"clip": 4, "custom": 4, "custom-eos": 4, "bidirectional": 24, "class-token": 24}


@pytest.mark.parametrize("per_word", [False, True])
def test_a_phrase_as_context_is_that_sentence(tower, per_word):
    prompts = prepared(LearnedContext(WORDS, CONTEXT, phrase="a photo of a", per_word=per_word), tower[2])
    expected = by_open_clip(tower, [f"a photo of a {word}." for word in WORDS])
    torch.testing.assert_close(prompts(tower[2]), expected)
    assert prompts.context.shape == ((3, 4, 32) if per_word else (4, 32))


def test_context_around_the_word_keeps_its_order(tower):
    prompts = prepared(LearnedContext(WORDS, "{context:2} {distance} {context:2}.", phrase="a photo of a"), tower[2])
    torch.testing.assert_close(prompts(tower[2]), by_open_clip(tower, [f"a photo {word} of a." for word in WORDS]))


def test_learned_words_with_the_embeddings_of_words_have_their_features(tower):
    text = tower[2]
    prompts = prepared(LearnedWords(3, "{context:2} object appears to be {distance:2}"), text)
    pairs = ["extremely far", "very close", "not seen"]
    embedded = {word: by_token(text, word) for word in (*" ".join(pairs).split(), "this", "small")}
    with torch.no_grad():
        prompts.context.copy_(torch.stack([embedded["this"], embedded["small"]]))
        prompts.tokens.copy_(torch.stack([torch.stack([embedded[w] for w in pair.split()]) for pair in pairs]))
    expected = by_open_clip(tower, [f"this small object appears to be {pair}" for pair in pairs])
    torch.testing.assert_close(prompts(text), expected)


def by_token(text, word):
    """Return the embedding of a word with a single token, the one in which it differs from "table"."""
    embedded, table = text.embed([word]).values[0], text.embed(["table"]).values[0]
    return embedded[(embedded != table).any(-1)][0]


def test_learned_tokens_are_the_whole_sentence(tower):
    text = tower[2]
    prompts = prepared(LearnedTokens(3, tokens=5), text)
    with torch.no_grad():
        prompts.tokens.copy_(by_token(text, "far").expand(3, 5, -1))
    torch.testing.assert_close(prompts(text), by_open_clip(tower, ["far far far far far"] * 3))


def test_conditional_context_starts_as_learned_context_and_then_depends_on_the_image(tower):
    text, pooled = tower[2], F.normalize(torch.randn(2, 24), dim=-1)
    prompts = prepared(ConditionalContext(WORDS, CONTEXT), text)
    start = prompts(text, pooled)
    expected = by_open_clip(tower, [f"a photo of a {word}." for word in WORDS])
    torch.testing.assert_close(start, expected.expand(2, 3, -1))
    torch.nn.init.normal_(prompts.net[-1].weight)
    apart = prompts(text, pooled)
    assert not torch.allclose(apart[0], apart[1])
    for k in range(2):  # independent of the other images of the batch
        torch.testing.assert_close(prompts(text, pooled[k : k + 1])[0], apart[k])


LEARNERS = {
    "context": lambda: LearnedContext(WORDS, CONTEXT),
    "words": lambda: LearnedWords(3),
    "1o2d": lambda: LearnedWords(3, "{context:1} object {context:2} {distance}"),
    "conditional": lambda: ConditionalContext(WORDS),
    "tokens": lambda: LearnedTokens(3, 4),
}


@pytest.mark.parametrize("learner", LEARNERS)
def test_half_precision_changes_little(make, learner):
    text = make("clip")[2]
    prompts, pooled = prepared(LEARNERS[learner](), text), F.normalize(torch.randn(2, 24), dim=-1)
    full = prompts(text, pooled)
    with torch.autocast("cpu", torch.bfloat16):
        half = prompts(text, pooled)
    torch.testing.assert_close(half.float(), full, rtol=0, atol=0.05)


@pytest.mark.parametrize("learner", LEARNERS)
def test_all_parameters_learn_and_the_tower_does_not(make, learner):
    model, _, text = make("clip")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(0)
    head = DepthHead(LEARNERS[learner](), Bins([1, 2, 4]), learn_temperature=True, adapter=Adapter(2), logit_scale=10)
    head.prepare(text)
    features = ImageFeatures(F.normalize(torch.randn(2, 24, 3, 4), dim=1), F.normalize(torch.randn(2, 24), dim=-1))
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3)
    losses = []
    for _ in range(5):
        loss = (head(features, text).depth - 1.5).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_features_are_cached_until_a_parameter_changes(make):
    text = make("clip")[2]
    prompts = prepared(LearnedWords(3), text)
    with torch.inference_mode():
        first = prompts(text)
        assert prompts(text) is first
    with torch.no_grad():
        assert torch.equal(prompts(text), first)
    assert prompts(text).requires_grad  # with gradients the sentences are encoded again
    prompts.load_state_dict({"tokens": prompts.tokens + 1})
    with torch.no_grad():
        assert not torch.allclose(prompts(text), first)


def test_checkpoints_contain_learned_parameters_only(make):
    head = DepthHead(LearnedWords(7), Bins(), adapter=Adapter())
    head.prepare(make("clip")[2])
    assert set(head.state_dict()) == {"prompts.tokens", "adapter.up", "adapter.down"}


def test_a_checkpoint_of_256_words_contains_256_vectors(make):
    head = DepthHead(LearnedWords(256), LinearBins(256))
    head.prepare(make("clip")[2])
    assert {key: tuple(value.shape) for key, value in head.state_dict().items()} == {"prompts.tokens": (256, 1, 32)}


def test_centred_prompts_are_normalized_differences_from_their_mean(make):
    text = make("clip")[2]
    plain, centred = prepared(LearnedWords(3), text), prepared(LearnedWords(3, centred=True), text)
    centred.load_state_dict(plain.state_dict())
    features = plain(text).detach().numpy()
    expected = features - features.mean(0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(centred(text).detach(), expected, atol=1e-5)


def test_adapter_and_learned_temperature_change_nothing_before_training(make):
    text = make("clip")[2]
    features = ImageFeatures(torch.randn(1, 24, 2, 2))
    plain = prepared(DepthHead(Prompts(), Bins(), temperature=0.3), text)
    learns = DepthHead(Prompts(), Bins(), temperature=0.3, learn_temperature=True, adapter=Adapter(3))
    learns.prepare(text)
    torch.testing.assert_close(learns(features, text).logits, plain(features, text).logits)


@pytest.mark.parametrize("kind", REFUSED)
def test_other_towers_are_refused_by_name(make, kind):
    with pytest.raises(ValueError, match="pool_type 'none', which gives no feature of a sentence; choose a model with"):
        make(kind)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda text: LearnedWords(1), "count 1 must be a whole number of words from 2"),
        (lambda text: LearnedWords(3, "no blank"), "must have {distance}"),
        (lambda text: LearnedWords(3, "{distance:two}"), "must give a number of learned vectors"),
        (lambda text: LearnedContext(WORDS, "It is {distance}"), "has no learned vectors"),
        (lambda text: LearnedContext(WORDS, "{context:0} {distance}"), "must give a number of learned vectors"),
        (lambda text: LearnedContext(WORDS, "{object} {context:2} {distance}"), "no field in braces other than"),
        (lambda text: LearnedContext(WORDS, CONTEXT, phrase="a photo").prepare(text), "must have 4 tokens"),
        (lambda text: LearnedWords(3, "{context:30} {distance}").prepare(text), "too long for the text tower"),
        (lambda text: Adapter(0), "rank 0 must be a whole number from 1"),
    ],
)
def test_errors_name_the_argument(make, wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(make("clip")[2])


@pytest.mark.parametrize("kind", ["clip", "bidirectional", "class-token"])
@pytest.mark.parametrize("learner", ["context", "conditional"])
def test_sentences_in_parts_have_the_features_and_gradients_of_all_at_once(make, monkeypatch, kind, learner):
    """Each part has at most 60 tokens, and the backward pass computes its layers again."""
    model, tokenizer, _ = make(kind)
    text, results = CLIPText(deepcopy(model).double(), tokenizer), []
    torch.manual_seed(0)
    prompts = prepared(LEARNERS[learner](), text).double()
    pooled, weight = F.normalize(torch.randn(4, 24).double(), dim=-1), torch.randn(24).double()
    for most in (10**6, 60):
        monkeypatch.setattr("depthclip.encoder.text.KEPT_TOKENS", most)
        prompts.zero_grad()
        features = prompts(text, pooled)
        (features @ weight).square().sum().backward()
        results.append([features.detach(), *(each.grad.clone() for each in prompts.parameters())])
    for whole, parts in zip(*results, strict=True):
        torch.testing.assert_close(parts, whole, atol=1e-9, rtol=1e-9)
