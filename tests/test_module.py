"""The LightningModule: mirrored views, shared image passes, inference, training, checkpoints."""

import copy
import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from pytorch_lightning import Trainer

from depthclip import Bins, DepthCLIP, DepthHead, Prompts
from depthclip.data import Loading, Rooms
from depthclip.head import ConditionalContext, LearnedBins, LearnedWords, LogBins
from depthclip.protocol import View
from tests.conftest import frozen


def head(**settings):
    return DepthHead(Prompts("five"), Bins([1, 2, 3, 4, 6]), **settings)


def learner(count=5):
    return DepthHead(LearnedWords(count), LearnedBins([1, 2, 3, 4, 6][:count]))


def rooms(**settings):
    return Rooms(train_size=6, val_size=2, test_size=3, loading=Loading(batch_size=2), view="whole", **settings)


def trainer(folder, **settings):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(default_root_dir=folder, **{**quiet, "max_epochs": 2, "enable_checkpointing": False, **settings})


@pytest.mark.parametrize(("name", "readout"), [("small-resnet", "attention_pool"), ("small-vit", "tokens")])
def test_depth_of_the_mirrored_image_is_the_mirrored_depth(clip, name, readout):
    model = DepthCLIP(clip(name, readout), head())
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        depth, mirrored = model(image), model(image.flip(-1))
    assert depth.shape == (2, 1, 64, 96)
    torch.testing.assert_close(mirrored, depth.flip(-1), atol=1e-5, rtol=0)


def test_one_image_pass_serves_all_heads_and_pooled_is_computed_only_when_asked(clip, monkeypatch):
    encoder = clip("small-vit", "tokens")
    passes = []
    real = encoder.encode_image
    monkeypatch.setattr(encoder, "encode_image", lambda rgb, needs: passes.append(needs.pooled) or real(rgb, needs))
    image = torch.rand(1, 3, 64, 64)
    variants = {f"temperature {t}": head(temperature=t) for t in (0.05, 0.2)}
    model = DepthCLIP(encoder, head(), variants)
    together = model.coarse(image, View(mirror=True))
    assert passes == [False]
    for output, each in zip(together, [head(), *variants.values()], strict=True):
        (alone,) = DepthCLIP(encoder, each).coarse(image, View(mirror=True))
        assert [len(part) for part in (output.depth, output.logits)] == [1, 1]  # as long as the batch, not twice
        torch.testing.assert_close(output.depth, alone.depth, atol=1e-5, rtol=0)
    passes.clear()
    DepthCLIP(encoder, DepthHead(ConditionalContext("five"), Bins([1, 2, 3, 4, 6]))).coarse(image, View())
    assert passes == [True]


def test_infer_takes_paths_pil_and_arrays_and_keeps_their_size(clip, tmp_path):
    model = DepthCLIP(clip("small-resnet", "attention_pool"), head(), max_side=64)
    pixels = np.random.default_rng(0).integers(0, 255, (90, 130, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    depth = model.infer(pixels)
    assert depth.shape == (90, 130)
    assert depth.dtype == np.float32
    assert 1 <= depth.min() <= depth.max() <= 6
    np.testing.assert_array_equal(model.infer(tmp_path / "photo.png"), depth)
    np.testing.assert_array_equal(model.infer(Image.fromarray(pixels)), depth)
    assert not np.array_equal(model.infer(pixels, mirror=False), depth)
    weights = model.responses(pixels)
    assert list(weights) == list(model.head.prompts.words)
    np.testing.assert_allclose(sum(weights.values()), 1, atol=1e-5)
    with pytest.raises(ValueError, match="float64 array of shape"):
        model.infer(np.zeros((3, 4)))


def test_variants_may_not_take_the_heads_name(clip):
    with pytest.raises(ValueError, match="reserved"):
        DepthCLIP(clip("small-vit", "tokens"), head(), {"head": head()})


def test_fit_learns_the_head_and_leaves_clip_bit_identical(clip, tmp_path):
    encoder = clip("small-vit", "tokens")
    before = copy.deepcopy(encoder.model.state_dict())
    model = DepthCLIP(encoder, learner(), learning_rate=0.05)
    start = {name: p.detach().clone() for name, p in model.head.named_parameters()}
    trainer(tmp_path).fit(model, rooms())
    for key, value in encoder.model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(not torch.equal(p, start[name]) for name, p in model.head.named_parameters())


def test_a_trained_head_keeps_its_parameters_in_another_model(clip):
    encoder, trained = clip("small-vit", "tokens"), learner()
    DepthCLIP(encoder, trained)
    with torch.no_grad():
        trained.prompts.tokens.fill_(0.25)
    shared = DepthHead(trained.prompts, Bins([1, 2, 3, 4, 6]))
    DepthCLIP(encoder, head(), {"trained": trained, "shared": shared})
    assert (trained.prompts.tokens == 0.25).all()


def test_fit_with_nothing_to_learn_says_how_to_turn_something_on(clip, tmp_path):
    with pytest.raises(ValueError, match=r"nothing to train.*LearnedWords.*LearnedBins"):
        trainer(tmp_path).fit(DepthCLIP(clip("small-vit", "tokens"), head()), rooms())


def fit_losses(model, data, folder, callbacks=(), **settings):
    from pytorch_lightning import Callback

    seen = []

    class Keep(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append(outputs["loss"].item())

    run = trainer(folder, callbacks=[Keep(), *callbacks], **settings.pop("trainer", {}))
    run.fit(model, data, **settings)
    return seen, run


def test_cached_features_give_the_same_losses_and_encode_each_image_once(clip, tmp_path, monkeypatch):
    plain, _ = fit_losses(seeded(clip), rooms(), tmp_path)
    counted = []
    for cache in ("memory", str(tmp_path / "features"), str(tmp_path / "features")):
        model = seeded(clip, cache=cache)
        real = model.encoder.encode_image
        images = []
        monkeypatch.setattr(
            model.encoder, "encode_image", lambda rgb, needs, i=images, r=real: i.append(len(rgb)) or r(rgb, needs)
        )
        losses, _ = fit_losses(model, rooms(), tmp_path, trainer={"limit_val_batches": 0})
        counted.append(sum(images))
        assert losses == plain if cache == "memory" else np.allclose(losses, plain, atol=1e-4)
    assert counted == [6, 6, 2]  # the second run with the folder encodes one batch, which gives the shape of features


def seeded(clip, **settings):
    torch.manual_seed(0)
    return DepthCLIP(clip("small-vit", "tokens"), learner(), learning_rate=0.05, **settings)


def test_cache_and_augmentation_exclude_each_other(clip, tmp_path):
    from depthclip.data.augment import Augment

    with pytest.raises(ValueError, match="set one to null"):
        trainer(tmp_path).fit(seeded(clip, cache="memory"), rooms(augment=Augment()))


def test_training_resumes_exactly(clip, tmp_path):
    """Augmented and shuffled: what is left of four epochs after the second, from another random state."""
    from pytorch_lightning.callbacks import ModelCheckpoint

    from depthclip.data.augment import Augment

    augment = Augment(crop=(96, 128))
    keep = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)
    whole, _ = fit_losses(
        seeded(clip),
        rooms(augment=augment),
        tmp_path,
        callbacks=[keep],
        trainer={"max_epochs": 4, "enable_checkpointing": True},
    )
    torch.manual_seed(123)
    rest, _ = fit_losses(
        seeded(clip),
        rooms(augment=augment),
        tmp_path,
        trainer={"max_epochs": 4},
        ckpt_path=tmp_path / "epoch=1.ckpt",
        weights_only=True,
    )
    assert len(whole) == 12
    assert rest == whole[6:]


def test_checkpoints_hold_what_was_learned_and_refuse_another_clip(clip, tmp_path):
    model = seeded(clip)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(model, rooms())
    path = tmp_path / "learned.ckpt"
    run.save_checkpoint(path)
    assert all(not key.startswith("encoder") for key in torch.load(path, weights_only=True)["state_dict"])

    fresh = seeded(clip)
    trainer(tmp_path).test(fresh, rooms(), ckpt_path=path, verbose=False)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(fresh(image), model(image))

    other = DepthCLIP(clip("small-vit", "tokens", seed=5), learner())
    with pytest.raises(ValueError, match="other weights of small-vit"):
        trainer(tmp_path).test(other, rooms(), ckpt_path=path, verbose=False)
    fewer = DepthCLIP(clip("small-vit", "tokens"), learner(3))
    with pytest.raises(ValueError, match="has 5 bins"):
        trainer(tmp_path).test(fewer, rooms(), ckpt_path=path, verbose=False)


def test_a_checkpoint_of_256_words_is_under_2_mb(tmp_path):
    """With the text width of RN50, optimizer state included."""
    text = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 1}
    vision = {"image_size": 64, "layers": 1, "width": 32, "head_width": 16, "patch_size": 32}
    (tmp_path / "wide-text.json").write_text(json.dumps({"embed_dim": 64, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(tmp_path / "wide-text.json")
    model = DepthCLIP(frozen("wide-text", "tokens"), DepthHead(LearnedWords(256), LogBins(256)))
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    run.fit(model, rooms())
    run.save_checkpoint(tmp_path / "words.ckpt")
    assert 256 * 512 * 4 < (tmp_path / "words.ckpt").stat().st_size < 2e6


def test_a_test_without_batches_leaves_no_outcome_of_an_earlier_test(clip, tmp_path):
    model, data = DepthCLIP(clip("small-vit", "tokens"), head()), rooms()
    trainer(tmp_path).test(model, data, verbose=False)
    assert model.outcome.result.images == 3
    trainer(tmp_path, limit_test_batches=0).test(model, data, verbose=False)
    assert not hasattr(model, "outcome")
