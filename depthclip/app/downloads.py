"""The files of the page: depth maps as `predict` writes them, and the recipe that reproduces them."""

from pathlib import Path
from shlex import quote

import torch
import yaml

from depthclip.app.studio import RECIPE, OpenedPhoto, Studio
from depthclip.app.wording import Wording
from depthclip.clouds import check_trimesh
from depthclip.depth_files import DepthFolder
from depthclip.errors import InputError
from depthclip.head.words import with_head_of
from depthclip.shown import Prediction

RECIPE_FILE = "recipe.yaml"
KEPT = ("encoder", "head", "mirror", "max_side")  # settings of the model on which the depth of a photograph depends
NO_FOV = "the photograph states no focal length, so there is no point cloud; set the field of view"


def write_files(
    studio: Studio, photo: OpenedPhoto, wording: Wording, fov: float | None, folder: Path
) -> tuple[list[Path], str]:
    """Write the depth of a photograph and the recipe.

    The files are a 16-bit PNG that states its scale, float32 metres as .npy, a picture, a point cloud as GLB if the
    focal length is known, and the recipe as YAML.

    Args:
        studio: the model.
        photo: the photograph.
        wording: words, bins, templates and temperature.
        fov: field of view across the width in degrees; None for that of the EXIF block.
        folder: an empty folder.

    Returns:
        The paths, and the reason why there is no point cloud, or "".

    Raises:
        InputError: if a value is refused or a file cannot be written.
    """
    full = studio.read(photo.encoded, wording, fov)
    seen = studio.read(photo.resized(photo.encoded.seen), wording, fov)
    missing = NO_FOV if seen.focal is None else no_trimesh()
    formats = ("png", "npy") if missing else ("png", "npy", "glb")
    files = DepthFolder(folder, [photo.path.name], {}, formats)
    files.open()
    rgb = torch.from_numpy(photo.rgb).permute(2, 0, 1).float() / 255
    depths = (torch.from_numpy(each.depth) for each in (full, seen))
    depth, small = depths
    files.write(Prediction(0, photo.path.name, depth, rgb, small, seen.focal))
    (folder / RECIPE_FILE).write_text(recipe_text(studio, photo, wording, fov), encoding="utf-8")
    return sorted(folder.iterdir()), missing


def no_trimesh() -> str:
    """Return why no point cloud can be written, or "" if trimesh is installed."""
    try:
        check_trimesh(["glb"])
    except InputError as error:
        return str(error)
    return ""


def recipe_text(studio: Studio, photo: OpenedPhoto, wording: Wording, fov: float | None = None) -> str:
    """Return a recipe that reproduces the depth of a photograph, with the command in its first line.

    Args:
        studio: the model.
        photo: the photograph, for its readout, its view and its name.
        wording: words, bins, templates and temperature.
        fov: field of view across the width in degrees; None for that of the EXIF block.
    """
    estimator = studio.estimator(photo.encoded.encoder, wording)
    settings = with_head_of(studio.model.settings, estimator.head)
    model = {key: settings[key] for key in KEPT}
    model["mirror"] = photo.encoded.view.mirror
    model["head"]["init_args"]["bins"]["init_args"]["values"] = list(wording.bins)  # as they were typed
    if photo.readout != RECIPE:
        encoder = model["encoder"]
        model["encoder"] = {**encoder, "init_args": {**encoder["init_args"], "readout": photo.readout}}
    name = photo.path.name if photo.path.name.isprintable() else "photo.jpg"  # a line break would end the comment
    name = f"./{name}" if name.startswith("-") else name  # or it would be an option
    command = f"python -m depthclip predict {quote(name)} -c {RECIPE_FILE} --output depth"
    options = " --formats '[png, npy]'" + ("" if fov is None else f" --data.fov {fov:g}")
    content = yaml.safe_dump({"name": "app", "model": model}, sort_keys=False, allow_unicode=True, width=120)
    return f"# {command}{options}\n{content}"
