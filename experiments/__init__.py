"""Studies, one question each, and benchmarks: `python -m experiments` lists the studies."""
