"""Protocols, errors and baselines: nothing here knows of CLIP."""
