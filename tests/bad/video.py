"""Videos that are harmed or none, and options of `video` out of range."""

import json
from pathlib import Path

import av
import numpy as np
from PIL import Image

from depthclip import DepthCLIP, FrozenCLIP
from depthclip.head import Head
from depthclip.head.interfaces import Coarse
from depthclip.video import Video, VideoDepth
from tests.bad.command_line import command
from tests.bad.judge import Case
from tests.harm import ALL
from tests.videos import room_frames, write_song, write_video

GREY = [np.full((48, 64, 3), 60 * k, np.uint8) for k in range(4)]


class Wordless(Head):
    """A head without logits."""

    def forward(self, features, text):
        return Coarse(features.dense[:, :1].exp())


def sound(path: Path) -> None:
    """An MP4 file with sound only."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def without_frames(path: Path) -> None:
    """A fragmented MP4 file whose video stream is empty."""
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()


def cut(path: Path) -> None:
    """An MP4 file with its header in front, as for streaming, and without its end."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for pixels in GREY:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes()[:-5])


def truncated(suffix: str) -> Case:
    """Return the case of the first half of a file."""

    def run(folder):
        path = folder / f"clip.{suffix}"
        write_video(path, [room for _ in range(8) for room in room_frames(5)])
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        for _ in Video(path):
            pass

    return Case("video", f"half of a file, {suffix}", run, ("video", f"clip.{suffix}", "truncated", "1.60 s"))


def other(name: str, write, *names: str) -> Case:
    """Return the case of a file that is no video."""

    def run(folder):
        write(folder / name)
        return command("video", name, "-c", "rooms")

    return Case("video", name, run, ("video", name, *names))


def file(name: str, harm, *names: str) -> Case:
    """Return the case of a video file."""

    def run(folder):
        write_video(folder / "clip.mp4", GREY)
        harm(folder / "clip.mp4")
        for _ in Video(folder / "clip.mp4"):
            pass

    return Case("video", name, run, ("video", "clip.mp4", *names))


def options(*given: str, names: tuple[str, ...] = (), clips: tuple[str, ...] = ("clip.mp4",)) -> Case:
    """Return the case of a command line for an intact video."""

    def run(folder):
        write_video(folder / "clip.mp4", GREY)
        (folder / "a file").touch()
        return command("video", *clips, "-c", "rooms", *given)

    return Case("video option", " ".join([*clips, *given]), run, names or given)


def wordless(folder: Path) -> None:
    VideoDepth(DepthCLIP(FrozenCLIP("tiny-rooms", "bundled", "attention_pool"), Wordless()), smoothing=0.5)


CASES = [
    *(file(name, harm) for name, harm in ALL.items()),
    file("text", lambda path: path.write_text("hello\n" * 99)),
    file("a playlist of another address", lambda path: path.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://localhost:9/a.ts\n#EXT-X-ENDLIST\n")),
    file("sound only", sound, "no video stream"),
    file("no frames", without_frames, "no frames"),
    file("cut after its header", cut, "truncated", "5 bytes"),
    truncated("mkv"),
    truncated("avi"),
    *(other(f"photo.{suffix}", Image.fromarray(GREY[0]).save, "image", "predict") for suffix in ("jpg", "png", "webp")),
    other("song.mp3", lambda path: write_song(path, GREY[0]), "no video stream"),
    options("--output", "", names=("output", "''")),
    options("--smoothing", "1.5", names=("smoothing", "1.5")),
    options("--smoothing", "nan", names=("smoothing", "nan")),
    options("--smoothing", "-0.1", names=("smoothing", "-0.1")),
    options("--smoothing", "much", names=("smoothing", "much")),
    options("--every", "0", names=("every", "0")),
    options("--every", "1.5", names=("every", "1.5")),
    options("--max_frames", "0", names=("max_frames", "0")),
    options("--fov", "200", names=("fov", "200")),
    options("--device", "toaster", names=("device", "toaster")),
    options("--device", "meta", names=("device", "meta")),
    options("--output", "a file", names=("output", "a file")),
    options("--output", "a file/below", names=("output", "a file/below")),
    options("--output"),
    options("--smooth", "0.5", names=("smooth", "smoothing")),
    options("--model.haed.temperature", "1", names=("haed",)),
    options("--model.head.temperature", "-1", names=("temperature", "-1")),
    options("--model.head.bins", json.dumps({"class_path": "FittedBins", "init_args": {"count": 13}}),
            names=("bins", "--ckpt_path")),
    options("--ckpt_path", "nowhere.ckpt", names=("nowhere.ckpt",)),
    options(clips=(), names=("video", "clip.mp4")),
    options(clips=("clip.mp4", "other.mp4"), names=("clip.mp4", "other.mp4")),
    options(clips=("nowhere.mp4",), names=("video", "nowhere.mp4")),
    Case("video option", "no recipe", lambda folder: write_video(folder / "clip.mp4", GREY)
         or command("video", "clip.mp4"), ("--model.encoder",)),
    Case("video option", "smoothing of a head without words", wordless, ("smoothing", "0.5", "Wordless")),
]  # fmt: skip
