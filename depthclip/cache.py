"""The frozen tower's features of training images, computed once."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from depthclip.checkpoint import fingerprint
from depthclip.data.base import DepthDataset
from depthclip.encoder.interfaces import ImageFeatures
from depthclip.encoder.frozen import FrozenCLIP
from depthclip.evaluation.protocol import View

Entry = tuple[Tensor, Tensor | None]


class FeatureCache:
    """Features by image, in memory or in a folder that later runs use again.

    In a folder, features belong to the weights, the readout, the normalisation and the View they were computed with and
    to the image file's path, size and time of change; whatever differs is computed anew. They are mapped into memory
    when read.

    Args:
        where: `memory`, or the path of a folder.
    """

    def __init__(self, where: str) -> None:
        self.folder = None if where == "memory" else Path(where)
        self.entries: dict[int, Entry] = {}
        self.samples: DepthDataset | None = None
        self.key = ""
        self.told = False

    def open(self, encoder: FrozenCLIP, samples: DepthDataset, view: View, pooled: bool) -> None:
        """Takes up a data set; what was kept for others is forgotten."""
        settings = {k: v for k, v in vars(encoder.readout).items() if not k.startswith("_")}
        readout = (type(encoder.readout).__qualname__, settings)
        normalisation = (encoder.mean.flatten().tolist(), encoder.std.flatten().tolist())
        self.key = repr((encoder.name, fingerprint(encoder.model), readout, normalisation, view, pooled))
        self.samples, self.entries, self.told = samples, {}, False

    def get(
        self, indices: list[int], encode: Callable[[list[int]], ImageFeatures], device: torch.device
    ) -> ImageFeatures:
        """Features of some images of the data set, in their order.

        Args:
            indices: the images.
            encode: computes those at given places of the batch.
            device: where they are wanted.
        """
        missing = [k for k, index in enumerate(indices) if not self._has(index)]
        if missing:
            fresh = encode(missing)
            for place, k in enumerate(missing):
                self._keep(indices[k], fresh, place)
        entries = [self.entries[index] for index in indices]
        dense = torch.stack([dense for dense, _ in entries]).to(device)
        if any(pooled is None for _, pooled in entries):
            return ImageFeatures(dense)
        return ImageFeatures(dense, torch.stack([pooled for _, pooled in entries if pooled is not None]).to(device))

    def _has(self, index: int) -> bool:
        if index not in self.entries and self.folder is not None and self._path(index).is_file():
            entry = torch.load(self._path(index), mmap=True, weights_only=True)
            self.entries[index] = (entry["dense"], entry["pooled"])
        return index in self.entries

    def _keep(self, index: int, fresh: ImageFeatures, place: int) -> None:
        # clones, or each entry would keep the whole batch alive
        pooled = None if fresh.pooled is None else fresh.pooled[place].cpu().clone()
        entry = (fresh.dense[place].cpu().clone(), pooled)
        self._tell(entry[0])
        if self.folder is not None:
            path = self._path(index)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{torch.initial_seed()}.partial")
            torch.save({"dense": entry[0], "pooled": entry[1]}, partial)
            partial.replace(path)
        self.entries[index] = entry

    def _tell(self, dense: Tensor) -> None:
        if not self.told and self.samples is not None:
            size = dense.numel() * dense.element_size() * len(self.samples) / 2**20
            print(f"caching features of {len(self.samples)} images: {size:.0f} MiB in {self.folder or 'memory'}")
            self.told = True

    def _path(self, index: int) -> Path:
        assert self.samples is not None
        assert self.folder is not None
        stamps = [(str(f.absolute()), f.stat().st_size, f.stat().st_mtime_ns) for f in self.samples.files(index)]
        whole = f"{self.key}|{self.samples.name(index)}|{stamps}"
        return self.folder / f"{hashlib.sha256(whole.encode()).hexdigest()[:24]}.pt"
