"""Which models are there, and which readouts fit them? Write docs/zoo.md: `python -m experiments.zoo`."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from depthclip.encoder.zoo import ModelFacts, facts, model_names

PAGE = Path("docs/zoo.md")
MEASURED = "<!-- measured: written by python -m experiments.zoo_cost -->"
VERSIONS = f"open_clip {version('open_clip_torch')} with timm {version('timm')}"
INTRODUCTION = f"""# Zoo

All models of {VERSIONS}, and the bundled model. This page was written by
`python -m experiments.zoo`, which builds each model without weights.

Any model of the second table with a weight tag can replace the model of a recipe:

```
python -m depthclip test -c nyu_rn50 \\
    --model.encoder.name NAME --model.encoder.pretrained TAG --model.encoder.readout READOUT
```
"""


def recipes() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the first line and the encoder of each recipe of a model, by name."""
    found = {}
    for path in sorted(Path("configs/model").glob("*.yaml")):
        text = path.read_text()
        found[path.stem] = (text.splitlines()[0].removeprefix("# "), yaml.safe_load(text)["encoder"])
    return found


def recipe_table() -> list[str]:
    """Return a table of the recipes, with the licence that the first line of a recipe names."""
    lines = ["## Recipes", "", "| command | weights | readout | |", "| --- | --- | --- | --- |"]
    for name, (title, encoder) in recipes().items():
        arguments = encoder.get("init_args", encoder)
        weights = " ".join(str(arguments[key]) for key in ("name", "pretrained") if key in arguments)
        data = next((data for data in ("kitti", "make3d") if name.startswith(data)), "nyu")
        command = f"`python -m depthclip test --model model/{name} --data data/{data}`"
        lines.append(f"| {command} | {weights} | `{arguments['readout']}` | {title} |")
    return lines


def row(model: ModelFacts) -> str:
    """Return the row of a model."""
    size = "x".join(map(str, model.native if model.native[0] != model.native[1] else model.native[:1]))
    readouts = ", ".join(f"`{readout}`" for readout in model.readouts)
    tags = ", ".join(f"`{tag}`" for tag in model.tags) or "none"
    cells = (model.name, model.family, readouts, model.stride, size, model.dim, *sizes(model), tags)
    return f"| {' | '.join(map(str, cells))} |"


def sizes(model: ModelFacts) -> tuple[str, str]:
    """Return the parameters of the image tower and of the text tower in millions."""
    text = "?" if model.text_parameters is None else f"{model.text_parameters / 1e6:.1f}"
    return f"{model.image_parameters / 1e6:.1f}", text


def model_table(models: Sequence[ModelFacts]) -> list[str]:
    """Return a table of all models."""
    head = ("model", "image tower", "readouts that fit", "patch", "native size", "D", "image, M", "text, M", "weights")
    return [
        f"## Models ({len(models)})",
        "",
        "`patch` is the distance between patches and `native size` the side of the training images, both in pixels;",
        "`D` is the dimension of the joint space. Parameters are in millions; those of the text tower include a",
        "decoder, and `?` marks text towers that only the Hugging Face hub describes.",
        "",
        f"| {' | '.join(head)} |",
        "| --- | --- | --- |" + " ---: |" * 5 + " --- |",
        *map(row, models),
    ]


def limit_table(models: Sequence[ModelFacts]) -> list[str]:
    """Return a table of the models whose patches no readout reads, by reason."""
    reasons: dict[str, list[str]] = {}
    for model in models:
        if model.limit:
            reasons.setdefault(model.limit, []).append(model.name)
    count = sum(map(len, reasons.values()))
    lines = [f"## Models that only `crops` reads ({count})", "", "| reason | models |", "| --- | --- |"]
    return [*lines, *(f"| {reason} | {', '.join(names)} |" for reason, names in reasons.items())]


def generated() -> str:
    """Return the part of the page that is written from the code."""
    models = [facts(name) for name in model_names()]
    tables = (recipe_table(), model_table(models), limit_table(models))
    return "\n".join([INTRODUCTION, *("\n".join([*table, ""]) for table in tables)])


def main() -> int:
    """Write the page, or compare it with the code, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare the page with the code")
    check = parser.parse_args().check
    written, _, measured = PAGE.read_text().partition(MEASURED) if PAGE.is_file() else ("", "", "")
    page = generated() + "\n"
    if check:
        missing = [line for line in page.splitlines() if line not in written.splitlines()]
        print("\n".join(["the page is not up to date; run python -m experiments.zoo", *missing] if missing else []))
        return int(page != written)
    PAGE.write_text(f"{page}{MEASURED}{measured or chr(10)}")
    print(f"written: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
