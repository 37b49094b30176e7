"""depthclip: depth from language."""
__version__ = "0.1.0"
