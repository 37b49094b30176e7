"""The four recipes of Auty and Mikolajczyk against their forward pass and evaluation, written out."""

import math
import warnings

import numpy as np
import open_clip
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from PIL import Image
from torch.nn import functional as F

from depthclip import DepthCLIP
from depthclip.data.batches import Batch, Item
from depthclip.data.module import DepthDataModule
from depthclip.evaluation.evaluation import Evaluation
from depthclip.protocol import seen_in_truth, spell_out
from tests.layouts import SAMPLES
from tests.test_cli import CONFIGS

# first and last bin of their code, in metres
ENDS = {
    "nyu_7_linear": (0.7152142857, 9.2857857143),
    "nyu_256_log": (0.0010181517, 9.8217189),
    "kitti_7_log": (0.0022398592, 35.716531),
    "kitti_256_log": (0.0010222953, 78.255278),
}
MEAN, STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def recipe(name):
    return spell_out(yaml.safe_load((CONFIGS / f"learn/auty_{name}.yaml").read_text()))


def build(name):
    """Return the model of a recipe with a small random CLIP in place of RN50, and the data module."""
    given = recipe(name)
    given["model"]["encoder"] |= {"name": "small-resnet", "pretrained": None}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(DepthCLIP, "model")
    parser.add_subclass_arguments(DepthDataModule, "data")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        built = parser.instantiate(parser.parse_object({"model": given["model"], "data": given["data"]}))
    model = built.model
    generator = torch.Generator().manual_seed(1)
    for key, value in model.encoder.model.named_parameters():
        if value.ndim == 1 and key.endswith("weight"):  # open_clip starts some norms at zero
            value.data.copy_(1 + 0.1 * torch.randn(value.shape, generator=generator))
    model.head.prompts.tokens.data.normal_(generator=generator)
    return model.eval(), built.data


def their_bins(name):
    count, far = (256 if "256" in name else 7), (10 if "nyu" in name else 80)
    k = np.arange(count) + 0.5
    if "linear" in name:
        return 0.001 + (far - 0.001) * k / count
    low, high = math.log(0.001), math.log(far)
    return np.exp(low + (high - low) * k / count)


def their_text(clip, words):
    """Return the features of the sentence with each word at `x`, unit length, divided by the norm of their matrix."""
    tokens = open_clip.tokenize(["This object appears to be x"] * len(words))
    x = int((tokens[0] == open_clip.tokenize(["x"])[0, 1]).nonzero())
    values = clip.token_embedding(tokens)
    values[:, x] = words
    values = clip.transformer(values + clip.positional_embedding, attn_mask=clip.attn_mask)
    ends = tokens.argmax(-1)
    text = clip.ln_final(values)[torch.arange(len(words)), ends] @ clip.text_projection
    text = text / text.norm(dim=-1, keepdim=True)
    return text / text.norm()


def their_depth(clip, text, bins, image):
    """Return the coarse depth of an image (3, H, W) in [0, 1]."""
    visual = clip.visual
    x = (image - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    x = visual.stem(x[None])
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = layer(x)
    height, width = x.shape[-2:]
    x = x[0].flatten(1).mT
    x = x / x.norm(dim=-1, keepdim=True)
    channels, dim = x.shape[1], text.shape[1]
    x = x[:, torch.arange(dim) * channels // dim]  # nearest
    weights = torch.softmax(100 * x @ text.mT / 0.1, dim=-1)
    return (weights @ torch.tensor(bins, dtype=torch.float32)).view(height, width)


def their_prediction(clip, text, bins, image):
    """Return the mean depth of the image and its mirror image, at the size of the image."""
    both = [their_depth(clip, text, bins, x) for x in (image, image.flip(-1))]
    coarse = (both[0] + both[1].flip(-1)) / 2
    return F.interpolate(coarse[None, None], image.shape[-2:], mode="bilinear", align_corners=True)[0, 0].numpy()


def their_error(prediction, truth, name):
    """Return abs_rel on ground truth that was cropped like the image."""
    far = 10 if "nyu" in name else 80
    height, width = truth.shape
    mask = np.zeros(truth.shape, bool)
    if far == 10:
        mask[45:471, 41:601] = True
    else:
        rows = slice(int(0.40810811 * height), int(0.99189189 * height))
        mask[rows, int(0.03594771 * width) : int(0.96405229 * width)] = True
    mask &= (truth > 1e-3) & (truth < far)
    p, g = np.clip(prediction, 1e-3, far)[mask].astype(np.float64), truth[mask].astype(np.float64)
    return np.mean(np.abs(p - g) / g)


def compare(name, image, truth):
    """Compare the recipe with their formulas on an image (H, W, 3) uint8 and its ground truth (H, W) in metres."""
    model, data = build(name)
    rgb, depth = torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.from_numpy(truth)
    box = data.view.box(*truth.shape)
    seen = seen_in_truth(box, truth.shape, truth.shape)
    item = Item(0, data.view.see(rgb).float() / 255, depth, seen, "image", "")
    evaluation = Evaluation(("head",), None, torch.device("cpu"), baselines=False)
    with torch.no_grad():
        ((_, ours),) = model.estimates(Batch([item], [], data.view, data.scoring))
        evaluation.add(item, ours, data.scoring)
        clip = model.encoder.model
        text = their_text(clip, model.head.prompts.tokens[:, 0])
        theirs = their_prediction(clip, text, their_bins(name), item.rgb)
    if "kitti" in name:  # KITTI's benchmark crop, of image and truth
        top, left = truth.shape[0] - 352, int((truth.shape[1] - 1216) / 2)
        truth = truth[top : top + 352, left : left + 1216]
    assert theirs.shape == truth.shape
    assert theirs.std() > 1e-3 * theirs.mean()
    assert np.mean(np.abs(ours.stack()[0].numpy() - theirs) / theirs) < 1e-5
    np.testing.assert_allclose(ours.stack()[0], theirs, rtol=3e-5)  # single logits in the hundreds round by some 1e-5
    error = evaluation.outcome().result.figures()["head"]["abs_rel"]
    assert error == pytest.approx(their_error(theirs, truth, name), rel=1e-5)


@pytest.mark.parametrize("name", ENDS)
def test_bins_are_theirs(small, name):
    bins = build(name)[0].head.bins.values
    np.testing.assert_allclose((bins[0], bins[-1]), ENDS[name], rtol=1e-6)
    np.testing.assert_allclose(bins, their_bins(name), rtol=1e-6)


@pytest.mark.parametrize("name", ENDS)
def test_depth_and_error_are_theirs_on_random_data(small, name):
    rng = np.random.default_rng(2)
    size = (480, 640) if "nyu" in name else (370, 1226)
    coarse = rng.integers(0, 256, (size[0] // 10 + 1, size[1] // 10 + 1, 3), np.uint8)
    image = coarse.repeat(10, 0).repeat(10, 1)[: size[0], : size[1]]
    compare(name, image, rng.uniform(0, 90, size).astype(np.float32) * (rng.random(size) < 0.3))


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/samples")
@pytest.mark.parametrize("name", ENDS)
def test_depth_and_error_are_theirs_on_real_frames(small, name):
    if "nyu" in name:
        pairs = [(f"nyu/rgb_{k:05d}.jpg", f"nyu/sync_depth_{k:05d}.png", 1000) for k in (0, 50, 100)]
    else:
        names = [f"{k:010d}.png" for k in (5, 50, 100)]
        pairs = [(f"kitti_annotated/rgb/{k}", f"kitti_annotated/depth/{k}", 256) for k in names]
    for image, depth, scale in pairs:
        truth = np.array(Image.open(SAMPLES / depth)).astype(np.float32) / np.float32(scale)
        compare(name, np.array(Image.open(SAMPLES / image).convert("RGB")), truth)


def test_training_settings_are_theirs():
    for name in ENDS:
        given = recipe(name)
        augment = given["data"]["init_args"]["augment"]
        assert augment["crop"] == ([416, 544] if "nyu" in name else [352, 704])
        assert augment["rotation"] == (2.5 if "nyu" in name else 1.0)
        assert given["data"]["init_args"]["loading"]["batch_size"] == 16
        assert given["model"]["training_scoring"] == {"min_depth": 0.001, "max_depth": None, "crop": None}
