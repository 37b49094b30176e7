"""The runs of Weights & Biases that a test starts, through the public interface of wandb."""

from types import SimpleNamespace

import wandb


def remember_runs(monkeypatch):
    """Return a list that gets each run when it finishes: group, name, id, config and summary.

    Values of the summary that are objects, such as tables, are flattened: `figures/_type`.
    """
    found = []
    finish = wandb.Run.finish

    def remember(run, *args, **settings):
        public = {key: getattr(run, key) for key in ("group", "name", "id")}
        found.append(SimpleNamespace(**public, config=dict(run.config), summary=flat(run.summary)))
        finish(run, *args, **settings)

    monkeypatch.setattr(wandb.Run, "finish", remember)
    return found


def flat(summary):
    """Return the values of a summary with those of objects in it."""
    result = {}
    for key in [*summary.keys()]:
        value = summary[key]
        inner = [*value.keys()] if hasattr(value, "keys") else []  # such as the type and the size of a table
        result.update({f"{key}/{name}": value[name] for name in inner} if inner else {key: value})
    return result
