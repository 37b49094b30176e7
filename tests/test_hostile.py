"""Recipes, checkpoints and folders of a stranger: nothing that they hold is run."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from depthclip import DepthCLIP, checkpoint
from depthclip.__main__ import main
from depthclip.errors import InputError

MARKER = "pwned"
EVIL = f"""
from pathlib import Path
Path({MARKER!r}).touch()
from depthclip.head import Bins
from depthclip.losses import SILog
class EvilBins(Bins): pass
class EvilLoss(SILog): pass
class Evil:
    def __init__(self, **kwargs): Path({MARKER!r}).touch()
    def __call__(self, *args, **kwargs): Path({MARKER!r}).touch()
def evil(*args, **kwargs): Path({MARKER!r}).touch()
"""
MODEL = {
    "encoder": {"name": "small-vit", "pretrained": None, "readout": "tokens"},
    "head": {
        "prompts": {"class_path": "depthclip.head.LearnedWords", "init_args": {"count": 3}},
        "bins": {"class_path": "depthclip.head.Bins", "init_args": {"values": [1.0, 3.0, 6.0]}},
    },
    "panels": 0,
}
DATA = {
    "class_path": "depthclip.data.Rooms",
    "init_args": {"train_size": 1, "val_size": 1, "test_size": 1, "view": "whole"},
}
SHELL = {"class_path": "os.system", "init_args": {"command": f"touch {MARKER}"}}
ENTRIES = ("test", "validate", "predict", "fit")


@pytest.fixture
def folder(tmp_path, monkeypatch, small):
    """A folder with a module that leaves a marker when it is imported."""
    (tmp_path / "evil.py").write_text(EVIL)
    (tmp_path / "head.yaml").write_text(yaml.safe_dump({"prompts": {"words": "depthclip"}, "bins": "evil.EvilBins"}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("evil", None)


def callback(name, **init_args):
    return {"trainer": {"callbacks": [{"class_path": f"pytorch_lightning.callbacks.{name}", "init_args": init_args}]}}


def part(kind, name, **more):
    return {"trainer": {kind: {"class_path": f"pytorch_lightning.{name}", **more}}}


def head(**changes):
    return {"model": {**MODEL, "head": {**MODEL["head"], **changes}}}


RECIPES = {
    "a callback with a function": callback("LambdaCallback", setup=SHELL),
    "a callback with a name of a function": callback("LambdaCallback", setup="evil.evil"),
    "a callback with a callable class": callback("LambdaCallback", setup={"class_path": "evil.Evil"}),
    "a callback with a loader of checkpoints": callback(
        "LambdaCallback",
        setup={
            "class_path": "depthclip.module.DepthCLIP.load",
            "init_args": {"path": "evil.ckpt", "allow": ["evil"]},
        },
    ),
    "a callback with an importer": callback(
        "LambdaCallback",
        setup={
            "class_path": "pytorch_lightning.cli.instantiate_class",
            "init_args": {"args": [f"touch {MARKER}"], "init": {"class_path": "os.system"}},
        },
    ),
    "an average by a function": callback("StochasticWeightAveraging", swa_lrs=0.1, avg_fn="evil.evil"),
    "an object of a strategy": part("strategy", "strategies.DDPStrategy", init_args={"ddp_comm_state": SHELL}),
    "a hook of a strategy": part("strategy", "strategies.DDPStrategy", init_args={"ddp_comm_hook": "evil.evil"}),
    "W&B config": part("logger", "loggers.WandbLogger", init_args={"mode": "disabled"}, dict_kwargs={"config": SHELL}),
    "W&B config by key": part(
        "logger", "loggers.WandbLogger", dict_kwargs={"mode": "disabled", "config": {"a": SHELL}}
    ),
    "W&B settings": part("logger", "loggers.WandbLogger", dict_kwargs={"mode": "disabled", "settings": SHELL}),
    "keywords of a profiler": part("profiler", "profilers.PyTorchProfiler", dict_kwargs={"on_trace_ready": SHELL}),
    "a profiler": {"trainer": {"profiler": "os.system"}},
    "a profiler that is a class": {"trainer": {"profiler": SHELL}},
    "a profiler beside the recipe": {"trainer": {"profiler": {"class_path": "evil.Evil"}}},
    "a logger": {"trainer": {"logger": SHELL}},
    "a logger beside the recipe": {"trainer": {"logger": {"class_path": "evil.Evil"}}},
    "a callback beside the recipe": {"trainer": {"callbacks": [{"class_path": "evil.Evil"}]}},
    "a callback by name": {"trainer": {"callbacks": "evil.Evil"}},
    "a plugin": {"trainer": {"plugins": [{"class_path": "evil.Evil"}]}},
    "an accelerator": {"trainer": {"accelerator": {"class_path": "evil.Evil"}}},
    "a strategy": {"trainer": {"strategy": {"class_path": "evil.Evil"}}},
    "a loss": {"model": {**MODEL, "loss": {"class_path": "evil.EvilLoss"}}},
    "a loss by name": {"model": {**MODEL, "loss": "evil.EvilLoss"}},
    "bins": head(bins={"class_path": "evil.EvilBins", "init_args": {"values": [1.0, 2.0, 3.0]}}),
    "bins by name": head(bins="evil.EvilBins"),
    "prompts from a hub": head(
        prompts={"class_path": "torch.hub.load", "init_args": {"repo_or_dir": ".", "model": "evil", "source": "local"}}
    ),
    "a head in a file": {"model": {**MODEL, "head": "head.yaml"}},
    "a readout": {"model": {**MODEL, "encoder": {**MODEL["encoder"], "readout": {"class_path": "evil.Evil"}}}},
    "a readout by name": {"model": {**MODEL, "encoder": {**MODEL["encoder"], "readout": "evil.Evil"}}},
    "data": {"data": {"class_path": "evil.Evil"}},
    "data from a shell": {"data": SHELL},
    "trust in itself": {"trust": ["evil"], "model": {**MODEL, "loss": "evil.EvilLoss"}},
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_a_recipe_runs_no_code(folder, name, capsys):
    whole = {"name": "x", "model": MODEL, "data": DATA, **RECIPES[name]}
    whole["trainer"] = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False, **whole.get("trainer", {})}
    Path("recipe.yaml").write_text(yaml.safe_dump(whole))
    torch.save({}, "evil.ckpt")
    main(["test", "-c", "recipe.yaml"])
    assert not Path(MARKER).exists()
    assert "Traceback" not in capsys.readouterr().err


def test_yaml_tags_run_no_code(folder, capsys):
    Path("recipe.yaml").write_text(f"name: !!python/object/apply:os.system ['touch {MARKER}']\n")
    assert main(["test", "-c", "recipe.yaml"]) == 2
    assert not Path(MARKER).exists()


def test_a_module_that_the_user_trusts_is_run(folder, capsys):
    """The other cases would pass with a module that does nothing."""
    Path("recipe.yaml").write_text(yaml.safe_dump({"model": {**MODEL, "loss": "evil.EvilLoss"}, "data": DATA}))
    assert main(["test", "-c", "recipe.yaml", "--print_config"]) == 2
    assert "evil.EvilLoss, code outside this package; use --trust evil" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["test", "-c", "recipe.yaml", "--trust", "evil", "--print_config"])
    assert Path(MARKER).exists()
    # trust ends with the run
    assert main(["test", "-c", "recipe.yaml", "--print_config"]) == 2


class Bomb:
    def __reduce__(self):
        import os

        return os.system, (f"touch {MARKER}",)


def hyper_parameters(**values):
    return {"hyper_parameters": values}


def settings(**changes):
    return {"settings": {**MODEL, **changes}}


CHECKPOINTS = {
    "hyperparameters: a class": hyper_parameters(head={"class_path": "evil.EvilBins"}),
    "hyperparameters: a class of the model": hyper_parameters(_class_path="evil.Evil"),
    "hyperparameters: an instantiator": hyper_parameters(_instantiator="evil.evil"),
    "hyperparameters: a file": hyper_parameters(head="head.yaml"),
    "hyperparameters: an address": hyper_parameters(head="http://127.0.0.1:9/head.yaml"),
    "datamodule hyperparameters": {"datamodule_hyper_parameters": {"_instantiator": "evil.evil"}},
    "settings: a class": settings(loss={"class_path": "evil.EvilLoss"}),
    "settings: a class as text": settings(loss="evil.EvilLoss"),
    "settings: bins as text": settings(head={**MODEL["head"], "bins": "evil.EvilBins"}),
    "settings: a dotted key": settings(**{"head.bins.class_path": "evil.EvilBins"}),
    "settings: a dotted key of init_args": settings(head={"init_args.bins": "evil.EvilBins"}),
    "settings: a file": settings(head="head.yaml"),
    "settings: a readout": settings(encoder={**MODEL["encoder"], "readout": "evil.Evil"}),
    "settings: a shell": settings(loss=SHELL),
    "settings: a variant": settings(variants={"x": {"class_path": "evil.Evil"}}),
    "settings: a module that acts when imported": settings(loss="antigravity.Loss"),
    "data": {"data": {"class_path": "evil.Evil"}},
    "data as text": {"data": {"class_path": "depthclip.data.Rooms", "init_args": {"view": "evil.Evil"}}},
    "a bomb beside the recipe": {"bomb": Bomb()},
    "a bomb for a callback": {"callbacks": {"evil": Bomb()}},
}


def write(path, changes):
    saved = checkpoint.recipe(MODEL, "small-vit", "0" * 16, 3, DATA)
    saved |= {key: changes[key] for key in ("settings", "data") if key in changes}
    torch.save({"state_dict": {}, checkpoint.RECIPE: saved} | changes, path)


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_a_checkpoint_runs_no_code(folder, name, capsys):
    write("evil.ckpt", CHECKPOINTS[name])
    with pytest.raises(InputError):
        DepthCLIP.load("evil.ckpt")
    Path("recipe.yaml").write_text(yaml.safe_dump({"model": MODEL, "data": DATA}))
    fast = ["--trainer.accelerator=cpu", "--trainer.devices=1"]
    for entry in ENTRIES:
        assert main([entry, "--ckpt_path", "evil.ckpt", *fast]) == 2
        assert main([entry, "-c", "recipe.yaml", "--ckpt_path", "evil.ckpt", *fast]) == 2
    assert not Path(MARKER).exists()
    assert "Traceback" not in capsys.readouterr().err
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_runs_no_code(folder, protocol, capsys):
    Path("evil.ckpt").write_bytes(pickle.dumps({"state_dict": {}, checkpoint.RECIPE: Bomb()}, protocol))
    with pytest.raises(InputError):
        DepthCLIP.load("evil.ckpt")
    for entry in ENTRIES:
        assert main([entry, "--ckpt_path", "evil.ckpt"]) == 2
    assert not Path(MARKER).exists()


def test_load_leaves_the_import_system_as_it_was(folder):
    before = list(sys.meta_path)
    write("evil.ckpt", settings(loss="evil.EvilLoss"))
    with pytest.raises(InputError, match="names evil"):
        DepthCLIP.load("evil.ckpt")
    assert sys.meta_path == before
    import evil  # noqa: F401  # not refused outside


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a loss", "a callback with a function", "data"])
def test_a_recipe_runs_no_code_in_a_process(folder, name):
    Path("recipe.yaml").write_text(yaml.safe_dump({"model": MODEL, "data": DATA, **RECIPES[name]}))
    command = [sys.executable, "-m", "depthclip", "test", "-c", "recipe.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert not Path(MARKER).exists()
