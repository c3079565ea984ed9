"""Errors in a model of the user's own come with the user's own line, in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from fl_sim.errors import ConfigError, own_line
from fl_sim.models import MODELS, ModelEntry, build_model
from fl_sim.records import InputSpec, ModelSpec

SPEC = ModelSpec("own", InputSpec(1, 8, 8, 4), "torch")
SOURCE = """
from torch import nn


def build(spec):
    return Net()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Linear(3, "four")
"""


def build(builder: Callable[[ModelSpec], nn.Module], monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    monkeypatch.setitem(MODELS, "own", ModelEntry(builder, spiking=False, summary="my own"))
    return build_model(SPEC, seed=0)


def fails_with(builder: Callable[[ModelSpec], nn.Module], monkeypatch: pytest.MonkeyPatch) -> str:
    with pytest.raises(ConfigError) as caught:
        build(builder, monkeypatch)
    return str(caught.value)


def test_a_key_error_of_a_builder_is_no_riddle(monkeypatch: pytest.MonkeyPatch) -> None:
    layers: dict[str, nn.Module] = {}
    text = fails_with(lambda _: layers["weight"], monkeypatch)
    assert text.startswith("model 'own': its own code fails when it is built: KeyError: 'weight' (")
    assert "test_own_code.py, line" in text
    assert text.endswith("""text = fails_with(lambda _: layers["weight"], monkeypatch))""")


def test_the_line_is_the_users_and_not_that_of_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch raises, and the last line of the user's own is named, by its path from here."""
    (tmp_path / "net_of_mine.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    import net_of_mine  # type: ignore[import-not-found]

    text = fails_with(net_of_mine.build, monkeypatch)
    sys.modules.pop("net_of_mine")
    assert text.endswith(""" (net_of_mine.py, line 12: self.layers = nn.Linear(3, "four"))""")
    assert "TypeError" in text


def test_an_installed_package_is_named_where_nothing_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "installed_net.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(folder)
    import installed_net  # type: ignore[import-not-found]

    MODELS["own"] = ModelEntry("installed_net:build", spiking=False, summary="of a package")
    try:
        with pytest.raises(ConfigError, match=r"installed_net\.py, line 12"):
            build_model(SPEC)
        assert own_line(ValueError("raised nowhere")) == ""
    finally:
        del MODELS["own"]
        sys.modules.pop(installed_net.__name__)


def test_a_builder_must_build(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "must return a torch module, not 7" in fails_with(lambda _: 7, monkeypatch)  # type: ignore[arg-type,return-value]


def test_a_lazy_layer_is_told_before_it_has_a_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    def lazy(_: ModelSpec) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(4))

    def ready(spec: ModelSpec) -> nn.Module:
        model = lazy(spec)
        with torch.no_grad():
            model(torch.zeros(1, *spec.input.frame))
        return model

    assert "1.weight has no shape before a first forward pass" in fails_with(lazy, monkeypatch)
    assert build(ready, monkeypatch).get_parameter("1.weight").shape == (4, 64)


def test_a_lack_of_memory_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def huge(_: ModelSpec) -> nn.Module:
        raise MemoryError

    with pytest.raises(MemoryError):
        build(huge, monkeypatch)
