"""Errors, baselines and intervals, independent of CLIP and of heads."""
