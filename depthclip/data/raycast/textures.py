"""Colours and textures of surfaces.

A texture is the reflectance at coordinates in metres along a surface; detail finer than a pixel is averaged.
"""

from collections.abc import Callable

import numpy as np

from depthclip.data.raycast.geometry import Array

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
    """Return the share of a pixel that lines cover, with a line of this thickness every `period` metres."""
    from_line = np.abs((x % period) - period / 2)
    sharp = np.clip((thickness / 2 - from_line) / np.maximum(blur, 1e-3) + 0.5, 0, 1)
    fade = np.clip(2 - 2 * blur / period, 0, 1)
    return sharp * fade + thickness / period * (1 - fade)


def _cells(u: Array, v: Array, across: float, along: float, grain: Array) -> Array:
    """Return a value in -0.5 to 0.5 that is constant over every `across` x `along` metres."""
    return grain[np.floor(u / across).astype(np.int32) & 63, np.floor(v / along).astype(np.int32) & 63] - 0.5


def _noise(u: Array, v: Array, scale: float, blur: Array, grain: Array) -> Array:
    """Return smooth noise in -0.5 to 0.5 with features `scale` metres wide."""
    u, v = u / scale, v / scale
    i, j = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    s, t = u - i, v - j
    # `take` from the flat grain is faster than an index for each axis
    row, next_row, column, next_column = (i & 63) * 64, ((i + 1) & 63) * 64, j & 63, (j + 1) & 63
    flat, t1 = grain.ravel(), 1 - t
    near = flat.take(row + column) * t1 + flat.take(row + next_column) * t
    far = flat.take(next_row + column) * t1 + flat.take(next_row + next_column) * t
    return (near * (1 - s) + far * s - 0.5) * np.clip(1.5 - blur / scale, 0, 1)
