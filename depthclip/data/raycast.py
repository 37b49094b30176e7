"""Furnished, box-shaped rooms drawn from a random generator and ray-cast in NumPy with exact planar depth.

A room spans (0, 0, 0) to its size in metres: x to the right, y up, z away from the back wall. Everything that the eye
uses to judge metres is metric here: textures have a fixed size, the camera stands at eye height, doors and tables have
the size of doors and tables, and the lamp beside the camera falls off with distance.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

NEAREST, FARTHEST = 0.5, 10.0  # metres
FIELD_OF_VIEW = 70.0  # degrees across the width of the picture

COLOURS: dict[str, tuple[float, float, float]] = {
    "white": (0.86, 0.85, 0.82),
    "grey": (0.48, 0.48, 0.48),
    "black": (0.09, 0.09, 0.10),
    "beige": (0.72, 0.62, 0.44),
    "brown": (0.36, 0.21, 0.11),
    "red": (0.66, 0.09, 0.07),
    "orange": (0.85, 0.38, 0.07),
    "yellow": (0.85, 0.69, 0.13),
    "green": (0.17, 0.48, 0.17),
    "blue": (0.12, 0.26, 0.62),
    "purple": (0.38, 0.16, 0.50),
    "pink": (0.84, 0.46, 0.54),
}
WALL_COLOURS = ("white", "grey", "beige", "yellow", "green", "blue", "pink", "orange")
FLOOR_COLOURS = ("brown", "beige", "grey", "white", "red", "green", "blue", "black")


class Surface(NamedTuple):
    """What a caption can say about a surface: the names of its shape, its colour and its texture."""

    shape: str
    colour: str
    texture: str


class Solid(NamedTuple):
    """A box, cylinder (upright) or sphere: its centre and half extents in metres, turned by `yaw` radians."""

    kind: str
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    yaw: float
    surface: Surface


class Camera(NamedTuple):
    """A pinhole camera: its position in metres, `yaw` to the right and `pitch` upwards in radians."""

    position: tuple[float, float, float]
    yaw: float
    pitch: float

    def rays(self, height: int, width: int) -> Array:
        """Returns a ray for every pixel, (3, height * width), one metre long along the optical axis."""
        focal = focal_length(width)
        x, y = np.meshgrid(
            (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / focal,
            (height / 2 - np.arange(height, dtype=np.float32) - 0.5) / focal,
        )
        cos, sin = math.cos(self.pitch), math.sin(self.pitch)
        up, ahead = (y * cos + sin).ravel(), (cos - y * sin).ravel()
        right, forward = _turn(x.ravel(), ahead, self.yaw)
        return np.stack([right, up, forward])


class Scene(NamedTuple):
    """A room before it is drawn: its type, size in metres, six inner surfaces, the solids in it, camera and light."""

    name: str
    size: tuple[float, float, float]
    shell: tuple[Surface, ...]  # left wall, right wall, floor, ceiling, back wall, front wall
    solids: tuple[Solid, ...]
    camera: Camera
    light: tuple[float, float, float, float]  # strength of the lamp at the camera, of the lamp above, ambient, haze

    @property
    def surfaces(self) -> tuple[Surface, ...]:
        """The surfaces that the pixels of a picture refer to, the shell first."""
        return self.shell + tuple(solid.surface for solid in self.solids)


class Picture(NamedTuple):
    """A drawn room: rgb (H, W, 3) uint8, depth (H, W) float32 metres, and surface (H, W), indices into the scene's."""

    rgb: NDArray[np.uint8]
    depth: Array
    surface: NDArray[np.uint8]
    scene: Scene


def focal_length(width: int) -> float:
    """Returns the focal length in pixels of a picture `width` pixels wide."""
    return width / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))


def draw_room(rng: np.random.Generator, height: int = 120, width: int = 160) -> Picture:
    """Draws a random room whose depth lies within 0.5 to 10 metres everywhere."""
    name = random_type(rng)
    while True:
        scene = random_scene(rng, name)
        rays = scene.camera.rays(height, width)
        depth, index = cast(scene, rays)
        if depth.min() >= NEAREST and depth.max() <= FARTHEST:
            break
    linear = shade(scene, rays, depth, index, width, rng)
    encoded = np.clip(linear, 0, 1) ** (1 / 2.2)
    encoded += rng.standard_normal(encoded.shape, dtype=np.float32) * 0.012
    rgb = (np.clip(encoded, 0, 1) * 255 + 0.5).astype(np.uint8).T
    return Picture(rgb.reshape(height, width, 3), depth.reshape(height, width), index.reshape(height, width), scene)


# --- geometry -------------------------------------------------------------------------------------------------------


def cast(scene: Scene, rays: Array) -> tuple[Array, NDArray[np.uint8]]:
    """Returns for every ray the planar depth in metres and the index into `scene.surfaces` of what it meets first."""
    origin = _column(scene.camera.position)
    # From the inside, a ray leaves the room through the plane that it reaches first.
    ahead = rays > 0
    planes = (np.where(ahead, _column(scene.size), np.float32(0)) - origin) / _nonzero(rays)
    axis = planes.argmin(axis=0)
    depth = np.minimum(np.minimum(planes[0], planes[1]), planes[2])
    index = (2 * axis + np.take_along_axis(ahead, axis[None], 0)[0]).astype(np.uint8)
    for number, solid in enumerate(scene.solids, start=len(scene.shell)):
        distance = _meet(solid, origin, rays)
        nearer = distance < depth
        depth[nearer] = distance[nearer]
        index[nearer] = number
    return depth, index


def _meet(solid: Solid, origin: Array, rays: Array) -> Array:
    """Returns where each ray enters the solid, infinity where it does not; unit sphere, cylinder and box in turn."""
    half = _column(solid.half)
    o = _to_local(solid, origin) / half
    dx, dz = _turn(rays[0], rays[2], -solid.yaw)
    d = np.stack([dx, rays[1], dz]) / half
    if solid.kind == "box":
        inverse = 1 / _nonzero(d)
        first, second = (-1 - o) * inverse, (1 - o) * inverse
        enter, leave = np.minimum(first, second).max(axis=0), np.maximum(first, second).min(axis=0)
        return np.where((enter < leave) & (enter > 0), enter, np.float32(np.inf))
    axes = [0, 2] if solid.kind == "cylinder" else [0, 1, 2]
    a, b, c = (d[axes] ** 2).sum(0), (d[axes] * o[axes]).sum(0), (o[axes] ** 2).sum(0) - 1
    square = b * b - a * c
    root = np.sqrt(np.maximum(square, 0))
    enter, leave = (-b - root) / a, (-b + root) / a
    if solid.kind == "cylinder":
        vertical = _nonzero(d[1])
        low, high = (-1 - o[1]) / vertical, (1 - o[1]) / vertical
        enter, leave = np.maximum(enter, np.minimum(low, high)), np.minimum(leave, np.maximum(low, high))
    return np.where((square > 0) & (enter < leave) & (enter > 0), enter, np.float32(np.inf))


def _column(values: tuple[float, float, float]) -> Array:
    return np.asarray(values, np.float32)[:, None]


def _turn(x: Array, z: Array, yaw: float) -> tuple[Array, Array]:
    cos, sin = math.cos(yaw), math.sin(yaw)
    return x * cos + z * sin, z * cos - x * sin


def _to_local(solid: Solid, points: Array) -> Array:
    shifted = points - _column(solid.centre)
    x, z = _turn(shifted[0], shifted[2], -solid.yaw)
    return np.stack([x, shifted[1], z])


def _nonzero(values: Array) -> Array:
    return np.where(np.abs(values) < 1e-6, np.float32(1e-6), values)


# --- appearance -----------------------------------------------------------------------------------------------------


def shade(
    scene: Scene, rays: Array, depth: Array, index: NDArray[np.uint8], width: int, rng: np.random.Generator
) -> Array:
    """Returns the linear colour of every pixel, (3, N): paint, texture, two lamps that fall off, corners, and haze."""
    camera, size = _column(scene.camera.position), _column(scene.size)
    points = camera + rays * depth
    distance = _length(rays) * depth
    paint, normals = np.empty_like(points), np.empty_like(points)
    grain = rng.random((64, 64), dtype=np.float32)
    for number, surface in enumerate(scene.surfaces):
        tint = _column(COLOURS[surface.colour]) * float(rng.uniform(0.82, 1.12))
        tint *= rng.uniform(0.94, 1.06, (3, 1)).astype(np.float32)
        shift = float(rng.uniform(0, 16)), float(rng.uniform(0, 16))
        here = np.flatnonzero(index == number)
        if not len(here):
            continue
        u, v, facing = _unwrap(scene, number, points[:, here])
        cosine = np.abs((facing * rays[:, here]).sum(0)) * depth[here] / distance[here]
        blur = depth[here] / focal_length(width) / np.maximum(cosine, 0.15)  # metres that one pixel covers
        paint[:, here] = tint * TEXTURES[surface.texture](u + shift[0], v + shift[1], blur, grain)
        normals[:, here] = facing

    toward = camera + _column((0, 0.25, 0)) - points
    above = size * _column((0.5, 0.97, 0.5)) - points
    headlamp, overhead, ambient, haze = scene.light
    light = ambient + headlamp * _lamp(toward, normals, 2.2) + overhead * _lamp(above, normals, 2.6)
    light *= _corners(points, size) * _contact(scene, points, index)
    clear = np.exp(-haze * distance)
    return paint * (light * clear) * _column((1.0, 0.97, 0.91)) + _column((0.30, 0.34, 0.40)) * (1 - clear)


def _length(vectors: Array) -> Array:
    return np.sqrt((vectors * vectors).sum(0))


def _lamp(toward: Array, normals: Array, reach: float) -> Array:
    squared = (toward * toward).sum(0)
    facing = np.maximum((toward * normals).sum(0) / np.sqrt(squared + 1e-6), 0)
    return (0.25 + 0.75 * facing) / (1 + squared / reach**2)


def _corners(points: Array, size: Array) -> Array:
    """Darkens the last half metre before two sides of the room meet."""
    x, y, z = np.minimum(np.abs(points), np.abs(size - points))
    to_edge = np.maximum(np.minimum(x, y), np.minimum(np.maximum(x, y), z))  # the second smallest of the three
    return 1 - 0.35 * np.exp(to_edge / -0.2)


def _contact(scene: Scene, points: Array, index: NDArray[np.uint8]) -> Array:
    """Darkens the floor beside what stands on it."""
    shadow = np.ones(points.shape[1], np.float32)
    floor = np.flatnonzero(index == 2)
    for solid in scene.solids:
        if len(floor) and solid.half[1] > 0.03 and solid.centre[1] - solid.half[1] < 0.8:
            beside = np.maximum(np.abs(_to_local(solid, points[:, floor])) - _column(solid.half), 0)
            shadow[floor] *= 1 - 0.45 * np.exp((beside[0] ** 2 + beside[2] ** 2) / -(0.18**2))
    return shadow


def _unwrap(scene: Scene, number: int, points: Array) -> tuple[Array, Array, Array]:
    """Returns the coordinates in metres along a surface, u and v, and the unit normals that face the viewer."""
    normals = np.zeros_like(points)
    if number < len(scene.shell):
        axis, side = divmod(number, 2)
        normals[axis] = 1 - 2 * side
        across, along = ((2, 1), (0, 2), (0, 1))[axis]
        return points[across], points[along], normals
    solid = scene.solids[number - len(scene.shell)]
    local = _to_local(solid, points)
    unit = local / _column(solid.half)
    if solid.kind == "box":
        axis = np.abs(unit).argmax(axis=0)
        columns = np.arange(points.shape[1])
        normals[axis, columns] = np.sign(unit[axis, columns])
        u, v = np.where(axis == 0, local[2], local[0]), np.where(axis == 1, local[2], local[1])
    else:
        u, v = np.arctan2(unit[2], unit[0]) * solid.half[0], local[1]
        normals = unit
        if solid.kind == "cylinder":
            cap = np.abs(unit[1]) > 0.999
            u, v = np.where(cap, local[0], u), np.where(cap, local[2], v)
            normals = np.where(cap, np.sign(unit) * _column((0, 1, 0)), unit * _column((1, 0, 1)))
    x, z = _turn(normals[0], normals[2], solid.yaw)
    return u, v, np.stack([x, normals[1], z])


# --- textures: reflectance from metres along the surface, with detail finer than a pixel averaged away ---------------


def _plain(u: Array, v: Array, blur: Array, grain: Array) -> Array:
    return 1 + 0.16 * _noise(u, v, 0.30, blur, grain) + 0.14 * _noise(u, v, 0.07, blur, grain)


def _speckled(u: Array, v: Array, blur: Array, grain: Array) -> Array:
    return _plain(u, v, blur, grain) + 0.55 * _noise(u, v, 0.05, blur, grain)


def _striped(u: Array, v: Array, blur: Array, grain: Array) -> Array:
    return _plain(u, v, blur, grain) * (1 - 0.42 * _lines(u, 0.30, 0.15, blur))


def _tiled(u: Array, v: Array, blur: Array, grain: Array) -> Array:
    joints = np.maximum(_lines(u, 0.40, 0.03, blur), _lines(v, 0.40, 0.03, blur))
    return _plain(u, v, blur, grain) * (1 - 0.45 * joints) * (1 + 0.16 * _cells(u, v, 0.40, 0.40, grain))


def _checkered(u: Array, v: Array, blur: Array, grain: Array) -> Array:
    a, b = 2 * _lines(u, 0.60, 0.30, blur) - 1, 2 * _lines(v, 0.60, 0.30, blur) - 1
    return _plain(u, v, blur, grain) * (0.75 + 0.25 * a * b)


def _brick(u: Array, v: Array, blur: Array, grain: Array) -> Array:
    shifted = u + 0.2 * (np.floor(v / 0.2) % 2)
    joints = np.maximum(_lines(v, 0.20, 0.025, blur), _lines(shifted, 0.40, 0.025, blur))
    return _plain(u, v, blur, grain) * (1 - 0.38 * joints) * (1 + 0.3 * _cells(shifted, v, 0.40, 0.20, grain))


def _wooden(u: Array, v: Array, blur: Array, grain: Array) -> Array:
    planks = 1 + 0.35 * _cells(u, v, 0.15, 1.8, grain)
    return planks * (1 - 0.5 * _lines(u, 0.15, 0.012, blur)) * (1 + 0.3 * _noise(u * 6, v, 0.25, blur * 3, grain))


def _dotted(u: Array, v: Array, blur: Array, grain: Array) -> Array:
    from_dot = np.hypot((u % 0.30) - 0.15, (v % 0.30) - 0.15)
    dots = np.clip((0.075 - from_dot) / np.maximum(blur, 1e-3) + 0.5, 0, 1)
    fade = np.clip(2 - blur / 0.15, 0, 1)
    return _plain(u, v, blur, grain) * (1 - 0.5 * (dots * fade + 0.2 * (1 - fade)))


Texture = Callable[[Array, Array, Array, Array], Array]
TEXTURES: dict[str, Texture] = {
    "plain": _plain,
    "speckled": _speckled,
    "striped": _striped,
    "tiled": _tiled,
    "checkered": _checkered,
    "brick": _brick,
    "wooden": _wooden,
    "dotted": _dotted,
}


def _lines(x: Array, period: float, thickness: float, blur: Array) -> Array:
    """Returns how much of a pixel lines of this thickness cover, one line every `period` metres."""
    from_line = np.abs((x % period) - period / 2)
    sharp = np.clip((thickness / 2 - from_line) / np.maximum(blur, 1e-3) + 0.5, 0, 1)
    fade = np.clip(2 - 2 * blur / period, 0, 1)
    return sharp * fade + thickness / period * (1 - fade)


def _cells(u: Array, v: Array, across: float, along: float, grain: Array) -> Array:
    """Returns a value in -0.5 to 0.5 that is constant over every `across` x `along` metres."""
    return grain[np.floor(u / across).astype(np.int32) & 63, np.floor(v / along).astype(np.int32) & 63] - 0.5


def _noise(u: Array, v: Array, scale: float, blur: Array, grain: Array) -> Array:
    """Returns smooth noise in -0.5 to 0.5 whose lumps are `scale` metres wide."""
    u, v = u / scale, v / scale
    i, j = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    s, t = u - i, v - j
    i, j, i1, j1 = i & 63, j & 63, (i + 1) & 63, (j + 1) & 63
    near = grain[i, j] * (1 - t) + grain[i, j1] * t
    far = grain[i1, j] * (1 - t) + grain[i1, j1] * t
    return (near * (1 - s) + far * s - 0.5) * np.clip(1.5 - blur / scale, 0, 1)


# --- what a room holds ----------------------------------------------------------------------------------------------

SCENES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[int, int]]] = {
    # width, length and height in metres, and how many pieces of furniture
    "small room": ((2.2, 3.2), (2.4, 3.4), (2.3, 2.5), (2, 4)),
    "room": ((3.4, 5.0), (3.8, 5.6), (2.4, 2.7), (4, 7)),
    "hall": ((5.5, 7.5), (6.5, 9.0), (3.0, 4.0), (6, 10)),
    "corridor": ((1.6, 2.3), (6.5, 10.0), (2.3, 2.6), (2, 5)),
}


def random_type(rng: np.random.Generator) -> str:
    """Draws a type of scene; a room's generator does this first, so that the type is known before the room is drawn."""
    return str(rng.choice(list(SCENES)))


def random_scene(rng: np.random.Generator, name: str) -> Scene:
    """Draws a room of a type's size, what stands in it, and a camera 1.5 m above its floor."""
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
    """Places one piece of furniture on the floor where the camera looks, clear of the camera and of the walls."""
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
    """Hangs doors of 0.9 x 2.05 m and pictures of 0.6 x 0.45 m on the walls in view."""
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
