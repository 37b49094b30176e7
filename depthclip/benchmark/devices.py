"""How do the images spread over processes, how much do these exchange, and does memory grow with the images?"""

import pickle

import torch

from depthclip.benchmark.loop import Runtime, test_loop
from depthclip.benchmark.memory import in_new_process, peak_memory
from depthclip.benchmark.tables import Table, Value
from depthclip.benchmark.workload import Workload, without_warnings
from depthclip.cli import quiet_libraries
from depthclip.data import DepthDataModule, DepthDataset, Loading, Rooms, Subset
from depthclip.data.batches import Viewed
from depthclip.data.sampling import UnrepeatedSampler
from depthclip.evaluation.evaluation import Outcome
from depthclip.module import DepthCLIP
from depthclip.protocol import View

TESTS = (654, 100_000)  # images: the test split of NYU Depth V2, and a large one
PROCESSES = (1, 2, 4)
FEW, MANY = 500, 1_500  # images of the runs whose memory is compared
DRAWN = 50  # different images of these runs


class ManyRooms(DepthDataModule):
    """Rooms of 32 x 32 pixels, repeated up to any number of test images.

    Args:
        count: number of test images.
    """

    def __init__(self, count: int) -> None:
        super().__init__(View(size=(32, 32)), "whole", Loading(batch_size=50))
        self.count = count

    def samples(self, split: str) -> DepthDataset:
        """Return the rooms."""
        return Subset(Rooms(test_size=DRAWN).samples("test"), [k % DRAWN for k in range(self.count)])


def devices(work: Workload) -> Table:
    """Return the images and the exchanged bytes of each process, and the growth of memory with the images."""
    work.loop()
    size = bytes_of_image(work.model.outcome)
    samples = Subset(work.data.sets["test"], [0])
    rows: dict[str, dict[str, Value]] = {}
    for count in TESTS:
        viewed = Viewed(Subset(samples, [0] * count), work.data.view)
        for processes in PROCESSES:
            images = [len(UnrepeatedSampler(viewed, processes, rank)) for rank in range(processes)]
            rows[f"{count:,} images on {processes}"] = {
                "fewest": min(images),
                "most": max(images),
                "balance": min(images) / max(images),
                "MiB sent by a process": max(images) * size / 2**20 if processes > 1 else 0.0,
            }
    note = f"The errors, names and scenes of an image take {size:.0f} bytes, with {len(work.model.names)} heads."
    if not work.amount.quick:
        few, many = (in_new_process(peak_of_rooms, count) for count in (FEW, MANY))
        note += (
            f" The peak memory of tiny-rooms on rooms of 32 x 32 is {few:.1f} MiB with {FEW} images and {many:.1f} MiB "
            f"with {MANY}: {(many - few) * 2**20 / (MANY - FEW):,.0f} bytes for each further image."
        )
    columns = ("fewest", "most", "balance", "MiB sent by a process")
    return Table("devices", "images of each process, simulated", columns, rows, note)


def bytes_of_image(outcome: Outcome) -> float:
    """Return the bytes that a process sends for an image: its errors, index, number of pixels, name and scene."""
    result = outcome.result
    tensors = (result.errors, result.index, result.pixels, *result.aligned.values())
    numbers = sum(each.numel() * each.element_size() for each in tensors)
    return (numbers + len(pickle.dumps((outcome.images, outcome.scenes)))) / len(outcome.images)


def peak_of_rooms(count: int) -> float:
    """Return the peak memory in MiB of a test of the bundled CLIP on a number of small rooms."""
    quiet_libraries()
    model = DepthCLIP.from_recipe("rooms", {"model.panels": 0, "model.training_baselines": False})
    cpu = Runtime(torch.device("cpu"))
    with without_warnings():
        test_loop(model, ManyRooms(count), cpu, count)
    return peak_memory(cpu.device)
