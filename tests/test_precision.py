"""`trainer.precision`: depth stays float32, and a processor without bfloat16 is reported."""

import re
import warnings

import pytest
import torch
from pytorch_lightning import Trainer

from depthclip import DepthCLIP
from depthclip.data import Rooms
from depthclip.errors import InputError
from depthclip.evaluation import NormalErrors
from depthclip.evaluation.baselines import Baseline
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


class NearlyTrue(Baseline):
    """The ground truth, with all lengths greater by 1e-4, by a product of matrices."""

    name = "nearly true"

    def predict(self, item):
        return item.target @ torch.eye(item.target.shape[1]) * 1.0001


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.filterwarnings("ignore:.*no instructions for bfloat16", "ignore:.*does not have many workers")
def test_scoring_is_in_float32_under_any_precision(clip, precision):
    head = DepthHead(Prompts("five"), Bins([1, 2, 3, 4, 5]))
    model = DepthCLIP(clip("small-vit", "maskclip"), head, errors=[NormalErrors()], baselines=[NearlyTrue()], panels=0)
    trainer = Trainer(accelerator="cpu", precision=precision, logger=False, enable_progress_bar=False)
    trainer.test(model, Rooms(train_size=2, test_size=2), verbose=False)
    figures = model.outcome.result.figures()["nearly true"]
    assert figures["abs_rel"] == pytest.approx(1e-4, rel=1e-2)
    assert figures["normals mean deg"] < 0.002  # a factor turns no surface; bfloat16 gives a quarter of a degree


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


@pytest.mark.parametrize("precision", ["64-true", 64, "16-true", "transformer-engine"])
def test_a_precision_that_is_not_supported_is_refused_with_the_reason(precision):
    expected = (
        f"trainer.precision {precision!r} is not supported, because depth is computed in 32 bits; choose one of "
        "32-true, 32, 16-mixed, bf16-mixed, 16, bf16"
    )
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        check_trainer({"accelerator": "cpu", "precision": precision})
