"""Rooms against geometry worked out by hand."""

import math

import numpy as np
import pytest
import torch

from depthclip.camera import focal_length
from depthclip.data.module import Loading
from depthclip.data.raycast import (
    COLOURS,
    SCENES,
    TEXTURES,
    Camera,
    Scene,
    Solid,
    Surface,
    camera_rays,
    cast,
    draw_room,
)
from depthclip.data.rooms import SPLITS, Rooms, RoomsDataset, generator, room

HEIGHT, WIDTH = 60, 80
PAINT = Surface("wall", "white", "plain")
FLOOR, FRONT = 2, 5


def empty_room(yaw: float = 0.0, solids: tuple[Solid, ...] = ()) -> Scene:
    """A room of 4 x 3 x 7 m, the camera 1 m before the back wall."""
    camera = Camera((1.5, 1.5, 1.0), yaw, 0.0)
    return Scene("room", (4.0, 3.0, 7.0), (PAINT,) * 6, solids, camera, (1.5, 0.3, 0.15, 0.04))


def look(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    depth, index = cast(scene, camera_rays(scene.camera, HEIGHT, WIDTH))
    return depth.reshape(HEIGHT, WIDTH), index.reshape(HEIGHT, WIDTH)


def test_wall_ahead_has_one_planar_depth() -> None:
    depth, index = look(empty_room())
    assert (index == FRONT).any()
    # the Euclidean distance grows towards the sides, the planar depth does not
    np.testing.assert_allclose(depth[index == FRONT], 6.0, rtol=1e-5)


def test_floor_follows_the_pinhole_equation() -> None:
    depth, index = look(empty_room())
    focal = (WIDTH / 2) / math.tan(math.radians(70) / 2)
    rows, columns = np.nonzero(index == FLOOR)
    assert len(rows)
    np.testing.assert_allclose(depth[rows, columns], 1.5 * focal / (rows + 0.5 - HEIGHT / 2), rtol=1e-4)


@pytest.mark.parametrize(("yaw", "wall", "metres"), [(90.0, 1, 2.5), (-90.0, 0, 1.5), (180.0, 4, 1.0)])
def test_yaw_turns_to_the_right(yaw: float, wall: int, metres: float) -> None:
    depth, index = look(empty_room(math.radians(yaw)))
    centre = index[HEIGHT // 2, WIDTH // 2], depth[HEIGHT // 2, WIDTH // 2]
    assert centre[0] == wall
    assert centre[1] == pytest.approx(metres, rel=1e-4)


@pytest.mark.parametrize("kind", ["box", "cylinder", "sphere"])
def test_solid_ahead_is_met_at_its_front(kind: str) -> None:
    solid = Solid(kind, (1.5, 1.5, 4.0), (0.5, 0.5, 0.5), 0.0, PAINT)
    depth, index = look(empty_room(solids=(solid,)))
    assert index[HEIGHT // 2, WIDTH // 2] == 6
    assert depth[HEIGHT // 2, WIDTH // 2] == pytest.approx(2.5, abs=1e-3)
    # 3 m away, one metre is this many pixels wide; the front of the box is nearer and looks larger
    across = int((index[HEIGHT // 2] == 6).sum())
    silhouette = {"box": 1 / 2.5, "cylinder": 1 / math.sqrt(9 - 0.25), "sphere": 1 / math.sqrt(9 - 0.25)}[kind]
    assert across == pytest.approx(focal_length(WIDTH, 70) * silhouette, abs=1.5)


def test_turned_box_shows_its_edge() -> None:
    solid = Solid("box", (1.5, 1.5, 4.0), (0.5, 0.5, 0.5), math.radians(45), PAINT)
    depth, _ = look(empty_room(solids=(solid,)))
    assert depth[HEIGHT // 2, WIDTH // 2] == pytest.approx(3 - math.sqrt(0.5), abs=0.03)


def test_textures_have_metric_size() -> None:
    flat = np.full((64, 64), 0.5, np.float32)
    metres = np.linspace(0, 12, 24001, dtype=np.float32)[:-1]
    fine = np.full_like(metres, 1e-3)
    stripes = TEXTURES["striped"](metres, metres * 0, fine, flat)
    edges = np.count_nonzero(np.diff((stripes > stripes.mean()).astype(int)))
    assert edges == 2 * 12 / 0.30
    tiles = TEXTURES["tiled"](metres, np.full_like(metres, 0.01), fine, flat)
    assert np.count_nonzero(np.diff((tiles < 0.8).astype(int)) > 0) == 12 / 0.40


def test_far_texture_averages_away() -> None:
    flat = np.full((64, 64), 0.5, np.float32)
    metres = np.linspace(0, 12, 4001, dtype=np.float32)
    for texture in TEXTURES.values():
        far = texture(metres, metres * 0.7, np.full_like(metres, 2.0), flat)
        assert far.std() < 0.02


def test_pictures_keep_their_range_and_name_their_surfaces() -> None:
    for number in range(12):
        picture = room("train", number)
        assert picture.rgb.shape == (120, 160, 3)
        assert picture.rgb.dtype == np.uint8
        assert picture.depth.shape == (120, 160)
        assert picture.depth.dtype == np.float32
        assert picture.depth.min() >= 0.5
        assert picture.depth.max() <= 10.0
        assert picture.surface.max() < len(picture.scene.surfaces)
        assert picture.scene.name in SCENES
        assert all(s.colour in COLOURS and s.texture in TEXTURES for s in picture.scene.surfaces)
        assert picture.rgb.std() > 5


def test_light_falls_off() -> None:
    near, far = [], []
    for number in range(30):
        picture = room("train", number)
        near += picture.rgb[picture.depth < 1.5].mean(1).tolist()
        far += picture.rgb[picture.depth > 4].mean(1).tolist()
    assert np.mean(near) > np.mean(far)


def test_seed_decides_the_room_and_splits_share_none() -> None:
    again = room("val", 3, seed=5)
    assert np.array_equal(again.rgb, room("val", 3, seed=5).rgb)
    assert np.array_equal(again.depth, room("val", 3, seed=5).depth)
    states = [generator(split, i, seed).integers(2**62) for split in SPLITS for i in range(50) for seed in (0, 1)]
    assert len(set(states)) == len(states)


def test_other_sizes_show_the_same_room() -> None:
    small, large = (np.asarray(draw_room(np.random.default_rng(4), *size).depth) for size in ((120, 160), (240, 320)))
    # 1 / depth of a plane is linear in the pixels, so that the mean of four pixels is that of the pixel they divide
    quarters = (1 / large).reshape(120, 2, 160, 2).mean((1, 3))
    assert np.percentile(np.abs(small * quarters - 1), 90) < 1e-5  # the others lie on edges


def test_dataset_knows_the_scene_without_drawing() -> None:
    rooms = RoomsDataset("val", 8, seed=1)
    for index in range(len(rooms)):
        sample = rooms[index]
        assert sample.scene == rooms.scene(index)
        assert sample.name == rooms.name(index)
        assert sample.image.shape == (3, 120, 160)
        assert sample.image.dtype == torch.uint8
        assert sample.depth is not None
        assert sample.depth.dtype == torch.float32


@pytest.mark.parametrize("fov", [70.0, (30.0, 100.0)])
def test_ground_truth_alone_is_that_of_the_drawn_room(fov: float | tuple[float, float]) -> None:
    rooms = RoomsDataset("train", 6, fov=fov)
    for index in range(len(rooms)):
        depth, size = rooms.truth(index)
        assert depth is not None
        assert size == (120, 160)
        assert np.array_equal(depth.numpy(), room("train", index, fov=fov).depth)
    assert not rooms.drawn
    drawn = rooms[0].depth
    assert rooms.truth(0)[0] is drawn


def test_data_module_gives_batches() -> None:
    data = Rooms(train_size=4, val_size=2, test_size=3, loading=Loading(batch_size=2))
    data.setup("test")
    batches = list(data.test_dataloader())
    assert [len(batch) for batch in batches] == [2, 1]
    item = batches[0].items[0]
    assert item.rgb.shape == (3, 256, 320)
    assert item.depth is not None
    assert item.depth.shape == (120, 160)
    assert data.metadata()["images"] == {"test": 3}


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="train_size 1000000000000"):
        Rooms(train_size=10**12)
    with pytest.raises(ValueError, match="test_size 0"):
        Rooms(test_size=0)
    with pytest.raises(ValueError, match="'dev'"):
        room("dev", 0)  # type: ignore[arg-type]
