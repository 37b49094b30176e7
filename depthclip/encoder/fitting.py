"""Find the readouts that fit a model, without its weights."""

from depthclip.encoder.loading import config_of
from depthclip.encoder.readouts import fitting_names
from depthclip.encoder.towers import tower_of
from depthclip.encoder.weights import image_tower


def readouts_of(name: str) -> list[str]:
    """Return the names of the readouts that fit the image tower of a model; nothing is downloaded.

    Args:
        name: the name of an open_clip model, or `tiny-rooms`.

    Raises:
        InputError: if the model is unknown or cannot be built.
    """
    return fitting_names(tower_of(image_tower(name, config_of(name))))
