"""Run a function with torch.compile, or as it is where the compilation fails."""

import warnings
from collections.abc import Callable
from typing import Any

import torch


class Compiled:
    """A function that torch.compile compiles at the first call; if this fails, the function runs without it.

    Sizes of tensors are dynamic after the second size, so that images of any size can follow. Nothing of a module that
    is an argument of the function changes, neither its class nor the keys of its state dict.

    Args:
        function: the function; modules are passed as arguments, so that copies of them are not confused.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.compiled: Callable[..., Any] | None = None
        self.failed = False

    def __call__(self, *arguments: Any) -> Any:
        """Return the output of the function."""
        if self.failed:
            return self.function(*arguments)
        try:
            if self.compiled is None:
                self.compiled = torch.compile(self.function)
            return self.compiled(*arguments)
        except Exception as error:  # a compiler raises any type
            outputs = self.function(*arguments)  # which raises errors that have another cause
            self.failed, self.compiled = True, None
            reason = (str(error) or type(error).__name__).strip().splitlines()[0][:200]
            warnings.warn(
                f"compile: torch.compile failed ({reason}), so that the image tower runs without it; set compile to "
                "false, or install a C++ compiler that PyTorch supports",
                stacklevel=2,
            )
            return outputs
