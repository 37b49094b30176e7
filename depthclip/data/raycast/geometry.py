"""Rays of a camera, and the surfaces that they meet first."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip.camera import focal_length
from depthclip.data.raycast.scenes import Camera, Scene, Solid

Array = NDArray[np.floating[Any]]


def camera_rays(camera: Camera, height: int, width: int) -> Array:
    """Return a ray for every pixel, (3, height * width), one metre long along the optical axis."""
    focal = focal_length(width, camera.fov)
    x, y = np.meshgrid(
        (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / focal,
        (height / 2 - np.arange(height, dtype=np.float32) - 0.5) / focal,
    )
    cos, sin = math.cos(camera.pitch), math.sin(camera.pitch)
    up, ahead = (y * cos + sin).ravel(), (cos - y * sin).ravel()
    right, forward = turn(x.ravel(), ahead, camera.yaw)
    return np.stack([right, up, forward])


def cast(scene: Scene, rays: Array) -> tuple[Array, NDArray[np.uint8]]:
    """Return the planar depth in metres of the first surface on every ray, and its index in `scene.surfaces`."""
    origin = column(scene.camera.position)
    # From the inside, a ray leaves the room through the plane that it reaches first.
    ahead = rays > 0
    planes = (np.where(ahead, column(scene.size), np.float32(0)) - origin) / nonzero(rays)
    axis = planes.argmin(axis=0)
    depth = np.minimum(np.minimum(planes[0], planes[1]), planes[2])
    index = (2 * axis + np.take_along_axis(ahead, axis[None], 0)[0]).astype(np.uint8)
    for number, solid in enumerate(scene.solids, start=len(scene.shell)):
        distance = meet(solid, origin, rays)
        nearer = distance < depth
        depth[nearer] = distance[nearer]
        index[nearer] = number
    return depth, index


def meet(solid: Solid, origin: Array, rays: Array) -> Array:
    """Return where each ray enters a solid, in multiples of the ray, or infinity if it misses the solid."""
    half = column(solid.half)
    o = to_local(solid, origin) / half
    dx, dz = turn(rays[0], rays[2], -solid.yaw)
    d = np.stack([dx, rays[1], dz]) / half
    if solid.kind == "box":
        inverse = 1 / nonzero(d)
        first, second = (-1 - o) * inverse, (1 - o) * inverse
        enter, leave = np.minimum(first, second).max(axis=0), np.maximum(first, second).min(axis=0)
        return np.where((enter < leave) & (enter > 0), enter, np.float32(np.inf))
    axes = [0, 2] if solid.kind == "cylinder" else [0, 1, 2]
    a, b, c = (d[axes] ** 2).sum(0), (d[axes] * o[axes]).sum(0), (o[axes] ** 2).sum(0) - 1
    square = b * b - a * c
    root = np.sqrt(np.maximum(square, 0))
    enter, leave = (-b - root) / a, (-b + root) / a
    if solid.kind == "cylinder":
        vertical = nonzero(d[1])
        low, high = (-1 - o[1]) / vertical, (1 - o[1]) / vertical
        enter, leave = np.maximum(enter, np.minimum(low, high)), np.minimum(leave, np.maximum(low, high))
    return np.where((square > 0) & (enter < leave) & (enter > 0), enter, np.float32(np.inf))


def column(values: tuple[float, float, float]) -> Array:
    """Return a vector as a column, (3, 1) float32."""
    return np.asarray(values, np.float32)[:, None]


def turn(x: Array, z: Array, yaw: float) -> tuple[Array, Array]:
    """Return x and z, rotated by `yaw` radians about the vertical axis."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    return x * cos + z * sin, z * cos - x * sin


def to_local(solid: Solid, points: Array) -> Array:
    """Return points (3, N) in the coordinates of a solid."""
    shifted = points - column(solid.centre)
    x, z = turn(shifted[0], shifted[2], -solid.yaw)
    return np.stack([x, shifted[1], z])


def nonzero(values: Array) -> Array:
    """Return values with those near zero replaced, so that they can be divisors."""
    return np.where(np.abs(values) < 1e-6, np.float32(1e-6), values)
