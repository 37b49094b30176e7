"""Videos of a room, written with PyAV."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from depthclip.data.raycast.geometry import camera_rays, cast
from depthclip.data.raycast.render import draw_room, shade


def room_frames(count: int, height: int = 96, width: int = 128) -> list[np.ndarray]:
    """Return the frames of a camera that turns in a room, (height, width, 3) uint8."""
    scene, frames = draw_room(np.random.default_rng(7), height, width).scene, []
    for k in range(count):
        turned = scene._replace(camera=scene.camera._replace(yaw=scene.camera.yaw + 0.01 * k))
        rays = camera_rays(turned.camera, height, width)
        linear = shade(turned, rays, *cast(turned, rays), width, np.random.default_rng(7))
        rgb = (np.clip(linear, 0, 1) ** (1 / 2.2) * 255).round().astype(np.uint8).T
        frames.append(rgb.reshape(height, width, 3))
    return frames


def write_video(path: Path | str, frames: list[np.ndarray], rate: Fraction | int = 25, times=None, **stream) -> None:
    """Write an H.264 video.

    Args:
        path: file; its suffix decides the format.
        frames: pictures (H, W, 3) uint8.
        rate: frames per second.
        times: times in units of 1 / rate; None for a constant rate.
        stream: attributes of the stream.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": "10"})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        for name, value in stream.items():
            setattr(video, name, value)
        for pts, pixels in zip(times or range(len(frames)), frames, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = pts
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


def write_song(path: Path | str, cover: np.ndarray) -> None:
    """Write an MP3 file of 0.1 s with a cover picture (H, W, 3) uint8."""
    with av.open(str(path), "w") as container:
        audio, picture = container.add_stream("mp3", rate=16000), container.add_stream("mjpeg", rate=1)
        picture.height, picture.width = cover.shape[:2]
        picture.pix_fmt, picture.disposition = "yuvj420p", av.stream.Disposition.attached_pic
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        for stream, frame in ((picture, av.VideoFrame.from_ndarray(cover, format="rgb24")), (audio, sound)):
            frame.pts = 0
            container.mux([*stream.encode(frame), *stream.encode(None)])


def turn(path: Path, matrix: list[list[int]]) -> None:
    """Write a display matrix ((a, b), (c, d)) into the header of the track of an MP4 file, as phones do."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44  # ISO/IEC 14496-12, 8.3.2: version 0
    whole = np.zeros((3, 3))
    whole[:2, :2], whole[2, 2] = matrix, 16384
    content[start : start + 36] = (whole * 65536).astype(">i4").tobytes()
    path.write_bytes(content)


def decoded(path: Path | str) -> tuple[np.ndarray, np.ndarray, Fraction]:
    """Return the frames (T, H, W, 3) uint8, their times in seconds, and the rate of a video."""
    with av.open(str(path)) as container:
        frames = [(frame.to_ndarray(format="rgb24"), float(frame.time)) for frame in container.decode(video=0)]
        rate = container.streams.video[0].average_rate
    return np.stack([pixels for pixels, _ in frames]), np.array([time for _, time in frames]), rate
