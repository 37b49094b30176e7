"""`compile`: the same features at any size, and a warning where torch.compile fails."""

import warnings

import pytest
import torch

from depthclip.encoder import FrozenCLIP
from depthclip.encoder.interfaces import Needs
from depthclip.errors import InputError
from tests.conftest import randomize_norms

compiler = torch.compile


def pair(name, readout):
    """Return an encoder that compiles and the same one that does not."""
    encoders = []
    for compiled in (True, False):
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            encoders.append(FrozenCLIP(name, None, readout, compile=compiled))
        randomize_norms(encoders[-1].model)
    return encoders


def test_a_compiled_tower_has_the_same_features_at_any_size_and_the_same_state(small, monkeypatch):
    """The backend of Dynamo alone needs no C++ compiler."""
    calls = []

    def compile_without_code(function):
        calls.append(function)
        return compiler(function, backend="eager")

    monkeypatch.setattr(torch, "compile", compile_without_code)
    compiled, plain = pair("small-vit", "tokens")
    keys = compiled.state_dict().keys()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error")
        for size in ((64, 64), (96, 128), (70, 100)):
            image = torch.rand(2, 3, *size)
            expected = plain.encode_image(image, Needs(pooled=True))
            actual = compiled.encode_image(image, Needs(pooled=True))
            torch.testing.assert_close(actual.dense, expected.dense, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(actual.pooled, expected.pooled, atol=1e-5, rtol=1e-5)
    assert len(calls) == 1
    assert keys == compiled.state_dict().keys() == plain.state_dict().keys()


def failing(function):
    """Return a function that fails at its first call, as torch.compile does without a C++ compiler."""

    def call(*arguments):
        raise RuntimeError("Failed to find C++ compiler.\nPlease specify one via CXX")

    return call


def test_without_a_compiler_a_warning_is_shown_once_and_the_features_are_the_same(small, monkeypatch):
    monkeypatch.setattr(torch, "compile", failing)
    compiled, plain = pair("small-vit", "tokens")
    image = torch.rand(1, 3, 64, 64)
    with pytest.warns(UserWarning, match=r"^compile: .* \(Failed to find C\+\+ compiler.\), .*; set compile to false"):
        first = compiled.encode_image(image).dense
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = compiled.encode_image(image).dense
    assert torch.equal(first, plain.encode_image(image).dense)
    assert torch.equal(first, second)


def test_an_error_of_the_tower_is_not_an_error_of_the_compiler(small, monkeypatch):
    monkeypatch.setattr(torch, "compile", failing)
    compiled, _ = pair("small-vit", "tokens")
    with pytest.raises(InputError, match="blocks 0 to 1, not 5"):
        compiled.encode_image(torch.rand(1, 3, 64, 64), Needs(layers=(5,)))
