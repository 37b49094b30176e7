"""Pretraining of tiny-rooms, the CLIP that comes with the package."""
