"""The exceptions for input that the user can correct."""


class InputError(ValueError):
    """Input that the user can correct: an argument, a file or a recipe.

    Its text is one sentence that names the argument or file, its value, and the way out. The command line prints it and
    exits with code 2; every other exception keeps its traceback, because it is a bug.
    """
