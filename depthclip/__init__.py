"""Estimate metric depth from one photograph with a frozen CLIP and sentences about distance."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from depthclip.version import __version__

if TYPE_CHECKING:
    from depthclip.encoder import FrozenCLIP
    from depthclip.evaluating import evaluate
    from depthclip.head import Bins, DepthHead, Head, Prompts
    from depthclip.module import DepthCLIP


__all__ = ["Bins", "DepthCLIP", "DepthHead", "FrozenCLIP", "Head", "Prompts", "__version__", "evaluate"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import depthclip` is fast."""
    homes = {
        "Bins": "depthclip.head",
        "DepthCLIP": "depthclip.module",
        "DepthHead": "depthclip.head",
        "FrozenCLIP": "depthclip.encoder",
        "Head": "depthclip.head",
        "Prompts": "depthclip.head",
        "evaluate": "depthclip.evaluating",
    }
    if name not in homes:
        raise AttributeError(f"module 'depthclip' has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)
