"""`trainer.precision`: depth stays float32, and a processor without bfloat16 is reported."""

import warnings

import pytest
import torch

from depthclip.head import Bins, DepthHead, Prompts
from depthclip.trainer_checks import check_trainer


@pytest.mark.parametrize(("name", "readout"), [("small-resnet", "attention_pool"), ("small-vit", "maskclip")])
def test_bfloat16_changes_the_features_little_and_the_depth_is_float32(clip, name, readout):
    encoder = clip(name, readout)
    head = DepthHead(Prompts("five"), Bins([1, 2, 3, 4, 5]), logit_scale=10)
    image = torch.rand(2, 3, 64, 96)
    exact = encoder.encode_image(image)
    with torch.autocast("cpu", torch.bfloat16):
        head.prepare(encoder.text)
        features = encoder.encode_image(image)
        outputs = head(features, encoder.text)
    similarity = torch.cosine_similarity(features.dense.float(), exact.dense)
    assert similarity.min() > 0.999
    in_float32 = Prompts("five")
    in_float32.prepare(clip(name, readout).text)
    assert torch.equal(head.prompts(encoder.text), in_float32(encoder.text))
    assert outputs.depth.dtype == outputs.logits.dtype == torch.float32


CAPABILITIES = {"avx2": True, "avx512_bf16": False, "amx_bf16": False}


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_a_processor_without_bfloat16_causes_a_warning(monkeypatch, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: CAPABILITIES, raising=False)
    with pytest.warns(UserWarning, match=f"^trainer.precision {precision}: .* no instructions .*; use 32-true$"):
        check_trainer({"accelerator": "cpu", "precision": precision})


@pytest.mark.parametrize("known", [CAPABILITIES | {"avx512_bf16": True}, {"bf16": True}, {}])
def test_a_processor_with_bfloat16_or_of_an_unknown_kind_causes_none(monkeypatch, known):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_trainer({"accelerator": "cpu", "precision": "bf16-mixed"})
