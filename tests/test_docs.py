"""The documentation's code, run as it is printed."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import yaml

import depthclip
from depthclip import Bins, DepthCLIP, DepthHead, Prompts
from depthclip.__main__ import main
from depthclip.encoder.interfaces import ImageFeatures
from depthclip.losses import LossInput
from tests.conftest import TEXT

DOCS = Path(__file__).parent.parent / "docs"


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


def page_recipe(number: int, **encoder) -> str:
    """A recipe of the page, with another CLIP."""
    recipe = yaml.safe_load(blocks("extending.md", "yaml")[number])
    recipe["model"]["encoder"] |= encoder
    return yaml.safe_dump(recipe)


@pytest.fixture
def mine(tmp_path, monkeypatch, small):
    """A folder with the page's classes and recipes, as a user would have it, but with small random CLIPs."""
    (tmp_path / "mine.py").write_text("\n\n".join(blocks("extending.md", "python")))
    vit = {"image_size": 64, "layers": 4, "width": 32, "head_width": 16, "patch_size": 16}
    (tmp_path / "four-blocks.json").write_text(json.dumps({"embed_dim": 48, "vision_cfg": vit, "text_cfg": TEXT}))
    open_clip.add_model_config(tmp_path / "four-blocks.json")
    (tmp_path / "recipe.yaml").write_text(page_recipe(0, name="small-vit", pretrained=None))
    (tmp_path / "decoder.yaml").write_text(page_recipe(1, name="four-blocks", pretrained=None, readout="tokens"))
    (tmp_path / "stages.yaml").write_text(page_recipe(1))
    mapped = yaml.safe_load(blocks("extending.md", "yaml")[2])
    mapped["model"]["encoder"]["init_args"] |= {
        "image": "vit_tiny_patch16_224",
        "clip": {"name": "small-vit", "pretrained": None},
    }
    (tmp_path / "mapped.yaml").write_text(yaml.safe_dump(mapped))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("mine", None)


def test_the_classes_of_the_page_are_short():
    for block in blocks("extending.md", "python"):
        for text in re.split(r"^(?=class )", block, flags=re.MULTILINE)[1:]:
            assert len(text.strip().splitlines()) < 35


FEW = [f"--data.init_args.{split}_size=4" for split in ("train", "val", "test")]


@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_the_classes_of_the_page_run_by_class_path(mine, capsys):
    power = ["--model.head.bins.init_args.power", "1"]
    assert main(["test", "-c", "recipe.yaml", "--trust", "mine", *FEW, *power]) == 0, capsys.readouterr()
    assert "abs_rel" in capsys.readouterr().out
    assert main(["fit", "-c", "recipe.yaml", "--trust", "mine", *FEW, "--trainer.max_epochs", "1"]) == 0


@pytest.mark.filterwarnings("ignore:pretrained is null")
@pytest.mark.parametrize("recipe", ["decoder.yaml", "stages.yaml"])
def test_the_decoder_of_the_page(mine, capsys, recipe):
    """Four blocks of a ViT, four stages of a ResNet: with and without the cache, in a checkpoint, beside words."""
    options = ["-c", recipe, "--trust", "mine", *FEW]
    for cache in ("null", "memory", "features"):
        few = ["--trainer.max_epochs", "4", "--model.learning_rate", "0.01"]
        assert main(["fit", *options, *few, "--model.cache", cache, "--name", cache]) == 0, capsys.readouterr()
    assert "best.ckpt --trust mine\n" in capsys.readouterr().out
    last = "runs/{}/version_0/checkpoints/last.ckpt".format
    states = {name: torch.load(last(name), weights_only=True)["state_dict"] for name in ("null", "memory", "features")}
    for name in ("memory", "features"):
        torch.testing.assert_close(states[name], states["null"], rtol=0, atol=0)
    assert main(["test", *options, "--ckpt_path", last("memory"), "--name", "test"]) == 0, capsys.readouterr()
    figures = json.loads(Path("runs/test/version_0/metrics.json").read_text())["figures"]
    assert list(figures) == ["head", "words"]
    assert main(["test", *options, "--name", "untrained"]) == 0
    untrained = json.loads(Path("runs/untrained/version_0/metrics.json").read_text())["figures"]
    assert figures["head"]["abs_rel"] < untrained["head"]["abs_rel"]
    assert figures["words"] == untrained["words"]
    for picture in ("panel.png", "variants.png"):
        assert Path("runs/test/version_0", picture).stat().st_size > 10_000
    torch.manual_seed(0)  # of the random CLIP
    model = DepthCLIP.load(last("memory"), allow=["mine"])
    photo = np.zeros((70, 90, 3), np.uint8)
    assert model.infer(photo).shape == (70, 90)
    assert model.responses(photo) == {}


@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_the_encoder_of_the_page(mine, capsys):
    options = ["-c", "mapped.yaml", "--trust", "mine", *FEW]
    assert main(["test", *options]) == 0, capsys.readouterr()
    assert "abs_rel" in capsys.readouterr().out
    learned = [*options, "--model.head.learn_temperature", "true"]
    once = ["--trainer.max_epochs", "1", "--name", "fit"]
    assert main(["fit", *learned, *once, "--model.cache", "memory"]) == 0, capsys.readouterr()
    checkpoint = "runs/fit/version_0/checkpoints/last.ckpt"
    assert main(["test", *learned, "--ckpt_path", checkpoint]) == 0, capsys.readouterr()
    capsys.readouterr()
    assert main(["fit", *learned, *once, "--model.cache", "folder"]) == 2
    assert "`settings`" in capsys.readouterr().err
    context = ["--model.head.prompts", "LearnedContext"]
    assert main(["test", *options, *context]) == 2
    assert "whole sentences only" in capsys.readouterr().err


def test_the_features_of_the_encoder_of_the_page(mine, clip):
    import mine as page

    encoder = page.MappedSentences("vit_tiny_patch16_224", clip("small-vit", "tokens")).eval()
    rgb = torch.rand(2, 3, 50, 96)  # resized to 48 x 96
    features = encoder.encode_image(rgb, depthclip.encoder.Needs(pooled=True, layers=(-1, 0)))
    assert [tuple(each.shape) for each in (features.dense, features.pooled, *features.layers)] == [
        (2, 192, 3, 6),
        (2, 192),
        (2, 192, 3, 6),
        (2, 192, 3, 6),
    ]
    words = encoder.clip.text.encode(["near", "far away"])
    expected = words @ encoder.mapping.weight.T + encoder.mapping.bias
    expected = expected / expected.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(encoder.text.encode(["near", "far away"]), expected)
    model = DepthCLIP(encoder, DepthHead(Prompts(), Bins()))
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    model.train()
    assert not any(module.training for module in encoder.modules())
    assert model.infer(np.zeros((70, 90, 3), np.uint8)).shape == (70, 90)


def test_the_data_set_of_the_page(mine, clip):
    import mine as page

    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        Path(split).mkdir()
        for name in ("a", "b"):
            depth = rng.uniform(1, 9, (40, 50))
            np.savez(Path(split, name), rgb=rng.integers(0, 255, (40, 50, 3), dtype=np.uint8), depth=depth)
    model = DepthCLIP(clip("small-vit", "tokens"), DepthHead(Prompts(), Bins()))
    figures = depthclip.evaluate(model, page.ArrayFolders("."), "out")
    assert figures["head"]["abs_rel"] > 0
    assert np.load("out/errors.npz")["image"].tolist() == ["a", "b"]


def test_the_loss_of_the_page(mine):
    import mine as page

    error = np.array([0.1, -0.3, 1.0, -2.0])
    prediction = torch.tensor(5 + error, dtype=torch.float32)[None]
    image = LossInput(prediction, torch.full((1, 4), 5.0), torch.ones(1, 4, dtype=torch.bool))
    c = 0.2 * 2
    expected = np.mean([0.1, 0.3, (1 + c**2) / (2 * c), (4 + c**2) / (2 * c)])
    assert page.BerHu(0.2)([image]).item() == pytest.approx(expected, rel=1e-5)


def test_the_classes_of_the_page_learn(mine, clip):
    import mine as page

    encoder = clip("small-vit", page.BlurredMaskCLIP())
    head = DepthHead(page.ResidualPrompts(), page.PowerBins(), logit_scale=10)
    head.prepare(encoder.text)
    features = encoder.encode_image(torch.rand(2, 3, 64, 96))
    assert isinstance(features, ImageFeatures)
    head(features, encoder.text).depth.sum().backward()
    assert {name for name, p in head.named_parameters() if p.grad.abs().sum() > 0} == {
        "prompts.residual",
        "bins.log_power",
    }
