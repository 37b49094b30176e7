"""The parts of a scene: surfaces, solids, and a camera."""

from typing import NamedTuple


class Surface(NamedTuple):
    """The name of the shape, the colour and the texture of a surface, as captions use them."""

    shape: str
    colour: str
    texture: str


class Solid(NamedTuple):
    """A solid in a room.

    Args:
        kind: `box`, `cylinder` (upright) or `sphere`.
        centre: position in metres.
        half: half extents in metres.
        yaw: rotation about the vertical axis in radians.
        surface: appearance.
    """

    kind: str
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    yaw: float
    surface: Surface


class Camera(NamedTuple):
    """A pinhole camera.

    Args:
        position: position in metres.
        yaw: rotation to the right in radians.
        pitch: rotation upwards in radians.
        fov: field of view across the width of the picture, in degrees.
    """

    position: tuple[float, float, float]
    yaw: float
    pitch: float
    fov: float = 70.0


class Scene(NamedTuple):
    """A room before it is drawn.

    Args:
        name: type of room.
        size: width, height and length in metres.
        shell: left wall, right wall, floor, ceiling, back wall and front wall.
        solids: solids in the room.
        camera: camera.
        light: strength of the lamp at the camera, of the lamp above, of ambient light, and of haze.
    """

    name: str
    size: tuple[float, float, float]
    shell: tuple[Surface, ...]
    solids: tuple[Solid, ...]
    camera: Camera
    light: tuple[float, float, float, float]

    @property
    def surfaces(self) -> tuple[Surface, ...]:
        """All surfaces, the shell first; the pixels of a picture are indices into them."""
        return self.shell + tuple(solid.surface for solid in self.solids)
