"""Find the readouts that fit a model, without its weights."""

from depthclip.encoder.loading import config_of
from depthclip.encoder.readouts import READOUTS, readout_of
from depthclip.encoder.towers import tower_of
from depthclip.encoder.weights import image_tower


def readouts_of(name: str) -> list[str]:
    """Return the names of the readouts that fit the image tower of a model; nothing is downloaded.

    Args:
        name: the name of an open_clip model, or `tiny-rooms`.

    Raises:
        InputError: if the model is unknown, cannot be built, or has an image tower that is not supported.
    """
    tower = tower_of(image_tower(name, config_of(name)))
    return [readout for readout in READOUTS if readout_of(readout).fits(tower)]
