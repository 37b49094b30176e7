"""Names, tags, readouts and normalizations that open_clip or the package does not have."""

from depthclip.encoder import FrozenCLIP
from tests.bad.judge import Case

NAN, INF = float("nan"), float("inf")
HALF = (0.5, 0.5, 0.5)


def refuse(kind, name, *arguments, names=(), **more):
    return Case(f"argument {kind}", name, lambda folder: FrozenCLIP(*arguments, **more) and None, names)


NAMES = {
    "misspelt": "RN5O",
    "empty": "",
    "blank": " ",
    "nonsense": "???",
    "a number": 50,
    "None": None,
    "a list": ["RN50"],
    "very long": "x" * 10**6,
    "a path": "models/RN50.pt",
    "absolute path": "/etc/passwd",
    "hub": "hf-hub:timm/ViT-B-16-SigLIP",
    "folder": "local-dir:.",
    "empty hub": "hf-hub:",
    "other scheme": "http://127.0.0.1/RN50",
    "null byte": "RN50\x00",
}
TAGS = {
    "misspelt": "opnai",
    "empty": "",
    "blank": " ",
    "a number": 7,
    "True": True,
    "a list": ["openai"],
    "a path that is not there": "nowhere/weights.pt",
    "bundled": "bundled",
    "very long": "x" * 10**5,
    "null byte": "a\x00b",
}
NORMALIZATIONS = {
    "unknown": "clip",
    "empty": "",
    "None": None,
    "a number": 0.5,
    "empty list": [],
    "a mean alone": [HALF],
    "three lists": [HALF, HALF, HALF],
    "two channels": [(0.5, 0.5), (0.5, 0.5)],
    "text": ["mean", "std"],
    "NaN mean": [(NAN, 0.5, 0.5), HALF],
    "infinite mean": [(INF, 0.5, 0.5), HALF],
    "mean of 255": [(123.7, 116.3, 103.5), (58.4, 57.1, 57.4)],
    "NaN deviation": [HALF, (NAN, 0.5, 0.5)],
    "infinite deviation": [HALF, (INF, 0.5, 0.5)],
    "no deviation": [HALF, (0, 0.5, 0.5)],
    "negative deviation": [HALF, (-0.5, 0.5, 0.5)],
    "tiny deviation": [HALF, (1e-40, 0.5, 0.5)],
    "None in the mean": [(None, 0.5, 0.5), HALF],
    "text in the mean": [("0.5", 0.5, 0.5), HALF],
}

CASES = [
    *(refuse("encoder.name", name, value, None, names=("model",)) for name, value in NAMES.items()),
    *(refuse("encoder.pretrained", n, "RN50-quickgelu", v, names=("pretrained",)) for n, v in TAGS.items()),
    refuse("encoder.pretrained", "tiny-rooms with a tag", "tiny-rooms", "openai", names=("'openai'", "bundled")),
    refuse("encoder.pretrained", "other activation", "RN50", "openai", names=("openai", "use RN50-quickgelu")),
    *(
        refuse("encoder.normalization", n, "small-vit", None, "tokens", v, names=("normalization",))
        for n, v in NORMALIZATIONS.items()
    ),
    *(
        refuse("encoder.readout", str(value), "small-vit", None, value, names=("readout", str(value)))
        for value in ("mean", "", 7, None)
    ),
    refuse("encoder.readout", "released on a ViT", "small-vit", None, "released", names=("Released", "tokens")),
    *(
        refuse("encoder.tokenizer", name, model, None, readout, tokenizer=folder, names=("tokenizer",))
        for name, model, readout, folder in (
            ("for a model with open_clip's own", "small-vit", "tokens", "words"),
            ("no folder, or transformers missing", "ViT-B-16-SigLIP", "maskclip", "nowhere"),
            ("empty, or transformers missing", "ViT-B-16-SigLIP", "maskclip", ""),
        )
    ),
]
