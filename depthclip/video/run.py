"""Run `video`: check its arguments, write the depth of the video, and print a summary."""

import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from depthclip.camera import check_fov
from depthclip.checks import brief
from depthclip.data.paths import argument_path, quoted
from depthclip.errors import InputError
from depthclip.file_names import file_names
from depthclip.table import print_text
from depthclip.video.depth import VideoDepth, check_smoothing
from depthclip.video.drawing import Panel
from depthclip.video.model import build_model
from depthclip.video.passes import estimate_frames, write_results
from depthclip.video.reading import Video, counted
from depthclip.video.writing import check_encoder


def run(options: Namespace, arguments: Sequence[str]) -> None:
    """Write the depth of a video.

    The video is decoded twice, since the scale of colours depends on all frames.

    Args:
        options: options about the video, as `depthclip.video_command.parse` returns them.
        arguments: options of the model.

    Raises:
        InputError: if an argument, a recipe or a file cannot be used.
    """
    began = time.monotonic()
    if "--print_config" in arguments:  # which needs no video, and ends the process
        build_model(arguments, options.ckpt_path, options.device)
    check_smoothing(options.smoothing)
    if options.fov is not None:
        check_fov("fov", options.fov)
    video = Video(options.clip, options.every, options.max_frames)
    check_encoder()
    paths = output_paths(options.output, video.path, options.overwrite)
    model = build_model(arguments, options.ckpt_path, options.device)
    depths = VideoDepth(model, options.smoothing, options.fov)
    with tempfile.TemporaryFile(dir=paths[0].parent) as store:  # without a name, so that nothing of it is left
        estimated = estimate_frames(video, depths, store)
        near, far = estimated.scale
        others = {
            "times": estimated.times,
            "fps": float(video.rate),
            "words": np.array(model.head.labels, dtype=str),
            "bins": estimated.bins,
            "smoothing": float(options.smoothing),
            "colours": np.array([near, far]),
            "recipe": yaml.safe_dump({"model": model.settings}, sort_keys=False, allow_unicode=True),
        }
        write_results(video, estimated, Panel(estimated.size, (near, far)), paths, others)
    seconds = time.monotonic() - began
    shape = " x ".join(str(length) for length in (len(estimated), *estimated.seen))
    smoothing = f"{options.smoothing:g}, exponential mean of the logits" if options.smoothing else "none"
    print_text(
        f"{counted(len(estimated))} of {quoted(video.path)} in {seconds:.1f} s, {len(estimated) / seconds:.1f} a "
        f"second; {paths[0]}: frames beside their depth, colours from {near:.2f} to {far:.2f} m, without sound; "
        f"{paths[1]}: depth, {shape} float32 metres; smoothing over time: {smoothing}"
    )


def output_paths(folder: str, video: Path, overwrite: bool) -> tuple[Path, Path]:
    """Create the folder, and return the paths of the MP4 and the .npz.

    Raises:
        InputError: if the folder cannot be created, or a file is there already and `overwrite` is not set.
    """
    name = file_names([video.name])[0]
    directory = argument_path("output", folder)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"output {brief(folder)} cannot be created ({reason}); choose another folder with --output"
        ) from error
    paths = directory / f"{name}.depth.mp4", directory / f"{name}.npz"
    for path in paths:
        if path.is_dir():
            raise InputError(f"{path} is a folder; choose another folder with --output")
        if path.exists() and not overwrite:
            raise InputError(f"{path} is there already; choose another folder with --output, or use --overwrite")
    return paths
