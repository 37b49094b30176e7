"""The text encoder: equal sentences, tokenizers from folders, and what is reported before a download."""

import json
import shutil
import warnings
from pathlib import Path

import open_clip
import pytest
import torch
from torch.nn import functional as F

from depthclip.encoder import FrozenCLIP
from depthclip.encoder.text import CLIPText
from depthclip.errors import InputError
from depthclip.head import Prompts

VIT = ("small-vit", None, "tokens")


def test_different_sentences_with_the_same_tokens_cause_a_warning_that_names_both(clip):
    """CLIP's tokenizer ignores case."""
    text = clip("small-vit", "tokens").text
    expected = r"the sentences 'It is far' and 'it is FAR' have the same tokens, .*remove one of them"
    with pytest.warns(UserWarning, match=expected):
        features = text.encode(["It is far", "It is near", "it is FAR"])
    torch.testing.assert_close(features[0], features[2])
    with pytest.warns(UserWarning, match=expected):
        text.encode(["It is far", "it is FAR"])  # encoded before
    with pytest.warns(UserWarning, match=r"'a' and 'A' have the same tokens \(and 2 more such pairs\)"):
        text.encode(["a", "A", "b", "B", " a"])


def test_templates_that_become_equal_cause_a_warning(clip):
    prompts = Prompts(["near", "far"], ["A {distance} room", "a {distance} room"])
    with pytest.warns(UserWarning, match="'A near room' and 'a near room' have the same tokens .and 1 more"):
        prompts.prepare(clip("small-vit", "tokens").text)


def test_equal_sentences_of_different_heads_cause_no_warning(clip):
    text = clip("small-vit", "tokens").text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text.encode(["It is far", "It is far", "It is near"])
        text.encode(["it is far", "it is near"])


def refused(match, *arguments, **more):
    with pytest.raises(InputError, match=match) as caught:
        FrozenCLIP(*arguments, **more)
    assert "\n" not in str(caught.value)


@pytest.fixture
def no_hub(monkeypatch):
    """A machine without network, on which nothing was downloaded before."""
    monkeypatch.setattr("depthclip.encoder.tokenizers.unreachable", lambda repo, file: "Name or service not known")
    monkeypatch.setattr("depthclip.encoder.tokenizers.is_cached", lambda repo, file: False)


@pytest.mark.parametrize("name", ["xlm-roberta-base-ViT-B-32", "nllb-clip-base-siglip", "coca_roberta-ViT-B-32"])
def test_a_missing_package_is_reported_before_a_download(no_hub, monkeypatch, name):
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    refused(f"text tower of {name} needs the transformers package; pip install 'depthclip.hf.'", name, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda package: package)
    refused(f"text tower of {name} needs the file config.json of .*not known.; run once with", name, None)


def test_a_tokenizer_that_is_no_folder_is_refused(small, monkeypatch, tmp_path):
    refused(
        "tokenizer 'words': small-vit has open_clip's own tokenizer; set tokenizer to null", *VIT, tokenizer="words"
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda package: package)
    siglip = ("ViT-B-16-SigLIP", None, "maskclip")
    refused("tokenizer 'nowhere' is not a folder; use a folder with tokenizer.json", *siglip, tokenizer="nowhere")
    refused("could not be loaded .*; use a folder with tokenizer.json", *siglip, tokenizer=str(tmp_path))


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A folder with the text tower of a small XLM-RoBERTa and a tokenizer of words."""
    pytest.importorskip("transformers", reason="the text tower needs transformers, in the extra hf")
    from tests.hugging_face import text_folder

    return text_folder(tmp_path_factory.mktemp("words") / "xlm-roberta", "xlm-roberta")


def registered(path: Path, folder: str, **text) -> str:
    """Register an open_clip model with the text tower of a folder, and return its name."""
    from tests.hugging_face import clip_config

    config = clip_config(folder, "xlm-roberta")
    config["text_cfg"] |= text
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    return path.stem


@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_a_tokenizer_from_a_folder_needs_no_network(words, tmp_path, no_hub):
    """The configuration names a repository of the hub, and the argument a folder."""
    name = registered(tmp_path / "xlm-words.json", words, hf_tokenizer_name="someone/words")
    refused("tokenizer of xlm-words could not be loaded .Name or service.*set tokenizer to a folder", name, *VIT[1:])
    encoder = FrozenCLIP(name, None, "tokens", tokenizer=words)
    sentences = ["this object is far", "close"]
    expected = encoder.model.encode_text(open_clip.tokenizer.HFTokenizer(words, 16)(sentences), normalize=True)
    torch.testing.assert_close(encoder.text.encode(sentences), expected, atol=1e-5, rtol=0)
    with pytest.raises(InputError, match="too long for the text tower, which takes 16 tokens"):
        encoder.text.encode(["far " * 15])  # with start and end, 17


@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_code_in_the_folder_of_a_tokenizer_is_never_run(words, tmp_path):
    from tests.hugging_face import set_config

    name = registered(tmp_path / "xlm-code.json", words, hf_tokenizer_name="someone/words")
    copy = Path(shutil.copytree(words, tmp_path / "copy"))
    (copy / "mine.py").write_text("raise SystemExit('this code was run')\n")
    set_config(str(copy), "tokenizer_config.json", auto_map={"AutoTokenizer": ["mine.Words", None]})
    (copy / "config.json").unlink()
    assert FrozenCLIP(name, None, "tokens", tokenizer=str(copy)).text.encode(["far"]).shape == (1, 24)


@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_punctuation_that_siglips_tokenizer_strips_causes_a_warning(words, tmp_path):
    """open_clip lower-cases sentences and strips punctuation for SigLIP."""
    name = registered(tmp_path / "xlm-canonical.json", words, tokenizer_kwargs={"clean": "canonicalize"})
    text = FrozenCLIP(name, None, "tokens").text
    with pytest.warns(UserWarning, match="'This is far.' and 'this is far' have the same tokens, because"):
        text.encode(["This is far.", "this is far"])


def by_open_clip(encoder, sentences):
    """Return the features of open_clip's own encode_text, each sentence alone."""
    tokenizer = open_clip.get_tokenizer(encoder.name)
    with torch.no_grad():
        return torch.cat([encoder.model.encode_text(tokenizer([each]), normalize=True) for each in sentences])


def test_many_sentences_of_any_length_have_the_features_of_each_alone(clip):
    encoder = clip("small-vit", "tokens")
    sentences = [f"{'far ' * (k % 30)}{k}" for k in range(300)]
    features = encoder.text.encode(sentences)
    some = [0, 29, 30, 31, 150, 299]
    expected = by_open_clip(encoder, [sentences[k] for k in some])
    torch.testing.assert_close(features[some], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(encoder.text.encode_anew(sentences), features, atol=1e-6, rtol=0)


def test_sentences_of_one_length_share_a_batch(clip, monkeypatch):
    """Half of the sentences have 29 words more than the others; each batch is as long as its longest sentence."""
    text = clip("small-vit", "tokens").text
    shapes = []
    run = text.encode_embeddings
    monkeypatch.setattr(text, "encode_embeddings", lambda x: (shapes.append(tuple(x.values.shape[:2])), run(x))[1])
    short = [chr(97 + k // 26) + chr(97 + k % 26) for k in range(512)]
    text.encode([f"{'far ' * (29 * (k % 2))}{each}" for k, each in enumerate(short)])
    assert sum(rows for rows, _ in shapes) == 512
    assert max(rows for rows, _ in shapes) <= 256
    assert shapes[0][1] < 10 < shapes[-1][1]


@pytest.mark.parametrize("pad_at_the_end", [False, True])
def test_a_sentence_that_fills_the_context_is_accepted_and_a_longer_one_is_refused(clip, pad_at_the_end):
    """Some tokenizers end a sentence that was cut with a token that is also the padding (SigLIP's)."""
    model, plain = clip("small-vit", "tokens").model, open_clip.get_tokenizer("small-vit")

    def padded(texts, context_length=None):
        return F.pad(plain(texts, (context_length or 77))[:, 1:], (0, 1))

    text = CLIPText(model, padded if pad_at_the_end else plain)
    assert text.encode(["far", "far " * 75]).shape == (2, 48)  # with start and end, 77 tokens
    with pytest.raises(InputError, match=r"the sentence 'near near .*too long for the text tower, which takes 77"):
        text.encode(["far", "far " * 75, "near " * 76])
