"""Loading of weights, refusals, and the text tower against open_clip's output."""

import zipfile

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from depthclip.encoder import FrozenCLIP
from depthclip.encoder.loading import normalization_of
from depthclip.encoder.weights import is_jit, load_file
from depthclip.errors import InputError
from tests.conftest import frozen


def test_frozen_means_frozen(clip):
    encoder = clip("small-resnet", "attention_pool")
    assert not any(p.requires_grad for p in encoder.parameters())
    torch.nn.Sequential(encoder).train()
    assert not any(module.training for module in encoder.modules())


@pytest.mark.parametrize("kind", ["safetensors", "pt", "bin"])
def test_weights_from_local_files(clip, tmp_path, kind):
    model = clip("small-vit", "tokens", seed=1).model
    path = tmp_path / f"weights.{kind}"
    if kind == "safetensors":
        save_file(model.state_dict(), path)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, path)
    loaded = FrozenCLIP("small-vit", str(path), "tokens", normalization="openai").model.state_dict()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(loaded[key], value, atol=0, rtol=0)


def test_openais_jit_archive(tmp_path, small):
    """The format of OpenAI's weights: TorchScript with three sizes besides the parameters."""

    class Archive(torch.nn.Module):
        def __init__(self, state):
            super().__init__()
            for name, value in state.items():
                self.add(name.split("."), value)
            for size, value in (("input_resolution", 64), ("context_length", 77), ("vocab_size", 49408)):
                self.register_buffer(size, torch.tensor(value))

        def add(self, path, value):
            module = self
            for step in path[:-1]:
                if not hasattr(module, step):
                    module.add_module(step, torch.nn.Module())
                module = getattr(module, step)
            module.register_buffer(path[-1], value)

        def forward(self, x):
            return x

    model = frozen("small-vit", "tokens", seed=2).model
    path = tmp_path / "archive.pt"
    torch.jit.script(Archive(model.state_dict())).save(str(path))
    with pytest.raises(ValueError, match="QuickGELU"):
        FrozenCLIP("small-vit", str(path), "tokens", normalization="openai")
    loaded = load_file("small-vit", path).state_dict()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(loaded[key], value, atol=0, rtol=0)


def test_random_weights_cause_a_warning(small):
    with pytest.warns(UserWarning, match="RANDOM"):
        FrozenCLIP("small-vit", None, "tokens")


def refused(match, *args, **kwargs):
    with pytest.raises(InputError, match=match) as caught:
        FrozenCLIP(*args, **kwargs)
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_refused_in_one_sentence(small, tmp_path):
    refused("nearest names are .*RN50", "RN5O", None)
    refused("tags: openai, yfcc15m", "RN50", "opnai")
    refused("use RN50-quickgelu", "RN50", "openai")
    refused("use ViT-B-16-quickgelu", "ViT-B-16", "metaclip_400m")
    refused("use ViT-B-32$", "ViT-B-32-quickgelu", "laion2b_s34b_b79k")
    refused("choose one of .*tokens", "small-vit", None, "released")
    refused("readout .mean. is unknown", "small-vit", None, "mean")
    other = tmp_path / "other.pt"
    torch.save({"state_dict": {"weight": torch.zeros(3)}}, other)
    refused("does not record how", "small-vit", str(other), "tokens")
    refused("does not hold weights of small-vit", "small-vit", str(other), "tokens", "openai")
    text = tmp_path / "notes.safetensors"
    text.write_text("no weights here")
    refused("does not hold weights", "small-vit", str(text), "tokens", "openai")
    refused("choose tower", "small-vit", None, "tokens", "clip")


@pytest.fixture
def no_network(monkeypatch):
    """A machine without network; the URLs of attempted connections."""
    tried = []

    def refuse(url, **arguments):
        tried.append(url)
        raise OSError("Name or service not known")

    def download(*arguments, **more):
        raise AssertionError("a download would wait for many retries")

    monkeypatch.setattr("depthclip.encoder.hub.get_hf_file_metadata", refuse)
    monkeypatch.setattr("depthclip.encoder.hub.try_to_load_from_cache", lambda *arguments: None)
    monkeypatch.setattr("open_clip.factory.download_pretrained", download)
    return tried


@pytest.mark.parametrize(
    ("name", "tag", "normalization"),
    [("RN50-quickgelu", "openai", "openai"), ("ViT-B-16", "laion2b_s34b_b88k", "openai")],
)
def test_weights_that_cannot_be_downloaded_name_the_way_out(no_network, name, tag, normalization):
    match = f"could not be loaded from .*Name or service not known.*pass its path as .*pretrained.*{normalization}$"
    refused(match, name, tag)
    assert len(no_network) == 1


def test_the_normalization_in_the_way_out_is_that_of_the_tag(no_network, monkeypatch):
    for needed in ("check_transformers", "tokenizer_of"):
        monkeypatch.setattr(f"depthclip.encoder.loading.{needed}", lambda *arguments: None)
    refused(r"normalization \[\[0.5, 0.5, 0.5\], \[0.5, 0.5, 0.5\]\]$", "ViT-B-16-SigLIP", "webli")


def test_a_missing_tokenizer_is_reported_before_weights_are_downloaded(no_network, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused("tokenizer of ViT-B-16-SigLIP needs the transformers package", "ViT-B-16-SigLIP", "webli", "maskclip")
    assert not no_network
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)

    def from_cache(name, local_files_only=False, trust_remote_code=None):
        assert local_files_only
        assert trust_remote_code is False
        raise OSError("no such file in the cache")

    monkeypatch.setattr("open_clip.get_tokenizer", from_cache)
    refused("tokenizer of ViT-B-16-SigLIP could not be loaded .Name or", "ViT-B-16-SigLIP", "webli", "maskclip")


def test_weights_that_were_downloaded_before_need_no_network(no_network, monkeypatch, clip, tmp_path):
    """open_clip finds the weights in its cache, and no connection is attempted."""
    path = tmp_path / "cached.pt"
    torch.save(clip("small-vit", "tokens").model.state_dict(), path)
    tag = {"hf_hub": "someone/small/", "quick_gelu": False}
    for module in ("open_clip", "open_clip.factory"):
        monkeypatch.setattr(f"{module}.get_pretrained_cfg", lambda name, pretrained: tag)
    monkeypatch.setattr("open_clip.is_pretrained_cfg", lambda name, pretrained: pretrained == "mine")
    monkeypatch.setattr("depthclip.encoder.hub.try_to_load_from_cache", lambda repo, name: str(path))
    monkeypatch.setattr("open_clip.factory.download_pretrained", lambda *arguments, **more: str(path))
    FrozenCLIP("small-vit", "mine", "tokens")
    assert not no_network


def test_an_activation_that_cannot_be_checked_causes_a_warning(golden_weights):
    with pytest.warns(UserWarning, match="QuickGELU.*use RN50$"):
        FrozenCLIP("RN50-quickgelu", str(golden_weights), "released", normalization="imagenet")


def test_only_sentences_that_are_cut_are_too_long(clip):
    """75 words of one token each, the start and the end fill the context of 77 tokens."""
    text, tokenizer = clip("small-vit", "tokens").text, open_clip.get_tokenizer("small-vit")
    whole, longer = "far " * 75, "far " * 76
    assert tokenizer([whole]).count_nonzero() == 77
    expected = clip("small-vit", "tokens").model.encode_text(tokenizer([whole]), normalize=True)
    torch.testing.assert_close(text.encode([whole]), expected, atol=1e-5, rtol=0)
    for read in (text.encode, text.embed):
        with pytest.raises(InputError, match="too long for the text tower, which takes 77 tokens"):
            read(["near", longer])


def test_normalization_of_the_tag():
    assert normalization_of("ViT-B-16-SigLIP", "webli", "tower") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert normalization_of("RN50-quickgelu", "openai", "tower")[0][0] == pytest.approx(0.48145466)
    assert normalization_of("RN50-quickgelu", "openai", "imagenet")[0][0] == 0.485


def test_archives_are_distinguished_from_checkpoints(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "plain.pt")
    assert not is_jit(tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "jit.pt", "w") as archive:
        archive.writestr("model/code/__torch__.py", "")
    assert is_jit(tmp_path / "jit.pt")


def test_features_without_trailing_padding_are_open_clips(clip):
    encoder = clip("small-vit", "tokens")
    texts = ["This object is far", "a", "This object is not in distance at all, says everyone"]
    expected = encoder.model.encode_text(open_clip.get_tokenizer("small-vit")(texts), normalize=True)
    torch.testing.assert_close(encoder.text.encode(texts), expected, atol=1e-5, rtol=0)
    assert encoder.text.embed(texts).values.shape[1] < 77
