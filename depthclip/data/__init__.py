"""The data sets, one a file, all the same to the model."""

from depthclip.data.base import Batch, DataError, DepthDataModule, DepthDataset, Item, Sample, Unreadable
from depthclip.data.kitti import KITTI
from depthclip.data.make3d import Make3D
from depthclip.data.nyu import NYU
from depthclip.data.pairs import Pairs
from depthclip.data.photos import Photos
from depthclip.data.rooms import Rooms

__all__ = [
    "KITTI",
    "NYU",
    "Batch",
    "DataError",
    "DepthDataModule",
    "DepthDataset",
    "Item",
    "Make3D",
    "Pairs",
    "Photos",
    "Rooms",
    "Sample",
    "Unreadable",
]
