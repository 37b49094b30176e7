"""Damage a file in different ways, and read all samples of a data module."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

from depthclip.data import DepthDataModule


def read_all(data: DepthDataModule, stage: str = "test") -> None:
    """Set a data module up and read all samples of the stage directly."""
    data.setup(stage)
    for samples in data.sets.values():
        for index in range(len(samples)):
            samples[index]


def load_all(data: DepthDataModule, stage: str = "test") -> None:
    """Set a data module up and iterate its loader, which raises the warnings."""
    data.setup(stage)
    loader = {"fit": data.train_dataloader, "predict": data.predict_dataloader}.get(stage, data.test_dataloader)
    list(loader())


def gone(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 5])


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    path.unlink()
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket may have 107 characters
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


SPECIAL: dict[str, Callable[[Path], None]] = {
    "a folder": folder,
    "a pipe": pipe,
    "a socket": a_socket,
    "a device": device,
    "a dangling link": dangling,
    "a link loop": loop,
}
BROKEN: dict[str, Callable[[Path], None]] = {"empty": empty, "truncated": truncated, "garbage": garbage}
ALL: dict[str, Callable[[Path], None]] = {"gone": gone, **BROKEN, **SPECIAL}
