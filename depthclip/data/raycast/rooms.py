"""Random rooms: their size, paint, furniture and camera."""

import math

import numpy as np

from depthclip.data.raycast.scenes import Camera, Scene, Solid, Surface
from depthclip.data.raycast.textures import COLOURS

WALL_COLOURS = ("white", "grey", "beige", "yellow", "green", "blue", "pink", "orange")
FLOOR_COLOURS = ("brown", "beige", "grey", "white", "red", "green", "blue", "black")

SCENES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[int, int]]] = {
    # width, length and height in metres, and how many pieces of furniture
    "small room": ((2.2, 3.2), (2.4, 3.4), (2.3, 2.5), (2, 4)),
    "room": ((3.4, 5.0), (3.8, 5.6), (2.4, 2.7), (4, 7)),
    "hall": ((5.5, 7.5), (6.5, 9.0), (3.0, 4.0), (6, 10)),
    "corridor": ((1.6, 2.3), (6.5, 10.0), (2.3, 2.6), (2, 5)),
}


def random_type(rng: np.random.Generator) -> str:
    """Draw a type of room; it is the first draw of a generator, so that the type is known without drawing the room."""
    return str(rng.choice(list(SCENES)))


def random_scene(rng: np.random.Generator, name: str, fov: float = 70.0) -> Scene:
    """Draw the size of a room of some type, its furniture, and a camera 1.5 m above its floor.

    The field of view `fov`, in degrees, changes none of the draws.
    """
    widths, lengths, heights, pieces = SCENES[name]
    size = float(rng.uniform(*widths)), float(rng.uniform(*heights)), float(rng.uniform(*lengths))
    turn = 15 if name == "corridor" else 55
    camera = Camera(
        position=(
            float(size[0] * rng.uniform(0.3, 0.7)),
            float(rng.uniform(1.45, 1.55)),
            float(rng.uniform(0.4, 0.4 * size[2])),
        ),
        yaw=math.radians(rng.uniform(-turn, turn)),
        pitch=math.radians(rng.uniform(-24, 6)),
        fov=fov,
    )
    walls = Surface("wall", *_paint(rng, WALL_COLOURS, ("plain", "striped", "brick", "dotted", "tiled", "speckled")))
    shell = [
        walls,
        walls,
        Surface("floor", *_paint(rng, FLOOR_COLOURS, ("tiled", "wooden", "checkered", "speckled"))),
        Surface("ceiling", *_paint(rng, ("white", "grey", "beige"), ("plain",))),
        walls,
        walls,
    ]
    if rng.random() < 0.4:
        accent = int(rng.choice([0, 1, 5]))
        shell[accent] = Surface("wall", *_paint(rng, WALL_COLOURS, ("plain", "striped", "brick", "dotted")))
    solids: list[Solid] = []
    for _ in range(int(rng.integers(pieces[0], pieces[1] + 1))):
        solids += _furniture(rng, size, camera)
    solids += _on_walls(rng, size)
    light = (rng.uniform(1.4, 1.7), rng.uniform(0.2, 0.5), rng.uniform(0.12, 0.18), rng.uniform(0.035, 0.05))
    return Scene(name, size, tuple(shell), tuple(solids), camera, light)


def _paint(rng: np.random.Generator, colours: tuple[str, ...], textures: tuple[str, ...]) -> tuple[str, str]:
    return str(rng.choice(colours)), str(rng.choice(textures))


def _furniture(rng: np.random.Generator, size: tuple[float, float, float], camera: Camera) -> list[Solid]:
    """Draw a piece of furniture on the floor in view of the camera, at a distance from the camera and the walls."""
    shape = str(rng.choice(["box", "box", "cupboard", "table", "ball", "barrel", "column", "rug"]))
    surface = Surface(
        shape, *_paint(rng, tuple(COLOURS), ("plain", "plain", "striped", "checkered", "wooden", "dotted"))
    )
    angle = camera.yaw + math.radians(rng.uniform(-36, 36))
    away = rng.uniform(1.0, size[2])
    x = float(np.clip(camera.position[0] + away * math.sin(angle), 0.4, size[0] - 0.4))
    z = float(np.clip(camera.position[2] + away * math.cos(angle), 0.4, size[2] - 0.4))
    yaw = float(rng.uniform(-math.pi, math.pi))
    if math.hypot(x - camera.position[0], z - camera.position[2]) < 0.9:
        return []
    if shape == "box":
        edges = rng.uniform(0.18, 0.36, 3)
        return [
            Solid("box", (x, float(edges[1]), z), (float(edges[0]), float(edges[1]), float(edges[2])), yaw, surface)
        ]
    if shape == "cupboard":
        height = float(rng.uniform(0.8, 0.98))
        return [Solid("box", (x, height, z), (0.42, height, 0.24), yaw, surface)]
    if shape == "table":
        foot = Solid("cylinder", (x, 0.36, z), (0.06, 0.36, 0.06), yaw, surface)
        top = "box" if rng.random() < 0.6 else "cylinder"
        half = (0.6, 0.025, 0.38) if top == "box" else (0.45, 0.025, 0.45)
        return [foot, Solid(top, (x, 0.73, z), half, yaw, surface)]
    if shape == "ball":
        radius = float(rng.choice([0.12, 0.2, 0.32]))
        return [Solid("sphere", (x, radius, z), (radius, radius, radius), yaw, surface)]
    if shape == "barrel":
        return [Solid("cylinder", (x, 0.45, z), (0.29, 0.45, 0.29), yaw, surface)]
    if shape == "column":
        return [Solid("cylinder", (x, size[1] / 2, z), (0.17, size[1] / 2, 0.17), yaw, surface)]
    return [Solid("box", (x, 0.008, z), (0.8, 0.008, 0.55), yaw, surface)]


def _on_walls(rng: np.random.Generator, size: tuple[float, float, float]) -> list[Solid]:
    """Draw doors of 0.9 x 2.05 m and pictures of 0.6 x 0.45 m on the walls in view."""
    solids = []
    for wall in ("left", "right", "front", "front"):
        if rng.random() < 0.5:
            continue
        shape = str(rng.choice(["door", "picture"]))
        half = (0.45, 1.025, 0.03) if shape == "door" else (0.30, 0.225, 0.03)
        up = 1.025 if shape == "door" else 1.55
        length = size[0] if wall == "front" else size[2]
        along = float(rng.uniform(0.5, length - 0.5))
        centre = {"left": (0.0, up, along), "right": (size[0], up, along), "front": (along, up, size[2])}[wall]
        textures = ("plain", "wooden") if shape == "door" else ("striped", "checkered", "dotted", "plain")
        surface = Surface(shape, *_paint(rng, tuple(COLOURS), textures))
        solids.append(Solid("box", centre, half, 0.0 if wall == "front" else math.pi / 2, surface))
    return solids
