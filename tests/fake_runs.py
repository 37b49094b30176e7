"""Write folders of runs in the real format, with errors that a test chooses."""

import json

import numpy as np

from depthclip.evaluation.bootstrap import Scored
from depthclip.evaluation.metrics import ERRORS


def errors_like(values):
    """Return errors (N, 9); the nine errors of an image are equal."""
    return np.repeat(np.asarray(values, dtype=float)[:, None], len(ERRORS), 1)


def scored(errors, scenes=None):
    """The errors of images, of which each has 100 pixels."""
    count = len(errors)
    images = tuple(map(str, range(count)))
    return Scored(errors_like(errors), images, tuple(scenes or [""] * count), (100,) * count)


def write_run(folder, rows, baselines=None, images=None, scenes=None, pixels=None, data="Rooms", published=None):
    """Write metrics.json and errors.npz in the format of a run, and return the folder.

    Args:
        folder: folder of the run.
        rows: errors (N,) or (N, 9) by row; the first row must be `head`.
        baselines: errors of baselines, (N,) or (N, 9) by row.
        images: names of the images.
        scenes: names of the scenes of the images.
        pixels: numbers of scored pixels of the images; the errors of images without any become NaN.
        data: name of the data set.
        published: published figures by row.
    """
    folder.mkdir(parents=True, exist_ok=True)
    every = {**rows, **(baselines or {})}
    errors = np.stack([errors_like(v) if np.ndim(v) == 1 else np.asarray(v, float) for v in every.values()])
    count = errors.shape[1]
    pixels = np.asarray(pixels if pixels is not None else [100] * count)
    errors[:, pixels <= 0] = np.nan
    means = {
        name: dict(zip(ERRORS, map(float, np.nanmean(e, 0)), strict=True))
        for name, e in zip(every, errors, strict=True)
    }
    metrics = {
        "figures": {name: means[name] for name in rows},
        "baselines": {name: means[name] for name in baselines or {}},
        "alignment": "none",
        "aligned": {},
        "published": published or {},
        "images": int((pixels > 0).sum()),
        "skipped": int((pixels <= 0).sum()),
        "data": {"data": data},
        "recipe": {},
        "versions": {},
        "commit": None,
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    np.savez(
        folder / "errors.npz",
        errors=errors,
        rows=list(every),
        alignment=["none"] * len(every),
        error=ERRORS,
        higher=np.array([], np.str_),
        image=images or [f"{k}.png" for k in range(count)],
        scene=scenes or [""] * count,
        pixels=pixels,
    )
    return folder
