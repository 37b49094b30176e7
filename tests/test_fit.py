"""Training: checkpoints, resuming, and the error measures and baselines of a user."""

import json
import re
import resource
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pytorch_lightning import Callback

import depthclip
from depthclip import Bins, DepthCLIP, DepthHead
from depthclip.__main__ import main
from depthclip.errors import InputError
from depthclip.evaluation.baselines import Baseline
from depthclip.evaluation.measures import ErrorMeasure
from depthclip.fitting import AtomicCheckpointIO, checkpoint_callbacks
from depthclip.head import LearnedBins, LearnedWords, Prompts
from depthclip.optimization import Optimization
from depthclip.report import Report
from tests.test_module import learner, rooms, seeded, trainer


@pytest.fixture
def folder(small, tmp_path, monkeypatch):
    """An empty working folder with a recipe that learns three words on four small rooms."""
    recipe = {
        "name": "learn",
        "model": {
            "encoder": {"name": "small-vit", "pretrained": None, "readout": "tokens"},
            "head": {
                "prompts": {"class_path": "depthclip.head.LearnedWords", "init_args": {"count": 3}},
                "bins": {"class_path": "depthclip.head.LearnedBins", "init_args": {"start": [1, 3, 6]}},
            },
            "learning_rate": 0.1,
        },
        "data": {
            "class_path": "depthclip.data.Rooms",
            "init_args": {
                "train_size": 4,
                "val_size": 2,
                "test_size": 2,
                "loading": {"batch_size": 2},
                "view": {"size": [64, 96]},
            },
        },
        "trainer": {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False, "max_epochs": 3},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def validated(version):
    """The validated abs_rel of each epoch, from the logger's file."""
    lines = Path(f"runs/learn/version_{version}/metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("val/abs_rel")
    return [float(line.split(",")[column]) for line in lines[1:] if line.split(",")[column]]


def learned(path):
    return torch.load(path, weights_only=True)


# ---- the best and the last


@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_fit_keeps_the_best_and_the_last_and_prints_the_command_that_tests_it(folder, capsys):
    assert main(["fit", "-c", "run.yaml", "--model.learning_rate", "3"]) == 0
    printed, errors = capsys.readouterr().out, validated(0)
    checkpoints = Path("runs/learn/version_0/checkpoints")
    assert {path.name for path in checkpoints.iterdir()} == {"best.ckpt", "last.ckpt"}
    best = int(np.argmin(errors))
    assert learned(checkpoints / "best.ckpt")["epoch"] == best
    assert learned(checkpoints / "last.ckpt")["epoch"] == 2
    assert f"best: {checkpoints}/best.ckpt (epoch {best + 1}" in printed
    assert f"val/abs_rel {min(errors):.4g}" in printed
    assert f"last: {checkpoints}/last.ckpt (epoch 3, step 6)" in printed
    assert f"python -m depthclip test --ckpt_path {checkpoints}/best.ckpt" in printed
    # the best checkpoint is the model of that epoch: validated again it has that figure
    assert main(["validate", "-c", "run.yaml", "--ckpt_path", str(checkpoints / "best.ckpt")]) == 0
    figures = json.loads(Path("runs/learn/version_1/metrics.json").read_text())["figures"]["head"]
    assert figures["abs_rel"] == pytest.approx(min(errors), rel=1e-6)


@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_without_validation_the_last_is_kept_and_printed(folder, capsys):
    assert main(["fit", "-c", "run.yaml", "--trainer.limit_val_batches", "0", "--trainer.max_epochs", "1"]) == 0
    printed = capsys.readouterr().out
    assert [path.name for path in Path("runs/learn/version_0/checkpoints").iterdir()] == ["last.ckpt"]
    assert "no validation" in printed
    assert "test --ckpt_path runs/learn/version_0/checkpoints/last.ckpt" in printed


@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_a_checkpoint_callback_of_the_recipe_is_used_instead(folder, capsys):
    callback = {
        "class_path": "pytorch_lightning.callbacks.ModelCheckpoint",
        "init_args": {"monitor": "val/delta1", "mode": "max", "filename": "mine-{epoch}", "save_last": True},
    }
    assert main(["fit", "-c", "run.yaml", "--trainer.callbacks", json.dumps([callback])]) == 0
    names = sorted(path.name for path in Path("runs/learn/version_0/checkpoints").iterdir())
    assert names[0] == "last.ckpt"
    assert re.fullmatch(r"mine-epoch=\d\.ckpt", names[1])
    assert len(names) == 2
    assert f"{names[1]} (epoch" in capsys.readouterr().out


def test_resuming_goes_on_from_the_best_of_the_run_before(clip, tmp_path):
    def run(epochs, ckpt_path=None, sub="a", **settings):
        keep = checkpoint_callbacks()
        model = DepthCLIP(clip("small-vit", "tokens"), learner(), learning_rate=0.05, **settings)
        one = trainer(tmp_path / sub, max_epochs=epochs, enable_checkpointing=True, callbacks=keep)
        one.fit(model, rooms(), ckpt_path=ckpt_path, weights_only=True)
        return keep

    first = run(1)
    last = first[1].best_model_path
    # the schedule of 30 epochs peaks so high that the figure gets worse
    worse = run(2, last, "b", optimization=Optimization(div_factor=1e-3, final_div_factor=1e-3))
    assert worse[0].best_model_path == first[0].best_model_path
    assert worse[0].best_model_score == first[0].best_model_score
    assert Path(worse[1].best_model_path).is_relative_to(tmp_path / "b")
    assert learned(worse[1].best_model_path)["epoch"] == 1


def test_a_full_disk_leaves_no_broken_checkpoint(tmp_path):
    path = tmp_path / "some" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"a": torch.zeros(10)}, path)
    whole, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises((OSError, RuntimeError)):
            AtomicCheckpointIO().save_checkpoint({"a": torch.zeros(1_000_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == whole
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_a_checkpoint_with_nothing_left_to_train_is_refused(folder, clip, capsys):
    keep = checkpoint_callbacks()
    run = trainer(folder, max_epochs=1, enable_checkpointing=True, callbacks=keep)
    run.fit(seeded(clip), rooms())
    again = trainer(folder, max_epochs=1, enable_checkpointing=True, callbacks=checkpoint_callbacks())
    with pytest.raises(InputError, match=r"last.ckpt has been trained for 1 epochs; set trainer.max_epochs"):
        again.fit(seeded(clip), rooms(), ckpt_path=keep[1].best_model_path, weights_only=True)


# ---- what is refused


@pytest.mark.parametrize("depth", ["none", "some"])
def test_training_without_one_valid_depth_is_refused(clip, tmp_path, depth):
    scoring = {"min_depth": 90.0, "max_depth": 100.0} if depth == "none" else {}
    from depthclip.protocol import Scoring

    data = rooms(scoring=Scoring(**scoring)) if scoring else rooms()
    run = trainer(
        tmp_path, max_epochs=1, enable_checkpointing=True, callbacks=checkpoint_callbacks(), limit_val_batches=0
    )
    if depth == "none":
        with pytest.raises(InputError, match="no pixel of the training images has a valid depth"):
            run.fit(seeded(clip), data)
    else:
        run.fit(seeded(clip), data)
    assert len(list(tmp_path.rglob("*.ckpt"))) == (0 if depth == "none" else 1)


def test_a_training_that_diverges_writes_no_checkpoint(clip, tmp_path):
    class Diverge(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            pl_module.head.prompts.tokens.data.fill_(torch.nan)

    keep = [*checkpoint_callbacks(), Diverge()]
    run = trainer(
        tmp_path, max_epochs=1, enable_checkpointing=True, callbacks=keep, limit_val_batches=0, limit_train_batches=1
    )
    with pytest.raises(InputError, match=r"diverged: head.prompts.tokens .* after epoch 1; set learning_rate 0.05 "):
        run.fit(seeded(clip), rooms())
    assert not list(tmp_path.rglob("*.ckpt"))


# ---- error measures and baselines


class Bad10(ErrorMeasure):
    """Share of pixels within ten per cent."""

    name = "within10"
    higher_is_better = True

    def __call__(self, prediction, target):
        return ((prediction - target).abs() < 0.1 * target).double().mean(1)


class Far(Baseline):
    """Six metres everywhere."""

    name = "six metres"

    def predict(self, item):
        return torch.full((3, 4), 6.0)


MINE = """
    import torch
    from depthclip.evaluation.baselines import Baseline
    from depthclip.evaluation.measures import ErrorMeasure
    from depthclip.protocol import Box, Crop
    from depthclip.optimization import Optimization

    class LowerHalf(Crop):
        def box(self, height, width):
            return Box(height // 2, 0, height, width)

    class Worst(ErrorMeasure):
        name = "worst"
        def __call__(self, prediction, target):
            return (prediction - target).abs().amax(1)

    class Constant(Baseline):
        def __init__(self, metres: float):
            self.name, self.metres = f"constant {metres:g} m", metres
        def predict(self, item):
            return torch.full((2, 2), self.metres)

    class Plain(Optimization):
        def optimizer(self, groups, learning_rate):
            return torch.optim.SGD(groups, lr=learning_rate)
"""


def test_measures_and_baselines_are_in_table_and_files(clip, tmp_path, capsys):
    head = DepthHead(Prompts("five"), Bins([1, 2, 3, 4, 6]))
    model = DepthCLIP(clip("small-vit", "tokens"), head, errors=[Bad10()], baselines=[Far()], panels=0)
    data = rooms()
    figures = depthclip.evaluate(model, data, tmp_path / "out", accelerator="cpu")
    printed = capsys.readouterr().out
    assert "within10↑" in printed
    assert "six metres" in printed
    # by hand, from the rooms themselves
    data.setup("test")
    shares, errors = [], []
    for k in range(3):
        truth = data.sets["test"][k].depth.numpy()
        valid = truth[(truth > data.scoring.min_depth) & (truth < data.scoring.max_depth)]
        shares.append((abs(6 - valid) < 0.1 * valid).mean())
        errors.append((abs(6 - valid) / valid).mean())
    assert figures["six metres"]["within10"] == pytest.approx(np.mean(shares), rel=1e-5)
    assert figures["six metres"]["abs_rel"] == pytest.approx(np.mean(errors), rel=1e-5)
    written = json.loads((tmp_path / "out/metrics.json").read_text())
    assert written["baselines"]["six metres"] == figures["six metres"]
    assert written["figures"]["head"] == figures["head"]
    with np.load(tmp_path / "out/errors.npz") as arrays:
        assert arrays["error"].tolist()[-1] == "within10"


@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_classes_of_the_users_run_by_class_path(folder, monkeypatch, capsys):
    (folder / "mine.py").write_text(textwrap.dedent(MINE))
    monkeypatch.syspath_prepend(folder)
    changes = {
        "model": {
            "errors": [{"class_path": "mine.Worst"}],
            "baselines": [{"class_path": "mine.Constant", "init_args": {"metres": 2.5}}],
            "optimization": {"class_path": "mine.Plain"},
        },
        "data": {"init_args": {"scoring": {"crop": {"class_path": "mine.LowerHalf"}}}},
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(changes))
    try:
        assert main(["test", "-c", "run.yaml", "-c", "mine.yaml", "--trust", "mine"]) == 0, capsys.readouterr().err
        written = json.loads(Path("runs/learn/version_0/metrics.json").read_text())
        assert written["figures"]["head"]["worst"] > 0
        assert written["pixels"] == written["images"] * 60 * 160  # the lower half of rooms of 120 x 160
        assert written["baselines"]["constant 2.5 m"]["worst"] > 0
        assert main(["fit", "-c", "run.yaml", "-c", "mine.yaml", "--trust", "mine", "--trainer.max_epochs", "1"]) == 0
        assert "val/worst" in Path("runs/learn/version_1/metrics.csv").read_text()
        state = learned("runs/learn/version_1/checkpoints/last.ckpt")["optimizer_states"][0]
        assert "momentum" in state["param_groups"][0]  # SGD has it, AdamW has not
    finally:
        sys.modules.pop("mine", None)


def test_the_factors_are_options_of_the_command_line(folder, capsys):
    with pytest.raises(SystemExit):
        main(["fit", "-c", "run.yaml", "--model.optimization.final_div_factor", "100", "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)["model"]["optimization"]
    assert printed == {
        "class_path": "depthclip.optimization.Optimization",
        "init_args": {"div_factor": 25.0, "final_div_factor": 100.0},
    }


# ---- from Python


def test_fit_and_evaluate_from_python(clip, tmp_path, capsys):
    model = DepthCLIP(clip("small-vit", "tokens"), DepthHead(LearnedWords(3), LearnedBins([1, 3, 6])), panels=1)
    keep = checkpoint_callbacks()
    run = trainer(tmp_path, max_epochs=1, enable_checkpointing=True, callbacks=[*keep, Report()])
    run.fit(model, rooms())
    (best,) = run.validate(model, rooms(), ckpt_path="best", verbose=False, weights_only=True)
    assert best["val/abs_rel"] == pytest.approx(float(keep[0].best_model_score), rel=1e-6)
    figures = depthclip.evaluate(model, rooms(), tmp_path / "out", accelerator="cpu")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"metrics.json", "errors.npz", "panel.png"}
    assert "abs_rel" in capsys.readouterr().out
    fresh = DepthCLIP(clip("small-vit", "tokens"), DepthHead(LearnedWords(3), LearnedBins([1, 3, 6])), panels=0)
    again = depthclip.evaluate(fresh, rooms(), tmp_path / "again", ckpt_path=keep[1].best_model_path, accelerator="cpu")
    assert again["head"] == figures["head"]
    val = depthclip.evaluate(model, rooms(), tmp_path / "val", split="val", accelerator="cpu")
    assert val["head"]["abs_rel"] == pytest.approx(float(keep[0].best_model_score), rel=1e-6)
    with pytest.raises(InputError, match="split 'train'"):
        depthclip.evaluate(model, rooms(), tmp_path, split="train")


# ---- folders of runs


@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_the_recipe_in_the_folder_repeats_the_run(folder):
    command = ["test", "--model.panels", "0"]
    assert main([*command, "-c", "run.yaml"]) == 0
    assert main([*command, "-c", "runs/learn/version_0/config.yaml"]) == 0
    recipes = [yaml.safe_load(Path(f"runs/learn/version_{k}/config.yaml").read_text()) for k in range(2)]
    assert recipes[0]["model"] == recipes[1]["model"]
    assert recipes[0]["seed_everything"] == 0


@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_a_run_that_fails_leaves_no_folder(folder, capsys):
    assert main(["test", "-c", "run.yaml", "--ckpt_path", "none.ckpt"]) == 2
    fixed = ["--model.head.prompts", "depthclip.head.Prompts", "--model.head.prompts.words", "[a,b,c]"]
    bins = ["--model.head.bins", "depthclip.head.Bins", "--model.head.bins.values", "[1,2,3]"]
    assert main(["fit", "-c", "run.yaml", *fixed, *bins]) == 2
    assert "nothing to train" in capsys.readouterr().err
    assert not list(Path("runs").rglob("version_*"))
    assert main(["test", "-c", "run.yaml", "--model.panels", "0"]) == 0
    assert Path("runs/learn/version_0/metrics.json").is_file()
