"""The benchmark: interleaved rounds, counts by hand, the released script's errors, tables, files and the command."""

import json
import os
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from depthclip import Bins, DepthCLIP, DepthHead, Prompts
from depthclip.__main__ import main
from depthclip.benchmark.counting import Counts, count
from depthclip.benchmark.counts import counts
from depthclip.benchmark.devices import devices
from depthclip.benchmark.files import FOV, write_images
from depthclip.benchmark.growth import growth
from depthclip.benchmark.loop import Runtime
from depthclip.benchmark.memory import in_new_process, peak_memory
from depthclip.benchmark.precision import precision
from depthclip.benchmark.released import evaluate_as_released
from depthclip.benchmark.replay import without_tower
from depthclip.benchmark.shares import shares
from depthclip.benchmark.speed import EXACT, speed
from depthclip.benchmark.startup import seconds_until
from depthclip.benchmark.tables import Table, text_of
from depthclip.benchmark.timing import Case, Spread, Timing, measure
from depthclip.benchmark.training import training
from depthclip.benchmark.workload import Amount, workload
from depthclip.data import Rooms
from depthclip.data.raycast import draw_room
from depthclip.protocol import View
from tests.conftest import frozen
from tests.test_commands import ROOT, commands

CPU = Runtime(torch.device("cpu"))
SMALL = ["--model.encoder.name", "small-resnet", "--model.encoder.pretrained", "null"]


@pytest.fixture(scope="module")
def work(small, tmp_path_factory):
    """A small CLIP, and two rooms of 64 x 96 in batches of one."""
    model = DepthCLIP(frozen("small-vit", "tokens"), DepthHead(Prompts(), Bins()))
    data = Rooms(2, 1, 2, view=View(mirror=True))
    return workload(model, data, tmp_path_factory.mktemp("rooms"), CPU, Amount(2, 1, 1, (64, 96), quick=True))


def test_rounds_interleave_and_the_first_is_not_counted():
    order = []
    given = iter([9.0, 1.0, 2.0, 4.0])  # seconds of four rounds
    cases = [Case("a", lambda: order.append("a")), Case("b", lambda: order.append("b") or next(given), images=2)]
    timings = measure(cases, repeats=3)
    assert order == list("abababab")
    assert timings["b"].seconds == (1, 2, 4)
    assert len(timings["a"].seconds) == 3
    assert timings["b"].per_image == Spread(1.0, 0.75, 1.5)


def test_ratios_and_sums_pair_the_rounds():
    slow, fast = Timing("slow", 2, (4.0, 8.0, 8.0)), Timing("fast", 1, (1.0, 2.0, 1.0))
    assert slow.ratio(fast) == Spread(2.0, 2.0, 3.0)
    assert slow.plus(fast, -1).seconds == (1, 2, 3)
    assert slow.rate.median == 0.25


def test_operations_are_counted_by_hand():
    x, index = torch.arange(6.0), torch.tensor([0, 2])

    def work():
        y = x + 1  # add
        z = y[y > 3]  # gt; index with a mask, whose size must be read
        z.sum().item()  # sum; the value is read
        y.nonzero()  # its size is read
        return y[index].cpu()  # index with numbers; the copy to the CPU is none here

    assert count(work) == Counts(7, 3)


def test_blocking_copies_to_a_device_are_counted_by_hand():
    x, y = torch.zeros(3), torch.zeros(3, device="meta")

    def work():
        x.to("meta")  # waits
        x.to("meta", non_blocking=True)
        y.copy_(x)  # waits
        y.copy_(x, non_blocking=True)
        y.to("meta", torch.float64)  # stays on the device
        x.copy_(torch.ones(3))  # two operations of the host

    assert count(work) == Counts(7, 2)


def test_memory_of_processes():
    assert in_new_process(len, [1, 2, 3]) == 3
    assert in_new_process(os.getpid) != os.getpid()
    before = peak_memory(CPU.device)
    block = torch.ones(int(before + 200) * 2**18)  # float32, 200 MiB more than the peak
    assert 150 < peak_memory(CPU.device) - before < 2 * before + 400
    del block


def test_files_that_are_written(tmp_path):
    write_images(tmp_path, 2, (48, 64))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00000.color.jpg",
        "00000.depth.png",
        "00001.color.jpg",
        "00001.depth.png",
    ]
    drawn = draw_room(np.random.default_rng(1), 48, 64, fov=FOV)
    depth = np.array(Image.open(tmp_path / "00001.depth.png"))
    assert depth.dtype == np.uint16
    np.testing.assert_allclose(depth / 1000, drawn.depth, atol=0.00051)
    image = np.array(Image.open(tmp_path / "00001.color.jpg")).astype(float)
    assert np.abs(image - drawn.rgb).mean() < 6


def test_the_workload_has_the_view_of_the_recipe(work):
    assert (work.images, work.seen, len(work.batches)) == (2, (64, 96), 2)
    assert work.encoder_inputs()[0].shape == (2, 3, 64, 96)  # with the mirrored image
    assert type(work.data).__name__ == "Pairs"


def test_stored_features_change_no_depth(work):
    stored = without_tower(work.model)
    with torch.no_grad():
        batch, rgb = next(work.stacks())
        for _ in range(2):
            torch.testing.assert_close(
                stored.coarse(rgb, batch.view)[0].depth, work.model.coarse(rgb, batch.view)[0].depth, rtol=0, atol=0
            )
    assert len(stored.encoder.stored) == 1


def test_the_released_script_has_the_figures_of_test(work):
    work.loop()
    row = work.model.outcome.result.figures()["head"]
    with torch.no_grad():
        errors = [each for batch in work.batches for each in evaluate_as_released(work.model, batch)]
    assert len(errors) == 2
    for name in errors[0]:
        assert np.mean([each[name] for each in errors]) == pytest.approx(row[name], rel=1e-4), name


def test_speed_and_shares(work):
    table = speed(work)
    assert len(table.rows) == 5
    assert all(row["difference of features"] <= EXACT for name, row in table.rows.items() if "tower" in name)
    towers = [row["times the fastest tower"].median for name, row in table.rows.items() if "tower" in name]
    assert min(towers) == 1
    parts = shares(work).rows
    assert list(parts) == [
        *("decoding", "transfer", "tower", "readout", "head", "upsampling", "scoring", "logging", "other"),
        "the whole test",
    ]
    milliseconds = {name: row["ms/image"].median for name, row in parts.items()}  # of one round, so that they add up
    assert sum(milliseconds.values()) == pytest.approx(2 * milliseconds["the whole test"])


def test_counts_grow_with_the_heads_only_in_scoring(work):
    rows = counts(work).rows
    one, many = rows["scoring, 1 head"]["operations"], rows["scoring, 50 heads"]["operations"]
    assert 10 < one <= many
    assert rows["test step, 1 head"]["operations"] > one


def test_growth_precision_and_training(work, monkeypatch):
    monkeypatch.setattr("depthclip.benchmark.growth.WORDS", (5, 20))
    monkeypatch.setattr("depthclip.benchmark.growth.VARIANTS", (1, 3))
    rows = growth(work).rows
    assert rows["5 words"]["times the first"] == rows["1 head"]["times the first"] == Spread(1, 1, 1)
    assert {"20 words", "3 heads", "32 x 48 pixels", "64 x 96 pixels"} <= rows.keys()
    rows = precision(work).rows
    assert list(rows) == ["32-true", "bf16-mixed"]
    assert rows["32-true"]["change"] == "+0.00000"
    assert abs(float(rows["bf16-mixed"]["change"])) < 0.1
    assert list(training(work, 3, 2).rows) == [
        *("text tower", "head", "loss", "other", "the whole step", "image tower, without a cache"),
    ]


def test_the_images_of_each_process(work):
    table = devices(work)
    row = table.rows["654 images on 4"]
    assert (row["fewest"], row["most"]) == (163, 164)
    assert table.rows["654 images on 1"]["MiB sent by a process"] == 0
    rows = len(work.model.outcome.result.names)
    (size,) = [float(word) for word in table.note.split() if word.isdigit()][:1]
    assert rows * 9 * 8 < size < rows * 9 * 8 + 300  # float64 errors, index, pixels, name and scene


def test_the_time_until_a_line_is_printed():
    script = "import time; print('first', flush=True); time.sleep(1)"
    assert 0 < seconds_until("first", "-c", script) < seconds_until("", "-c", script)


def test_tables_as_text():
    assert [text_of(value) for value in (Spread(0.12345, 0.1, 0.2), 1234.5, 1000, None, "x", 2.0)] == [
        *("0.123 [0.1, 0.2]", "1,234", "1,000", "-", "x", "2.00"),
    ]
    table = Table("speed", "a title", ("s",), {"a [b]": {"s": Spread(1.0, 0.5, 2.0)}}, "A note.")
    assert table.markdown().splitlines() == [
        *("**speed**: a title", "", "| | s |", "| --- | ---: |", "| a [b] | 1.00 [0.5, 2.00] |", "", "A note."),
    ]
    assert table.plain()["rows"] == {"a [b]": {"s": {"median": 1.0, "low": 0.5, "high": 2.0}}}


def test_the_command_on_two_rooms(small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = ["-c", "rooms", "--quick", "--repeats", "1", "--size", "64", "96", "--data.view.size", "[64,96]"]
    given += ["--sections", "speed,shares"]
    assert main(["benchmark", *given, *SMALL]) == 0, capsys.readouterr()
    folder = Path("results/benchmark")
    results = json.loads((folder / "results.json").read_text())
    assert list(results["sections"]) == ["speed", "shares"]
    assert results["machine"]["written"] is True
    assert results["sections"]["speed"]["rows"]["test from files"]["images/s"]["median"] > 0
    assert "| test from files |" in (folder / "results.md").read_text()
    assert Image.open(folder / "benchmark.png").size[0] > 500
    assert "results.json" in capsys.readouterr().out


def test_the_files_of_a_recipe_are_read(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    write_images(Path("mine"), 2, (64, 96))
    patterns = ["--data.image_pattern", "*.color.jpg", "--data.depth_pattern", "*.depth.png"]
    given = ["--data", "Pairs", "--data.root", "mine", *patterns, "--sections", "counts", "--quick"]
    assert main(["benchmark", "--model", "model/released", *given, *SMALL]) == 0
    assert json.loads(Path("results/benchmark/results.json").read_text())["machine"]["written"] is False


def test_the_help_needs_no_torch(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "depthclip.benchmark.run", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit) as ended:
        main(["benchmark", "--help"])
    assert ended.value.code == 0
    assert "--sections" in capsys.readouterr().out


@pytest.mark.slow
def test_the_commands_of_the_page(small, tmp_path, monkeypatch, capsys):
    """Each command of docs/cost.md runs with a small CLIP, one image and one section."""
    monkeypatch.chdir(tmp_path)
    ran = [line for line in commands(ROOT / "docs/cost.md") if "-m depthclip benchmark " in line]
    assert len(ran) >= 3
    few = ["--images", "1", "--repeats", "1", "--sections", "speed", "--threads", "1"]
    for line in ran:
        arguments = shlex.split(line.partition("-m depthclip ")[2])
        tower = ["--model.encoder.name", "small-vit"] if "vit" in line else []
        assert main([*arguments, *few, *SMALL, *tower]) == 0, (line, capsys.readouterr().err)
