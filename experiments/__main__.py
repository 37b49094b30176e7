"""`python -m experiments`: the studies and their questions."""

from rich.console import Console

from experiments.all_quick import STUDIES


def main() -> None:
    """Print the command and the question of each study."""
    console = Console(soft_wrap=True, highlight=False)
    for module in STUDIES:
        console.print(f"python -m experiments.{module.STUDY.name}", style="cyan")
        console.print(f"  {module.STUDY.question}", markup=False)
    console.print("\nwith --quick on the model and the rooms that ship with the package; see docs/studies.md")


if __name__ == "__main__":
    main()
