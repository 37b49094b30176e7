"""Run the command line: `python -m depthclip SUBCOMMAND`."""

import gc
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from depthclip import recipes
from depthclip.checks import brief
from depthclip.errors import InputError
from depthclip.output import abandon_output, make_tolerant, plain_warnings
from depthclip.signals import Ended, ending
from depthclip.version import __version__

# Subcommands that are functions, by the module that defines the function, such as `score`, and by the module that
# defines the parser of its options, such as `score_options`. They are imported when they run: imports are slow.
COMMANDS = {
    "app": "depthclip.app.command",
    "benchmark": "depthclip.benchmark.command",
    "learn": "depthclip.learn",
    "score": "depthclip.score",
    "video": "depthclip.video_command",
}
OPTIONS = {
    "app": "depthclip.app.options",
    "benchmark": "depthclip.benchmark.command",
    "score": "depthclip.score",
    "video": "depthclip.video_command",
}
SUBCOMMANDS = (
    *("fit", "validate", "test", "predict"),
    *("video", "learn", "score", "compare", "app", "benchmark", "recipes"),
)
USAGE = """usage: python -m depthclip {fit,validate,test,predict,video,learn,score,compare,app,benchmark,recipes}
                           [-c recipe.yaml] [--key value ...]

Estimate metric depth with a frozen CLIP, sentences about distance, and a few depths in metres.

subcommands:
  test      score a model and its baselines; write a table, metrics.json and a picture
  validate  score a model on the validation split
  fit       learn prompts or bins while CLIP stays frozen
  predict   write depth maps of photographs: predict photo.jpg folder 'trip/*.jpg' -c rooms
  video     write the depth of a video: video clip.mp4 -c rooms; see video --help
  learn     fit, then test with the learned parameters
  score     score depth maps in files, written by any method; see score --help
  compare   print runs and studies in one table with paired differences and intervals
  app       serve a page on this machine, on which words are edited; see app --help
  benchmark measure what a recipe costs: speed, shares, memory, growth; see benchmark --help
  recipes   list the recipes that come with the package

examples:
  python -m depthclip test -c configs/rooms.yaml
  python -m depthclip test -c configs/nyu_released.yaml --data.root data/nyu
  python -m depthclip predict photo.jpg -c configs/rooms.yaml --output depth
  python -m depthclip score --predictions depth -c configs/nyu_released.yaml
  python -m depthclip test --help                       list all options of a subcommand
  python -m depthclip test --model.head.help DepthHead  list the options of a class; see also --model.loss.help SILog,
  python -m depthclip test --data.help NYU              --model.encoder.help FrozenCLIP
  python -m depthclip test --ckpt_path learned.ckpt     use the recipe in the checkpoint
  python -m depthclip test -c recipe.yaml --trust mine  allow classes of mine.py, which runs the code of mine.py
  python -m depthclip --version                         print the version
"""


def main(args: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    An error that the user can correct is printed as one sentence, with exit code 2. The exit code is 3 if `predict`
    skipped images that cannot be read, or left out point clouds. SIGTERM and SIGINT end a run with
    exit codes 143 and 130. Any other exception is a bug and keeps its traceback. DEPTHCLIP_TRACEBACK=1 shows all
    tracebacks.
    """
    make_tolerant()
    given = sys.argv[1:] if args is None else args
    if not given or given[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if given[0] == "--version":
        print(__version__)
        return 0
    with ending():
        try:
            check_subcommand(given)
            if given[0] == "recipes":
                recipes.show()
                return 0
            if given[0] == "compare":
                from depthclip.study.compare import main as compare

                return compare(given[1:])
            if given[0] in OPTIONS and {"-h", "--help"} & {*given}:
                getattr(import_module(OPTIONS[given[0]]), f"{given[0]}_options")(given[1:])
            return run_reporting(given)
        except InputError as error:
            if os.environ.get("DEPTHCLIP_TRACEBACK"):
                raise
            print(f"error: {error}", file=sys.stderr)
            return 2
        except Ended as ended:
            if os.environ.get("LOCAL_RANK", "0") == "0":
                print(f"error: ended by {ended.name}; only finished results are kept", file=sys.stderr)
            return ended.exit_code
        finally:
            gc.unfreeze()
            abandon_output()


def check_subcommand(given: Sequence[str]) -> None:
    """Raise unless a command line begins with a subcommand; `recipes` must be alone.

    Raises:
        InputError: if it begins with anything else; the message has the nearest subcommand.
    """
    name = given[0]
    if name.startswith("-"):
        raise InputError(f"option {brief(name)} must follow a subcommand, as in python -m depthclip test {name} ...")
    if name not in SUBCOMMANDS:
        near = get_close_matches(name, SUBCOMMANDS, n=1)
        hint = f"the nearest subcommand is {near[0]}" if near else f"use one of {', '.join(SUBCOMMANDS)}"
        raise InputError(f"subcommand {brief(name)} is unknown; {hint}")
    if name == "recipes" and (more := [arg for arg in given[1:] if arg not in ("-h", "--help")]):
        raise InputError(f"recipes lists all recipes and takes no argument; remove {brief(more[0])}")


def run_reporting(given: list[str]) -> int:
    """Run a subcommand and return its exit code; print an error that the user can correct as one sentence."""
    # imported here because these imports are slow and `--help` works without them
    import_uncollected("depthclip.cli")
    from depthclip.cli import run
    from depthclip.messages import is_users, sentence

    try:
        code = 0
        with plain_warnings():
            if given[0] in COMMANDS:
                getattr(import_module(COMMANDS[given[0]]), given[0])(given[1:])
            else:
                code = run(given).exit_code
        sys.stdout.flush()
    except Exception as error:  # the user's errors are printed as one sentence, and bugs are raised again
        if os.environ.get("DEPTHCLIP_TRACEBACK") or not is_users(error):
            raise
        print(f"error: {sentence(error)}", file=sys.stderr)
        return 2
    return code


def import_uncollected(name: str) -> None:
    """Import a module without the garbage collector, which does not search its objects until `gc.unfreeze`.

    A search takes a second for all libraries.
    """
    if name not in sys.modules:
        gc.disable()
        import_module(name)
        gc.freeze()
        gc.enable()


if __name__ == "__main__":
    sys.exit(main())
