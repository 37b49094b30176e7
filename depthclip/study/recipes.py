"""Where the recipes of studies are."""

from pathlib import Path

from depthclip.study.plan import StudyError

HOME = Path("configs")


def find_recipe(name: str) -> str:
    """Return the path of a recipe.

    Args:
        name: a file, or the name of a recipe such as `rooms` or `model/rn50`.

    Raises:
        StudyError: if there is no such recipe.
    """
    if Path(name).is_file():
        return name
    path = HOME / f"{name}.yaml"
    if not path.is_file():
        raise StudyError(
            f"recipe {name}: there is no file {path} in {Path.cwd()}; give a file, or run studies beside {HOME}"
        )
    return str(path)


def known_recipe(text: str) -> str:
    """Return the path of a recipe, or the text itself if it names none, such as the name of a class."""
    path = HOME / f"{text}.yaml"
    return str(path) if path.is_file() and not Path(text).is_file() else text
