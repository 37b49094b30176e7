"""What is saved, and what is refused."""

import pickle

import pytest
import torch
from torch import nn

from depthclip import checkpoint
from depthclip.checkpoint import RECIPE


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
    checkpoint.check_recipe(loaded[RECIPE], "RN50", checkpoint.fingerprint(model()["encoder"]), 7)
    checkpoint.check_classes(loaded[RECIPE]["settings"])
    assert loaded[RECIPE]["settings"] == SETTINGS


def test_fingerprints_tell_weights_apart():
    first = model()["encoder"]
    assert checkpoint.fingerprint(first) == checkpoint.fingerprint(model()["encoder"])
    assert checkpoint.fingerprint(first) != checkpoint.fingerprint(model(seed=1)["encoder"])


@pytest.mark.parametrize(
    ("clip", "weights", "bins", "message"),
    [
        ("ViT-B-16", "same", 7, "learned with RN50; use that CLIP instead of ViT-B-16"),
        ("RN50", "other", 7, "other weights of RN50"),
        ("RN50", "same", 256, "has 7 bins; give the head as many instead of 256"),
    ],
)
def test_another_clip_or_number_of_bins_is_refused(clip, weights, bins, message):
    with pytest.raises(ValueError, match=message):
        checkpoint.check_recipe(checkpoint.recipe({}, "RN50", "same", 7), clip, weights, bins)


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
