"""The views and scorings of the field, by name."""

from depthclip.errors import InputError
from depthclip.protocol.scoring import Scoring
from depthclip.protocol.view import View

# DepthCLIP's released evaluation on NYU: 46, not 41, and only what the model saw
VIEWS: dict[str, View] = {
    "depthclip_nyu": View(crop=(56, 60, 472, 604), mirror=True, align_corners=True),
    "eigen_nyu": View(mirror=True),
    "whole": View(),
    "kitti": View(crop="kb", mirror=True),
    "make3d": View(crop="2:1", size=(256, 512), mirror=True),
}
SCORINGS: dict[str, Scoring] = {
    "depthclip_nyu": Scoring(max_depth=10.0, crop=(45, 46, 471, 601)),
    "eigen_nyu": Scoring(max_depth=10.0, crop=(45, 41, 471, 601)),
    "whole": Scoring(),
    "garg_kitti": Scoring(max_depth=80.0, crop="garg"),
    "garg_kitti_seen": Scoring(max_depth=80.0, crop="garg", crop_of="seen"),
    "eigen_kitti": Scoring(max_depth=80.0, crop="eigen"),
    "eigen_kitti_seen": Scoring(max_depth=80.0, crop="eigen", crop_of="seen"),
    # Monodepth2's evaluation of the 652 annotated images: all truth, but predictions up to 80 m
    "monodepth2_652": Scoring(min_depth=0.0, max_depth=None, clamp=(1e-3, 80.0), median_scaling=True),
    "make3d_c1": Scoring(max_depth=70.0, resample="nearest"),
    "make3d_c2": Scoring(max_depth=80.0, resample="nearest"),
}


def view_of(view: View | str) -> View:
    """Return a View by the name of its preset, or the given one.

    Raises:
        InputError: if there is no preset of that name.
    """
    if isinstance(view, View):
        return view
    if not isinstance(view, str) or view not in VIEWS:
        raise InputError(f"view {view!r} is no preset; choose one of {', '.join(VIEWS)}, or spell it out")
    return VIEWS[view]


def scoring_of(scoring: Scoring | str) -> Scoring:
    """Return a Scoring by the name of its preset, or the given one.

    Raises:
        InputError: if there is no preset of that name.
    """
    if isinstance(scoring, Scoring):
        return scoring
    if not isinstance(scoring, str) or scoring not in SCORINGS:
        raise InputError(f"scoring {scoring!r} is no preset; choose one of {', '.join(SCORINGS)}, or spell it out")
    return SCORINGS[scoring]
