"""Run all studies with --quick, and write their tables to docs/studies.md; this takes an hour."""

import argparse
import shutil
import sys
from pathlib import Path

from depthclip.study import main as run_study
from experiments import (
    cameras,
    few_shot,
    fit_bins,
    prompt_learning,
    prompt_words,
    readouts,
    reproduce,
    scene_bins,
    temperature,
    towers,
    zero_shot,
)

STUDIES = (
    zero_shot,
    towers,
    readouts,
    prompt_words,
    scene_bins,
    fit_bins,
    temperature,
    prompt_learning,
    few_shot,
    cameras,
    reproduce,
)
PAGE, PICTURES = Path("docs/studies.md"), Path("docs/studies")
# this study needs data that do not come with the package; its table is included if there is one
SEVEN_SCENES = "few_shot_seven_scenes"
ARGUMENTS = {SEVEN_SCENES: f"few_shot --quick --data configs/data/seven_scenes.yaml --out results/{SEVEN_SCENES}"}
START = "<!-- tables: written by python -m experiments.all_quick -->"


def main() -> int:
    """Run the named studies, by default all, and write the tables of all results into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [module.STUDY.name for module in STUDIES]
    parser.add_argument("studies", nargs="*", choices=[[], *names], help="names of studies to run, by default all")
    parser.add_argument("--resume", action="store_true", help="keep passes that have finished, and run the others")
    given = parser.parse_args()
    failed = 0
    for module in STUDIES:
        name = module.STUDY.name
        if not given.studies or name in given.studies:
            print(f"--- {name}")
            failed |= run_study(module.STUDY, ["--quick", *(["--resume"] if given.resume else [])])
    above = PAGE.read_text().partition(START)[0]
    PAGE.write_text(f"{above}{START}\n\n" + "\n".join(filter(None, map(section, [*names, *ARGUMENTS]))))
    print(f"written: {PAGE}")
    return failed


def section(name: str) -> str:
    """Return the command, picture and table of a study, "" if there are no results."""
    table = Path("results") / name / "table.md"
    if not table.is_file():
        return ""
    picture = PICTURES / f"{name}.png"
    picture.parent.mkdir(exist_ok=True)
    shutil.copy(table.with_name("figure.png"), picture)
    command = f"python -m experiments.{ARGUMENTS.get(name, f'{name} --quick')}"
    link = f"![{name}]({picture.relative_to(PAGE.parent)})"
    return f"## {name}\n\n```\n{command}\n```\n\n{link}\n\n{table.read_text()}"


if __name__ == "__main__":
    sys.exit(main())
