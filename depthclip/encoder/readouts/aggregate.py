"""The readout `aggregate`."""

from torch import Tensor
from torch.nn import functional as F

from depthclip.checks import check_number
from depthclip.encoder.attention import similarity_weights
from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.encoder.readouts.base import Readout
from depthclip.encoder.towers import Tower


class Aggregate(Readout):
    """The dense map of another readout, each cell averaged with the cells that are similar to it.

    With S the cosine similarities of all cells of an image, the weights of the mean of a cell are the softmax of
    sharpness * (S - threshold * mean(S)) over the cells at which this is not negative, which include the cell itself.
    The mean is scaled to the length that the cell had. A constant map is unchanged. This is the global aggregation of
    RADSeg (arXiv 2511.19704), applied to any dense map.

    Args:
        readout: the readout whose map is aggregated: a name, or a subclass of `Readout` by class_path.
        threshold: factor of the mean similarity of the image, below which cells have no weight; at most 100.
        sharpness: factor of the similarities in the softmax; at most 1000.

    Raises:
        InputError: if the readout is unknown or a value is out of range.
    """

    def __init__(self, readout: str | Readout = "maskclip", threshold: float = 1.0, sharpness: float = 10.0) -> None:
        from depthclip.encoder.readouts import readout_of  # which lists this class

        super().__init__()
        check_number("threshold", threshold, at_least=0, at_most=100)
        check_number("sharpness", sharpness, above=0, at_most=1000)
        self.readout = readout_of(readout)
        self.threshold = threshold
        self.sharpness = sharpness

    def fits(self, tower: Tower) -> bool:
        """Return whether the aggregated readout fits a tower."""
        return self.readout.fits(tower)

    def set_normalization(self, mean: Tensor, std: Tensor) -> None:
        """Pass the normalization of the images on to the aggregated readout."""
        self.readout.set_normalization(mean, std)

    def forward(self, tower: Tower, images: Tensor, needs: Needs) -> ImageFeatures:
        """Return the features of the aggregated readout with another dense map, (B, D, h, w)."""
        features: ImageFeatures = self.readout(tower, images, needs)
        cells = features.dense.flatten(2).mT
        mean = similarity_weights(cells, self.threshold, self.sharpness) @ cells
        scaled = F.normalize(mean, dim=-1) * cells.norm(dim=-1, keepdim=True)
        return features._replace(dense=scaled.mT.unflatten(2, features.dense.shape[2:]))
