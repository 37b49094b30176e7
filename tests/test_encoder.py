"""The frozen CLIP against open_clip's own output, at its own size and at others."""

import zipfile

import numpy as np
import open_clip
import pytest
import scipy.special
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from depthclip.encoder import Crops, FrozenCLIP, MaskCLIP, Needs
from depthclip.encoder.loading import normalization_of
from depthclip.encoder.readouts import Released
from depthclip.encoder.towers import Trunk, tower_of
from depthclip.encoder.weights import is_jit, load_file
from depthclip.errors import InputError
from tests.conftest import frozen

FITTING = [
    ("small-resnet", "released", 48),
    ("small-resnet", "attention_pool", 48),
    ("small-resnet", "maskclip", 48),
    ("small-vit", "tokens", 48),
    ("small-vit", "maskclip", 48),
]


@pytest.mark.parametrize(("name", "readout", "dim"), FITTING)
def test_pooled_is_open_clips_and_maps_have_the_grid_of_the_image(clip, name, readout, dim):
    encoder = clip(name, readout)
    own = torch.rand(2, 3, 64, 64)
    expected = encoder.model.encode_image((own - encoder.mean) / encoder.std, normalize=True)
    features = encoder.encode_image(own, Needs(pooled=True))
    torch.testing.assert_close(features.pooled, expected, atol=1e-5, rtol=0)

    stride = encoder.tower.stride
    wide = encoder.encode_image(torch.rand(1, 3, 2 * stride, 5 * stride), Needs(pooled=True))
    assert wide.dense.shape == (1, dim, 2, 5)
    assert wide.pooled.shape == (1, dim)
    assert encoder.encode_image(torch.rand(1, 3, 4 * stride - 7, 3 * stride + 5)).dense.shape == (1, dim, 4, 3)

    again = encoder.encode_image(own, Needs(pooled=True))
    torch.testing.assert_close(again.dense, features.dense, atol=0, rtol=0)
    torch.testing.assert_close(again.pooled, features.pooled, atol=0, rtol=0)


@pytest.mark.parametrize("name", ["RN50", "RN101", "ViT-B-32", "ViT-B-16"])
def test_pooled_is_open_clips_for_the_models_people_use(name):
    encoder = frozen(name, "maskclip")
    image = torch.rand(1, 3, 224, 224)
    expected = encoder.model.encode_image((image - encoder.mean) / encoder.std, normalize=True)
    trunk = encoder.tower.trunk((image - encoder.mean) / encoder.std)
    torch.testing.assert_close(F.normalize(encoder.tower.pool(trunk), dim=-1), expected, atol=1e-5, rtol=0)


def test_tokens_are_the_last_block_normed_and_projected(clip):
    encoder = clip("small-vit", "tokens")
    image = torch.rand(2, 3, 64, 64)
    visual = encoder.model.visual
    visual.output_tokens = True
    _, tokens = visual((image - encoder.mean) / encoder.std)  # open_clip's own tokens, after the final norm
    expected = F.normalize(tokens @ visual.proj, dim=-1)
    dense = encoder.encode_image(image).dense
    torch.testing.assert_close(dense.flatten(2).mT, expected, atol=1e-5, rtol=0)


def test_maskclip_of_a_single_patch_is_what_attention_gives_it(clip):
    """With one key, softmax is 1: full attention and value projection alone agree."""
    encoder = clip("small-resnet", "maskclip")
    x = torch.randn(1, 8 * 32, 1, 1)
    pool = encoder.model.visual.attnpool
    expected = pool.c_proj(pool.v_proj(x.flatten()))
    dense = MaskCLIP().dense(encoder.tower, encoder.tower.trunk(torch.zeros(1, 3, 32, 32))._replace(values=x))
    torch.testing.assert_close(dense.flatten(), F.normalize(expected, dim=0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("reduced", [True, False])
def test_maskclip_of_a_vit_is_the_published_last_block(clip, reduced):
    """Written out in NumPy on exported weights: value and output projection, then what the released code adds."""
    encoder = clip("small-vit", MaskCLIP(reduced))
    weights = {key: value.detach().double().numpy() for key, value in encoder.model.visual.named_parameters()}
    x = torch.randn(1, 1 + 6, 32)
    dense = encoder.readout.dense(encoder.tower, Trunk(x, (2, 3)))[0].flatten(1).T.detach().numpy()

    def norm(y, name):
        y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
        return y * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    block = "transformer.resblocks.1"
    tokens = x[0, 1:].double().numpy()
    y = norm(tokens, f"{block}.ln_1") @ weights[f"{block}.attn.in_proj_weight"][64:].T
    y = y + weights[f"{block}.attn.in_proj_bias"][64:]
    y = y @ weights[f"{block}.attn.out_proj.weight"].T + weights[f"{block}.attn.out_proj.bias"]
    if not reduced:
        y = tokens + y
        hidden = norm(y, f"{block}.ln_2") @ weights[f"{block}.mlp.c_fc.weight"].T + weights[f"{block}.mlp.c_fc.bias"]
        hidden = hidden * (1 + scipy.special.erf(hidden / np.sqrt(2))) / 2
        y = y + hidden @ weights[f"{block}.mlp.c_proj.weight"].T + weights[f"{block}.mlp.c_proj.bias"]
    y = norm(y, "ln_post") @ weights["proj"]
    np.testing.assert_allclose(dense, y / np.linalg.norm(y, axis=1, keepdims=True), atol=1e-5)


def test_attention_pool_of_patches_is_attention_by_formula(clip):
    encoder = clip("small-resnet", "attention_pool")
    x = torch.randn(1, 256, 2, 2)
    pool = encoder.model.visual.attnpool
    tokens = x.flatten(2)[0].T
    tokens = torch.cat([tokens.mean(0, keepdim=True), tokens]) + pool.positional_embedding
    q, k, v = (p(tokens).view(5, pool.num_heads, -1).transpose(0, 1) for p in (pool.q_proj, pool.k_proj, pool.v_proj))
    attended = ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(0, 1).flatten(1)
    expected = pool.c_proj(attended)[1:].T.view(1, 48, 2, 2)
    torch.testing.assert_close(encoder.tower.attend_patches(x), expected, atol=1e-5, rtol=0)


def test_released_keeps_every_second_channel_of_unit_features():
    class Wide(torch.nn.Module):
        output_dim = 4

    x = torch.randn(1, 8, 2, 3)
    expected = (x / x.norm(dim=1, keepdim=True))[:, ::2]
    torch.testing.assert_close(Released().dense(Wide(), Trunk(x, (2, 3))), expected)


def test_siglips_pooling_head_reads_each_token_as_the_only_key():
    torch.manual_seed(0)
    assert open_clip.get_model_config("ViT-B-16-SigLIP2")["vision_cfg"]["timm_proj"] == "none"
    visual = open_clip.timm_model.TimmModel("vit_tiny_patch16_224", embed_dim=0, image_size=224, pool="", proj="none")
    visual.trunk = timm.create_model(
        "vit_tiny_patch16_224", num_classes=0, global_pool="map", class_token=False, fc_norm=False
    ).eval()
    tower = tower_of(visual)
    image = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        expected = visual(image)
        torch.testing.assert_close(tower.pool(tower.trunk(image)), expected, atol=1e-5, rtol=0)
        trunk = tower.trunk(torch.rand(1, 3, 32, 64))
        dense = MaskCLIP().dense(tower, trunk)
        alone = F.normalize(visual.trunk.attn_pool(trunk.values[:, 5:6]), dim=-1)
    assert dense.shape == (1, 192, 2, 4)
    torch.testing.assert_close(dense[0, :, 1, 1], alone.flatten(), atol=1e-5, rtol=0)


def test_convnext_cells_of_one_cell_are_the_pooled_feature():
    tower = tower_of(
        open_clip.timm_model.TimmModel("convnext_atto", embed_dim=16, image_size=64, pool="", proj="linear")
    )
    tower.eval()
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        trunk = tower.trunk(image)
        torch.testing.assert_close(tower.pool_each(trunk)[..., 0, 0], tower.visual(image), atol=1e-5, rtol=0)


def test_crops_are_images_of_their_own(clip):
    """The patch about a cell's centre, cut by hand from the image with its border repeated, given to encode_image."""
    encoder = clip("small-resnet", Crops(patch=64, stride=32, batch=5))
    image = torch.rand(1, 3, 96, 128)
    features = encoder.encode_image(image, Needs(pooled=True))
    assert features.dense.shape == (1, 48, 3, 4)
    normalized = (image - encoder.mean) / encoder.std
    padded = F.pad(normalized, (16,) * 4, mode="replicate")
    for row, column in ((0, 0), (1, 2), (2, 3)):
        patch = padded[..., row * 32 : row * 32 + 64, column * 32 : column * 32 + 64]
        expected = encoder.model.encode_image(patch, normalize=True)
        torch.testing.assert_close(features.dense[..., row, column], expected, atol=1e-5, rtol=0)
    whole = clip("small-resnet", "attention_pool").encode_image(image, Needs(pooled=True)).pooled
    torch.testing.assert_close(features.pooled, whole, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="stride 65"):
        Crops(64, 65)


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
    """An archive as OpenAI published its weights: TorchScript with three sizes beside the parameters."""

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


def test_random_weights_are_said_aloud(small):
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
    """No connection; counts how often one is tried."""
    tried = []

    def refuse(url, **arguments):
        tried.append(url)
        raise OSError("Name or service not known")

    def download(*arguments, **more):
        raise AssertionError("a download would wait for many retries")

    monkeypatch.setattr("depthclip.encoder.loading.get_hf_file_metadata", refuse)
    monkeypatch.setattr("depthclip.encoder.loading.try_to_load_from_cache", lambda *arguments: None)
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
    monkeypatch.setattr("depthclip.encoder.loading.tokenizer_of", lambda *arguments: None)
    refused(r"normalization \[\[0.5, 0.5, 0.5\], \[0.5, 0.5, 0.5\]\]$", "ViT-B-16-SigLIP", "webli")


def test_a_missing_tokenizer_is_known_before_the_weights_are_looked_for(no_network, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused("tokenizer of ViT-B-16-SigLIP needs the transformers package", "ViT-B-16-SigLIP", "webli", "maskclip")
    assert not no_network
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)

    def from_cache(name, local_files_only=False):
        assert local_files_only
        raise OSError("no such file in the cache")

    monkeypatch.setattr("open_clip.get_tokenizer", from_cache)
    refused("tokenizer of ViT-B-16-SigLIP could not be loaded .Name or", "ViT-B-16-SigLIP", "webli", "maskclip")


def test_weights_that_were_downloaded_before_need_no_network(no_network, monkeypatch, clip, tmp_path):
    """open_clip finds them in its cache without our first look at the network."""
    path = tmp_path / "cached.pt"
    torch.save(clip("small-vit", "tokens").model.state_dict(), path)
    tag = {"hf_hub": "someone/small/", "quick_gelu": False}
    for module in ("open_clip", "open_clip.factory"):
        monkeypatch.setattr(f"{module}.get_pretrained_cfg", lambda name, pretrained: tag)
    monkeypatch.setattr("open_clip.is_pretrained_cfg", lambda name, pretrained: pretrained == "mine")
    monkeypatch.setattr("depthclip.encoder.loading.try_to_load_from_cache", lambda repo, name: str(path))
    monkeypatch.setattr("open_clip.factory.download_pretrained", lambda *arguments, **more: str(path))
    FrozenCLIP("small-vit", "mine", "tokens")
    assert not no_network


def test_an_activation_that_cannot_be_checked_is_stated(golden_weights):
    with pytest.warns(UserWarning, match="QuickGELU.*use RN50$"):
        FrozenCLIP("RN50-quickgelu", str(golden_weights), "released", normalization="imagenet")


def test_only_sentences_that_are_cut_are_too_long(clip):
    """75 words of a token each, a start and an end are the 77 tokens of the context; open_clip's ids say so."""
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


def test_an_archive_is_told_from_a_checkpoint(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "plain.pt")
    assert not is_jit(tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "jit.pt", "w") as archive:
        archive.writestr("model/code/__torch__.py", "")
    assert is_jit(tmp_path / "jit.pt")


def test_sentences_cut_at_the_longest_are_open_clips(clip):
    encoder = clip("small-vit", "tokens")
    texts = ["This object is far", "a", "This object is not in distance at all, says everyone"]
    expected = encoder.model.encode_text(open_clip.get_tokenizer("small-vit")(texts), normalize=True)
    torch.testing.assert_close(encoder.text.encode(texts), expected, atol=1e-5, rtol=0)
    assert encoder.text.embed(texts).values.shape[1] < 77
