"""Checkpoints: the state that is saved, and the files that are refused."""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pytorch_lightning import Trainer
from torch import nn

from depthclip import DepthCLIP, DepthHead, checkpoint
from depthclip.__main__ import main
from depthclip.checkpoint import RECIPE
from depthclip.cli import run
from depthclip.data import Loading, Rooms
from depthclip.errors import InputError
from depthclip.head import FittedBins, LearnedBins, Prompts


def model(seed=0, bins=7):
    torch.manual_seed(seed)
    return nn.ModuleDict({"encoder": nn.Linear(300, 300), "head": nn.Linear(4, bins)})


SETTINGS = {
    "class_path": "depthclip.head.DepthHead",
    "init_args": {"prompts": {"class_path": "depthclip.head.LearnedWords", "init_args": {"count": 7}}, "bins": [1, 2]},
}


def save(path, **more):
    recipe = checkpoint.recipe(SETTINGS, "RN50", checkpoint.fingerprint(model()["encoder"]), 7)
    torch.save({"state_dict": checkpoint.learned_state(model().state_dict()), RECIPE: recipe} | more, path)
    return path


def test_what_was_learned_comes_back_and_nothing_else_is_saved(tmp_path):
    path = save(tmp_path / "a.ckpt")
    assert path.stat().st_size < 5000
    loaded = checkpoint.read_checkpoint(path)
    expected = checkpoint.learned_state(model().state_dict())
    assert set(loaded["state_dict"]) == {"head.weight", "head.bias"}
    assert all(torch.equal(loaded["state_dict"][key], value) for key, value in expected.items())
    checkpoint.check_state(loaded["state_dict"], expected)
    checkpoint.check_recipe(loaded[RECIPE], "RN50", checkpoint.fingerprint(model()["encoder"]))
    checkpoint.check_bins(loaded[RECIPE]["bins"], 7, loaded["state_dict"], expected)
    checkpoint.check_classes(loaded[RECIPE]["settings"])
    assert loaded[RECIPE]["settings"] == SETTINGS


def test_fingerprints_tell_weights_apart():
    first = model()["encoder"]
    assert checkpoint.fingerprint(first) == checkpoint.fingerprint(model()["encoder"])
    assert checkpoint.fingerprint(first) != checkpoint.fingerprint(model(seed=1)["encoder"])


@pytest.mark.parametrize(
    ("clip", "weights", "message"),
    [
        ("ViT-B-16", "same", "learned with RN50; use that CLIP instead of ViT-B-16"),
        ("RN50", "other", "other weights of RN50"),
    ],
)
def test_another_clip_is_refused(clip, weights, message):
    with pytest.raises(ValueError, match=message):
        checkpoint.check_recipe(checkpoint.recipe({}, "RN50", "same", 7), clip, weights)


def test_another_number_of_bins_is_refused_only_if_a_tensor_depends_on_it():
    saved = {"words": torch.zeros(7, 4), "context": torch.zeros(3, 4)}
    with pytest.raises(ValueError, match="has 7 bins; give the head as many instead of 256"):
        checkpoint.check_bins(7, 256, saved, {**saved, "words": torch.zeros(256, 4)})
    with pytest.raises(ValueError, match="has 7 bins; give the head as many instead of 256"):
        checkpoint.check_bins(7, 256, saved, {"context": torch.zeros(3, 4)})
    shared = {"context": torch.zeros(3, 4)}
    checkpoint.check_bins(7, 256, shared, shared)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"a": torch.zeros(2)}, "has no b, which the model learns"),
        ({"a": torch.zeros(2), "b": torch.zeros(2), "c": torch.zeros(2)}, "has c, which the model does not learn"),
        ({"a": torch.zeros(2), "b": torch.zeros(3)}, r"b is \(3,\) in the checkpoint but \(2,\) in the model"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(saved, message):
    with pytest.raises(ValueError, match=message):
        checkpoint.check_state(saved, {"a": torch.zeros(2), "b": torch.zeros(2)})


@pytest.mark.parametrize(
    "class_path",
    [
        "os.system",
        "subprocess.Popen",
        "torch.nn.Linear",
        "depthclip_evil.Bins",
        "depthclip.encoder.frozen.Path",  # imported there, defined elsewhere
        "depthclip.encoder.frozen.os.system",
        "depthclip.encoder.frozen.load_clip",  # no class
        "depthclip.head.Missing",
        "Bins",
        None,
    ],
)
def test_a_file_may_not_name_other_classes(class_path):
    settings = {"init_args": {"variants": [{"x": {"class_path": class_path}}]}}
    with pytest.raises(ValueError, match="if you trust it, allow its module by name"):
        checkpoint.check_classes(settings)


def test_the_user_may_allow_more():
    settings = {"class_path": "torch.nn.Linear"}
    checkpoint.check_classes(settings, allow=["torch.nn"])
    with pytest.raises(ValueError, match="which is not depthclip's"):
        checkpoint.check_classes(settings, allow=["torch.n"])


class Harmful:
    def __reduce__(self):
        return (print, ("run by loading",))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "there is no checkpoint"),
        (lambda path: path.write_bytes(b"not a checkpoint"), "cannot be read as a checkpoint"),
        (lambda path: path.write_bytes(b""), "cannot be read as a checkpoint"),
        (lambda path: path.write_bytes(pickle.dumps(Harmful())), "cannot be read as a checkpoint"),
        (lambda path: save(path, more=Harmful()), "cannot be read as a checkpoint"),
        (lambda path: torch.save({"state_dict": {}}, path), "has no recipe of depthclip's"),
        (lambda path: torch.save([1], path), "has no recipe of depthclip's"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, capsys, write, message):
    path = tmp_path / "a.ckpt"
    write(path)
    with pytest.raises(ValueError, match=message) as error:
        checkpoint.read_checkpoint(path)
    assert "\n" not in str(error.value)
    assert "run by loading" not in capsys.readouterr().out


IMAGE = np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)
FAST = ("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.enable_progress_bar=false")


@pytest.fixture
def learned(tmp_path, monkeypatch):
    """Return a function that fits a head on a few rooms with the bundled CLIP: the model and the path of the file."""
    monkeypatch.chdir(tmp_path)

    def fit(head, *more, **model):
        encoder = {"name": "tiny-rooms", "pretrained": "bundled", "readout": "attention_pool"}
        sizes = {"train_size": 3, "val_size": 1, "test_size": 2, "loading": {"batch_size": 1}}
        whole = {
            "model": {"encoder": encoder, "head": head, "panels": 0, **model},
            "data": {"class_path": "depthclip.data.Rooms", "init_args": sizes},
        }
        Path("recipe.yaml").write_text(yaml.safe_dump(whole))
        cli = run(["fit", "-c", "recipe.yaml", "--trainer.max_epochs=1", "--model.learning_rate=0.1", *FAST, *more])
        return cli.model.eval(), next(Path("runs").rglob("*.ckpt"))

    return fit


LEARNED = {"prompts": {"words": "depthclip"}, "bins": {"class_path": "depthclip.head.LearnedBins"}}


def figures(version):
    return json.loads(Path(f"runs/depthclip/version_{version}/metrics.json").read_text())["figures"]


def test_what_was_learned_is_loaded_and_tested(learned):
    model, path = learned(LEARNED)
    start = LearnedBins()
    assert not torch.allclose(model.head.bins(model.encoder.text), start(model.encoder.text))
    loaded = DepthCLIP.load(path)
    assert not loaded.training
    assert np.array_equal(loaded.infer(IMAGE), model.infer(IMAGE))

    # the recipe in the file is enough, and what stands on the command line wins over it
    assert main(["test", "--ckpt_path", str(path), *FAST]) == 0
    assert main(["test", "-c", "recipe.yaml", "--ckpt_path", str(path), *FAST]) == 0
    assert figures(1) == figures(2)
    assert main(["test", "--ckpt_path", str(path), "--model.head.temperature=5", *FAST]) == 0
    assert main(["test", "--ckpt_path", str(path), "--data.test_size=1", *FAST]) == 0
    assert figures(3)["head"] != figures(1)["head"]
    assert figures(4)["head"] != figures(1)["head"]


def test_training_goes_on_from_a_checkpoint(learned):
    _, path = learned(LEARNED, "--trainer.limit_train_batches=2")
    more = [*FAST, "--trainer.max_epochs=2"]
    assert main(["fit", "-c", "recipe.yaml", "--ckpt_path", str(path), *more]) == 0
    content = torch.load(path, weights_only=True)
    del content["optimizer_states"]
    torch.save(content, "broken.ckpt")
    with pytest.raises(InputError, match="no whole optimizer_states"):
        run(["fit", "-c", "recipe.yaml", "--ckpt_path", "broken.ckpt", *FAST])


def test_classes_of_the_user_are_loaded_where_allowed(learned, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("from depthclip.head import LearnedBins\nclass MyBins(LearnedBins): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    model, path = learned({**LEARNED, "bins": {"class_path": "mine.MyBins"}}, "--trust", "mine")
    with pytest.raises(InputError, match="allow its module by name"):
        DepthCLIP.load(path)
    loaded = DepthCLIP.load(path, allow=["mine"])
    assert type(loaded.head.bins).__name__ == "MyBins"
    assert np.array_equal(loaded.infer(IMAGE), model.infer(IMAGE))
    assert main(["test", "--ckpt_path", str(path), *FAST]) == 2
    assert main(["test", "--ckpt_path", str(path), "--trust", "mine", *FAST]) == 0
    sys.modules.pop("mine")


def test_a_model_built_in_python_is_saved_and_restored(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encoder = clip("small-vit", "tokens")
    model = DepthCLIP(encoder, DepthHead(Prompts(), LearnedBins()), learning_rate=0.1)
    options = {"logger": False, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=1, enable_checkpointing=False, enable_model_summary=False, **options)
    trainer.fit(model, datamodule=Rooms(train_size=2, val_size=1, test_size=1, loading=Loading(batch_size=1)))
    trainer.save_checkpoint("built.ckpt")
    fresh = DepthCLIP(encoder, DepthHead(Prompts(), LearnedBins()))
    assert not np.array_equal(fresh.eval().infer(IMAGE), model.eval().infer(IMAGE))
    assert np.array_equal(fresh.load_learned("built.ckpt").infer(IMAGE), model.infer(IMAGE))
    with pytest.raises(InputError, match="pass the file to its load_learned"):
        DepthCLIP.load("built.ckpt")


def test_fitted_bins_are_tested_beside_a_fitted_variant(learned):
    fitted = {"class_path": "depthclip.head.FittedBins", "init_args": {"count": 7}}
    head = {"prompts": {"class_path": "depthclip.head.LearnedWords", "init_args": {"count": 7}}, "bins": fitted}
    model, path = learned(head)
    values = model.head.bins.values.clone()
    assert isinstance(model.head.bins, FittedBins)
    assert not model.head.bins.needs_depths
    assert np.array_equal(DepthCLIP.load(path).infer(IMAGE), model.infer(IMAGE))
    variant = {"prompts": {"words": "depthclip"}, "bins": {**fitted, "init_args": {"count": 7, "how": "log"}}}
    assert main(["test", "--ckpt_path", str(path), "--model.variants", json.dumps({"log": variant}), *FAST]) == 0
    tested = figures(1)
    assert main(["test", "--ckpt_path", str(path), *FAST]) == 0
    assert tested["head"] == figures(2)["head"]
    assert tested["log"] != tested["head"]
    assert torch.equal(model.head.bins.values, values)
