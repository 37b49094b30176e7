"""Where do conformal intervals of depth hold? Calibrate them on some types of room and test them on others.

`python -m experiments.intervals --quick` takes a minute or two with the bundled CLIP on procedural rooms.
"""

import argparse
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Literal

from depthclip import Bins, DepthCLIP, DepthHead, FrozenCLIP, Prompts, evaluate
from depthclip.data import Loading, Rooms
from depthclip.evaluation.conformal import Conformal
from depthclip.evaluation.measures import Measure
from depthclip.evaluation.uncertainty import Coverage, NegativeLogLikelihood, Sparsification

# the words and bins of configs/rooms.yaml
NEAR = {"giant": 0.85, "extremely close": 1.05, "very close": 1.25, "close": 1.55, "a little close": 1.9}
MIDDLE = {"not in distance": 2.2, "medium": 2.5, "a little remote": 3.0, "a little far": 3.5, "far": 4.5}
WORDS = {**NEAR, **MIDDLE, "quite far": 5.4, "very far": 6.5, "unseen": 8.0}
LEVEL = 0.9
SCORES: tuple[Literal["relative", "absolute", "spread"], ...] = ("relative", "absolute", "spread")
# types of room of the validation and of the test images
EXCHANGEABLE: dict[str, tuple[list[str] | None, list[str] | None]] = {
    "all types": (None, None),
    "small rooms": (["small room"], ["small room"]),
}
SHIFTED: dict[str, tuple[list[str] | None, list[str] | None]] = {
    "small rooms to halls": (["small room"], ["hall"]),
    "small rooms to corridors": (["small room"], ["corridor"]),
    "corridors to small rooms": (["corridor"], ["small room"]),
}
COLUMNS = ("coverage_0.5", "coverage_0.9", "ause_abs_rel", "nll", "abs_rel")


def row(encoder: FrozenCLIP, data: Rooms, score: Literal["relative", "absolute", "spread"], folder: Path) -> list[str]:
    """Return coverage with its 95 % interval over test images, width, and the further figures of one setting."""
    head = DepthHead(Prompts(list(WORDS)), Bins(list(WORDS.values())), temperature=0.35)
    measures: list[Measure] = [Coverage(), Sparsification(), NegativeLogLikelihood()]
    model = DepthCLIP(encoder, head, panels=0, errors=measures, intervals=Conformal(LEVEL, score=score))
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
    encoder = FrozenCLIP("tiny-rooms", "bundled", "attention_pool")
    titles = ["calibrated on, tested on", "score", "coverage", "width (m)", *COLUMNS]
    lines = [f"| {' | '.join(titles)} |", "| --- | --- |" + " ---: |" * (len(titles) - 2)]
    for name, (validation, test) in (EXCHANGEABLE | SHIFTED).items():
        data = Rooms(
            train_size=1,
            val_size=size,
            test_size=size,
            train_types=validation,
            test_types=test,
            view="whole",
            loading=Loading(batch_size=20),
        )
        for score in SCORES:
            cells = row(encoder, data, score, given.out / name.replace(" ", "_") / score)
            lines.append(f"| {name} | {score} | {' | '.join(cells)} |")
    table = "\n".join([f"Nominal level {LEVEL:g}; {size} validation and {size} test images.", "", *lines, ""])
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "table.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
