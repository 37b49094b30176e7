"""Collect Python values from all processes of a run."""

from typing import TypeVar

from torch import distributed

from depthclip.errors import InputError

Value = TypeVar("Value")


def gather(value: Value) -> list[Value]:
    """Return the values of all processes, by rank; every process must call it.

    Args:
        value: anything that can be pickled; tensors must be on the CPU.

    Raises:
        InputError: if another process has ended.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return [value]
    values: list[Value] = [value] * distributed.get_world_size()
    try:
        distributed.all_gather_object(values, value)
    except RuntimeError as error:  # raised by the backend if another process is gone
        raise InputError(
            "another process of this run has ended early; correct the error that it printed above and run the command "
            "again"
        ) from error
    return values
