"""Worker processes: how many there are by default, and that figures and Ctrl-C do not depend on them."""

import multiprocessing
import os
import signal

import pytest
import torch
from lightning_fabric.utilities import move_data_to_device
from pytorch_lightning import LightningModule, Trainer

from depthclip.data import workers as module
from depthclip.data.batches import Batch, Item
from depthclip.data.module import DepthDataModule, Loading
from depthclip.data.rooms import Rooms
from depthclip.data.samples import DepthDataset, Sample
from depthclip.data.workers import automatic_workers
from depthclip.errors import InputError
from depthclip.protocol import SCORINGS, Box, View
from experiments.scale import main as scale


@pytest.mark.parametrize(
    ("cores", "images", "devices", "on_cpu", "expected"),
    [
        (1, 1000, 1, True, 0),
        (2, 1000, 1, True, 1),
        (2, 63, 1, True, 0),  # few images
        (16, 1000, 1, True, 1),
        (16, 1000, 1, False, 8),
        (16, 1000, 4, False, 3),  # four cores a device, of which the main process takes one
        (4, 1000, 8, False, 0),
    ],
)
def test_cores_and_devices_decide_the_number(monkeypatch, cores, images, devices, on_cpu, expected):
    monkeypatch.setattr(module, "cores", lambda: cores)
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "fork")
    assert automatic_workers(images, devices, on_cpu) == expected
    # a process that is spawned runs the script again
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "spawn")
    assert automatic_workers(images, devices, on_cpu) == 0


def test_the_automatic_number_leaves_the_start_method_open(monkeypatch):
    monkeypatch.setattr(module, "cores", lambda: 4)
    for default, expected in (("fork", 1), ("spawn", 0)):
        monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: None)  # a script can set it later
        monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda first=default: [first, "forkserver"])
        assert automatic_workers(1000) == expected


def test_a_given_number_is_kept():
    assert Rooms(loading=Loading(num_workers=3)).workers(1) == 3
    assert Rooms().workers(10) == 0


class Interrupted(DepthDataset):
    """Images of which each is interrupted by Ctrl-C where a worker reads it."""

    def __len__(self):
        return 4

    def name(self, index):
        return str(index)

    def __getitem__(self, index):
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGINT)
        return Sample(torch.full((3, 4, 4), index, dtype=torch.uint8), torch.full((4, 4), 1.0 + index), str(index))


class InterruptedData(DepthDataModule):
    def __init__(self, loading):
        super().__init__(View(), "whole", loading)

    def samples(self, split):
        return Interrupted()


def test_workers_leave_ctrl_c_to_the_main_process_and_read_the_same():
    read = []
    for workers in (0, 2):
        data = InterruptedData(Loading(batch_size=1, num_workers=workers))
        data.setup("test")
        read.append([batch.items[0] for batch in data.test_dataloader()])
    for alone, by_worker in zip(*read, strict=True):
        assert alone.index == by_worker.index
        assert torch.equal(alone.rgb, by_worker.rgb)
        assert torch.equal(alone.target, by_worker.target)


class Names(LightningModule):
    """A model that cannot be pickled."""

    def __init__(self):
        super().__init__()
        self.names = []
        self.unpicklable = lambda: None

    def test_step(self, batch, batch_idx):
        self.names += [item.name for item in batch.items]


def read_by_spawned(data):
    """The names of the images that a Trainer reads with processes that are spawned."""
    model = Names()
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    make = data.test_dataloader

    def spawning():
        loader = make()
        loader.multiprocessing_context = "spawn"
        return loader

    data.test_dataloader = spawning
    trainer.test(model, datamodule=data, verbose=False)
    return model.names


def test_processes_that_are_spawned_read_for_a_trainer():
    assert read_by_spawned(Rooms(test_size=2, loading=Loading(num_workers=1))) == ["test/00000", "test/00001"]


def test_a_data_set_that_cannot_be_pickled_is_an_error_with_the_way_out():
    data = Rooms(test_size=2, loading=Loading(num_workers=1))
    data.rooms["test"].transform = lambda image: image
    with pytest.raises(InputError, match=r"loading\.num_workers 1 .*lambda.*; set loading\.num_workers: 0$"):
        read_by_spawned(data)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_receives_batches_from_page_locked_memory():
    class Loop(LightningModule):
        def test_step(self, batch, batch_idx):
            assert batch.items[0].rgb.is_cuda

    trainer = Trainer(accelerator="gpu", devices=1, logger=False, enable_progress_bar=False, enable_checkpointing=False)
    data = Rooms(test_size=4)
    trainer.test(Loop(), datamodule=data)
    assert next(iter(data.test_dataloader())).items[0].rgb.is_pinned()


def test_a_batch_pins_images_and_depth(monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor.shape) or tensor)
    items = [
        Item(0, torch.zeros(3, 4, 5), torch.ones(6, 7), Box(0, 0, 6, 7), "a", ""),
        Item(1, torch.zeros(3, 4, 5), None, Box(0, 0, 4, 5), "b", ""),
    ]
    batch = Batch(items, [], View(), SCORINGS["whole"]).pin_memory()
    assert [item.name for item in batch.items] == ["a", "b"]
    assert pinned == [(3, 4, 5), (6, 7), (3, 4, 5)]


@pytest.mark.parametrize(
    ("device", "pinned", "expected"),
    [("cuda", True, True), ("cuda", False, False), ("mps", True, False), ("cpu", True, False)],
)
def test_a_batch_is_copied_to_a_gpu_without_blocking_from_page_locked_memory(monkeypatch, device, pinned, expected):
    """Lightning passes `non_blocking` to tensors only, not to the `to` of a batch."""
    copies = []

    def to(tensor, device, non_blocking=False):
        copies.append((str(device), non_blocking))
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: pinned)
    item = Item(0, torch.zeros(3, 4, 5), torch.ones(6, 7), Box(0, 0, 6, 7), "a", "")
    move_data_to_device(Batch([item], [], View(), SCORINGS["whole"]), torch.device(device))
    assert copies == [(device, expected)] * 2


def test_the_experiment_reports_memory_and_bytes(capsys):
    scale(["--images", "6"])
    out = capsys.readouterr().out
    assert "6 images in" in out
    assert "4 devices send" in out
