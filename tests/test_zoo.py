"""docs/zoo.md: the page of all models agrees with the code."""

import subprocess
import sys
from pathlib import Path

import open_clip
import pytest

from depthclip.encoder.zoo import facts, random_tower
from experiments import zoo, zoo_cost

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / zoo.PAGE).read_text()
MODELS = sorted(path.stem for path in (Path(open_clip.__file__).parent / "model_configs").glob("*.json"))
versions = pytest.mark.skipif(
    zoo.VERSIONS not in PAGE,
    reason="the page was written with other versions",
)


@versions
def test_every_model_of_open_clip_has_a_row_or_a_reason():
    rows = [line.split(" | ")[0].removeprefix("| ") for line in PAGE.splitlines() if line.startswith("| ")]
    _, _, refused = PAGE.partition("## Models that only `crops` reads")
    named = [*rows, *refused.replace("|", ",").replace("\n", ",").replace(", ", ",").split(",")]
    missing = [name for name in ("tiny-rooms", *MODELS) if name not in map(str.strip, named)]
    assert not missing


def test_every_recipe_has_a_row():
    for path in (ROOT / "configs/model").glob("*.yaml"):
        assert f"--model model/{path.stem} " in PAGE
        assert path.read_text().splitlines()[0][2:] in PAGE


@versions
@pytest.mark.parametrize(
    "name", ["tiny-rooms", "RN50-quickgelu", "ViT-B-16", "ViT-B-16-SigLIP2", "convnext_base", "nllb-clip-base"]
)
def test_the_rows_of_some_models_are_up_to_date(name):
    assert zoo.row(facts(name)) in PAGE.splitlines()


@versions
@pytest.mark.slow
def test_the_page_is_up_to_date():
    """In a process of its own, because other tests add models to open_clip."""
    check = [sys.executable, "-m", "experiments.zoo", "--check"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_facts_are_those_of_the_papers():
    """Parameters as open_clip's docs/model_profile.csv has them, in millions."""
    vit, rn50 = facts("ViT-B-16"), facts("RN50")
    assert (vit.stride, vit.native, vit.dim) == (16, (224, 224), 512)
    assert (round(vit.image_parameters / 1e6, 2), round(vit.text_parameters / 1e6, 2)) == (86.19, 63.43)
    assert (rn50.stride, rn50.native, rn50.dim) == (32, (224, 224), 1024)
    assert (round(rn50.image_parameters / 1e6, 2), round(rn50.text_parameters / 1e6, 2)) == (38.32, 63.69)
    assert "openai" in vit.tags
    assert vit.limit == ""


def test_a_tower_with_random_weights_is_measured(monkeypatch):
    monkeypatch.setattr(zoo_cost, "SIZE", (64, 96))
    figures = zoo_cost.measure("tiny-rooms", "attention_pool", 1)
    assert figures["seconds"] > 0
    assert figures["peak_mib"] > 100
    assert not any(parameter.requires_grad for parameter in random_tower("tiny-rooms").parameters())
    row = dict(zip(zoo_cost.COLUMNS, ("a", "b", "c", "1.00", "200"), strict=True))
    assert "| a | b | c | 1.00 | 200 |" in zoo_cost.section([row], 2)
