"""Furnished, box-shaped rooms, drawn at random and ray-cast in NumPy with exact planar depth.

A room spans (0, 0, 0) to its size in metres: x to the right, y up, z away from the back wall. Every cue to metric depth
is metric: textures have a fixed size, the camera stands at eye height, doors and tables have the size of doors and
tables, and the light of the lamp beside the camera decreases with distance.
"""

from depthclip.data.raycast.geometry import camera_rays, cast
from depthclip.data.raycast.render import Picture, draw_depth, draw_room
from depthclip.data.raycast.rooms import SCENES, random_scene, random_type
from depthclip.data.raycast.scenes import Camera, Scene, Solid, Surface
from depthclip.data.raycast.textures import COLOURS, TEXTURES

__all__ = [
    "COLOURS",
    "SCENES",
    "TEXTURES",
    "Camera",
    "Picture",
    "Scene",
    "Solid",
    "Surface",
    "camera_rays",
    "cast",
    "draw_depth",
    "draw_room",
    "random_scene",
    "random_type",
]
