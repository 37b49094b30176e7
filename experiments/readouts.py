"""Which readout of the image tower gives the best depth, and how long does it take? Compare all that fit the tower."""

import sys
from typing import Any

from depthclip.cli import resolve
from depthclip.encoder import readouts_of
from depthclip.study import HeadSettings, Options, Results, Study, Variant, arguments_of, main
from experiments.prompt_words import PUBLISHED, QUICK_READOUTS

PROXIES = ("vit_base_patch16_dinov3", "vit_pe_spatial_base_patch16_512")
PAPER = {"DepthCLIP, RN50, released": PUBLISHED["depthclip"]}  # NYU


def named(name: str, **arguments: Any) -> dict[str, Any]:
    """Return the settings of a readout, by class path."""
    return {"class_path": f"depthclip.encoder.{name}", "init_args": arguments}


def readouts(options: Options) -> dict[str, Any]:
    """Return the readouts that fit the tower of the recipe, first the recipe's, then aggregated ones and proxies."""
    encoder = resolve(["test", *arguments_of(STUDY, options, Variant(""))])["model"]["encoder"]["init_args"]
    fitting = readouts_of(encoder["name"])
    plain = {name: name for name in fitting if name != "aggregate"}
    if encoder["readout"] in plain.values():
        plain = {encoder["readout"]: encoder["readout"], **plain}
    plain |= {name: readout for name, readout in QUICK_READOUTS.items() if options.quick}
    aggregated = {
        f"aggregate over {name}": named("Aggregate", readout=readout)
        for name, readout in plain.items()
        if name not in ("crops", "released")  # one is slow, the other is not in the space of the sentences
    }
    proxies = PROXIES if "sclip" in fitting and not options.quick else ()
    return {**plain, **aggregated, **{f"proxy {name}": named("Proxy", model=name) for name in proxies}}


def variants(options: Options, head: HeadSettings) -> list[Variant]:
    """Return the recipe with each readout; the paper's figures are quoted for NYU."""
    quoted = None if options.quick or options.data else PAPER
    return [
        Variant(name, {"model.encoder.readout": readout, "model.published": quoted})
        for name, readout in readouts(options).items()
    ]


def costs(results: Results) -> str:
    """Return a table with the time of each pass, which includes its start and the reading of images."""
    lines = ["**Cost** of each pass, with the start of its process", "", "| readout | images | seconds | per image |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for run in results.runs:
        seconds, images = run["seconds"], run["images"]
        lines.append(f"| {', '.join(run['variants'])} | {images} | {seconds:.0f} | {seconds / max(1, images):.2f} |")
    return "\n".join(lines)


STUDY = Study(
    name="readouts",
    question="Which readout of the image tower gives the best depth, and how long does it take?",
    variants=variants,
    recipe="nyu_vit_b16",
    quick_settings={"data.test_size": 40},
    notes=costs,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
