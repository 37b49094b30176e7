"""Accelerators: devices that run in the background, so that each value that Python reads waits for them."""

import torch
from torch import Tensor


def is_accelerator(device: torch.device) -> bool:
    """Return whether a device runs asynchronously: reading one of its values in Python waits for all of its work."""
    return device.type != "cpu"


def sent(x: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU to a device without waiting for the device, through pinned memory if it is a GPU."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def copied(x: Tensor, device: torch.device | str, non_blocking: bool = False) -> Tensor:
    """Copy a tensor to a device; the host does not wait for a copy from page-locked memory to a GPU.

    Later operations of the GPU wait for the copy, and PyTorch does not reuse the memory before the copy ends.
    """
    from_pinned = torch.device(device).type == "cuda" and x.is_pinned()
    return x.to(device, non_blocking=non_blocking or from_pinned)
