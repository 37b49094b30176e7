"""A data set of the user in a few lines, and the values that all data modules share."""

import sys

import numpy as np
import pytest

from depthclip import Bins, DepthCLIP, DepthHead, Prompts, evaluate
from depthclip.__main__ import main
from depthclip.data import Loading, Rooms, Shots
from depthclip.errors import InputError
from tests.layouts import picture

MINE = '''
from pathlib import Path

import numpy as np
import torch

from depthclip.data import DepthDataModule, DepthDataset, Loading, Sample, Split


class Frames(DepthDataset):
    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.npy"))

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return self.paths[index].stem

    def __getitem__(self, index: int) -> Sample:
        frame = np.load(self.paths[index])  # (H, W, 4): red, green, blue and millimetres
        image = torch.from_numpy(frame[..., :3].astype(np.uint8)).permute(2, 0, 1)
        return Sample(image, torch.from_numpy(frame[..., 3] / np.float32(1000)), self.name(index))


class Mine(DepthDataModule):
    """Frames in npy files.

    Args:
        root: folder with a folder of frames for each split.
        loading: batch size, worker processes, unreadable files, and the order of training images.
    """

    def __init__(self, root: str, loading: Loading = Loading()) -> None:
        super().__init__("whole", "whole", loading)
        self.root = Path(root)

    def samples(self, split: Split) -> DepthDataset:
        return Frames(self.root / split)
'''


@pytest.fixture
def mine(tmp_path, monkeypatch, small):
    """A folder with the user's module, and two test images whose depth is 2 m and 4 m everywhere."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "test").mkdir()
    for index, depth in enumerate((2000, 4000)):
        frame = np.dstack([picture(index, 64, 96), np.full((64, 96), depth)]).astype(np.uint16)
        np.save(tmp_path / "test" / f"{index}.npy", frame)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("mine", None)


def test_a_data_set_of_the_user_is_scored(mine, clip):
    from mine import Mine

    head = DepthHead(Prompts(["near", "far"]), Bins([2.9999, 3.0001]))  # 3 m everywhere
    model = DepthCLIP(clip("small-vit", "tokens"), head, panels=0)
    figures = evaluate(model, Mine(str(mine)), mine / "out", accelerator="cpu")["head"]
    assert figures["abs_rel"] == pytest.approx((1 / 2 + 1 / 4) / 2, abs=1e-4)
    assert figures["rmse"] == pytest.approx(1, abs=1e-4)


@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_a_data_set_of_the_user_runs_by_class_path(mine, capsys):
    model = ["--model.encoder.name", "small-vit", "--model.encoder.pretrained", "null"]
    model += ["--model.encoder.readout", "tokens", "--model.panels", "0", "--trainer.accelerator", "cpu"]
    model += ["--model.head.prompts.words", "[near, far]", "--model.head.bins.values", "[2.9999, 3.0001]"]
    data = ["--data", "mine.Mine", "--data.root", ".", "--data.loading.batch_size", "1"]
    assert main(["test", *model, *data, "--trust", "mine"]) == 0, capsys.readouterr()
    assert "0.375" in capsys.readouterr().out


def test_an_integer_is_a_number_of_shots():
    assert Rooms(shots=3).shots == Shots(count=3, per_scene=False, seed=0)
    assert Rooms(shots=Shots(3, seed=1)).shots == Shots(3, seed=1)
    assert Rooms().shots is None


def test_shots_depend_on_their_own_seed_only():
    def names(**settings):
        samples = Rooms(train_size=20, **settings).training_samples()
        return [samples.name(index) for index in range(len(samples))]

    assert len(names(shots=5)) == 5
    assert names(shots=Shots(5, seed=1)) == names(shots=Shots(5, seed=1), loading=Loading(seed=2))
    assert names(shots=Shots(5, seed=1)) != names(shots=Shots(5, seed=2))


def test_the_order_of_training_images_depends_on_the_seed_of_loading_only():
    def order(**settings):
        data = Rooms(train_size=20, **settings)
        data.setup("fit")
        return [item.index for batch in data.train_dataloader() for item in batch.items]

    assert sorted(order()) == list(range(20))
    assert order(loading=Loading(seed=1)) == order(loading=Loading(seed=1, batch_size=3))
    assert order(loading=Loading(seed=1)) != order(loading=Loading(seed=2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Loading(batch_size=0), r"loading\.batch_size 0"),
        (lambda: Loading(num_workers=-1), r"loading\.num_workers -1"),
        (lambda: Loading(on_error="ignore"), r"loading\.on_error 'ignore'"),
        (lambda: Loading(seed=-1), r"loading\.seed -1"),
        (lambda: Shots(0), r"shots\.count 0 .*set shots to null"),
        (lambda: Shots(1, seed=-1), r"shots\.seed -1"),
        (lambda: Rooms(shots=0), r"shots\.count 0"),
        (lambda: Rooms(loading=4), r"loading 4 must be a Loading"),
    ],
)
def test_values_out_of_range_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--data.loading.batch_size", "0"], "loading.batch_size 0"),
        (["--data.loading.batch_size", "x"], "data.loading.batch_size 'x' must be a whole number"),
        (["--data.loading.batchsize", "1"], "loading.batch_size"),
        (["--data.batch_size", "1"], "loading.batch_size"),
        (["--data.shots", "x"], "data.shots 'x'"),
        (["--data.shots.seed", "1"], "--data.shots.count must be given"),
    ],
)
def test_options_of_the_shared_values_are_refused_by_name(option, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["test", "-c", "rooms", *option]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
