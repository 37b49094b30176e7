"""How much time and memory does an image take with each recipe of a model? Write it to docs/zoo.md and to a CSV file.

`python -m experiments.zoo_cost` runs the image tower of each recipe with random weights on one image of 416 x 544
pixels, in a separate process. Times depend on the machine; run nothing else meanwhile.
"""

import argparse
import csv
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from depthclip.encoder import Needs, Readout
from depthclip.encoder.readouts import readout_of
from depthclip.encoder.zoo import random_tower
from experiments.zoo import MEASURED, PAGE, recipes

OUT = Path("results/zoo_cost/results.csv")
SIZE = (416, 544)
RUNS = 3
COLUMNS = ("recipe", "model", "readout", "seconds", "peak_mib")


@torch.inference_mode()
def measure(name: str, readout: str | Readout, threads: int) -> dict[str, float]:
    """Return the median seconds of a pass with one image, and the peak memory of the process in MiB.

    Args:
        name: name of an open_clip model.
        readout: name of a readout.
        threads: number of threads.
    """
    torch.set_num_threads(threads)
    tower, read, image = random_tower(name), readout_of(readout), torch.rand(1, 3, *SIZE)
    seconds = []
    for _ in range(RUNS + 1):  # the first pass is not counted
        start = time.perf_counter()
        read(tower, image, Needs())
        seconds.append(time.perf_counter() - start)
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # on Linux
    return {"seconds": statistics.median(seconds[1:]), "peak_mib": kib / 1024}


def measure_all(threads: int) -> list[dict[str, str]]:
    """Return a row for each recipe whose image tower can be measured, and print the others."""
    rows = []
    for recipe, (_, encoder) in recipes().items():
        if not isinstance(encoder.get("name"), str) or not isinstance(encoder["readout"], str):
            print(f"{recipe}: not a model of open_clip with a named readout")
            continue
        chosen = ["--one", encoder["name"], encoder["readout"], "--threads", str(threads)]
        run = subprocess.run([sys.executable, "-m", "experiments.zoo_cost", *chosen], capture_output=True, text=True)
        if run.returncode:
            print(f"{recipe}: {run.stderr.strip().splitlines()[-1]}")
            continue
        figures = json.loads(run.stdout.splitlines()[-1])
        values = (
            recipe,
            encoder["name"],
            encoder["readout"],
            f"{figures['seconds']:.2f}",
            f"{figures['peak_mib']:.0f}",
        )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
        print(*values)
    return rows


def section(rows: list[dict[str, str]], threads: int) -> str:
    """Return the section of the page."""
    lines = [
        "## Time and memory",
        "",
        f"`python -m experiments.zoo_cost --threads {threads}` on {platform.machine()}, {platform.system()}, torch "
        f"{torch.__version__}: seconds for one image of {SIZE[0]} x {SIZE[1]} pixels (median of {RUNS}), and the peak",
        "memory of the process with the image tower only, in MiB, weights included.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "| --- | --- | --- | ---: | ---: |",
        *(f"| {' | '.join(row.values())} |" for row in rows),
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="number of threads")
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "READOUT"), help="print the figures of one model as JSON")
    given = parser.parse_args()
    if given.one:
        model, readout = given.one
        print(json.dumps(measure(model, readout, given.threads)))
        return
    rows = measure_all(given.threads)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with OUT.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    above = PAGE.read_text().partition(MEASURED)[0]
    PAGE.write_text(f"{above}{MEASURED}\n\n{section(rows, given.threads)}\n")
    print(f"written: {OUT}, {PAGE}")


if __name__ == "__main__":
    main()
