"""Samplers that distribute the images over devices exactly."""

from collections.abc import Iterator

from torch.utils.data import DistributedSampler

from depthclip.data.batches import Viewed


class UnrepeatedSampler(DistributedSampler):
    """Assign each image to exactly one device, so that none is counted twice.

    Lightning does not replace subclasses of DistributedSampler.

    Args:
        dataset: data set, sampled in order.
        num_replicas: number of devices.
        rank: rank of this device.
    """

    def __init__(self, dataset: Viewed, num_replicas: int, rank: int) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=False)
        self.mine = range(rank, len(dataset), num_replicas)

    def __iter__(self) -> Iterator[int]:
        return iter(self.mine)

    def __len__(self) -> int:
        return len(self.mine)


class TrainingSampler(DistributedSampler):
    """Distribute shuffled images; the order depends on seed and epoch only, so that a run resumes exactly.

    Each index comes with the epoch, which seeds the augmentation.

    Args:
        dataset: data set.
        num_replicas: number of devices.
        rank: rank of this device.
        seed: seed of the order.
    """

    def __init__(self, dataset: Viewed, num_replicas: int, rank: int, seed: int) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=True, seed=seed)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((index, self.epoch) for index in super().__iter__())
