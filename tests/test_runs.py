"""Folders of runs: repeatable from their recipe, removed without results, never shared."""

import multiprocessing
from itertools import chain
from pathlib import Path

import pytest
from pytorch_lightning import Trainer

from depthclip import Bins, DepthCLIP, DepthHead
from depthclip.errors import InputError
from depthclip.head import Prompts
from depthclip.report import Report
from depthclip.runs import RunLogger, claim
from tests.test_module import rooms


def test_a_folder_with_results_is_kept(tmp_path):
    logger = RunLogger(str(tmp_path), "x")
    Path(logger.log_dir, "errors.npz").write_bytes(b"1")
    logger.finalize("failed")
    assert Path(logger.log_dir).is_dir()
    logger = RunLogger(str(tmp_path), "x")
    assert logger.version == 1
    Path(logger.log_dir, "config.yaml").write_text("a: 1")
    logger.finalize("failed")
    assert not Path(logger.log_dir).exists()


def take(root):
    return [claim(root) for _ in range(20)]


@pytest.mark.slow
def test_processes_never_share_a_folder(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        numbers = pool.map(take, [tmp_path] * 4)
    assert sorted(chain(*numbers)) == list(range(80))


def test_report_without_a_logger_leaves_the_working_folder_alone(clip, tmp_path):
    model = DepthCLIP(clip("small-vit", "tokens"), DepthHead(Prompts("five"), Bins([1, 2, 3, 4, 6])))
    run = Trainer(default_root_dir=tmp_path, logger=False, accelerator="cpu", callbacks=[Report()])
    with pytest.raises(InputError, match="nothing to train"):
        run.fit(model, rooms())
    assert tmp_path.is_dir()


def test_report_without_a_logger_keeps_a_recipe_of_the_user(clip, tmp_path):
    (tmp_path / "config.yaml").write_text("# of the user\n")
    model = DepthCLIP(clip("small-vit", "tokens"), DepthHead(Prompts("five"), Bins([1, 2, 3, 4, 6])))
    Trainer(default_root_dir=tmp_path, logger=False, accelerator="cpu", callbacks=[Report({"name": "x"})]).test(
        model, rooms(), verbose=False
    )
    assert (tmp_path / "config.yaml").read_text() == "# of the user\n"
    assert (tmp_path / "metrics.json").is_file()
