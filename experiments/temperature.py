"""How sharply should similarities become weights? Vary temperature, logit scale, assignment and smoothing."""

import sys
from typing import Any

from depthclip.study import HeadSettings, Options, Study, Variant, main

TEMPERATURES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 2.0)
SMOOTHINGS = (0.5, 1.0, 2.0)


def variants(options: Options, head: HeadSettings) -> list[Variant]:
    """Return the unchanged recipe, and variants with one changed setting each."""
    changes: dict[str, dict[str, Any]] = {"the recipe as it is": {}}
    changes |= {f"temperature {t:g}": {"temperature": t} for t in TEMPERATURES}
    # only logit_scale / temperature matters, so that both variants must have the same figures
    changes["temperature 0.1, logit scale 50"] = {"temperature": 0.1, "logit_scale": 50.0}
    changes["temperature 0.2, logit scale 100"] = {"temperature": 0.2, "logit_scale": 100.0}
    changes["the most similar word's bin"] = {"assignment": "hard"}
    changes |= {f"smoothed over {s:g} patches": {"smoothing": s} for s in SMOOTHINGS}
    return [
        Variant(name, {f"model.head.{key}": value for key, value in change.items()}) for name, change in changes.items()
    ]


STUDY = Study(
    name="temperature",
    question="How sharply should similarities become weights, and does smoothing help?",
    variants=variants,
    settings={"model.published": None},
    quick_settings={"data.test_size": 100},
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
