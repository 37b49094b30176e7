"""The views and scorings of published evaluations, by name, and their place in recipes."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from depthclip.checks import check_choice
from depthclip.errors import InputError
from depthclip.protocol.scoring import Scoring
from depthclip.protocol.view import View

Preset = TypeVar("Preset", View, Scoring)

VIEWS: dict[str, View] = {
    # DepthCLIP's released code: the only size that its 13 x 17 head accepts (datasets_list.py, eval.py)
    "depthclip_nyu": View(crop=(56, 60, 472, 604), mirror=True, align_corners=True),
    # the whole 480 x 640 with the white border: BTS, AdaBins, ZoeDepth, Marigold
    "eigen_nyu": View(mirror=True),
    "whole": View(),
    # the 352 x 1216 of KITTI's depth benchmark: BTS, AdaBins, ZoeDepth, DepthCLIP
    "kitti": View(crop="kb", mirror=True),
    # the input size of Monodepth2's models
    "monodepth2_kitti": View(size=(192, 640), mirror=True),
    # Monodepth2's centre crop: rows 710 to 1562 of 2272, which are rows 17 to 38 of the laser's 55
    "make3d": View(crop="2:1", size=(256, 512), mirror=True),
    # the whole portrait image of 2272 x 1704, reduced
    "make3d_whole": View(size=(512, 384), mirror=True),
}
SCORINGS: dict[str, Scoring] = {
    # DepthCLIP's released code: column 46, not 41, and only the pixels that the model saw (calculate_error.py)
    "depthclip_nyu": Scoring(max_depth=10.0, crop=(45, 46, 471, 601)),
    # Eigen's crop: BTS, AdaBins, ZoeDepth, Marigold
    "eigen_nyu": Scoring(max_depth=10.0, crop=(45, 41, 471, 601)),
    "whole": Scoring(),
    # BTS's offline evaluation: fractions of the full map
    "garg_kitti": Scoring(max_depth=80.0, crop="garg"),
    # AdaBins, ZoeDepth, DepthCLIP, Auty: fractions of the part of the map that the model saw
    "garg_kitti_seen": Scoring(max_depth=80.0, crop="garg", crop_of="seen"),
    "eigen_kitti": Scoring(max_depth=80.0, crop="eigen"),
    # Marigold
    "eigen_kitti_seen": Scoring(max_depth=80.0, crop="eigen", crop_of="seen"),
    # Monodepth2's evaluation of the 697 images with raw laser sweeps (evaluate_depth.py, split eigen)
    "monodepth2_697": Scoring(max_depth=80.0, crop="garg", alignment="median"),
    # Monodepth2's evaluation of the 652 annotated images (split eigen_benchmark): all of the ground truth, without a
    # crop or a cap, but predictions up to 80 m
    "monodepth2_652": Scoring(min_depth=0.0, max_depth=None, clamp=(1e-3, 80.0), alignment="median"),
    # C1 of Liu et al. (CVPR 2014); predictions are limited to 70 m too, and resampled to the laser's grid
    "make3d_c1": Scoring(max_depth=70.0, resample="nearest"),
    # C2: all of the ground truth up to 80 m
    "make3d_c2": Scoring(max_depth=80.0, resample="nearest"),
}
KEYS = ("view", "scoring", "training_scoring")  # the keys of a recipe that accept presets


def view_of(view: View | str) -> View:
    """Return the view of a preset, or the given view.

    Raises:
        InputError: if there is no preset of that name.
    """
    return view if isinstance(view, View) else _preset("view", view, VIEWS)


def scoring_of(scoring: Scoring | str) -> Scoring:
    """Return the scoring of a preset, or the given scoring.

    Raises:
        InputError: if there is no preset of that name.
    """
    return scoring if isinstance(scoring, Scoring) else _preset("scoring", scoring, SCORINGS)


def spell_out(values: Any) -> Any:
    """Replace presets with their fields in the values of a recipe.

    Under the keys `view`, `scoring` and `training_scoring`, the name of a preset stands for all of its fields, and
    `{preset: kitti, mirror: false}` for all of its fields with one changed. The trainer has no presets.

    Args:
        values: values as YAML has them, nested.

    Raises:
        InputError: if a preset or a field is unknown.
    """
    if isinstance(values, list):
        return [spell_out(value) for value in values]
    if not isinstance(values, Mapping):
        return values
    return {
        key: value if key == "trainer" else fields(key, value) if key in KEYS else spell_out(value)
        for key, value in values.items()
    }


def fields(key: str, value: Any) -> Any:
    """Return the fields of a preset, with the changes of a mapping applied; return any other value unchanged.

    Args:
        key: `view`, `scoring` or `training_scoring`.
        value: name of a preset, or a mapping with the key `preset`.

    Raises:
        InputError: if there is no preset of that name, and no file that may hold the fields, or a field is unknown.
    """
    if isinstance(value, str) and not os.path.isfile(value):
        value = {"preset": value}
    if isinstance(value, Mapping) and "median_scaling" in value:
        name = "median" if value["median_scaling"] else "none"
        raise InputError(f"{key}.median_scaling {value['median_scaling']!r} is now an alignment; use alignment: {name}")
    if not isinstance(value, Mapping) or "preset" not in value:
        return spell_out(value)
    preset = asdict(view_of(value["preset"]) if key == "view" else scoring_of(value["preset"]))
    changes = {name: change for name, change in value.items() if name != "preset"}
    for name in changes:
        check_choice(f"option of {key}", name, tuple(preset))
    return {name: list(field) if isinstance(field, tuple) else field for name, field in preset.items()} | changes


def _preset(kind: str, name: object, presets: Mapping[str, Preset]) -> Preset:
    if not isinstance(name, str) or name not in presets:
        raise InputError(f"{kind} {name!r} is no preset; choose one of {', '.join(presets)}, or give its fields")
    return presets[name]
