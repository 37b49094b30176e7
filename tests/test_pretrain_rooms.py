"""The pretraining of tiny-rooms: captions, a few steps, and the weights in the package."""

import re
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from depthclip.data.raycast import Surface
from depthclip.data.rooms import RoomsDataset, room
from depthclip.encoder import FrozenCLIP
from depthclip.errors import InputError
from depthclip.evaluation.metrics import ERRORS
from depthclip.head.prompts import WORDS
from experiments.prompt_words import QUICK_BINS
from experiments.tiny_rooms.batches import CONFIG, CaptionBatches, Recipe, centres, draw_rooms, look_up, stream
from experiments.tiny_rooms.captions import (
    DISTANCES,
    HELD_OUT_DISTANCES,
    HELD_OUT_TEMPLATES,
    TEMPLATES,
    Caption,
    CaptionWriter,
    agreement,
)
from experiments.tiny_rooms.card import write_card
from experiments.tiny_rooms.choose import Choice, Selection, encode_rooms, first_rooms, head_for, score, score_baselines
from experiments.tiny_rooms.pretrain import Pretraining, main, pretrain, schedule

QUICK = Recipe(steps=20, rooms=16, crop_every=2, crop_images=4, crops=4, dense_images=2, captions=12)
BOX = Surface("box", "red", "striped")
BALL = Surface("ball", "blue", "plain")


@pytest.fixture(scope="module")
def captions() -> list[Caption]:
    writer, rng = CaptionWriter(), np.random.default_rng(0)
    return [writer.write(rng, float(rng.uniform(0.5, 10)), (BOX, BALL)[i % 2]) for i in range(6000)]


def test_held_out_sentences_never_occur(captions: list[Caption]) -> None:
    texts = [caption.text.lower() for caption in captions]
    for words in HELD_OUT_DISTANCES:
        assert not any(re.search(rf"\b{words}\b", text) for text in texts), words
    for template in HELD_OUT_TEMPLATES:
        pattern = re.escape(template.lower()).replace(r"\{distance\}", ".+").replace(r"\{object\}", ".+")
        assert not any(re.fullmatch(pattern, text) for text in texts), template


def test_held_out_sentences_are_made_of_known_words(captions: list[Caption]) -> None:
    known = {word for caption in captions for word in re.findall(r"\w+", caption.text.lower())}
    held_out = " ".join([*HELD_OUT_DISTANCES, *HELD_OUT_TEMPLATES]).lower()
    assert set(re.findall(r"\w+", held_out)) - {"distance", "object"} <= known


def test_captions_tell_the_depth(captions: list[Caption]) -> None:
    writer, rng = CaptionWriter(), np.random.default_rng(1)
    metres = [writer.write(rng, 4.5, BOX).metres for _ in range(400)]
    assert np.nanmedian(metres) == pytest.approx(4.5, rel=0.1)
    assert {"giant", "unseen", "very close", "medium", "very far"} <= set(DISTANCES)
    assert any("about two metres away" in caption.text for caption in captions)


def test_agreement_by_hand() -> None:
    metres = [
        Caption("", 2.0, "", "", ""),
        Caption("", float("nan"), "box", "", ""),
        Caption("", 2.0, "", "blue", ""),
        Caption("", 8.0, "", "", ""),
    ]
    true = agreement(metres, [2.0, 2.0], [BOX, BALL])
    expected = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
    torch.testing.assert_close(true, expected, atol=1e-6, rtol=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[float], Path]:
    out = tmp_path_factory.mktemp("run")
    return pretrain(QUICK, out, resume=False, save_every=8)[1], out


def test_few_steps_lower_the_loss(run: tuple[list[float], Path]) -> None:
    losses, _ = run
    assert np.mean(losses[-4:]) < np.mean(losses[:4]) - 0.2


def test_normalization_is_that_of_whole_images_and_stays(run: tuple[list[float], Path]) -> None:
    weights = load_file(run[1] / "tiny-rooms.safetensors")
    counts = [int(value) for name, value in weights.items() if name.endswith("num_batches_tracked")]
    # sixteen rooms by eight since the sixteenth step, and none of the four steps after it
    assert counts == [2] * len(counts)
    assert len(counts) > 20


def test_same_seed_same_losses_and_resuming_goes_on_exactly(run: tuple[list[float], Path], tmp_path: Path) -> None:
    losses, _ = run
    batches = list(stream(draw_rooms("train", QUICK.rooms, QUICK.seed), QUICK, 0))
    first = Pretraining(QUICK)
    assert [first.step(batch) for batch in batches[:3]] == losses[:3]
    first.save(tmp_path / "half.pt")
    resumed = Pretraining(QUICK)
    resumed.load(tmp_path / "half.pt")
    assert [resumed.step(batch) for batch in batches[3:5]] == losses[3:5]


def test_resuming_with_another_recipe_says_so(run: tuple[list[float], Path]) -> None:
    other = Pretraining(QUICK._replace(crops=3))
    with pytest.raises(ValueError, match="use the same arguments, or start without --resume"):
        other.load(run[1] / "pretraining.pt")


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_broken_checkpoint_is_one_sentence(run: tuple[list[float], Path], tmp_path: Path, share: float) -> None:
    whole = (run[1] / "pretraining.pt").read_bytes()
    broken = tmp_path / "pretraining.pt"
    broken.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"pretraining.pt is not a checkpoint of this script; remove it"):
        Pretraining(QUICK).load(broken)


def test_checkpoints_of_something_else_are_one_sentence(tmp_path: Path) -> None:
    for number, state in enumerate(({}, [1], {"recipe": QUICK._asdict()}, {"recipe": 3})):
        path = tmp_path / f"{number}.pt"
        torch.save(state, path)
        with pytest.raises(InputError, match=rf"{path}.* without --resume"):
            Pretraining(QUICK).load(path)


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    run: tuple[list[float], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pretraining.pt"
    training = Pretraining(QUICK)
    training.load(run[1] / "pretraining.pt")
    training.save(path)
    before = path.read_bytes()

    def fail(state: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("torch.save", fail)
    with pytest.raises(OSError, match="no space"):
        training.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["pretraining.pt"]


def test_the_command_line_refuses_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pretraining.pt").write_bytes(b"")
    assert main(["--out", str(tmp_path), "--resume"]) == 2
    assert "pretraining.pt is not a checkpoint" in capsys.readouterr().err
    assert main(["--steps", "0"]) == 2
    assert capsys.readouterr().err.startswith("error: --steps 0 must be")
    assert main(["--fov", "95", "145"]) == 2
    assert capsys.readouterr().err.startswith("error: fov 145.0 must be")
    assert main(["--rooms", "20", "--fov", "50", "70", "90"]) == 2
    assert capsys.readouterr().err.startswith("error: --rooms 20 must be a whole number from 45 to")
    assert main(["--focal", "0"]) == 2
    assert capsys.readouterr().err.startswith("error: --focal 0.0 must be")
    assert main(["--start", "nothing"]) == 2
    assert "tags: bundled, lenses" in capsys.readouterr().err


def test_the_bins_of_the_quick_study_are_what_the_captions_mean() -> None:
    meanings = DISTANCES | HELD_OUT_DISTANCES
    for words, bins in QUICK_BINS.items():
        assert [meanings[word] for word in WORDS[words]] == bins


def test_batches_speak_of_the_points_they_hold() -> None:
    pictures = draw_rooms("train", QUICK.rooms, QUICK.seed)
    batch = CaptionBatches(pictures, QUICK)[0]
    assert batch.crops.shape == (16, 3, 128, 128)
    assert batch.images.shape == (2, 3, 256, 320)
    points, captions = 16 + 2 * 80, 16 + 2 * 12
    assert batch.tokens.shape == (captions, 24)
    assert batch.truth.shape == (points, captions)
    assert (batch.truth[:16, :16].diagonal() > 0.05).all()  # a crop's own caption is true of it
    assert (batch.truth.max(0).values > 0.05).all()
    assert batch.metres.shape == (points, len(batch.wordings))
    assert CaptionBatches(pictures, QUICK)[1].crops.shape == (0, 3, 128, 128)
    depth, _ = look_up(pictures[0], 0, 319, (256, 320))
    assert depth == pytest.approx(float(pictures[0].depth[0, 159]))


def test_rooms_through_several_lenses_have_one_focal_length() -> None:
    recipe = QUICK._replace(rooms=24, fov=(50.0, 90.0), focal=300.0)
    pictures = draw_rooms("train", recipe.rooms, recipe.seed, recipe.fov)
    assert [picture.scene.camera.fov for picture in pictures[:4]] == [50, 90, 50, 90]
    # 160 pixels / tan(25 degrees) = 343, and 160 / tan(45 degrees) = 160
    sizes = {(224, 280), (480, 600)}
    batches = [CaptionBatches(pictures, recipe)[step] for step in range(8)]
    assert {tuple(batch.images.shape[-2:]) for batch in batches} == sizes
    for batch in batches:
        height, width = batch.images.shape[-2:]
        assert len(batch.images) == (2 if height == 480 else 3)  # as many pixels as two of 256 x 320, at least two
        assert len(batch.truth) == len(batch.crops) + len(batch.images) * (height // 32) * (width // 32)
    # the middle of the lower right cell of the 7 x 8 of a narrow picture
    row, column = centres(224, 280)[-1]
    assert (row, column) == (208, 262.5)
    depth, _ = look_up(pictures[0], row, column, (224, 280))
    assert depth == float(pictures[0].depth[int(208 / 224 * 120), 150])
    for index, default in enumerate(draw_rooms("train", 3, 0)):
        np.testing.assert_array_equal(default.depth, room("train", index, fov=70.0).depth)


def test_batches_of_the_default_lens_are_those_of_before() -> None:
    """Sums of a batch before the rooms had fields of view."""
    batch = CaptionBatches(draw_rooms("train", 16, 0), QUICK)[0]
    found = [batch.images.double().sum(), batch.crops.double().sum(), batch.truth.double().sum(), batch.tokens.sum()]
    np.testing.assert_allclose(found, [196454.371569, 232247.282424, 1837.632604, 4964312], rtol=1e-6)


def test_training_starts_from_weights() -> None:
    bundled = load_file(CONFIG.parent / "tiny-rooms.safetensors")
    start = Pretraining(QUICK._replace(start="bundled")).model.state_dict()
    for name, value in bundled.items():
        torch.testing.assert_close(start[name], value.to(start[name].dtype), rtol=0, atol=0)


def test_shorter_schedule_agrees_until_the_fall() -> None:
    assert [schedule(step, 100) for step in range(60)] == [schedule(step, 200) for step in range(60)]
    assert schedule(0, 1000) < 0.05
    assert schedule(500, 1000) == 1.0
    assert schedule(1000, 1000) == 0.0


def test_weights_load_as_any_other(run: tuple[list[float], Path]) -> None:
    encoder = FrozenCLIP("tiny-rooms", str(run[1] / "tiny-rooms.safetensors"), "maskclip", "openai")
    assert encoder.encode_image(torch.rand(1, 3, 256, 320)).dense.shape == (1, 64, 8, 10)
    assert (run[1] / "tiny-rooms.safetensors").stat().st_size < 10e6


def test_bundled_weights_read_depth_and_sentences_they_never_saw() -> None:
    encoder = FrozenCLIP("tiny-rooms", "bundled", "attention_pool", "openai")
    rooms = encode_rooms(encoder, first_rooms("test", 24, seed=0))
    constant = score_baselines(rooms.truth, first_rooms("train", 24, seed=0))["best constants"]
    known = score(head_for(WORDS["depthclip"], ["This object is {distance}"], 1.0, 1.0), encoder, rooms)
    assert known["delta1"] > 1.5 * constant["delta1"]
    assert known["abs_rel"] < 0.65 * constant["abs_rel"]
    unseen = score(head_for(list(HELD_OUT_DISTANCES), HELD_OUT_TEMPLATES, 1.0, 1.0), encoder, rooms)
    assert unseen["delta1"] > constant["delta1"]
    assert unseen["abs_rel"] < constant["abs_rel"]


def test_metres_of_the_lenses_hold_through_other_lenses() -> None:
    encoder = FrozenCLIP("tiny-rooms", "lenses", "attention_pool", "openai")
    head = yaml.safe_load((CONFIG.parents[3] / "configs" / "rooms_lenses.yaml").read_text())["model"]["head"]
    figures = {}
    for fov in (50.0, 70.0, 90.0):
        rooms = RoomsDataset("test", 24, fov=fov)
        encoded = encode_rooms(encoder, [rooms[index] for index in range(24)], focal=head["camera"])
        words = head_for(head["prompts"]["words"], TEMPLATES[:1], head["temperature"], 1.0)
        figures[fov] = score(words, encoder, encoded)["abs_rel"]
    assert figures[70] < 0.25
    assert max(figures[50], figures[90]) < 1.3 * figures[70]


def rows_of(card: str) -> dict[str, dict[str, float]]:
    """The figures of a model card by row."""
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line[:2] == "| "]
    columns, *rows = table
    return {name: dict(zip(columns[1:], map(float, figures), strict=True)) for name, *figures in rows}


def test_card_says_what_was_measured_and_held_out(tmp_path: Path) -> None:
    errors = {error: 0.1 * k for k, error in enumerate(ERRORS)}
    choice = Choice("crops", "five", "trained", 0.7, 0.92)
    figures = Selection({"crops": choice}, {}, {"crops": errors}, {"crops": 3})
    write_card(Recipe(steps=7), 1_500_000, 600.0, figures, tmp_path / "card.md")
    card = (tmp_path / "card.md").read_text()
    assert rows_of(card)["crops"] == {name: pytest.approx(errors[name]) for name in rows_of(card)["crops"]}
    for text in ("1.5 million", "7 steps in\n10 minutes", "`crops` the true order", "ranks 3 among", "bins x 0.92"):
        assert text in card
    assert all(words in card for words in (*HELD_OUT_TEMPLATES, *HELD_OUT_DISTANCES))
    assert "from\nscratch" in card
    assert "Lenses" not in card
    lenses = Recipe(steps=7, rooms=9, learning_rate=1e-3, fov=(50, 90, 70, 70), focal=342.8, start="bundled")
    write_card(lenses, 1_500_000, 600.0, figures, tmp_path / "lenses.md")
    card = (tmp_path / "lenses.md").read_text()
    for text in (
        "pretrain --steps 7 --seed 0 --rooms 9 --learning_rate 0.001 --fov 50 90 70 70 --focal 342.8 --start bundled`",
        "from\nthe weights `bundled`",
        "50, 70, 90 degrees",
        "342.8 pixels",
        "384 x 480 at 70 degrees",
        "choose --focal 342.8`",
    ):
        assert text in card


@pytest.mark.parametrize(("recipe_name", "card_name"), [("rooms", "MODEL_CARD"), ("rooms_lenses", "MODEL_CARD_LENSES")])
def test_the_recipe_quotes_the_card(recipe_name: str, card_name: str) -> None:
    recipe = yaml.safe_load((CONFIG.parents[3] / "configs" / f"{recipe_name}.yaml").read_text())
    card = rows_of((CONFIG.parent / f"{card_name}.md").read_text())
    assert recipe["model"]["published"]["model card"] == card["attention_pool"]
