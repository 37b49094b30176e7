"""Which studies are there? Print their commands and questions: `python -m experiments`."""

from rich.console import Console

from experiments import budget
from experiments.all_quick import STUDIES


def main() -> None:
    """Print the command and the question of each study."""
    console = Console(soft_wrap=True, highlight=False)
    for module in (*STUDIES, budget):
        console.print(f"python -m experiments.{module.STUDY.name}", style="cyan")
        console.print(f"  {module.STUDY.question}", markup=False)
    console.print("\nAdd --quick to use the model and the rooms that come with the package; see docs/studies.md.")


if __name__ == "__main__":
    main()
