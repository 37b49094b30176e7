"""Pictures of scenes: image, depth and surfaces."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthclip.camera import focal_length
from depthclip.data.raycast.geometry import Array, camera_rays, cast, column, to_local, turn
from depthclip.data.raycast.rooms import random_scene, random_type
from depthclip.data.raycast.scenes import Scene
from depthclip.data.raycast.textures import COLOURS, TEXTURES

NEAREST, FARTHEST = 0.5, 10.0  # metres


class Picture(NamedTuple):
    """A drawn room.

    Args:
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32 metres.
        surface: (H, W) indices into the surfaces of the scene.
        scene: the room.
    """

    rgb: NDArray[np.uint8]
    depth: Array
    surface: NDArray[np.uint8]
    scene: Scene


def draw_room(rng: np.random.Generator, height: int = 120, width: int = 160, fov: float = 70.0) -> Picture:
    """Draw a random room with a depth of 0.5 to 10 metres at every pixel.

    Args:
        rng: source of all draws.
        height: height of the picture in pixels.
        width: width of the picture in pixels.
        fov: field of view across the width, in degrees.
    """
    scene, rays, depth, index = _look(rng, height, width, fov)
    linear = shade(scene, rays, depth, index, width, rng)
    encoded = np.clip(linear, 0, 1) ** (1 / 2.2)
    encoded += rng.standard_normal(encoded.shape, dtype=np.float32) * 0.012
    rgb = (np.clip(encoded, 0, 1) * 255 + 0.5).astype(np.uint8).T
    return Picture(rgb.reshape(height, width, 3), depth.reshape(height, width), index.reshape(height, width), scene)


def draw_depth(rng: np.random.Generator, height: int = 120, width: int = 160, fov: float = 70.0) -> Array:
    """Return the depth that `draw_room` draws from the same generator, (H, W) float32 metres, without the colours.

    Args:
        rng: source of all draws.
        height: height of the picture in pixels.
        width: width of the picture in pixels.
        fov: field of view across the width, in degrees.
    """
    return _look(rng, height, width, fov)[2].reshape(height, width)


def _look(
    rng: np.random.Generator, height: int, width: int, fov: float
) -> tuple[Scene, Array, Array, NDArray[np.uint8]]:
    """Draw scenes until the depth is in range, and return the scene, its rays, their depth and their surfaces."""
    name = random_type(rng)
    while True:
        scene = random_scene(rng, name, fov)
        rays = camera_rays(scene.camera, height, width)
        depth, index = cast(scene, rays)
        if depth.min() >= NEAREST and depth.max() <= FARTHEST:
            return scene, rays, depth, index


def shade(
    scene: Scene, rays: Array, depth: Array, index: NDArray[np.uint8], width: int, rng: np.random.Generator
) -> Array:
    """Return the linear colour of every pixel, (3, N), from paint, texture, two lamps, dark corners, and haze."""
    camera, size = column(scene.camera.position), column(scene.size)
    focal = focal_length(width, scene.camera.fov)
    points = camera + rays * depth
    distance = _length(rays) * depth
    paint, normals = np.empty_like(points), np.empty_like(points)
    grain = rng.random((64, 64), dtype=np.float32)
    for number, surface in enumerate(scene.surfaces):
        tint = column(COLOURS[surface.colour]) * float(rng.uniform(0.82, 1.12))
        tint *= rng.uniform(0.94, 1.06, (3, 1)).astype(np.float32)
        shift = float(rng.uniform(0, 16)), float(rng.uniform(0, 16))
        here = np.flatnonzero(index == number)
        if not len(here):
            continue
        u, v, facing = _unwrap(scene, number, points.take(here, axis=1))
        cosine = np.abs((facing * rays.take(here, axis=1)).sum(0)) * depth[here] / distance[here]
        blur = depth[here] / focal / np.maximum(cosine, 0.15)  # metres that one pixel covers
        paint[:, here] = tint * TEXTURES[surface.texture](u + shift[0], v + shift[1], blur, grain)
        normals[:, here] = facing

    toward = camera + column((0, 0.25, 0)) - points
    above = size * column((0.5, 0.97, 0.5)) - points
    headlamp, overhead, ambient, haze = scene.light
    light = ambient + headlamp * _lamp(toward, normals, 2.2) + overhead * _lamp(above, normals, 2.6)
    light *= _corners(points, size) * _contact(scene, points, index)
    clear = np.exp(-haze * distance)
    return paint * (light * clear) * column((1.0, 0.97, 0.91)) + column((0.30, 0.34, 0.40)) * (1 - clear)


def _length(vectors: Array) -> Array:
    return np.sqrt((vectors * vectors).sum(0))


def _lamp(toward: Array, normals: Array, reach: float) -> Array:
    squared = (toward * toward).sum(0)
    facing = np.maximum((toward * normals).sum(0) / np.sqrt(squared + 1e-6), 0)
    return (0.25 + 0.75 * facing) / (1 + squared / reach**2)


def _corners(points: Array, size: Array) -> Array:
    """Return a factor that darkens the edges of the room."""
    x, y, z = np.minimum(np.abs(points), np.abs(size - points))
    to_edge = np.maximum(np.minimum(x, y), np.minimum(np.maximum(x, y), z))  # the second smallest of the three
    return 1 - 0.35 * np.exp(to_edge / -0.2)


def _contact(scene: Scene, points: Array, index: NDArray[np.uint8]) -> Array:
    """Return a factor that darkens the floor beside solids that stand on it."""
    shadow = np.ones(points.shape[1], np.float32)
    floor = np.flatnonzero(index == 2)
    for solid in scene.solids:
        if len(floor) and solid.half[1] > 0.03 and solid.centre[1] - solid.half[1] < 0.8:
            beside = np.maximum(np.abs(to_local(solid, points[:, floor])) - column(solid.half), 0)
            shadow[floor] *= 1 - 0.45 * np.exp((beside[0] ** 2 + beside[2] ** 2) / -(0.18**2))
    return shadow


def _unwrap(scene: Scene, number: int, points: Array) -> tuple[Array, Array, Array]:
    """Return coordinates u and v in metres along a surface, and the unit normals that face the camera."""
    normals = np.zeros_like(points)
    if number < len(scene.shell):
        axis, side = divmod(number, 2)
        normals[axis] = 1 - 2 * side
        across, along = ((2, 1), (0, 2), (0, 1))[axis]
        return points[across], points[along], normals
    solid = scene.solids[number - len(scene.shell)]
    local = to_local(solid, points)
    unit = local / column(solid.half)
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
            normals = np.where(cap, np.sign(unit) * column((0, 1, 0)), unit * column((1, 0, 1)))
    x, z = turn(normals[0], normals[2], solid.yaw)
    return u, v, np.stack([x, normals[1], z])
