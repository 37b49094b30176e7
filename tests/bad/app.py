"""Bad options of the page, bad words in its fields, and heads whose words cannot be edited."""

from depthclip.app.options import app_options
from depthclip.app.studio import RECIPE, Studio
from depthclip.app.wording import read_wording
from depthclip.head import Bins, DepthHead, LearnedWords, Prompts
from depthclip.inference import PhotoEstimator
from tests.bad.judge import Case
from tests.conftest import frozen


def studio(prompts):
    """Return a studio of a small CLIP."""
    head = DepthHead(prompts, Bins([1, 2, 3, 4, 5]))
    return Studio(PhotoEstimator(frozen("small-vit", "tokens"), head, None, False, 64))


def option(*args, names):
    return Case("page options", " ".join(args), lambda folder: app_options(args) and None, names)


def typed(name, lines, *names, templates="{distance}", temperature=0.1):
    """Return the case of texts in the fields of the page, up to the head that reads them."""

    def run(folder):
        opened = studio(Prompts("five"))
        opened.estimator(opened.encoder(RECIPE), read_wording(lines, templates, temperature))

    return Case("page words", name, run, names)


def readout(name):
    return Case("page readout", name, lambda folder: studio(Prompts("five")).encoder(name) and None, (name,))


FINE = "near | 1\nfar | 4"
CASES = [
    option("--port", "0", names=("--port", "0")),
    option("--port", "70000", names=("--port", "70000")),
    option("--max_upload", "0", names=("--max_upload", "0")),
    option("--max_upload", "99999", names=("--max_upload", "99999")),
    typed("empty", "", "words"),
    typed("a single word", "near | 1", "near"),
    typed("a word without a bin", "near | 1\nmiddle\nfar | 4", "3 words", "2 bins"),
    typed("no number", "near | 1\nfar | four", "four", "far"),
    typed("NaN", "near | 1\nfar | nan", "nan"),
    typed("descending", "near | 4\nfar | 1", "4"),
    typed("twice", "near | 1\nnear | 4", "near"),
    typed("a long word", f"near | 1\n{'far ' * 90} | 4", "far far", "too long"),
    typed("no temperature", FINE, "temperature", temperature=None),
    typed("temperature 0", FINE, "temperature", "0", temperature=0),
    typed("no template", FINE, "templates", templates=" \n"),
    typed("a template without a word", FINE, "It is far", templates="It is far"),
    readout("nonsense"),
    Case(
        "page readout",
        "attention_pool",
        lambda folder: studio(Prompts("five")).encoder("attention_pool") and None,
        ("AttentionPool",),
    ),
    Case("page head", "learned words", lambda folder: studio(LearnedWords(5)) and None, ("LearnedWords",)),
]
