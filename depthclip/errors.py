"""The exception for input that the user can correct."""


class InputError(ValueError):
    """Input that the user can correct: an argument, a file or a recipe.

    Its message is one sentence that names the argument or file, its value, and the way out. The command line prints it
    and exits with code 2. Every other exception is a bug and keeps its traceback.
    """
