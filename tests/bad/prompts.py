"""Words, templates and phrases that the text tower cannot read, or cannot tell apart."""

from depthclip.head import (
    Bins,
    ConditionalContext,
    DepthHead,
    LearnedContext,
    LearnedTokens,
    LearnedWords,
    OrdinalWords,
    Prompts,
)
from tests.bad.judge import Case
from tests.bad.model import tiny

WORDS = ["close", "far"]
LONG = "x" * 10**6


def refuse(kind, name, build, *names):
    return Case(f"argument {kind}", name, lambda folder: build() and None, names)


def prepared(prompts):
    return prompts.prepare(tiny().encoder.text)


def warned(words):
    head = DepthHead(Prompts(words), Bins([1, 2, 3, 4, 5]))
    return Case(
        "words out of order",
        " < ".join(words),
        lambda folder: head.prepare(tiny().encoder.text),
        (words[0], "near to far"),
        expect="warning",
    )


TEMPLATES = {
    "no field": "This is far",
    "other field": "{distance} {colour}",
    "format": "{distance:%d}",
    "width": "{distance:>30}",
    "huge width": "{distance:1000000000}",
    "conversion": "{distance!r}",
    "attribute": "{distance.__class__}",
    "item": "{distance[0]}",
    "number": "{0}",
    "no name": "{}",
    "nested": "{distance:{object}}",
    "open brace": "{distance",
    "closed brace": "distance}",
    "escaped": "{{distance}}",
    "blank": " ",
    "a number": 7,
    "None": None,
    "bytes": b"{distance}",
    "surrogate": "\ud800 {distance}",
    "very long": LONG + "{distance}",
}
WORD_LISTS = {
    "empty": [],
    "a single one": ["far"],
    "an empty word": ["near", ""],
    "a blank word": ["near", " \t"],
    "equal": ["near", "far", "near"],
    "equal but for spaces": ["very  far", " very far"],
    "a number": ["near", 7],
    "None": ["near", None],
    "bytes": ["near", b"far"],
    "a nested list": ["near", ["far"]],
    "a very long word": ["near", LONG],
    "a surrogate": ["near", "\ud800"],
    "a million": ["near"] * 10**6,
    "too many": [str(k) for k in range(10_001)],
    "a number for the list": 7,
    "None for the list": None,
    "an unknown set": "six",
}

CASES = [
    *(
        refuse("Prompts", f"template: {name}", lambda t=template: Prompts("five", [t]), "template")
        for name, template in TEMPLATES.items()
    ),
    *(
        refuse("LearnedContext", f"template: {name}", lambda t=template: LearnedContext("five", t), "template")
        for name, template in TEMPLATES.items()
    ),
    *(
        refuse("LearnedWords", f"template: {name}", lambda t=template: LearnedWords(5, t), "template")
        for name, template in TEMPLATES.items()
    ),
    *(
        refuse("OrdinalWords", f"template: {name}", lambda t=template: OrdinalWords(5, 3, t), "template")
        for name, template in TEMPLATES.items()
    ),
    *(
        refuse("OrdinalWords", f"{key} {x!r}", lambda key=key, x=x: OrdinalWords(**{key: x}), key, repr(x))
        for key in ("count", "anchors")
        for x in (0, 1, -3, 2.5, 10_001, 10**12, None, True, "7")
    ),
    *(
        refuse("OrdinalWords", f"{key} {x!r}", lambda key=key, x=x: OrdinalWords(**{key: x}), key, repr(x))
        for key in ("interpolation", "placement")
        for x in ("", "nonsense", "cubic", None, 3)
    ),
    *(refuse("Prompts", f"words: {name}", lambda w=words: Prompts(w), "words") for name, words in WORD_LISTS.items()),
    *(
        refuse("ConditionalContext", f"words: {name}", lambda w=words: ConditionalContext(w), "words")
        for name, words in WORD_LISTS.items()
    ),
    *(
        refuse("Prompts", f"templates: {name}", lambda t=templates: Prompts("five", t), "templates")
        for name, templates in {"empty": [], "text": "This is {distance}", "None": None, "a number": 7}.items()
    ),
    *(
        refuse("Prompts", f"objects: {name}", lambda o=objects: Prompts("five", objects=o), "objects")
        for name, objects in {"empty": [], "text": "object", "blank": [""], "a number": [7]}.items()
    ),
    refuse(
        "Prompts",
        "a million sentences",
        lambda: Prompts("five", [f"{{distance}} {k}" for k in range(1000)], [str(k) for k in range(1000)]),
        "sentences",
        "5000000",
    ),
    refuse("Prompts", "words differ in case", lambda: prepared(Prompts(["far", "Far"])), "'far'", "'Far'", "This"),
    refuse("Prompts", "long template", lambda: prepared(Prompts(WORDS, ["far " * 80 + "{distance}"])), "24 tokens"),
    refuse(
        "Prompts",
        "long template, word first",
        lambda: prepared(Prompts(WORDS, ["{distance}" + " a" * 80])),
        "24 tokens",
    ),
    refuse("Prompts", "long word", lambda: prepared(Prompts(["close", "far " * 80])), "24 tokens", "far far"),
    refuse("Prompts", "end token", lambda: prepared(Prompts(WORDS, ["<end_of_text> {distance}"])), "'close'", "'far'"),
    refuse(
        "LearnedContext", "case", lambda: prepared(LearnedContext(["far", "Far"])), "'far'", "'Far'", "{context:16}"
    ),
    refuse(
        "LearnedContext",
        "long template",
        lambda: prepared(LearnedContext(WORDS, "{context:4} {distance}" + " far" * 80)),
        "{context:4}",
        "24 tokens",
    ),
    refuse(
        "LearnedContext", "too many vectors", lambda: prepared(LearnedContext(WORDS, "{context:77} {distance}")), "77"
    ),
    refuse("LearnedContext", "absurd", lambda: LearnedContext(WORDS, "{context:999999999} {distance}"), "{context:999"),
    refuse(
        "LearnedContext", "beyond int", lambda: LearnedContext(WORDS, f"{{context:{'9' * 5000}}} {{distance}}"), "999"
    ),
    refuse("LearnedContext", "negative", lambda: LearnedContext(WORDS, "{context:-1} {distance}"), "{context:-1}"),
    refuse("LearnedContext", "none", lambda: LearnedContext(WORDS, "{context:0} {distance}"), "{context:0}"),
    refuse("LearnedContext", "half", lambda: LearnedContext(WORDS, "{context:1.5} {distance}"), "{context:1.5}"),
    *(
        refuse(
            "LearnedContext",
            f"phrase: {str(phrase)[:9]}",
            lambda p=phrase: prepared(LearnedContext(WORDS, phrase=p)),
            "phrase",
        )
        for phrase in ("", " ", "a photo", "a " * 17, 7, LONG, "\ud800")
    ),
    refuse("LearnedWords", "absurd", lambda: LearnedWords(7, "{distance:99999}"), "{distance:99999}"),
    refuse(
        "LearnedWords", "too many", lambda: prepared(LearnedWords(7, "{distance:80}")), "{distance:80}", "24 tokens"
    ),
    refuse(
        "LearnedTokens",
        "more tokens than the context",
        lambda: prepared(LearnedTokens(7, 80)),
        "{distance:80}",
        "24 tokens",
    ),
    warned(["medium", "very far", "very close", "far", "close"]),
    warned(["very far", "close", "medium", "very close", "far"]),
]
