"""Both passes over a video: estimate the depth of each frame, then write the MP4 and the .npz."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from depthclip.atomic import open_atomic
from depthclip.errors import InputError
from depthclip.pictures import depth_range
from depthclip.protocol import View
from depthclip.video.depth import VideoDepth
from depthclip.video.drawing import Panel
from depthclip.video.reading import Video
from depthclip.video.writing import mp4, npz

MOST_VALUES = 10_000_000  # for the scale of colours
Item = TypeVar("Item")


@dataclass(frozen=True)
class Estimated:
    """The depth of a video at the resolution of the patches.

    Args:
        coarse: (T, h', w') metres, an array in a file.
        times: (T,) seconds.
        bins: metres, (K,), or (T, K) if they differ from frame to frame; (0,) for a head without bins.
        size: (H, W) of the frames in pixels.
        seen: (h, w) of the frames as the model saw them, in pixels.
        view: how the frames were resized.
    """

    coarse: np.ndarray
    times: np.ndarray
    bins: np.ndarray
    size: tuple[int, int]
    seen: tuple[int, int]
    view: View

    def __len__(self) -> int:
        return len(self.times)

    @property
    def scale(self) -> tuple[float, float]:
        """The range of colours in metres, without the outermost 2 % of the depth of evenly spread frames."""
        step = max(1, self.coarse.size // MOST_VALUES)
        return depth_range(torch.from_numpy(self.coarse[::step].copy()))

    def resized(self, patches: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return the depth of a frame, (h', w'), at another (height, width), as `infer` resizes it."""
        return self.view.upsample(torch.from_numpy(patches.copy())[None, None], size)[0, 0].numpy()


def estimate_frames(video: Video, depths: VideoDepth, store: BinaryIO) -> Estimated:
    """Estimate the depth of all frames; the memory does not depend on their number.

    Args:
        video: the video.
        depths: estimates their depth.
        store: opened binary file for the depth at the resolution of the patches.

    Raises:
        InputError: if the video cannot be decoded, or a depth is not finite.
    """
    times: list[float] = []
    bins: list[np.ndarray] = []
    for frame in progress(video, "depth", video.count):
        photo = depths.model.encode_photo(frame.rgb)
        output = depths.update(photo)
        patches = output.depth[0, 0].float().cpu().numpy()
        if not np.isfinite(patches).all():
            raise InputError(
                f"the depth of the frame at {frame.time:.2f} s is not finite; check temperature, logit_scale and bins "
                "of the head, and the weights"
            )
        store.write(patches.tobytes())
        times.append(frame.time)
        if output.bins is not None:
            bins.append(output.bins.float().cpu().numpy().reshape(-1))
    store.flush()
    coarse = np.memmap(store, np.float32, "r", shape=(len(times), *patches.shape))
    return Estimated(coarse, np.array(times), common(bins), photo.size, photo.seen, photo.view)


def write_results(
    video: Video, estimated: Estimated, panel: Panel, paths: tuple[Path, Path], others: Mapping[str, Any]
) -> None:
    """Write the MP4 and the .npz, which get their names when both are complete.

    Args:
        video: the video, which is decoded again.
        estimated: the depth of its frames.
        panel: draws the pictures.
        paths: the MP4 and the .npz.
        others: further arrays of the .npz by name.

    Raises:
        InputError: if a file cannot be written.
    """
    shape = (len(estimated), *estimated.seen)
    try:
        with (
            open_atomic(paths[0]) as pictures,
            open_atomic(paths[1]) as arrays,
            mp4(pictures, panel.size, video.rate, video.time_base) as show,
            npz(arrays, "depth", shape, others) as write,
        ):
            both = zip(video, estimated.coarse, strict=True)
            for frame, patches in progress(both, "writing", len(estimated)):
                write(estimated.resized(patches, estimated.seen))
                show(panel.draw(frame.rgb, estimated.resized(patches, panel.picture)), frame.pts)
    except OSError as error:
        raise InputError(
            f"{paths[0]} or {paths[1].name} cannot be written ({error.strerror or error}); free space, use --every, or "
            "choose another folder with --output"
        ) from error


def common(bins: Sequence[np.ndarray]) -> np.ndarray:
    """Return the bins of all frames, (K,) if they are the same, else (T, K); (0,) if there are none."""
    if not bins:
        return np.zeros(0, np.float32)
    return bins[0] if all(np.array_equal(bins[0], other) for other in bins) else np.stack(bins)


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
