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
    except RuntimeError as error:  # the backend's word for a peer that is gone
        raise InputError(
            "another process of this run ended before all images were done; its error is printed above: correct that "
            "and give the command again"
        ) from error
    return values
