"""Depth of videos, frame by frame: `python -m depthclip video clip.mp4 -c rooms`."""

from depthclip.video.depth import VideoDepth
from depthclip.video.reading import Frame, Video

__all__ = ["Frame", "Video", "VideoDepth"]
