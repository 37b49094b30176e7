"""Every text tower of open_clip against its own encode_text: sentences, learned prompts, and what may be cut."""

import json

import open_clip
import pytest
import torch
from torch.nn import functional as F

from depthclip.encoder.interfaces import ImageFeatures, TokenEmbeddings
from depthclip.encoder.text import CLIPText
from depthclip.errors import InputError
from depthclip.head import Bins, DepthHead, LearnedContext, LearnedWords

VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
TEXT = {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
COCA = {"multimodal_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}}
COCA |= {"vision_cfg": VISION | {"output_tokens": True}, "custom_text": True}
SIGLIP = {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}
BOTH_WAYS = {"no_causal_mask": True}
CONFIGS = {
    "clip": {"text_cfg": TEXT},
    "worldwide": {"text_cfg": TEXT | {"pool_type": "eos", "eos_id": 49407}},
    "clipa": {"text_cfg": TEXT | {"pool_type": "last", **BOTH_WAYS}},
    "eva": {"text_cfg": TEXT, "custom_text": True},
    "mobileclip": {"text_cfg": TEXT | BOTH_WAYS, "custom_text": True},
    "sigmoid": {"text_cfg": TEXT | SIGLIP, "custom_text": True},
    "so400m-i18n": {"text_cfg": TEXT | SIGLIP | {"proj_type": "none"}, "custom_text": True, "embed_dim": 32},
    "first": {"text_cfg": TEXT | BOTH_WAYS | {"pool_type": "first"}, "custom_text": True},
    "padding-mask": {"text_cfg": TEXT | BOTH_WAYS, "custom_text": True},
    "coca": {"text_cfg": TEXT | {"embed_cls": True, "output_tokens": True}, **COCA},
    "coca-correct": {"text_cfg": TEXT | {"embed_cls": True, "output_tokens": True}, **COCA},
}
SWITCHES = {
    "padding-mask": "use_pad_mask",
    "coca-correct": "correct_cls_mask",
}  # in no configuration
CUT = {"clip", "worldwide", "eva"}  # causal, and read out at a token of the sentence
HUGGING_FACE = ["roberta", "xlm-roberta", "mt5", "nllb", "coca-roberta"]
SENTENCES = ["far", "this object is extremely far away", "a photo of a very large room"]
WORDS = ["close", "far away", "unseen"]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Return a function from a kind to open_clip's model, its tokenizer, and their `CLIPText`."""
    made = {}

    def create(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            config = {"embed_dim": 24, "vision_cfg": VISION} | (CONFIGS.get(kind) or hugging_face(folder, kind))
            path = folder / f"tower-{kind}.json"
            path.write_text(json.dumps(config))
            open_clip.add_model_config(path)
            torch.manual_seed(1)
            model = open_clip.create_model(path.stem, pretrained=None, pretrained_text=False)
            if kind in SWITCHES:
                setattr(model.text, SWITCHES[kind], True)
            tokenizer = open_clip.get_tokenizer(path.stem)
            made[kind] = model.requires_grad_(False).eval(), tokenizer, CLIPText(model, tokenizer)
        return made[kind]

    return create


def hugging_face(folder, kind):
    """Return the configuration of a model with a text tower of transformers."""
    pytest.importorskip("transformers", reason="the text tower needs transformers, in the extra hf")
    from tests.hugging_face import clip_config, text_folder

    family = kind.removeprefix("coca-")
    config = clip_config(text_folder(folder / family, family), family)
    if kind.startswith("coca-"):
        config["text_cfg"]["output_tokens"] = True
        config |= COCA
    return config


def by_open_clip(tower, sentences):
    """Return the features of open_clip's own encode_text."""
    model, tokenizer, _ = tower
    with torch.no_grad():
        return model.encode_text(tokenizer(sentences), normalize=True)


def assert_near(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [*CONFIGS, *HUGGING_FACE])
def test_sentences_have_the_features_of_encode_text(make, kind):
    """Sentences of different length, together and each alone."""
    tower = make(kind)
    text, expected = tower[2], by_open_clip(tower, SENTENCES)
    assert torch.pdist(expected).min() > 1e-3  # the sentences differ by more than the tolerance
    assert_near(text.encode(SENTENCES), expected)
    assert_near(text.encode_embeddings(text.embed(SENTENCES)), expected)
    for sentence, feature in zip(SENTENCES, expected, strict=True):
        assert_near(text.encode_embeddings(text.embed([sentence]))[0], feature)
    assert text.dim == expected.shape[1]
    assert text.logit_scale == pytest.approx(float(tower[0].logit_scale.exp()))


@pytest.mark.parametrize("kind", [*CONFIGS, *HUGGING_FACE])
def test_causal_towers_and_towers_with_a_mask_are_cut_at_the_longest_sentence(make, kind):
    _, tokenizer, text = make(kind)
    embedded = text.embed(["far", "very far"])
    length = tokenizer([""]).shape[1]
    if kind in HUGGING_FACE:
        assert embedded.values.shape[1] == int(embedded.mask.sum(1).max()) < length
    else:
        assert embedded.values.shape[1] == (4 if kind in CUT else length)
    assert embedded.values.shape[2] == text.width


@pytest.mark.parametrize("kind", HUGGING_FACE)
def test_padding_of_transformers_towers_changes_nothing(make, kind):
    _, _, text = make(kind)
    cut = text.embed(SENTENCES)
    padding = (0, 3)  # tokens after the longest sentence
    padded = TokenEmbeddings(F.pad(cut.values, (0, 0, *padding), value=0.5), cut.ends, F.pad(cut.mask, padding))
    assert_near(text.encode_embeddings(padded), text.encode(SENTENCES))


@pytest.mark.parametrize("kind", [*CONFIGS, *HUGGING_FACE])
def test_a_phrase_as_context_is_that_sentence(make, kind):
    tower = make(kind)
    prompts = LearnedContext(WORDS, "{context:4} {distance}.", phrase="a photo of a")
    prompts.prepare(tower[2])
    assert_near(prompts(tower[2]), by_open_clip(tower, [f"a photo of a {word}." for word in WORDS]))


@pytest.mark.parametrize("learner", [lambda: LearnedContext(WORDS, "{context:4} {distance}"), lambda: LearnedWords(3)])
@pytest.mark.parametrize("kind", ["coca", "coca-correct", "padding-mask", *HUGGING_FACE])
def test_prompts_learn(make, kind, learner):
    model, _, text = make(kind)
    torch.manual_seed(0)
    head = DepthHead(learner(), Bins([1, 2, 4]), logit_scale=10)
    head.prepare(text)
    features = ImageFeatures(F.normalize(torch.randn(2, text.dim, 3, 4), dim=1))
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-3)
    losses = []
    for _ in range(5):
        loss = (head(features, text).depth - 1.5).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_prompt_longer_than_the_context_is_refused(make):
    for kind in ("clip", "coca"):
        text = make(kind)[2]
        long = TokenEmbeddings(torch.zeros(1, 25, 32), torch.tensor([24]), torch.ones(1, 25, dtype=torch.bool))
        with pytest.raises(InputError, match="a prompt has 25 tokens, but the text tower takes 24"):
            text.encode_embeddings(long)


def test_a_tokenizer_that_pads_at_the_front_is_refused(make):
    model, tokenizer, _ = make("roberta")
    text = CLIPText(model, lambda texts, context_length=None: tokenizer(texts, context_length).roll(1, dims=1))
    with pytest.raises(InputError, match=r"pads sentences at the front.*set padding_side to right"):
        text.embed(["far"])
