"""Run `video`: estimate the depth of each frame, then write the MP4 and the .npz."""

import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import torch
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from depthclip.atomic import open_atomic
from depthclip.camera import check_fov
from depthclip.data.paths import quoted
from depthclip.errors import InputError
from depthclip.file_names import file_names
from depthclip.pictures import depth_range
from depthclip.protocol import View
from depthclip.table import print_text
from depthclip.video.depth import VideoDepth
from depthclip.video.drawing import Panel
from depthclip.video.model import build_model
from depthclip.video.reading import Video
from depthclip.video.writing import check_encoder, mp4, npz

MOST_VALUES = 10_000_000  # for the scale of colours; the frames for it are evenly spread
Item = TypeVar("Item")


def run(options: Namespace, arguments: Sequence[str]) -> None:
    """Write the depth of a video.

    The video is decoded twice, since the scale of colours depends on all frames. Between both passes, the depth is in a
    temporary file at the resolution of the patches, so that the memory does not depend on the number of frames.

    Args:
        options: options about the video, as `depthclip.video_command.parse` returns them.
        arguments: options of the model.

    Raises:
        InputError: if an argument, a recipe or a file cannot be used.
    """
    began = time.monotonic()
    if options.fov is not None:
        check_fov("fov", options.fov)
    if "--print_config" in arguments:  # which needs no video
        build_model(arguments, options.ckpt_path, options.device)
    video = Video(options.clip, options.every, options.max_frames)
    check_encoder()
    picture_path, depth_path = output_paths(options.output, video.path, options.overwrite)
    model = build_model(arguments, options.ckpt_path, options.device)
    depths = VideoDepth(model, options.smoothing, options.fov)
    times: list[float] = []
    bins: list[np.ndarray] = []
    with tempfile.TemporaryFile(dir=picture_path.parent) as store:
        for frame in progress(video, "depth", video.count):
            photo = model.encode_photo(frame.rgb)
            output = depths.update(photo)
            store.write(finite(output.depth[0, 0].float().cpu().numpy(), frame.time))
            times.append(frame.time)
            if output.bins is not None:
                bins.append(output.bins.float().cpu().numpy().reshape(-1))
        coarse = stored(store, (len(times), *output.depth.shape[-2:]))
        scale = scale_of(coarse)
        panel = Panel(photo.size, scale)
        others = {
            "times": np.array(times),
            "fps": float(video.rate),
            "words": np.array(model.head.labels, dtype=str),
            "bins": bins_of(bins),
            "smoothing": depths.smoothing,
            "colours": np.array(scale),
            "recipe": yaml.safe_dump({"model": model.settings}, sort_keys=False, allow_unicode=True),
        }
        with (
            open_atomic(picture_path) as picture_file,
            open_atomic(depth_path) as depth_file,
            mp4(picture_file, panel.size, video.rate, video.time_base) as show,
            npz(depth_file, "depth", (len(times), *photo.seen), others) as write,
        ):
            for frame, patches in progress(zip(video, coarse, strict=True), "writing", len(times)):
                write(resized(patches, photo.seen, photo.view))
                show(panel.draw(frame.rgb, resized(patches, panel.picture, photo.view)), frame.pts)
    seconds = time.monotonic() - began
    print_text(
        f"{len(times)} frames of {quoted(video.path)} in {seconds:.1f} s, {len(times) / seconds:.1f} a second; "
        f"{picture_path}: frames beside their depth, colours from {scale[0]:.2f} to {scale[1]:.2f} m, no sound; "
        f"{depth_path}: depth {len(times)} x {photo.seen[0]} x {photo.seen[1]}, float32 metres; smoothing over time: "
        + (f"{depths.smoothing:g}, exponential mean of the logits" if depths.smoothing else "none")
    )


def output_paths(folder: str, video: Path, overwrite: bool) -> tuple[Path, Path]:
    """Create the folder, and return the paths of the MP4 and the .npz.

    Raises:
        InputError: if the folder cannot be created, or a file is there already and `overwrite` is not set.
    """
    name = file_names([video.name])[0]
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"output {folder} cannot be created ({error.strerror}); choose another folder with --output"
        ) from error
    paths = Path(folder, f"{name}.depth.mp4"), Path(folder, f"{name}.npz")
    for path in paths:
        if path.is_dir() or (path.exists() and not overwrite):
            raise InputError(f"{path} is there already; choose another folder with --output, or use --overwrite")
    return paths


def progress(items: Iterable[Item], text: str, total: int | None) -> Iterator[Item]:
    """Yield items while a bar on standard error shows how many are done and the time left, if it is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        yield from bar.track(items, total=total, description=text)


def finite(depth: np.ndarray, seconds: float) -> bytes:
    """Return the bytes of a depth map.

    Raises:
        InputError: if a depth is not finite.
    """
    if not np.isfinite(depth).all():
        raise InputError(
            f"the depth of the frame at {seconds:.2f} s is not finite; check temperature, logit_scale and bins of the "
            "head, and the weights"
        )
    return depth.astype(np.float32).tobytes()


def stored(file: BinaryIO, shape: tuple[int, ...]) -> np.ndarray:
    """Return the depth maps in a file as an array that is read when it is used."""
    file.flush()
    return np.memmap(file, np.float32, "r", shape=shape)


def scale_of(coarse: np.ndarray) -> tuple[float, float]:
    """Return the range of colours in metres, which leaves out the outermost 2 % of the depth of the video."""
    step = max(1, coarse.size // MOST_VALUES)
    return depth_range(torch.from_numpy(coarse[::step].copy()))


def bins_of(bins: Sequence[np.ndarray]) -> np.ndarray:
    """Return the bins in metres, (K,) if they are those of all frames, else (T, K); (0,) for a head without bins."""
    if not bins:
        return np.zeros(0, np.float32)
    same = all(np.array_equal(bins[0], other) for other in bins)
    return bins[0] if same else np.stack(bins)


def resized(patches: np.ndarray, size: tuple[int, int], view: View) -> np.ndarray:
    """Return a depth map of patches at another size."""
    return view.upsample(torch.from_numpy(patches.copy())[None, None], size)[0, 0].numpy()
