"""Arguments of probes and controls out of their domain."""

from depthclip.head import Bins, LearnedBins
from depthclip.head.depth_head import DepthHead
from depthclip.head.prompts import Prompts
from depthclip.probes import NetworkProbe, learn, nonsense
from tests.bad.judge import Case


def refuse(kind, name, build, *names):
    return Case(f"argument {kind}", name, lambda folder: build() and None, names)


def learning(name, head=None, **settings):
    learned = head or DepthHead(Prompts("five"), LearnedBins([1, 2, 3, 4, 5]))
    value = str(next(iter(settings.values()), ""))
    return refuse("learn", f"{name} {value}", lambda: learn(learned, [], None, None, **settings), name, value)


CASES = [
    *(
        refuse("NetworkProbe", f"hidden {x}", lambda x=x: NetworkProbe(hidden=x), "hidden", str(x))
        for x in (0, -3, 1e9)
    ),
    *(
        refuse("NetworkProbe", f"dropout {x}", lambda x=x: NetworkProbe(dropout=x), "dropout", str(x))
        for x in (-0.1, 1.0, float("nan"))
    ),
    *(refuse("nonsense", f"count {x}", lambda x=x: nonsense(x), "count", str(x)) for x in (0, -1, 10**6)),
    *(learning("steps", steps=x) for x in (0, -1, 1.5)),
    *(learning("learning_rate", learning_rate=x) for x in (0, -1.0, float("nan"))),
    learning("train", DepthHead(Prompts("five"), Bins([1, 2, 3, 4, 5]))),
]
