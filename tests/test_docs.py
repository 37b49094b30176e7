"""Run the code in the documentation."""

import re
import sys
from pathlib import Path

import pytest
import torch
import yaml

from depthclip.__main__ import main
from depthclip.encoder.interfaces import ImageFeatures

DOCS = Path(__file__).parent.parent / "docs"


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def mine(tmp_path, monkeypatch, small):
    """A folder with the classes and the recipe of the page, and a small CLIP with random weights."""
    (tmp_path / "mine.py").write_text("\n\n".join(blocks("extending.md", "python")))
    recipe = yaml.safe_load(blocks("extending.md", "yaml")[0])
    recipe["model"]["encoder"] |= {"name": "small-vit", "pretrained": None}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("mine", None)


def test_each_class_is_short():
    for block in blocks("extending.md", "python"):
        assert len(block[block.index("class ") :].splitlines()) < 30


@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_classes_of_the_user_run_by_class_path(mine, capsys):
    few = [f"--data.init_args.{split}_size=4" for split in ("train", "val", "test")]
    assert (
        main(["test", "-c", "recipe.yaml", "--trust", "mine", *few, "--model.head.bins.init_args.power", "1"]) == 0
    ), capsys.readouterr()
    assert "abs_rel" in capsys.readouterr().out


def test_classes_of_the_user_learn(mine, clip):
    import mine

    from depthclip.head import DepthHead

    encoder = clip("small-vit", mine.BlurredMaskCLIP())
    head = DepthHead(mine.ResidualPrompts(), mine.PowerBins(), logit_scale=10)
    head.prepare(encoder.text)
    features = encoder.encode_image(torch.rand(2, 3, 64, 96))
    assert isinstance(features, ImageFeatures)
    head(features, encoder.text).depth.sum().backward()
    assert {name for name, p in head.named_parameters() if p.grad.abs().sum() > 0} == {
        "prompts.residual",
        "bins.log_power",
    }
