"""Read and check the files of runs and studies, and write files atomically."""

import csv
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from depthclip.atomic import open_atomic
from depthclip.errors import InputError
from depthclip.evaluation.bootstrap import Scored, columns_of
from depthclip.evaluation.metrics import ERRORS

METRICS, SCORES, CURVES = "metrics.json", "errors.npz", "metrics.csv"
METRICS_KEYS = ("figures", "baselines", "published", "images", "data")
SCORES_KEYS = ("errors", "rows", "alignment", "error", "higher", "image", "scene", "pixels")

Figures = dict[str, float]


@dataclass(frozen=True)
class RunFiles:
    """The figures and errors of a run of `test` or `validate`.

    Args:
        folder: folder of the run.
        metrics: content of metrics.json.
        scored: errors of every image in the alignment of the protocol, by row.
        aligned: errors of every image in further alignments, by alignment and row.
    """

    folder: Path
    metrics: dict[str, Any]
    scored: dict[str, Scored]
    aligned: dict[str, dict[str, Scored]]


def read_run(folder: Path) -> RunFiles:
    """Read the figures and errors of a finished run.

    Raises:
        InputError: if a file is missing, incomplete, or has an unexpected content.
    """
    metrics = read_object(folder / METRICS, METRICS_KEYS)
    for key in ("figures", "baselines", "published", "data"):
        if not isinstance(metrics[key], dict):
            raise InputError(f"{folder / METRICS}: {key} must be an object; {rerun_hint(folder)}")
    by_alignment: dict[str, dict[str, Scored]] = {}
    for name, each in read_scores(folder / SCORES, str(metrics["data"].get("data", "unnamed data"))):
        by_alignment.setdefault(each.alignment, {})[name] = each
    scored, *further = by_alignment.values()
    rows = [*metrics["figures"], *(name for name in metrics["baselines"] if name in scored)]
    if not metrics["figures"] or any(list(each) != rows for each in (scored, *further)):
        raise InputError(
            f"{folder / SCORES} has the rows {', '.join(scored)}, but {METRICS} has {', '.join(rows) or 'none'}; "
            + rerun_hint(folder)
        )
    return RunFiles(folder, metrics, scored, {alignment: by_alignment[alignment] for alignment in [*by_alignment][1:]})


def rerun_hint(folder: Path) -> str:
    """Return the hint for a message about a broken result."""
    return f"run it again, or use another folder than {folder}"


def read_object(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: file to read.
        keys: keys that the object must have.

    Raises:
        InputError: if the file is missing or incomplete, or a key is missing.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; {rerun_hint(path.parent)}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); {rerun_hint(path.parent)}") from error
    if not isinstance(value, dict) or (missing := [key for key in keys if key not in value]):
        lacks = f"has no {', '.join(missing)}" if isinstance(value, dict) else "is not an object"
        raise InputError(f"{path} {lacks}; {rerun_hint(path.parent)}")
    return value


def read_scores(path: Path, data: str) -> list[tuple[str, Scored]]:
    """Read the errors of every image by row.

    A row occurs once for each alignment; a row with several seeds occurs several times.

    Args:
        path: file errors.npz of a run or study.
        data: name of the data set.

    Raises:
        InputError: if the file is missing or broken, or its arrays are not `SCORES_KEYS`.
    """
    try:
        with np.load(path) as file:
            arrays = dict(file)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; {rerun_hint(path.parent)}") from error
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}); {rerun_hint(path.parent)}") from error
    if set(arrays) != set(SCORES_KEYS):
        raise InputError(f"{path} has the arrays {', '.join(arrays)}, expected {', '.join(SCORES_KEYS)}; run it again")
    errors = arrays["errors"]
    sizes = {"rows": 0, "alignment": 0, "image": 1, "scene": 1, "pixels": 1, "error": 2}
    if (
        errors.ndim != 3
        or arrays["higher"].ndim != 1
        or any(arrays[key].shape != errors.shape[axis : axis + 1] for key, axis in sizes.items())
    ):
        shapes = ", ".join(f"{key} {arrays[key].shape}" for key in SCORES_KEYS)
        raise InputError(
            f"{path} has arrays of shape {shapes}; expected errors (rows, image, error); {rerun_hint(path.parent)}"
        )
    names = arrays["error"].tolist()
    if missing := [error for error in ERRORS if error not in names]:
        raise InputError(f"{path} must have the errors {', '.join(missing)}; {rerun_hint(path.parent)}")
    columns = (*ERRORS, *(str(name) for name in names if name not in ERRORS))
    errors = errors[..., [names.index(column) for column in columns]]
    counted = arrays["pixels"] > 0
    nine = errors[:, counted, : len(ERRORS)]
    if errors.dtype.kind != "f" or not np.isfinite(nine).all() or not counted.any() or not len(errors):
        raise InputError(f"{path} must have finite errors of at least one image; {rerun_hint(path.parent)}")
    errors[:, ~counted] = np.nan
    images, scenes, higher = (tuple(map(str, arrays[key].tolist())) for key in ("image", "scene", "higher"))
    pixels = tuple(map(int, arrays["pixels"].tolist()))
    return [
        (str(name), Scored(of_row, images, scenes, pixels, data, columns, higher, str(alignment)))
        for name, alignment, of_row in zip(arrays["rows"].tolist(), arrays["alignment"].tolist(), errors, strict=True)
    ]


def read_losses(folder: Path) -> list[float]:
    """Return the training losses in the CSV log of a run, in order; empty if the run did not train."""
    path = folder / CURVES
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row.get("train/loss")]


@contextmanager
def open_result(path: Path) -> Iterator[BinaryIO]:
    """Create the folder of a file, and open the file for writing; it gets its name when it is complete.

    Raises:
        InputError: if the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_atomic(path) as file:
            yield file
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}); free space, or choose another folder with --out"
        ) from error


def save_text(path: Path, text: str) -> None:
    """Write a text file."""
    with open_result(path) as file:
        file.write(text.encode())


def save_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file."""
    save_text(path, json.dumps(value, indent=1, default=str) + "\n")


def save_scores(path: Path, rows: Sequence[tuple[str, Scored]]) -> None:
    """Write the errors of every image, in the format of a run; all rows must have the same images and pixels."""
    first = rows[0][1]
    columns = columns_of([scored for _, scored in rows])
    higher = dict.fromkeys(name for _, scored in rows for name in scored.higher)
    with open_result(path) as file:
        np.savez(
            file,
            errors=np.stack([np.stack([scored.column(name) for name in columns], 1) for _, scored in rows]),
            rows=np.array([name for name, _ in rows], np.str_),
            alignment=np.array([scored.alignment for _, scored in rows], np.str_),
            error=np.array(columns, np.str_),
            higher=np.array([*higher], np.str_),
            image=np.array(first.images, np.str_),
            scene=np.array(first.scenes, np.str_),
            pixels=np.array(first.pixels, np.int64),
        )
