"""TIPSv2 against transformers: images of any size, readouts, sentences, learned prompts, and files that do not fit."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from depthclip.encoder import TIPS, ImageFeatures, MaskCLIP, Needs
from depthclip.errors import InputError
from depthclip.head import Bins, ConditionalContext, DepthHead, LearnedContext, LearnedWords, Prompts

pytest.importorskip("transformers", minversion="5.18", reason="TIPSv2 needs transformers, in the extra hf")

from tests.hugging_face import set_config, tips_folder

SIZES = [(56, 56), (70, 98), (28, 112), (84, 84)]  # the first is native; the third has as many patches
SENTENCES = ["far", "This object is extremely far away.", "a photo of a very large room, unseen"]
WORDS = ["close", "extremely far away", "unseen"]


def assert_near(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a small TIPSv2 with random weights."""
    return tips_folder(tmp_path_factory.mktemp("tips"))


@pytest.fixture(scope="module")
def tips(folder):
    """The encoder of that folder."""
    return TIPS(folder, "tokens")


def library_tokens(encoder, images):
    """The final tokens of transformers for (B, 3, H, W), and the inputs of its blocks."""
    with torch.no_grad():
        output = encoder.model.vision_model(images, output_hidden_states=True)
    return output.last_hidden_state, output.hidden_states


@pytest.mark.parametrize("size", SIZES)
def test_features_at_any_size_are_those_of_transformers(tips, size):
    """The first prefix token is the class token, which is pooled, and the second is the register token."""
    images = torch.rand(2, 3, *size)
    with torch.no_grad():
        pooled = tips.model.get_image_features(images).pooler_output
    features = tips.encode_image(images, Needs(pooled=True, layers=(0, -1)))
    assert_near(features.pooled, F.normalize(pooled, dim=-1))
    tokens, blocks = library_tokens(tips, images)
    height, width = size[0] // 14, size[1] // 14

    def grid(values):
        return values[:, 2:].mT.unflatten(-1, (height, width))

    assert_near(features.dense, F.normalize(grid(tokens), dim=1))
    assert_near(features.layers[0], grid(blocks[1]))
    assert_near(features.layers[1], grid(blocks[3]))


def test_the_size_of_earlier_images_changes_nothing(tips):
    images = torch.rand(1, 3, 56, 56)
    before = tips.encode_image(images).dense
    state = {key: value.clone() for key, value in tips.model.state_dict().items()}
    assert tips.encode_image(torch.rand(1, 3, 100, 60)).dense.shape == (1, 32, 7, 4)
    assert torch.equal(tips.encode_image(images).dense, before)
    assert all(torch.equal(value, state[key]) for key, value in tips.model.state_dict().items())


def last_block(encoder, tokens, attended, residual, feed_forward):
    """The last block written out on exported weights with other attention: (N, C) to the final features, (N, C).

    `attended` is a function of the queries, keys and values of a head, (N, d) each.
    """
    weights = {key: value.detach() for key, value in encoder.model.vision_model.named_parameters()}

    def linear(values, name):
        name = f"encoder.layer.2.{name}"
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(values, name):
        return F.layer_norm(values, (32,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)

    normed = norm(tokens, "encoder.layer.2.norm1")
    q, k, v = (linear(normed, f"attention.{part}_proj").chunk(2, dim=1) for part in "qkv")
    values = torch.cat([attended(*head) for head in zip(q, k, v, strict=True)], dim=1)
    values = linear(values, "attention.o_proj") * weights["encoder.layer.2.layer_scale1.lambda1"]
    if residual:
        values = tokens + values
    if feed_forward:
        hidden = F.gelu(linear(norm(values, "encoder.layer.2.norm2"), "mlp.fc1"))
        values = values + linear(hidden, "mlp.fc2") * weights["encoder.layer.2.layer_scale2.lambda1"]
    return F.normalize(norm(values, "layernorm"), dim=-1)


def attend(q, k, v):
    """softmax(q kT / sqrt(d)) v, for two heads of 16."""
    return (q @ k.T / 4).softmax(-1) @ v


@pytest.mark.parametrize(
    ("readout", "attended", "residual", "feed_forward"),
    [
        (MaskCLIP(), lambda q, k, v: v, False, False),
        (MaskCLIP(reduced=False), lambda q, k, v: v, True, True),
        ("sclip", lambda q, k, v: attend(q, q, v) + attend(k, k, v), True, True),
        ("clearclip", lambda q, k, v: attend(q, q, v), False, False),
        ("tokens", attend, True, True),
    ],
)
def test_readouts_of_the_last_block(folder, readout, attended, residual, feed_forward):
    encoder, images = TIPS(folder, readout), torch.rand(1, 3, 70, 42)
    _, blocks = library_tokens(encoder, images)
    expected = last_block(encoder, blocks[2][0], attended, residual, feed_forward)[2:]
    assert_near(encoder.encode_image(images).dense[0].flatten(1).mT, expected)


def test_naclip_adds_the_distances_of_patches_to_the_attention(folder):
    """exp(-d^2 / (2 * 5^2)) over the distances of patches, and 0 for the class and the register token."""
    encoder, images = TIPS(folder, "naclip"), torch.rand(1, 3, 70, 42)
    _, blocks = library_tokens(encoder, images)
    places = torch.cartesian_prod(torch.arange(5.0), torch.arange(3.0))
    bias = F.pad((-(torch.cdist(places, places) ** 2) / 50).exp(), (2, 0, 2, 0))
    expected = last_block(
        encoder, blocks[2][0], lambda q, k, v: (k @ k.T / 4 + bias).softmax(-1) @ v, residual=False, feed_forward=False
    )
    assert_near(encoder.encode_image(images).dense[0].flatten(1).mT, expected[2:])


def test_the_constructor_freezes_the_model(tips):
    assert not any(parameter.requires_grad for parameter in tips.parameters())
    torch.nn.Sequential(tips).train()
    assert not any(module.training for module in tips.modules())
    assert tips.name == "tipsv2-32"


def by_transformers(encoder, folder, sentence):
    """The feature of a sentence without padding, by get_text_features."""
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)([sentence], return_tensors="pt")
    with torch.no_grad():
        return F.normalize(encoder.model.get_text_features(**tokens).pooler_output, dim=-1)


def test_sentences_of_different_length_have_the_features_of_each_alone(tips, folder):
    expected = torch.cat([by_transformers(tips, folder, sentence) for sentence in SENTENCES])
    assert_near(tips.text.encode(SENTENCES), expected)
    embedded = tips.text.embed(SENTENCES)
    assert embedded.values.shape == (3, 29, 32)  # up to the end of the longest sentence
    assert embedded.mask.sum(1).tolist() == [3, 29, 29]  # letters; the space is part of the first one
    assert_near(tips.text.encode_embeddings(embedded), expected)


def test_context_of_a_phrase_is_that_sentence(tips, folder):
    prompts = LearnedContext(WORDS, "{context:2} {distance}.", phrase="a b")
    prompts.prepare(tips.text)
    assert_near(prompts(tips.text), torch.cat([by_transformers(tips, folder, f"a b {word}.") for word in WORDS]))


@pytest.mark.parametrize(
    "prompts", [lambda: LearnedContext(WORDS), lambda: LearnedWords(3), lambda: ConditionalContext(WORDS, phrase=None)]
)
def test_prompts_learn(tips, prompts):
    torch.manual_seed(0)
    head = DepthHead(prompts(), Bins([1, 2, 4]), logit_scale=10)
    head.prepare(tips.text)
    features = ImageFeatures(F.normalize(torch.randn(2, 32, 3, 4), dim=1), F.normalize(torch.randn(2, 32), dim=-1))
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-3)
    losses = []
    for _ in range(5):
        loss = (head(features, tips.text).depth - 1.5).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())
    assert all(parameter.grad is None for parameter in tips.model.parameters())


def test_the_gradient_of_the_context_is_that_of_transformers(tips, folder):
    """The mean over the mask gives every vector a gradient, those after the word too."""
    from transformers import AutoTokenizer

    prompts = LearnedContext(["far", "unseen"], "{context:2} {distance} {context:2}")
    prompts.prepare(tips.text)
    direction = torch.randn(2, 32)
    (prompts(tips.text) * direction).sum().backward()

    context, total = prompts.context.detach().clone().requires_grad_(), 0
    for word, weights in zip(["far", "unseen"], direction, strict=True):
        ids = AutoTokenizer.from_pretrained(folder)([word], return_tensors="pt").input_ids[0]
        embedded = tips.model.text_model.get_input_embeddings()(ids)
        sequence = torch.cat([context[:2], embedded, context[2:]])[None]
        feature = tips.model.get_text_features(inputs_embeds=sequence).pooler_output
        total = total + (F.normalize(feature, dim=-1)[0] * weights).sum()
    total.backward()
    assert_near(prompts.context.grad, context.grad)
    assert (prompts.context.grad.abs().sum(1) > 0).all()


def changed(folder, tmp_path, change) -> str:
    """Return a copy of a folder whose weights `change` has modified."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    change(weights)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    return str(copy)


def test_the_logit_scale_is_that_of_the_weights(folder, tmp_path):
    copy = changed(folder, tmp_path, lambda weights: weights.update(temperature=torch.tensor(0.02)))
    assert TIPS(copy).text.logit_scale == pytest.approx(50)


def test_without_a_temperature_in_the_weights_the_configuration_gives_the_logit_scale(folder, tmp_path):
    copy = changed(folder, tmp_path, lambda weights: weights.pop("temperature"))
    set_config(copy, "config.json", temperature_init_value=0.004)
    with pytest.warns(UserWarning, match="no temperature.* multiplied by 250, from its config.json; set"):
        encoder = TIPS(copy)
    assert encoder.text.logit_scale == pytest.approx(250)


def refused(match, *arguments):
    with pytest.raises(InputError, match=match) as caught:
        TIPS(*arguments)
    assert "\n" not in str(caught.value)


def test_files_that_do_not_fit_are_refused_in_one_sentence(folder, tmp_path):
    refused("'nothing' is neither a folder nor a repository of the hub; use google/tipsv2-b14", "nothing")
    refused("5 is neither a folder nor", 5)
    refused(
        "readout AttentionPool does not fit a TIPSv2 tower; choose one of maskclip, tokens", folder, "attention_pool"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    refused("has no config.json of a TIPSv2 .model_type None.; pass google/tipsv2-b14 or another", str(empty))
    other = shutil.copytree(folder, tmp_path / "other")
    set_config(str(other), "config.json", model_type="siglip")
    refused("has no config.json of a TIPSv2 .model_type 'siglip'.", str(other))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda w: w.pop("vision_encoder.norm.weight"), "has no weights vision_model.layernorm.weight; pass"),
        (lambda w: w["vision_encoder.norm.bias"].fill_(torch.nan), "NaN or infinite in vision_model.layernorm.bias"),
        (lambda w: w["temperature"].fill_(0), "has the temperature 0, far from"),
    ],
)
def test_weights_that_are_damaged_are_refused(folder, tmp_path, change, match):
    refused(match, changed(folder, tmp_path, change))


def test_pickled_weights_are_never_read(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    refused("could not be loaded", str(copy))


def test_code_in_the_folder_is_never_run(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "modeling.py").write_text("raise SystemExit('this code was run')\n")
    for file in ("config.json", "tokenizer_config.json"):
        set_config(str(copy), file, auto_map={"AutoModel": "modeling.Model", "AutoTokenizer": ["modeling.T", None]})
    assert TIPS(str(copy)).text.encode(["far"]).shape == (1, 32)


def test_without_a_network_the_way_out_is_a_folder(monkeypatch):
    monkeypatch.setattr("depthclip.encoder.tips_files.unreachable", lambda repo, file: "Name or service not known")
    refused("google/tipsv2-l14 could not be .*Name or service not known.*and pass their folder", "google/tipsv2-l14")


def test_a_missing_or_old_transformers_is_reported_before_a_download(monkeypatch):
    monkeypatch.setattr("depthclip.encoder.tips_files.folder_of", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused("needs the transformers package, version 5.18 or later; pip install 'depthclip.hf.'", "google/tipsv2-b14")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("transformers.__version__", "5.9.1")
    refused("needs transformers 5.18 or later, not 5.9.1; pip install -U", "google/tipsv2-b14")


def test_sentences_that_the_tokenizer_cuts_are_refused(tips):
    fits, longer = "a" * 64, "a" * 65
    assert tips.text.encode([fits]).shape == (1, 32)
    with pytest.raises(InputError, match="too long for the text tower, which takes 64 tokens"):
        tips.text.encode([longer])


def test_fixed_prompts_estimate_depth(tips):
    head = DepthHead(Prompts(WORDS), Bins([1, 2, 4]))
    head.prepare(tips.text)
    depth = head(tips.encode_image(torch.rand(1, 3, 56, 70)), tips.text).depth
    assert depth.shape == (1, 1, 4, 5)
    assert ((depth >= 1) & (depth <= 4)).all()
