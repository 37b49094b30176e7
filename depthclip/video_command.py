"""Write the depth of a video: `python -m depthclip video clip.mp4 -c RECIPE`."""

import argparse
from collections.abc import Sequence

from depthclip.subcommand import subcommand_parser

USAGE = "python -m depthclip video CLIP -c RECIPE [--output DIR] [--key value ...]"
DESCRIPTION = "Write the depth of a video as MP4, the frames beside their depth, and as .npz in metres."
MODEL = """options of the model, as for `predict` (python -m depthclip predict --help):
  -c RECIPE             use the model of a recipe, such as rooms or model/rn50; its data section does not apply
  --model.*             replace settings of the model, such as --model.max_side 320 or --model.mirror false
  --trust MODULE        allow classes of a module of yours, which runs its code

examples:
  python -m depthclip video clip.mp4 -c rooms --output out
  python -m depthclip video clip.mp4 -c model/rn50 --smoothing 0.8 --every 2"""


def video(args: Sequence[str]) -> None:
    """Write the depth of the video that a command line names.

    Args:
        args: arguments without the subcommand.

    Raises:
        InputError: if an argument, a recipe or a file cannot be used.
    """
    options, rest = video_options(args)
    from depthclip.video.run import run  # imported here because it is slow and `--help` works without it

    run(options, rest)


def video_options(args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the options about the video, and those of the model.

    Raises:
        InputError: if an option is refused, or there is not exactly one video.
    """
    from depthclip.errors import InputError
    from depthclip.positional import grouped

    parser = subcommand_parser(
        "video", DESCRIPTION, MODEL, "python -m depthclip video CLIP -c RECIPE [--output DIR] [--key value ...]"
    )
    parser.add_argument(
        "--output", default="depth", help="folder of NAME.depth.mp4 and NAME.npz for NAME.mp4; default: depth"
    )
    parser.add_argument(
        "--smoothing",
        type=float,
        default=0.0,
        metavar="A",
        help="smooth depth over time by the exponential mean A * previous + (1 - A) * present of the logits, A from "
        "0 to 0.999; default: 0, each frame for itself",
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="use each N-th frame only")
    parser.add_argument("--max_frames", type=int, metavar="N", help="stop after N frames")
    parser.add_argument(
        "--fov",
        type=float,
        help="field of view across the width of the upright video in degrees, for a head with a camera",
    )
    parser.add_argument("--device", help="device of the model, such as cpu or cuda:1; default: a GPU if there is one")
    parser.add_argument("--ckpt_path", help="checkpoint with what fit learned; its recipe is used if there is no -c")
    parser.add_argument("--overwrite", action="store_true", help="replace the files of this video in the folder")
    groups = [*grouped(args)]
    clips = [group[1] for group in groups if group[0] == ""]
    try:
        options, rest = parser.parse_known_args([part for group in groups if group[0] for part in group])
    except argparse.ArgumentError as error:
        raise InputError(f"{error}; use --help to list the options") from error
    if not clips:
        raise InputError("the video is missing; give its file, as in video clip.mp4 -c rooms")
    if len(clips) > 1:
        raise InputError(f"video {clips[1]!r} follows {clips[0]!r}; give one video a command")
    options.clip = clips[0]
    return options, rest
