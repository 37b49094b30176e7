"""python -m depthclip {fit,validate,test,predict,learn,compare}: depth from language on the command line."""

import os
import sys

from depthclip import __version__

USAGE = """usage: python -m depthclip {fit,validate,test,predict,learn,compare} [-c recipe.yaml ...] [--key value ...]

depth from language: CLIP, sentences about distance, and a few depths in metres

  test      score a model and its baselines: a table, metrics.json and a picture
  validate  score it on the validation split
  fit       learn prompts or bins while CLIP stays frozen
  predict   write depth maps of images
  learn     fit, then test what was learned
  compare   compare runs and studies: one table with paired differences and intervals

examples:
  python -m depthclip test -c configs/rooms.yaml
  python -m depthclip test -c configs/nyu_released.yaml --data.root data/nyu
  python -m depthclip test --help           every option of a subcommand
  python -m depthclip --version
"""


def main(args: list[str] | None = None) -> int:
    """Runs the command line; what the user can mend is said in one sentence, with exit code 2."""
    given = sys.argv[1:] if args is None else args
    if not given or given[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if given[0] == "--version":
        print(__version__)
        return 0
    if given[0] == "compare":
        from depthclip.study.compare import main as compare

        return compare(given[1:])
    # the heavy imports come after the help, which must not wait for them
    from depthclip.cli import run
    from depthclip.learn import learn

    try:
        learn(given[1:]) if given[0] == "learn" else run(args)
    except (ValueError, FileNotFoundError) as error:
        if os.environ.get("DEPTHCLIP_TRACEBACK"):
            raise
        print(f"error: {sentence(error)}", file=sys.stderr)
        return 2
    return 0


def sentence(error: Exception) -> str:
    """What went wrong, without the traceback that a loader's worker process puts before it."""
    text = str(error)
    if text.startswith("Caught ") and "\n" in text:
        text = text.strip().splitlines()[-1].partition(": ")[2]
    return text


if __name__ == "__main__":
    sys.exit(main())
