"""Videos: frames as players show them, their depth, and the files of the command `video`."""

import re
import resource
import shlex
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from depthclip import DepthCLIP
from depthclip.__main__ import main
from depthclip.errors import InputError
from depthclip.pictures import colour_depth
from depthclip.video import Video, VideoDepth
from tests.test_commands import ROOT, commands
from tests.videos import decoded, room_frames, turn, write_video

pytestmark = pytest.mark.filterwarnings("ignore:tiny-rooms was trained")
ROOMS = ["-c", "rooms", "--device", "cpu"]


@pytest.fixture(scope="module")
def model():
    return DepthCLIP.from_recipe("rooms")


@pytest.fixture(scope="module")
def frames():
    return room_frames(5)


@pytest.fixture
def clip(tmp_path, monkeypatch, frames):
    """A video of a room in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_video("clip.mp4", frames)
    return Path("clip.mp4")


def command(*given: str) -> dict[str, np.ndarray]:
    """Run `video` on clip.mp4, and return the arrays of its .npz."""
    assert main(["video", "clip.mp4", *ROOMS, "--output", "out", *given]) == 0
    with np.load("out/clip.npz") as arrays:
        return dict(arrays)


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    """The mean absolute difference of pictures uint8."""
    return float(np.abs(a.astype(float) - b).mean())


# ---- the command


def test_the_files_hold_what_infer_returns_for_each_frame(clip, model, capsys):
    arrays = command()
    seen, times, rate = decoded(clip)
    assert arrays["depth"].dtype == np.float32
    np.testing.assert_allclose(arrays["depth"], [model.infer(frame) for frame in seen], rtol=1e-6)
    np.testing.assert_array_equal(arrays["times"], times)
    assert arrays["fps"] == rate == 25
    assert arrays["words"].tolist() == list(model.head.labels)
    assert arrays["bins"].shape == arrays["words"].shape
    assert arrays["smoothing"] == 0
    assert "encoder" in str(arrays["recipe"])
    summary = capsys.readouterr().out
    assert "5 frames of clip.mp4" in summary
    assert "smoothing over time: none" in summary

    shown, shown_times, shown_rate = decoded("out/clip.depth.mp4")
    np.testing.assert_allclose(shown_times, times, atol=1e-9)
    assert shown_rate == rate
    height, width = seen.shape[1:3]
    assert shown.shape[1] == height
    assert not shown.shape[2] % 2
    assert mean_difference(shown[:, :, :width], seen) < 6
    valid = arrays["depth"]
    near, far = np.percentile(valid, [1, 99])
    np.testing.assert_allclose(arrays["colours"], [near, far], atol=0.3)  # of patches, which are not interpolated
    expected = colour_depth(arrays["depth"], *arrays["colours"])
    assert mean_difference(shown[:, :, width + 4 : 2 * width + 4], expected) < 6
    assert mean_difference(shown[0, :, 2 * width + 8 :], shown[-1, :, 2 * width + 8 :]) < 1  # one scale bar
    assert {path.name for path in Path("out").iterdir()} == {"clip.npz", "clip.depth.mp4"}


def smoothed(model: DepthCLIP, seen: np.ndarray, smoothing: float) -> list[np.ndarray]:
    """The depth of frames at the resolution of the patches, by the formula in NumPy."""
    means, depths = None, []
    for frame in seen:
        photo = model.encode_photo(frame)
        (output,) = model.read(photo.features, photo.needs, photo.view, photo.seen)
        now = np.stack([output.logits[0].numpy(), output.mirrored.logits[0].numpy()]).astype(np.float64)
        means = now if means is None else smoothing * means + (1 - smoothing) * now
        weights = np.exp(means - means.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        depths.append((weights * output.bins.numpy()[None, :, None, None]).sum(1).mean(0))
    return depths


def test_smoothing_is_the_exponential_mean_of_the_logits(clip, model, capsys):
    arrays = command("--smoothing", "0.8")
    assert arrays["smoothing"] == 0.8
    assert "smoothing over time: 0.8, exponential mean of the logits" in capsys.readouterr().out
    seen, _, _ = decoded(clip)
    coarse = torch.tensor(np.stack(smoothed(model, seen, 0.8)))[:, None]
    size = seen.shape[1:3]
    expected = F.interpolate(coarse, size, mode="bilinear", align_corners=False)[:, 0].numpy()
    np.testing.assert_allclose(arrays["depth"], expected, rtol=1e-4)
    alone = np.stack([model.infer(frame) for frame in seen])
    np.testing.assert_allclose(arrays["depth"][0], alone[0], rtol=1e-6)
    assert np.abs(arrays["depth"][-1] - alone[-1]).max() > 0.05
    assert np.abs(np.diff(arrays["depth"], axis=0)).mean() < 0.7 * np.abs(np.diff(alone, axis=0)).mean()


def test_frames_are_left_out_and_reduced(clip, model):
    arrays = command("--every", "2", "--max_frames", "2", "--model.max_side", "64", "--model.mirror", "false")
    seen, times, _ = decoded(clip)
    assert arrays["depth"].shape == (2, 48, 64)
    np.testing.assert_array_equal(arrays["times"], times[[0, 2]])
    assert arrays["fps"] == 12.5
    expected = model.infer(seen[2], max_side=64, mirror=False)
    enlarged = F.interpolate(torch.tensor(arrays["depth"][1])[None, None], seen.shape[1:3], mode="bilinear")
    assert np.abs(enlarged[0, 0].numpy() - expected).mean() < 0.02
    _, shown_times, rate = decoded("out/clip.depth.mp4")
    np.testing.assert_allclose(shown_times, times[[0, 2]], atol=1e-9)
    assert rate == 12.5


def test_nothing_is_overwritten_or_left_behind(clip, capsys):
    before = command("--max_frames", "1", "--model.mirror", "false")
    assert main(["video", "clip.mp4", *ROOMS, "--output", "out"]) == 2
    assert "clip.depth.mp4 is there already; choose another folder with --output, or use --overwrite" in (
        capsys.readouterr().err
    )
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))  # bytes of a file, as if the disk were full
    try:
        assert main(["video", "clip.mp4", *ROOMS, "--output", "out", "--overwrite"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    error = capsys.readouterr().err
    assert "cannot be written" in error
    assert "Traceback" not in error
    assert {path.name for path in Path("out").iterdir()} == {"clip.npz", "clip.depth.mp4"}
    with np.load("out/clip.npz") as kept:
        np.testing.assert_array_equal(kept["depth"], before["depth"])
    assert len(command("--overwrite", "--max_frames", "2")["depth"]) == 2


def test_the_home_folder_of_the_output_is_expanded(clip, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert main(["video", "clip.mp4", *ROOMS, "--output", "~/out", "--max_frames", "1", "--model.mirror", "false"]) == 0
    assert {path.name for path in Path("home/out").iterdir()} == {"clip.npz", "clip.depth.mp4"}
    assert not Path("~").exists()
    assert "1 frame of clip.mp4" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:skipped", "ignore:.*were skipped")
def test_predict_skips_a_video_and_names_the_command(clip, capsys):
    quiet = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.enable_progress_bar", "false"]
    with pytest.warns(UserWarning, match=r"clip\.mp4 is a video; use `python -m depthclip video clip\.mp4`"):
        assert main(["predict", "clip.mp4", "-c", "rooms", "--output", "depth", *quiet]) == 2


PAGE = ROOT / "docs" / "video.md"


@pytest.mark.parametrize("line", [line for line in commands(PAGE) if "depthclip video" in line])
def test_the_commands_of_the_page(line, tmp_path, monkeypatch, small, frames):
    monkeypatch.chdir(tmp_path)
    write_video("clip.mp4", frames[:2])
    given = shlex.split(line.partition("-m depthclip ")[2])
    if "rooms" not in given:
        given += ["--model.encoder.name", "small-resnet", "--model.encoder.pretrained", "null"]
    with pytest.warns(UserWarning, match=r"tiny-rooms|pretrained is null"):
        assert main([*given, "--device", "cpu"]) == 0


def test_the_python_of_the_page(clip):
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    exec(block, namespace := {})
    assert namespace["depth"].shape == (96, 128)


# ---- frames as players show them

MATRICES = {
    "0": ([[1, 0], [0, 1]], lambda frame: frame),
    "90 to the right": ([[0, 1], [-1, 0]], lambda frame: np.rot90(frame, -1)),
    "180": ([[-1, 0], [0, -1]], lambda frame: np.rot90(frame, 2)),
    "90 to the left": ([[0, -1], [1, 0]], lambda frame: np.rot90(frame)),
    "mirrored": ([[-1, 0], [0, 1]], lambda frame: frame[:, ::-1]),
    "transposed": ([[0, 1], [1, 0]], lambda frame: frame.swapaxes(0, 1)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_frames_are_turned_as_the_display_matrix_says(clip, frames, name):
    matrix, expected = MATRICES[name]
    turn(clip, matrix)
    video = Video(clip, max_frames=2)
    shown = [frame.rgb for frame in video]
    assert len(shown) == video.count == 2
    for found, frame in zip(shown, frames, strict=False):
        assert found.shape == expected(frame).shape
        assert mean_difference(found, expected(frame)) < 5


def test_a_portrait_video_of_a_phone(clip, frames, model):
    turn(clip, MATRICES["90 to the right"][0])
    arrays = command("--max_frames", "1")
    assert arrays["depth"].shape == (1, 128, 96)
    upright = np.ascontiguousarray(np.rot90(decoded(clip)[0][0], -1))
    np.testing.assert_allclose(arrays["depth"][0], model.infer(upright), rtol=1e-6)
    shown, _, _ = decoded("out/clip.depth.mp4")
    assert mean_difference(shown[0, :, :96], upright) < 6


def test_pixels_that_are_not_square(tmp_path, frames):
    write_video(tmp_path / "wide.mp4", frames[:1], sample_aspect_ratio=Fraction(4, 3))
    (frame,) = Video(tmp_path / "wide.mp4")
    assert frame.rgb.shape == (96, 171, 3)


def test_times_of_a_variable_rate(tmp_path, monkeypatch, frames):
    monkeypatch.chdir(tmp_path)
    write_video("clip.mp4", frames, times=[0, 1, 5, 6, 9])
    expected = np.array([0, 1, 5, 6, 9]) / 25
    np.testing.assert_allclose([frame.time for frame in Video("clip.mp4")], expected, atol=1e-9)
    arrays = command("--model.mirror", "false", "--model.max_side", "64")
    np.testing.assert_allclose(arrays["times"], expected, atol=1e-9)
    np.testing.assert_allclose(decoded("out/clip.depth.mp4")[1], expected, atol=1e-9)


@pytest.mark.parametrize("suffix", ["mkv", "mov", "avi", "h264"])
def test_other_formats(tmp_path, frames, suffix):
    write_video(tmp_path / f"clip.{suffix}", frames)
    video = Video(tmp_path / f"clip.{suffix}", every=2)
    assert [frame.rgb.shape for frame in video] == [(96, 128, 3)] * 3
    times = [frame.time for frame in video]
    assert np.diff(times) == pytest.approx([0.08, 0.08], abs=0.002)


def test_a_cover_picture_is_not_the_video(tmp_path, frames):
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        cover, video = container.add_stream("mjpeg", rate=25), container.add_stream("libx264", rate=25)
        cover.disposition = av.stream.Disposition.attached_pic
        both = ((cover, "yuvj420p", [np.zeros((32, 32, 3), np.uint8)]), (video, "yuv420p", frames))
        for stream, stream.pix_fmt, pictures in both:
            stream.height, stream.width = pictures[0].shape[:2]
        for stream, _, pictures in both:
            for pixels in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
    assert [frame.rgb.shape for frame in Video(tmp_path / "clip.mp4")] == [(96, 128, 3)] * 5


@pytest.mark.parametrize("suffix", ["mkv", "avi"])
def test_the_first_frames_of_a_truncated_file(tmp_path, frames, suffix):
    path = tmp_path / f"clip.{suffix}"
    write_video(path, frames * 8)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(
        InputError, match=r"states 1\.60 s, but its frames end at 0\.\d\d s; .*--max_frames (\d+)"
    ) as refused:
        list(Video(path))
    usable = int(str(refused.value).split()[-1])
    assert len(list(Video(path, max_frames=usable))) == usable


# ---- in Python


def test_the_focal_length_as_infer(model, frames):
    depths = VideoDepth(model, fov=60)
    np.testing.assert_allclose(depths.infer(frames[0]), model.infer(frames[0]), rtol=1e-6)
    model.head.camera = 50.0
    try:
        expected = model.infer(frames[1], fov=60)
        np.testing.assert_allclose(depths.infer(frames[1]), expected, rtol=1e-6)
        factor = 64 / np.tan(np.radians(30)) / 50
        still = VideoDepth(model, 0.5, fov=60).infer(frames[1])
        np.testing.assert_allclose(still, expected, rtol=1e-6)
    finally:
        model.head.camera = None
    np.testing.assert_allclose(expected, model.infer(frames[1]) * factor, rtol=1e-5)


def test_frames_of_another_size_need_a_new_start(model, frames):
    depths = VideoDepth(model, 0.5)
    depths.infer(frames[0])
    with pytest.raises(InputError, match="use a new VideoDepth"):
        depths.infer(np.zeros((200, 128, 3), np.uint8))


def test_pyav_is_optional(clip, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"clip\.mp4 needs PyAV, .*; use pip install 'depthclip\[video\]'"):
        Video(clip)
