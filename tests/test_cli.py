"""The command line: runs, their reports, and the messages for bad input."""

import json
import shutil
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from depthclip.__main__ import main
from depthclip.output import plain_warnings
from depthclip.signals import Ended

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.fixture
def nyu(tmp_path, monkeypatch):
    """Return a folder with five images and depth maps of NYU's size and a list file; the working folder is empty."""
    return images(tmp_path, monkeypatch, (480, 640))


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Return the same folder with small images, for tests that do not depend on the size."""
    return images(tmp_path, monkeypatch, (96, 128))


def images(tmp_path, monkeypatch, size):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "nyu"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for k in range(5):
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(folder / f"rgb_{k}.jpg")
        depth = rng.integers(500, 9000, size).astype(np.uint16)
        depth[rng.random(depth.shape) < 0.3] = 0
        Image.fromarray(depth).save(folder / f"depth_{k}.png")
        lines.append(f"/rgb_{k}.jpg /depth_{k}.png 518.8579\n")
    (folder / "test.txt").write_text("".join(lines))
    return folder


def lists(folder):
    """Return the arguments of NYU for the images of a folder; small images have no crop."""
    photo = folder / "rgb_0.jpg"
    whole = {"view": "whole", "scoring": "whole"} if photo.exists() and Image.open(photo).size != (640, 480) else {}
    return {"root": str(folder), "test_list": str(folder / "test.txt"), "loading": {"batch_size": 2}, **whole}


def recipe(folder, **changes):
    """Write the recipe of a run with a small CLIP, and return its path."""
    values = {
        "name": "small",
        "model": {
            "encoder": {"name": "small-resnet", "pretrained": None, "readout": "released"},
            "head": {"prompts": {"words": "depthclip"}, "bins": {"values": "depthclip"}},
        },
        "data": {"class_path": "depthclip.data.NYU", "init_args": lists(folder)},
        "trainer": {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False},
        **changes,
    }
    values["model"]["panels"] = 0
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def metrics(version=0, name="small"):
    return json.loads(Path(f"runs/{name}/version_{version}/metrics.json").read_text())


def test_test_prints_a_table_and_writes_figures_errors_and_a_panel(small, nyu, capsys):
    published = {"them": {"abs_rel": 0.388}}
    path = recipe(nyu)
    assert main(["test", "-c", path, "--model.panels", "2", "--model.published", json.dumps(published)]) == 0
    printed = capsys.readouterr().out
    rows = [printed.index(name) for name in ("head", "random", "best constant", "them (published)")]
    assert rows == sorted(rows)
    for name in ("metrics.json", "errors.npz", "panel.png"):
        assert f"runs/small/version_0/{name}" in printed
    found = metrics()
    assert (found["images"], found["skipped"], found["published"]) == (5, 0, published)
    assert found["recipe"]["model"]["head"]["init_args"]["temperature"] == 0.1
    assert found["versions"]["torch"]
    assert found["data"]["images"] == {"test": 5}
    errors = np.load("runs/small/version_0/errors.npz")
    assert errors["errors"][errors["rows"].tolist().index("head")].shape == (5, 9)
    assert errors["errors"][0, :, 0].mean() == pytest.approx(found["figures"]["head"]["abs_rel"])
    # the pixels that the released protocol names, counted by hand
    expected = 0
    for k in range(5):
        depth = np.array(Image.open(nyu / f"depth_{k}.png"))[56:471, 60:601]
        expected += ((depth > 1) & (depth < 10000)).sum()
    assert found["pixels"] == expected
    assert Image.open("runs/small/version_0/panel.png").size[0] > 800


def test_a_run_without_a_logger_has_its_own_folder_and_keeps_files_of_the_user(small, tiny, monkeypatch, capsys):
    place = tiny / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    (place / "config.yaml").write_text("# of the user\n")
    path = recipe(tiny)
    assert main(["test", "-c", path, "--trainer.logger", "false", "--name", "mine"]) == 0
    written = {"config.yaml", "errors.npz", "metrics.json"}
    assert {file.name for file in (place / "runs/mine/version_0").iterdir()} == written
    elsewhere = ["--trainer.default_root_dir", str(tiny / "root")]
    assert main(["test", "-c", path, "--trainer.logger", "false", *elsewhere]) == 0
    assert {file.name for file in (tiny / "root/runs/small/version_0").iterdir()} == written
    assert main(["test", "-c", path, "--trainer.fast_dev_run", "true"]) == 0
    assert "no files are written with trainer.fast_dev_run" in capsys.readouterr().out
    assert sorted(file.name for file in place.iterdir()) == ["config.yaml", "runs"]
    assert [file.name for file in (place / "runs").iterdir()] == ["mine"]
    assert (place / "config.yaml").read_text() == "# of the user\n"


def test_validate_reports_the_validation_split(small, tiny, capsys):
    given = ["-c", recipe(tiny), "--data.init_args.val_list", str(tiny / "test.txt")]
    assert main(["validate", *given]) == 0
    assert "abs_rel" in capsys.readouterr().out
    assert metrics()["data"]["images"] == {"val": 5}


def test_figures_do_not_depend_on_batch_size(small, nyu):
    for batch_size in (1, 2, 3):
        assert main(["test", "-c", recipe(nyu), "--data.init_args.loading.batch_size", str(batch_size)]) == 0
    first = metrics(0)["figures"]["head"]
    for version in (1, 2):
        assert metrics(version)["figures"]["head"] == pytest.approx(first, rel=1e-6)


def test_variants_on_the_command_line(small, tiny, capsys):
    variants = {"hard": {"prompts": {"words": "depthclip"}, "bins": {"values": "cd1"}, "assignment": "hard"}}
    path = recipe(tiny)
    assert main(["test", "-c", path, "--model.panels", "2", "--model.variants", json.dumps(variants)]) == 0
    assert set(metrics()["figures"]) == {"head", "hard"}
    assert "hard" in capsys.readouterr().out
    folder = Path("runs/small/version_0")
    assert (folder / "variants.png").is_file()
    whole, alone = (np.asarray(Image.open(folder / f"variants/{k:03d}.png")) for k in range(2))
    assert (whole[:240] == alone[:240]).all()  # the same images and truths
    assert (whole[240:] != alone[240:]).any()  # other depths


def test_fit_then_test_with_the_checkpoint(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    head = {
        "prompts": {"class_path": "depthclip.head.LearnedWords", "init_args": {"count": 3}},
        "bins": {"class_path": "depthclip.head.LearnedBins", "init_args": {"start": [1, 3, 6]}},
    }
    data = {
        "class_path": "Rooms",
        "init_args": {"train_size": 4, "val_size": 2, "test_size": 2, "loading": {"batch_size": 2}, "view": "whole"},
    }
    model = {
        "encoder": {"name": "small-vit", "pretrained": None, "readout": "tokens"},
        "head": head,
        "learning_rate": 0.1,
    }
    path = recipe(tmp_path, model=model, data=data)
    assert main(["fit", "-c", path, "--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1"]) == 0
    checkpoint = Path("runs/small/version_0/checkpoints/last.ckpt")
    assert main(["test", "-c", path]) == 0
    assert main(["test", "-c", path, "--ckpt_path", str(checkpoint)]) == 0
    assert metrics(1)["figures"]["head"] != metrics(2)["figures"]["head"]
    # arguments on the command line win over what the checkpoint was learned with
    assert main(["test", "-c", path, "--ckpt_path", str(checkpoint), "--model.head.temperature", "5"]) == 0
    assert metrics(3)["figures"]["head"] != metrics(2)["figures"]["head"]
    assert metrics(3)["recipe"]["model"]["head"]["init_args"]["temperature"] == 5

    from depthclip import DepthCLIP

    # the weights were random, and new random weights differ
    with pytest.raises(ValueError, match="other weights"):
        DepthCLIP.load(checkpoint)


def test_predict_writes_depth_in_millimetres(small, tiny):
    data = {"class_path": "depthclip.data.Photos", "init_args": {"images": [str(tiny / "*.jpg")]}}
    assert main(["predict", "-c", recipe(tiny, data=data)]) == 0
    depths = sorted(Path("runs/small/version_0/depth").glob("*[0-9].png"))
    assert len(depths) == 5
    depth = np.array(Image.open(depths[0]))
    assert depth.shape == (96, 128)
    assert 1000 <= depth.min() <= depth.max() <= 3000  # the bins


def test_only_warnings_for_the_user_are_printed_as_sentences():
    usual = warnings.formatwarning
    with plain_warnings():
        assert warnings.formatwarning("the text", UserWarning, "/a/b.py", 7, "code()") == "warning: the text\n"
        text = warnings.formatwarning("old", DeprecationWarning, "/a/b.py", 7, "code()")
        assert text == usual("old", DeprecationWarning, "/a/b.py", 7, "code()")
    assert warnings.formatwarning is usual


def test_the_bundled_clip_warns_about_photographs(tiny):
    photos = ["--data", "depthclip.data.Photos", "--data.images", f'["{tiny}/rgb_0.jpg"]']
    given = ["-c", str(CONFIGS / "rooms.yaml"), *photos]
    with pytest.warns(UserWarning, match="trained on procedural rooms only, so its depth on Photos"):
        assert main(["predict", *given, "--trainer.accelerator", "cpu"]) == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--model.head.temperature", "0"], "temperature 0.0 must be"),
        (["--model.head.bins.values", "[3,2,1]"], "must ascend"),
        (["--model.head.bins.values", "[0,1,2]"], "positive"),
        (["--model.head.bins.values", "[1,2]"], "7 words"),
        (["--model.encoder.name", "RN5O"], "nearest names"),
        (["--model.encoder.pretrained", "opnai"], "neither a weight tag"),
        (["--model.encoder.readout", "tokens"], "choose one of"),
        (["--model.encoder.pretrained", "WEIGHTS", "--model.encoder.normalization", "openai"], "does not hold weights"),
        (["--data.init_args.test_list", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_bad_arguments_get_one_sentence(small, tiny, capsys, given, says):
    weights = tiny / "notes.safetensors"
    weights.write_text("not weights")
    given = [str(weights) if g == "WEIGHTS" else g for g in given]
    assert main(["test", "-c", recipe(tiny), *given]) == 2
    refused(capsys, says)


def refused(capsys, says):
    errors = capsys.readouterr().err.strip().splitlines()
    assert errors[-1].startswith("error: ")
    assert says in errors[-1]
    assert not any("Traceback" in line for line in errors)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_bad_files_get_one_sentence(small, tiny, capsys, workers):
    path = recipe(tiny)
    command = ["test", "-c", path, "--data.init_args.loading.num_workers", workers]
    good = (tiny / "depth_1.png").read_bytes()
    (tiny / "depth_1.png").write_bytes(good[: len(good) // 2])
    assert main(command) == 2
    refused(capsys, "depth_1.png")
    Image.fromarray(np.zeros((96, 128), np.uint8)).save(tiny / "depth_1.png")
    assert main(command) == 2
    refused(capsys, "16 bits")
    Image.fromarray(np.ones((48, 64), np.uint16)).save(tiny / "depth_1.png")
    assert main(command) == 2
    refused(capsys, "differ in size")
    (tiny / "depth_1.png").unlink()
    assert main(command) == 2
    refused(capsys, "depth_1.png")


def test_skipping_an_unreadable_file_names_and_counts_it(small, tiny, capsys):
    (tiny / "depth_1.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="depth_1.png"):
        assert main(["test", "-c", recipe(tiny), "--data.init_args.loading.on_error", "skip"]) == 0
    found = metrics()
    assert (found["images"], found["skipped"], found["unreadable"]) == (4, 1, ["rgb_1.jpg"])


def test_a_limit_of_batches_keeps_the_warnings_of_the_last_batch(small, tiny):
    for k in range(5):
        Image.fromarray(np.full((96, 128), 50, np.uint16)).save(tiny / f"depth_{k}.png")  # 5 cm
    (tiny / "depth_1.png").write_bytes(b"")
    given = [recipe(tiny), "--data.init_args.loading.on_error", "skip"]
    for limit, loaded in (("1", 2), ("1.0", 5)):
        with pytest.warns(UserWarning, match="were skipped") as caught:
            assert main(["test", "-c", *given, "--trainer.limit_test_batches", limit]) == 0
        messages = [str(warning.message) for warning in caught]
        assert messages.count(f"1 of {loaded} images were skipped, since they cannot be read") == 1
        assert sum(f"the median depth of the first {loaded - 1} depth maps is 0.05 m" in m for m in messages) == 1


def test_more_devices_than_images_are_refused_before_the_run(small, tiny, capsys):
    (tiny / "test.txt").write_text("/rgb_0.jpg /depth_0.png 1\n")
    from depthclip.data import NYU, DataError

    data = NYU(str(tiny), test_list=str(tiny / "test.txt"))

    class TwoDevices:
        world_size = 2

    data.trainer = TwoDevices()
    with pytest.raises(DataError, match="1 images, fewer than the 2 devices"):
        data.setup("test")


def test_help_and_version(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "python -m depthclip test -c configs/rooms.yaml" in shown
    assert "recipes" in shown.partition("\n")[0]
    assert main(["--version"]) == 0
    assert main([]) == 0


def runs():
    """Return the whole runs in configs/ that name real weights."""
    files = [*CONFIGS.glob("*.yaml"), *CONFIGS.glob("learn/*.yaml")]
    return sorted(str(f.relative_to(CONFIGS)) for f in files if f.name != "rooms.yaml")


@pytest.mark.parametrize("file", runs())
def test_every_run_in_configs(small, tiny, file):
    """Run each recipe with its head, but with a small CLIP and a few images."""
    shutil.copytree(CONFIGS, tiny / "configs")
    values = yaml.safe_load((CONFIGS / file).read_text())
    learn = file.startswith("learn/")
    readout = "released" if "released" in (CONFIGS / file).read_text() else "attention_pool"
    given = ["-c", str(tiny / "configs" / file), "--model.encoder.name", "small-resnet"]
    given += ["--model.encoder.pretrained", "null", "--model.encoder.readout", readout, "--model.panels", "0"]
    given += ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.enable_progress_bar", "false"]
    if "photos" in file:
        assert main(["predict", *given, "--data.init_args.images", json.dumps([str(tiny / "rgb_0.jpg")])]) == 0
        return
    view = json.dumps({"crop": None, "size": [64, 96]})
    pairs = ["--data", "depthclip.data.NYU", "--data.init_args.root", str(tiny), "--data.init_args.view", view]
    pairs += ["--data.init_args.scoring", "whole", "--data.init_args.augment", "null"]  # crops are for whole images
    lists = [f"--data.init_args.{split}_list={tiny / 'test.txt'}" for split in ("train", "val", "test")]
    if "256" in file:  # as many words as it has, on as few steps as make a difference
        given += ["--trainer.limit_train_batches", "1"]
    fast = ["--trainer.max_epochs", "1", "--trainer.limit_val_batches", "1"]
    assert main(["fit" if learn else "test", *given, *pairs, *lists, *(fast if learn else [])]) == 0
    folder = Path("runs") / values["name"] / "version_0"
    assert list(folder.glob("checkpoints/*.ckpt")) if learn else (folder / "metrics.json").is_file()


def test_a_name_beside_a_saved_recipe_takes_effect(small, tiny):
    assert main(["test", "-c", recipe(tiny)]) == 0
    saved = Path("runs/small/version_0/config.yaml")
    recipe_of_run = yaml.safe_load(saved.read_text()) if saved.is_file() else metrics()["recipe"]
    Path("again.yaml").write_text(yaml.safe_dump(recipe_of_run))
    assert main(["test", "-c", "again.yaml", "--name", "other"]) == 0
    assert metrics(name="other")["figures"] == metrics()["figures"]


def test_data_are_looked_for_before_weights_are_fetched(tiny, monkeypatch, capsys):
    """Without data, no attempt is made to download the weights."""
    encoder = {"name": "RN50-quickgelu", "pretrained": "openai", "readout": "released"}
    head = {"prompts": {"words": "depthclip"}, "bins": {"values": "depthclip"}}
    path = recipe(tiny, model={"encoder": encoder, "head": head})
    assert main(["test", "-c", path, "--data.init_args.test_list", "nowhere.txt"]) == 2
    refused(capsys, "nowhere.txt")


def test_the_help_begins_with_data_and_model(capsys):
    with pytest.raises(SystemExit) as end:
        main(["test", "--help"])
    assert not end.value.code
    shown = capsys.readouterr().out
    shown = shown[shown.index("options:") :]
    places = [shown.index(f"--{option}") for option in ("data", "model.encoder", "model.head", "trainer.accelerator")]
    assert places == sorted(places)


def test_a_full_disk_and_exhausted_memory_get_one_sentence(small, tiny, capsys, monkeypatch):
    path = recipe(tiny)
    for error, says in (
        (OSError(28, "No space left on device", "runs/x"), "runs/x: No space left on device; check that"),
        (MemoryError(), "the memory is used up"),
        (RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed."), "use fewer data.loading.num_workers"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            "memory is used up",
        ),
    ):
        monkeypatch.setattr("depthclip.report.Report.on_test_end", failing(error))
        assert main(["test", "-c", path]) == 2
        refused(capsys, says)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_empty_folder(small, tiny, capsys, monkeypatch, number):
    path = recipe(tiny)
    Path("runs/team/other").mkdir(parents=True)
    monkeypatch.setattr("depthclip.report.Report.on_test_start", failing(Ended(number)), raising=False)
    assert main(["test", "-c", path, "--name", "team/mine"]) == 128 + number
    refused(capsys, f"ended by {number.name}; only finished results are kept")
    assert list(Path("runs").rglob("*")) == [Path("runs/team"), Path("runs/team/other")]


@pytest.mark.parametrize("kind", [ValueError, KeyError, RuntimeError, FileNotFoundError])
def test_a_bug_keeps_its_traceback(small, tiny, monkeypatch, kind):
    monkeypatch.setattr("depthclip.report.Report.on_test_end", failing(kind("a bug")))
    with pytest.raises(kind, match="a bug"):
        main(["test", "-c", recipe(tiny)])


def failing(error):
    def fail(*_):
        raise error

    return fail
