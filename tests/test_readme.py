"""Run every command of the README with the bundled CLIP, or with a small CLIP in place of downloaded weights."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthclip.__main__ import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.partition("python -m depthclip ")[2]
    for block in re.findall(r"^```bash\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
    if "python -m depthclip " in line
]
QUICK = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.enable_progress_bar", "false"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command(command, small, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    given = [*shlex.split(command), *QUICK]
    pixels = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    if "rooms" in command:
        given += [f"--data.{split}_size=4" for split in ("train", "val", "test")]
        given += ["--trainer.max_epochs=1"] if command.startswith("fit") else []
    else:
        readout = "released" if "released" in command else "attention_pool"
        given += ["--model.encoder.name", "small-resnet", "--model.encoder.pretrained", "null"]
        given += ["--model.encoder.readout", readout]
    if "nyu" in command:
        folder = tmp_path / "data" / "nyu"
        folder.mkdir(parents=True)
        Image.fromarray(pixels).save(folder / "a.jpg")
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 30 + 500).save(folder / "a.png")
        (folder / "list.txt").write_text("a.jpg a.png\n")
        given += ["--data.test_list", str(folder / "list.txt"), "--data.loading.num_workers", "0"]
    Image.fromarray(pixels).save("holiday.jpg")
    assert main(given) == 0


def test_the_python_example(clip, tmp_path, monkeypatch):
    (example,) = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save("holiday.jpg")
    monkeypatch.setattr("depthclip.FrozenCLIP", lambda name, tag: clip("small-resnet", "attention_pool"), raising=False)
    namespace: dict = {}
    exec(example, namespace)
    assert namespace["depth"].shape == (60, 80)
    assert list(namespace["weights"]) == ["very close", "close", "medium", "far", "very far"]


def test_every_path_in_the_readme_exists():
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / path).exists(), path
