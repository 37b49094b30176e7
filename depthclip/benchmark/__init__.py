"""Measure what a recipe costs: speed, shares, operations, memory, growth, precision, training, devices and start.

The modules are imported by their names, so that `depthclip benchmark --help` needs no torch.
"""
