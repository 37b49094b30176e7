"""Track runs of Weights & Biases offline, through the public interface of wandb."""

import os
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import wandb

ROOT = Path(__file__).parent.parent


@contextmanager
def tracked_runs(monkeypatch):
    """Work in the root of the repository without account or network, and restore the environment afterwards.

    Yields:
        The runs that finished, see `record_runs`.
    """
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    before = dict(os.environ)
    yield record_runs(monkeypatch)
    os.environ.clear()
    os.environ.update(before)  # WandbLogger changes the environment
    assert wandb.run is None


def record_runs(monkeypatch):
    """Return a list to which each run is appended when it finishes: group, name, id, config and summary.

    Values of the summary that are objects, such as tables, are flattened: `figures/_type`.
    """
    runs = []
    finish = wandb.Run.finish

    def record(run, *args, **settings):
        public = {key: getattr(run, key) for key in ("group", "name", "id")}
        runs.append(SimpleNamespace(**public, config=dict(run.config), summary=flat(run.summary)))
        finish(run, *args, **settings)

    monkeypatch.setattr(wandb.Run, "finish", record)
    return runs


def flat(summary):
    """Return the values of a summary, and the values of objects in it under `KEY/NAME`."""
    result = {}
    for key in [*summary.keys()]:
        value = summary[key]
        inner = [*value.keys()] if hasattr(value, "keys") else []  # such as the type and the size of a table
        result.update({f"{key}/{name}": value[name] for name in inner} if inner else {key: value})
    return result
