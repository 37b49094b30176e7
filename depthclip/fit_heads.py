"""Fit heads to training depths and training images before a run starts.

Every device reads the same images in the same order, so that the fitted values do not depend on the number of devices.
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_

import torch
from torch import Tensor

from depthclip.data.module import DepthDataModule
from depthclip.errors import InputError
from depthclip.estimator import DepthEstimator
from depthclip.head.interfaces import Head


def depths_for_heads(heads: Sequence[Head], data: DepthDataModule | None, count: int) -> Iterator[Tensor]:
    """Yield training depths (H, W) in metres, and fit the heads that need them in the same pass.

    Args:
        heads: all heads of a model.
        data: the data module of the trainer.
        count: largest number of training images.

    Raises:
        InputError: if there is no data module, or a head that needs depths has a camera.
    """
    needing = [head for head in heads if head.needs_depths]
    for head in needing:
        if head.camera is not None:
            raise InputError(
                f"camera {head.camera:g} is set, but the bins are fitted to depths as they are, whatever the camera; "
                "fit them with camera: null, and set camera to the focal length of the training images in later runs"
            )
    if data is None:
        raise InputError(
            f"{'the head' if needing else 'a baseline'} is fitted to training depths, but there is no data module; "
            "pass one to the trainer"
        )
    for depth, scene in data.training_depths(count):
        for head in needing:
            head.update(depth, scene)
        yield depth
    for head in needing:
        head.compute()


@torch.no_grad()
def calibrate_heads(model: DepthEstimator, data: DepthDataModule | None, count: int) -> None:
    """Calibrate the heads that need training images; each image is encoded once for all of them.

    Args:
        model: the encoder and its heads.
        data: the data module of the trainer.
        count: largest number of training images.

    Raises:
        InputError: if there is no data module.
    """
    if data is None:
        raise InputError(
            "a head with calibrated: true is fitted to training images, but there is no data module; pass one to the "
            "trainer, or load a checkpoint that holds the means"
        )
    heads = [head for head in model.heads if head.needs_images]
    needs = reduce(or_, (head.needs for head in heads))
    for batch in data.training_batches(count):
        for _, rgb in batch.to(model.device).by_size():
            features = model.encode(rgb, batch.view, needs)
            for head in heads:
                head.calibrate(features.select(needs, head.needs), model.encoder.text)
    for head in heads:
        head.finish_calibration()
