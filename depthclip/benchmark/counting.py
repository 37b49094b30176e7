"""Count the operations that a piece of work dispatches, and those for which the host waits on an accelerator."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "equal",
    "is_nonzero",
    "unique",
)  # sizes or values are read


class Counts(NamedTuple):
    """The number of dispatched operations, and of those for which the host waits on an accelerator."""

    operations: int
    synchronizations: int

    def minus(self, other: "Counts") -> "Counts":
        """Return the difference of two counts."""
        return Counts(self.operations - other.operations, self.synchronizations - other.synchronizations)


class OperationCounter(TorchDispatchMode):
    """Count the operations of a block, by name.

    Attributes:
        operations: number of calls by the name of the operation.
        synchronizations: number of calls for which the host waits, by the name of the operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.synchronizations: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count an operation and run it."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.operations[name] += 1
        if synchronizes(name, args, kwargs or {}, result):
            self.synchronizations[name] += 1
        return result

    @property
    def counts(self) -> Counts:
        """The totals."""
        return Counts(self.operations.total(), self.synchronizations.total())


def synchronizes(name: str, args: Any, kwargs: Mapping[str, Any], result: Any) -> bool:
    """Return whether the host has to wait for the result of an operation on an accelerator.

    That is the case for values that Python reads, for shapes that depend on values, such as those of boolean indices,
    and for copies between the accelerator and the host, unless they go to the accelerator with `non_blocking`.

    Args:
        name: name of the operation.
        args: its arguments.
        kwargs: its arguments by name.
        result: its result.
    """
    if name in WAITING or name.startswith(("unique_", "_unique")):
        return True
    if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
        return any(isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8) for each in args[1])
    if name in ("_to_copy", "copy_"):
        source, *rest = args[1:] if name == "copy_" else args
        to_host = result.device.type == "cpu"
        non_blocking = not to_host and (kwargs.get("non_blocking", False) or True in rest)
        return (source.device.type == "cpu") != to_host and not non_blocking
    return False


def count(run: Callable[[], object]) -> Counts:
    """Return the counts of a function call."""
    with OperationCounter() as counter:
        run()
    return counter.counts
