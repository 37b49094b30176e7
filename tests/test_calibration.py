"""Calibrated logits, compared with a formula in NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from depthclip import Bins, DepthCLIP, DepthHead, Prompts
from depthclip.data import DataError, Loading, Photos, Rooms
from depthclip.data.module import DepthDataModule
from depthclip.data.samples import DepthDataset
from depthclip.errors import InputError
from depthclip.head import Adapter, Coarse, ConditionalContext, FittedBins, Head, LearnedBins, LearnedWords
from depthclip.protocol import View
from tests.test_module import rooms, trainer

METRES = [1.0, 2.0, 3.0, 4.0, 6.0]


def head(**settings):
    return DepthHead(Prompts("five"), Bins(METRES), **{"calibrated": True, **settings})


class WithoutDepth(DepthDataset):
    """Training rooms whose depth is missing."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def name(self, index):
        return self.samples.name(index)

    def has_truth(self, index):
        return False

    def __getitem__(self, index):
        return self.samples[index]._replace(depth=None)


class Unlabelled(Rooms):
    """Rooms without depth in the training split."""

    def samples(self, split):
        samples = super().samples(split)
        return WithoutDepth(samples) if split == "train" else samples


def unlabelled(view="whole", batch_size=2):
    return Unlabelled(train_size=6, val_size=2, test_size=3, loading=Loading(batch_size=batch_size), view=view)


def numpy_depth(encoder, images, photo, temperature):
    """Return coarse depth of a photo by the definition, and the mean logits, from the features of the encoder."""
    words = encoder.text.encode([f"This object is {word}" for word in Prompts("five").words]).numpy()

    def logits(rgb):
        dense = encoder.encode_image(rgb).dense.numpy().astype(np.float64)
        return np.einsum("bdhw,kd->bkhw", dense, words) * encoder.text.logit_scale / temperature

    mean = np.mean([logits(image[None]).mean((0, 2, 3)) for image in images], 0)
    calibrated = logits(photo) - mean[:, None, None]
    weights = np.exp(calibrated - calibrated.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    return np.einsum("bkhw,k->bhw", weights, METRES)[:, None], mean


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("mirror", [False, True])
def test_depth_is_that_of_the_formula(clip, tmp_path, mirror, batch_size):
    model = DepthCLIP(clip("small-vit", "tokens"), head(temperature=0.2), panels=0)
    data = unlabelled(View(mirror=mirror), batch_size)
    trainer(tmp_path).test(model, data, verbose=False)
    images = [sample.image.float() / 255 for sample in data.samples("train")]
    images += [image.flip(-1) for image in images] if mirror else []
    photo = torch.rand(1, 3, 96, 64)
    expected, mean = numpy_depth(model.encoder, images, photo, 0.2)
    with torch.no_grad():
        (output,) = model.coarse(photo, View())
    np.testing.assert_allclose(output.depth, expected, rtol=1e-4)
    scale = model.encoder.text.logit_scale / 0.2
    np.testing.assert_allclose(model.head.calibration.mean * scale, mean, rtol=1e-4)
    assert abs(mean).max() > 1


def test_the_images_are_encoded_once_for_all_heads_that_need_them(clip, tmp_path, monkeypatch):
    encoder = clip("small-vit", "tokens")
    both = DepthHead(Prompts("five"), FittedBins(5), calibrated=True)
    conditional = DepthHead(ConditionalContext("five"), Bins(METRES), calibrated=True)
    plain = head(calibrated=False)
    model = DepthCLIP(encoder, head(), {"both": both, "conditional": conditional, "plain": plain}, panels=0)
    images, real = [], encoder.encode_image
    monkeypatch.setattr(encoder, "encode_image", lambda rgb, needs: images.append(len(rgb)) or real(rgb, needs))
    trainer(tmp_path).test(model, rooms(), verbose=False)
    assert sum(images) == 6 + 3
    trainer(tmp_path).test(model, rooms(), verbose=False)
    assert sum(images) == 6 + 3 + 3  # the means are kept
    assert not any(each.needs_images or each.needs_depths for each in model.heads)


def test_only_as_many_images_as_training_images(clip, tmp_path):
    model = DepthCLIP(clip("small-vit", "tokens"), head(), training_images=3, panels=0)
    trainer(tmp_path).validate(model, rooms(), verbose=False)
    data = rooms()
    chosen = [data.samples("train")[k].image.float() / 255 for k in (0, 2, 5)]  # evenly spread over six
    _, mean = numpy_depth(model.encoder, chosen, torch.rand(1, 3, 64, 64), 1)
    np.testing.assert_allclose(model.head.calibration.mean * model.encoder.text.logit_scale, mean, rtol=1e-4)


def test_a_head_without_calibration_is_untouched(clip, tmp_path):
    plain, encoder = head(calibrated=False), clip("small-vit", "tokens")
    assert plain.state_dict().keys() == DepthHead(Prompts("five"), Bins(METRES)).state_dict().keys()
    model = DepthCLIP(encoder, plain, {"calibrated": head()}, panels=0)
    trainer(tmp_path).test(model, rooms(), verbose=False)
    photo = torch.rand(1, 3, 64, 96)
    dense, words = encoder.encode_image(photo).dense, plain.prompts(encoder.text)
    logits = torch.einsum("bdhw,kd->bkhw", dense, words) * (encoder.text.logit_scale / 0.1)
    with torch.no_grad():
        output, calibrated = model.coarse(photo, View())
    assert torch.equal(output.logits, logits)
    assert not torch.equal(calibrated.logits, logits)


def test_a_checkpoint_keeps_the_means(clip, tmp_path):
    def learner():
        torch.manual_seed(0)
        return DepthHead(LearnedWords(5), LearnedBins(METRES), adapter=Adapter(2), calibrated=True)

    model = DepthCLIP(clip("small-vit", "tokens"), learner(), learning_rate=0.05)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(model, rooms())
    run.save_checkpoint(tmp_path / "learned.ckpt")
    fresh = DepthCLIP(clip("small-vit", "tokens"), learner()).load_learned(tmp_path / "learned.ckpt")
    photo = np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8)
    np.testing.assert_array_equal(fresh.infer(photo), model.infer(photo))
    torch.testing.assert_close(fresh.head.calibration.mean, model.head.calibration.mean, atol=0, rtol=0)


def test_a_head_of_the_users_sees_training_images(clip, tmp_path):
    class Brightness(Head):
        """Metres from the mean of the dense features of training images."""

        def __init__(self):
            super().__init__()
            self.seen = []

        @property
        def needs_images(self):
            return not hasattr(self, "metres")

        def calibrate(self, features, text):
            self.seen.append(features.dense.mean((1, 2, 3)))

        def finish_calibration(self):
            self.metres = 2 + torch.cat(self.seen).mean()

        def forward(self, features, text):
            return Coarse(self.metres.expand(len(features.dense), 1, 2, 2))

    model = DepthCLIP(clip("small-vit", "tokens"), Brightness(), panels=0)
    trainer(tmp_path).test(model, rooms(), verbose=False)
    assert len(torch.cat(model.head.seen)) == 6


def test_without_images_a_sentence_says_what_to_do(clip, tmp_path):
    model = DepthCLIP(clip("small-vit", "tokens"), head(), panels=0)
    with pytest.raises(InputError, match=r"calibrated: true but no mean logits yet; .* load a checkpoint"):
        model.infer(np.zeros((64, 64, 3), np.uint8))
    loader = torch.utils.data.DataLoader(rooms().samples("test"), batch_size=None)
    with pytest.raises(InputError, match=r"calibrated: true .* no data module; pass one"):
        trainer(tmp_path).test(model, loader, verbose=False)
    with pytest.raises(DataError, match=r"Photos have no training images.*--ckpt_path"):
        trainer(tmp_path).predict(model, Photos([__file__]))


def test_images_that_cannot_be_read_are_skipped(clip, tmp_path):
    class Broken(WithoutDepth):
        def __getitem__(self, index):
            if index in self.broken:
                raise DataError(f"image {index} is broken; fetch it again")
            return super().__getitem__(index)

    class Some(DepthDataModule):
        def samples(self, split):
            samples = Broken(rooms().samples("train")) if split == "train" else rooms().samples(split)
            samples.broken = self.broken
            return samples

    data = Some("whole", "whole", Loading(batch_size=2, on_error="skip"))
    model = DepthCLIP(clip("small-vit", "tokens"), head(), panels=0)
    data.broken = range(6)
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(InputError, match="no training image could be read"):
        trainer(tmp_path).test(model, data, verbose=False)
    data.broken = (1, 2)
    with pytest.warns(UserWarning, match="2 of 6 images were skipped"):
        trainer(tmp_path).test(model, data, verbose=False)
    assert model.head.calibration.images == 4
    data.loading = replace(data.loading, on_error="raise")
    again = DepthCLIP(clip("small-vit", "tokens"), head(), panels=0)
    with pytest.raises(DataError, match="image 1 is broken"):
        trainer(tmp_path).test(again, data, verbose=False)
