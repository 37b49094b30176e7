"""Models in Python: from recipes, photographs that are encoded once, words that change, pictures in notebooks."""

import re
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pytorch_lightning import Trainer

from depthclip import Bins, DepthCLIP, DepthHead, Prompts, recipes
from depthclip.cli import resolve
from depthclip.data import Rooms
from depthclip.data.rooms import room
from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.errors import InputError
from depthclip.evaluation.conformal import Conformal
from depthclip.head import Head, LearnedWords, LogBins
from depthclip.head.interfaces import Coarse
from depthclip.uncertainty import Estimate

PAGE = Path(__file__).parent.parent / "docs" / "python.md"
BUNDLED = {
    "model.encoder.name": "tiny-rooms",
    "model.encoder.pretrained": "bundled",
    "model.encoder.readout": "attention_pool",
}


def photo(index=0):
    return np.asarray(room("test", index).rgb)


@pytest.fixture(scope="module")
def rooms():
    return DepthCLIP.from_recipe("rooms")


# ---- from_recipe


def test_the_model_of_a_recipe_is_that_of_the_command_line(rooms):
    recipe = yaml.safe_load((recipes.folder() / "rooms.yaml").read_text())["model"]
    head = recipe["head"]
    encoder = rooms.encoder
    built = DepthHead(Prompts(head["prompts"]["words"]), Bins(head["bins"]["values"]), head["temperature"])
    expected = DepthCLIP(encoder, built).eval().infer(photo())
    np.testing.assert_array_equal(rooms.infer(photo()), expected)
    assert rooms.settings == resolve(["test", "-c", "rooms"])["model"]
    assert not rooms.training


@pytest.mark.parametrize("name", ["nyu_released", "nyu_vit_b16", "model/siglip2", "kitti", "learn/ordinal_rooms"])
def test_recipes_of_files_and_lists_have_the_settings_of_the_command_line(name):
    options = [f"--{key}={value}" for key, value in BUNDLED.items()]
    if name.startswith("model/"):
        complete = resolve(["test", "--data", "Rooms", "--model", name, *options])
    else:
        complete = resolve(["test", "-c", name, *options])
    assert DepthCLIP.from_recipe(name, BUNDLED).settings == complete["model"]


def test_overrides_are_those_of_the_command_line(rooms):
    overrides = {
        "model.head.temperature": 0.2,
        "model.head.prompts.words": ["near", "null", "0.2"],
        "model.head.bins": {"class_path": "LogBins", "init_args": {"count": 3, "min_depth": 1}},
        "model.mirror": False,
    }
    model = DepthCLIP.from_recipe("rooms", overrides)
    assert model.head.temperature == 0.2
    assert model.head.labels == ("near", "null", "0.2")
    np.testing.assert_allclose(model.head.bins.values, [1, 10**0.5, 10], rtol=1e-6)
    assert model.mirror is False
    assert (model.head.prompts.templates, model.max_side) == (rooms.head.prompts.templates, rooms.max_side)
    few = DepthCLIP.from_recipe(
        "rooms", {"model.head.prompts.words": "five", "model.head.bins.values": (1, 2, 3, 4, 5)}
    )
    assert len(few.head.labels) == 5


def test_a_recipe_may_have_any_data_and_relative_files(tmp_path, monkeypatch):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "model.yaml").write_text(
        "encoder: {name: tiny-rooms, pretrained: bundled}\nhead: {prompts: {words: five}, bins: {values: [1,2,3,4,5]}}"
    )
    (tmp_path / "mine.yaml").write_text(
        "data: {class_path: absent.Mine}\nmodel:\n- parts/model.yaml\n- {max_side: 99, head: {temperature: 0.3}}\n"
    )
    for path in (tmp_path / "mine.yaml", tmp_path / "parts" / "model.yaml"):
        model = DepthCLIP.from_recipe(path)
        assert model.head.labels[-1] == "very far"
    monkeypatch.chdir(tmp_path / "parts")
    model = DepthCLIP.from_recipe("../mine.yaml", {"model.head.temperature": 0.4})
    assert (model.max_side, model.head.temperature) == (99, 0.4)


def test_classes_of_other_modules_must_be_allowed(tmp_path, monkeypatch):
    (tmp_path / "mine_words.py").write_text(
        "from pathlib import Path\nPath('imported').touch()\n"
        "from depthclip import Prompts\nclass Mine(Prompts):\n    pass\n"
    )
    (tmp_path / "mine.yaml").write_text(
        "model:\n  encoder: {name: tiny-rooms, pretrained: bundled}\n"
        "  head: {prompts: {class_path: mine_words.Mine, init_args: {words: five}}, bins: {values: [1, 2, 3, 4, 5]}}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    prompts = {"model.head.prompts": {"class_path": "mine_words.Mine"}}
    for arguments in (("mine.yaml",), ("rooms", prompts), ("rooms", {"model.head.prompts": "mine_words.Mine"})):
        with pytest.raises(InputError, match=r"mine_words.*trust"):
            DepthCLIP.from_recipe(*arguments)
    assert not Path("imported").exists()
    model = DepthCLIP.from_recipe("mine.yaml", allow=["mine_words"])
    assert type(model.head.prompts).__name__ == "Mine"
    sys.modules.pop("mine_words")


def test_what_must_be_fitted_needs_a_checkpoint_or_an_override(tmp_path):
    with pytest.raises(InputError, match=r"model/kitti_fitted.*bins.*`checkpoint`.*model\.head\.bins"):
        DepthCLIP.from_recipe("model/kitti_fitted", BUNDLED)
    with pytest.raises(InputError, match=r"rooms.*logits.*`checkpoint`.*model\.head\.calibrated"):
        DepthCLIP.from_recipe("rooms", {"model.head.calibrated": True})
    bins = {"class_path": "depthclip.head.Bins", "init_args": {"values": "depthclip"}}
    assert DepthCLIP.from_recipe("model/kitti_fitted", {**BUNDLED, "model.head.bins": bins}).infer(photo()).max() < 3
    values = torch.linspace(1, 8, 7)
    model = DepthCLIP.from_recipe("model/kitti_fitted", {**BUNDLED, "model.head.bins": bins})
    learned = {"model.head.bins.values": values, "model.head.bins.fitted": torch.tensor(True)}
    state = {key.removeprefix("model."): value for key, value in learned.items()}
    path = tmp_path / "fitted.ckpt"
    torch.save({"state_dict": state, "depthclip_recipe": model.recipe()}, path)
    loaded = DepthCLIP.from_recipe("model/kitti_fitted", BUNDLED, checkpoint=path)
    torch.testing.assert_close(loaded.head.bins(loaded.encoder.text), values)


def test_a_model_of_a_recipe_trains_and_its_checkpoint_loads(tmp_path):
    model = DepthCLIP.from_recipe("rooms", {"model.head.learn_temperature": True, "model.learning_rate": 1.0})
    trainer = Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, barebones=True)
    trainer.fit(model, Rooms(train_size=2, val_size=2, test_size=2))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = DepthCLIP.load(tmp_path / "a.ckpt")
    assert loaded.head.log_temperature.item() == model.head.log_temperature.item()
    assert abs(loaded.head.log_temperature.item() - np.log(0.35)) > 1e-5
    np.testing.assert_array_equal(loaded.infer(photo()), model.eval().infer(photo()))


# ---- encode_photo and set_words

WORDS, BINS = ["near", "middle", "far"], [1.0, 2.5, 6.0]


@pytest.fixture
def counted(clip, monkeypatch):
    """A small CLIP, and lists of the images and sentences that it encoded."""
    encoder = clip("small-vit", "tokens")
    images, sentences = [], []
    encode_image, encode = encoder.encode_image, encoder.text.encode_embeddings
    monkeypatch.setattr(encoder, "encode_image", lambda rgb, *needs: images.append(rgb) or encode_image(rgb, *needs))
    monkeypatch.setattr(encoder.text, "encode_embeddings", lambda each: sentences.extend(each.values) or encode(each))
    return encoder, images, sentences


def fresh(encoder, words=WORDS, bins=BINS, **options):
    head = {key: options.pop(key) for key in ("temperature", "smoothing", "assignment") if key in options}
    return DepthCLIP(encoder, DepthHead(Prompts(words), Bins(bins), logit_scale=20, **head), **options)


@pytest.mark.filterwarnings("ignore:the order of the words")
@pytest.mark.parametrize(
    "way", [{}, {"mirror": False}, {"window": (64, 64), "stride": (48, 32)}, {"max_side": 80, "mirror": True}]
)
def test_changed_words_equal_a_fresh_model_and_encode_no_image(counted, way):
    encoder, images, sentences = counted
    image = np.random.default_rng(0).integers(0, 255, (100, 130, 3), dtype=np.uint8)
    model = fresh(encoder, smoothing=1)
    encoded = model.encode_photo(image, **way)
    assert encoded.size == (100, 130)
    assert encoded.seen == ((62, 80) if "max_side" in way else (100, 130))
    assert len(images) == 1
    before = model.infer(encoded)
    count = len(sentences)
    model.set_words(["near", "far", "away"], [0.5, 3, 7], temperature=0.2)
    assert len(sentences) == count + 1  # "away"
    found, uncertain, weights = model.infer(encoded), model.infer(encoded, uncertainty=True), model.responses(encoded)
    assert len(images) == 1
    other = fresh(encoder, ["near", "far", "away"], [0.5, 3, 7], temperature=0.2, smoothing=1)
    np.testing.assert_array_equal(found, other.infer(image, **way))
    for one, expected in zip(uncertain, other.infer(image, uncertainty=True, **way), strict=True):
        np.testing.assert_array_equal(one, expected)
    assert list(weights) == ["near", "far", "away"]
    for word, expected in other.responses(other.encode_photo(image, **way)).items():
        np.testing.assert_array_equal(weights[word], expected)
    if "max_side" not in way:
        plain = {key: value for key, value in way.items() if key != "mirror"}
        for word, expected in other.responses(image, **plain).items():
            np.testing.assert_allclose(weights[word], expected, atol=1e-5)
    model.set_words(WORDS, BINS, temperature=0.1)
    np.testing.assert_array_equal(model.infer(encoded), before)
    assert abs(found - before).max() > 0.1


@pytest.mark.filterwarnings("ignore:the order of the words")
def test_templates_named_sets_and_other_numbers_of_words(clip):
    encoder = clip("small-vit", "tokens")
    model = fresh(encoder)
    model.set_words("five", [1, 2, 3, 4, 5], templates=["{distance} away", "a {object} that is {distance}"])
    head = DepthHead(
        Prompts("five", ["{distance} away", "a {object} that is {distance}"]), Bins([1, 2, 3, 4, 5]), logit_scale=20
    )
    np.testing.assert_array_equal(model.infer(photo()), DepthCLIP(encoder, head).infer(photo()))
    model.set_words("depthclip", "cd2")  # keeps the templates
    head = DepthHead(Prompts("depthclip", head.prompts.templates), Bins("cd2"), logit_scale=20)
    np.testing.assert_array_equal(model.infer(photo()), DepthCLIP(encoder, head).infer(photo()))


def test_a_refused_value_leaves_the_model_as_it_is(clip):
    model = fresh(clip("small-vit", "tokens"))
    before = model.infer(photo())
    for arguments in ((["a"], [1]), (WORDS, [3, 2, 1]), (WORDS, [1, 2]), (WORDS, BINS, ["no field"])):
        with pytest.raises(InputError):
            model.set_words(*arguments)
    with pytest.raises(InputError, match="temperature -1"):
        model.set_words(WORDS, BINS, temperature=-1)
    with pytest.raises(InputError, match="too long"):
        model.set_words(["near", "far " * 90], [1, 2])
    np.testing.assert_array_equal(model.infer(photo()), before)
    assert model.head.labels == tuple(WORDS)


@pytest.mark.filterwarnings("ignore:the order of the words")
def test_a_learned_temperature_is_kept_or_set(clip):
    head = DepthHead(Prompts(WORDS), LogBins(3), learn_temperature=True)
    model = DepthCLIP(clip("small-vit", "tokens"), head)
    with torch.no_grad():
        head.log_temperature.fill_(0.5)
    model.set_words("five", [1, 2, 3, 4, 5])
    assert head.log_temperature.item() == 0.5
    model.set_words("five", [1, 2, 3, 4, 5], temperature=2.0)
    assert head.log_temperature.item() == pytest.approx(np.log(2))


@pytest.mark.filterwarnings("ignore:the order of the words")
def test_checkpoints_have_the_changed_words_and_calibrated_intervals_are_discarded(tmp_path):
    model = DepthCLIP.from_recipe("rooms", {"model.intervals": "depthclip.evaluation.conformal.Conformal"})
    assert isinstance(model.intervals, Conformal)
    model.intervals.units.fill_(50)
    model.intervals.quantile.fill_(0.1)
    assert model.infer(photo(), uncertainty=True).low is not None
    model.set_words(WORDS, BINS, ["It is {distance}"], temperature=0.25)
    assert model.infer(photo(), uncertainty=True).low is None
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": model.state_dict(), "depthclip_recipe": model.recipe()}, path)
    loaded = DepthCLIP.load(path)
    np.testing.assert_array_equal(loaded.infer(photo()), model.infer(photo()))
    assert (loaded.head.labels, loaded.head.temperature) == (tuple(WORDS), 0.25)


class Wordless(Head):
    def forward(self, features, text):
        return Coarse(features.dense.mean(1, keepdim=True))


class Pooling(Wordless):
    needs = Needs(pooled=True)


def test_only_fixed_words_are_replaced(clip):
    encoder = clip("small-vit", "tokens")
    learned = DepthHead(LearnedWords(3), Bins(BINS))
    calibrated = DepthHead(Prompts(WORDS), Bins(BINS), calibrated=True)
    for head, name in ((Wordless(), "Wordless"), (learned, "LearnedWords"), (calibrated, "calibrated")):
        with pytest.raises(InputError, match=name):
            DepthCLIP(encoder, head).set_words(WORDS, BINS)


def test_an_encoded_photograph_belongs_to_its_encoder(clip):
    model, other = fresh(clip("small-vit", "tokens")), fresh(clip("small-vit", "tokens"))
    encoded = model.encode_photo(photo())
    assert fresh(model.encoder).infer(encoded).shape == (120, 160)
    assert model.encode_photo(encoded) is encoded
    with pytest.raises(InputError, match="another encoder"):
        other.infer(encoded)
    with pytest.raises(InputError, match="max_side 64"):
        model.infer(encoded, max_side=64)
    with pytest.raises(InputError, match="mirror False"):
        model.infer(encoded, mirror=False)
    with pytest.raises(InputError, match="window"):
        model.responses(encoded, window=(64, 64))
    assert len(repr(encoded)) < 300
    with pytest.raises(InputError, match="device meta"):
        model.infer(replace(encoded, features=ImageFeatures(encoded.features.dense.to("meta"))))
    with pytest.raises(InputError, match="lacks features"):
        DepthCLIP(model.encoder, Pooling()).infer(encoded)


# ---- notebooks


@pytest.mark.parametrize(
    ("size", "map_size"), [((120, 160), (160, 120)), ((2000, 1000), (240, 480)), ((3, 900), (480, 2))]
)
def test_a_notebook_shows_the_depth_with_its_scale(size, map_size):
    depth = np.linspace(1, 5, size[0] * size[1], dtype=np.float32).reshape(size)
    picture = Image.open(BytesIO(Estimate(depth)._repr_png_()))
    assert picture.format == "PNG"
    assert map_size[0] + 30 < picture.width < map_size[0] + 120
    assert map_size[1] <= picture.height < max(map_size[1], 120) + 40


def test_a_map_without_valid_depth_is_grey():
    empty = np.array(Image.open(BytesIO(Estimate(np.full((40, 60), np.nan, np.float32))._repr_png_())).convert("RGB"))
    assert (empty == 128).all(-1).sum() > 40 * 60 * 0.8


# ---- the page


def test_the_page(tmp_path, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 5
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    for block in blocks:
        exec(block, namespace)
        if "depth" in namespace and "photo" not in namespace:
            unchanged = namespace["depth"]
    depth, estimate, edited = (namespace[name] for name in ("depth", "estimate", "edited"))
    np.testing.assert_array_equal(depth, unchanged)
    for each in (depth, edited, namespace["coarser"], *estimate[:4]):
        assert (each.shape, each.dtype) == ((120, 160), np.float32)
    np.testing.assert_allclose(namespace["total"], 1, atol=1e-5)
    assert list(namespace["weights"]) == ["very close", "close", "medium", "far", "very far"]
    assert (namespace["sharper"].head.temperature, namespace["sharper"].mirror) == (0.2, False)
    assert len(namespace["two"].head.labels) == len(namespace["by_hand"].head.labels) == 2
    assert (namespace["photo"].size, namespace["photo"].seen) == ((120, 160), (120, 160))


@pytest.mark.parametrize("run", ["import depthclip", "from depthclip.__main__ import main; main(['--help'])"])
def test_importing_the_package_and_its_help_are_fast(run):
    slow = "{'torch', 'numpy', 'jsonargparse', 'matplotlib', 'pytorch_lightning', 'open_clip', 'PIL', 'scipy'}"
    code = f"import sys; {run}; print(sorted({slow} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


# ---- numbers of NumPy, and the smallest image


def test_numbers_of_numpy_are_numbers(rooms):
    image = photo()
    expected = rooms.infer(image, max_side=100)
    encoded = rooms.encode_photo(image, max_side=np.int64(100))
    np.testing.assert_array_equal(rooms.infer(encoded), expected)
    assert type(encoded.view.max_side) is int
    camera = DepthCLIP(rooms.encoder, DepthHead(Prompts("five"), Bins([1, 2, 3, 4, 6]), camera=100.0))
    expected = camera.infer(image, fov=60)
    for number in (np.float32(60), np.float64(60), np.int64(60)):
        np.testing.assert_array_equal(camera.infer(image, fov=number), expected)
    np.testing.assert_array_equal(camera.infer(image, focal=np.int32(90)), camera.infer(image, focal=90))


def test_settings_keep_plain_numbers():
    model = DepthCLIP.from_recipe("rooms")
    model.set_words(["near", "far"], np.array([1, 6], np.float32), temperature=np.float32(0.5))
    arguments = yaml.safe_load(yaml.safe_dump(model.settings))["head"]["init_args"]
    assert (arguments["temperature"], arguments["bins"]["init_args"]["values"]) == (0.5, [1.0, 6.0])
    assert type(DepthCLIP(model.encoder, model.head, max_side=np.int64(64)).max_side) is int


def test_an_image_may_be_reduced_to_a_pixel(rooms):
    image = photo()
    depth = rooms.infer(image, max_side=1)
    assert depth.shape == image.shape[:2]
    assert np.ptp(depth) == 0
