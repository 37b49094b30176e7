"""Where do conformal intervals of depth hold? Calibrate them on some types of room and test them on others.

`python -m experiments.intervals --quick` takes a minute or two with the bundled CLIP on procedural rooms.
"""

import argparse
import json
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from depthclip import evaluate
from depthclip.cli import resolve
from depthclip.instantiate import instantiate

LEVEL = 0.9
SCORES = ("relative", "absolute", "spread")
Types = tuple[list[str] | None, list[str] | None]  # of the validation and of the test rooms, None for all
EXCHANGEABLE: dict[str, Types] = {
    "all types": (None, None),
    "small rooms": (["small room"], ["small room"]),
}
SHIFTED: dict[str, Types] = {
    "small rooms to halls": (["small room"], ["hall"]),
    "small rooms to corridors": (["small room"], ["corridor"]),
    "corridors to small rooms": (["corridor"], ["small room"]),
}
COLUMNS = ("coverage_0.5", "coverage_0.9", "ause_abs_rel", "nll", "abs_rel")


def row(types: Types, score: str, size: int, folder: Path) -> list[str]:
    """Return coverage with its 95 % interval over test images, width, and the further figures of one setting."""
    validation, test = types
    settings = {
        "data.train_size": 1,
        "data.val_size": size,
        "data.test_size": size,
        "data.train_types": validation,
        "data.test_types": test,
        "model.training_baselines": False,
        "model.errors": ["Coverage", "Sparsification", "NegativeLogLikelihood"],
        "model.intervals": {"level": LEVEL, "score": score},
        "model.panels": 0,
    }
    model, data = instantiate(
        resolve(["test", "-c", "rooms", *(f"--{k}={json.dumps(v)}" for k, v in settings.items())])
    )
    with redirect_stdout(StringIO()):  # the tables of all runs
        figures = evaluate(model, data, folder)["head"]
    result = model.outcome.result
    coverage = result.errors[result.pixels > 0, 0, result.columns.index("coverage")]
    reach = 1.96 * float(coverage.std()) / len(coverage) ** 0.5
    cells = [f"{figures['coverage']:.3f} ± {reach:.3f}", f"{figures['width']:.2f}"]
    return [*cells, *(f"{figures[column]:.3f}" for column in COLUMNS)]


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="60 validation and 60 test images, not 400 and 400")
    parser.add_argument("--rooms", type=int, help="number of validation and of test images")
    parser.add_argument("--out", type=Path, default=Path("results/intervals"), help="folder of the table and the runs")
    given = parser.parse_args(args)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    size = given.rooms or (60 if given.quick else 400)
    titles = ["calibrated on, tested on", "score", "coverage", "width (m)", *COLUMNS]
    lines = [f"| {' | '.join(titles)} |", "| --- | --- |" + " ---: |" * (len(titles) - 2)]
    for name, types in (EXCHANGEABLE | SHIFTED).items():
        for score in SCORES:
            cells = row(types, score, size, given.out / name.replace(" ", "_") / score)
            lines.append(f"| {name} | {score} | {' | '.join(cells)} |")
    table = "\n".join([f"Nominal level {LEVEL:g}; {size} validation and {size} test images.", "", *lines, ""])
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "table.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
