"""Data sets with images and depth in metres, and the base classes for new ones."""

from depthclip.data.augment import Augment
from depthclip.data.batches import Batch, Item, Unreadable
from depthclip.data.kitti import KITTI
from depthclip.data.make3d import Make3D
from depthclip.data.module import DepthDataModule, Loading, Shots, Split
from depthclip.data.nyu import NYU
from depthclip.data.pairs import Pairs
from depthclip.data.photos import Photos
from depthclip.data.rooms import Rooms
from depthclip.data.samples import DataError, DepthDataset, Sample, Subset

__all__ = [
    "KITTI",
    "NYU",
    "Augment",
    "Batch",
    "DataError",
    "DepthDataModule",
    "DepthDataset",
    "Item",
    "Loading",
    "Make3D",
    "Pairs",
    "Photos",
    "Rooms",
    "Sample",
    "Shots",
    "Split",
    "Subset",
    "Unreadable",
]
