"""The ensemble: who takes part, and how an answer is chosen without the truth."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from spikingjelly.activation_based import layer
from torch import nn

from attacks import build_attack, ensemble
from attacks.contracts import Auxiliary, Reconstruction
from attacks.ensemble import MEMBERS, Ensemble, Member, preference
from attacks.settings import EnsembleSettings
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS, ModelEntry, build_model
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SpikingSpec, load_record, save_record
from fl_sim.training import capture_gradient, parameters_of
from tests.zoo import jelly

SPEC = InputSpec(channels=1, height=16, width=16, classes=10)
FEW = (
    Member("idlg", {"quick": {"iterations": 1}}),
    Member("inverting_gradients", {"quick": {"steps": 2}}),
    Member("frozen_delta", {"quick": {"steps": 3}}),
    Member("feature_kalman", {"quick": {"prior": "strokes", "prior_count": 50, "rounds": 1, "draws": 40}}),
    Member("feature_kalman", {"quick": {"prior": "auxiliary", "rounds": 1, "draws": 40}}, auxiliary=True),
)


def captured(name: str, init: str, count: int = 1) -> CapturedUpdate:
    spiking = SpikingSpec(timesteps=4) if name == "spiking_lenet" else None
    model = ModelSpec(name, SPEC, spiking=spiking, init=init)
    pictures = torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    capture = capture_gradient(model, parameters_of(build_model(model, seed=1)), pictures, torch.arange(count))
    return dataclasses.replace(capture, id="own/r001-c000")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble, "MEMBERS", FEW)


@pytest.mark.parametrize(("letter", "most"), [("A", 1), ("B", 4), ("auto", 4), ("D", 5)])
def test_an_adversary_has_the_attacks_up_to_its_letter(few: None, letter: str, most: int) -> None:
    auxiliary = Auxiliary("own", torch.rand(20, 1, 16, 16), torch.zeros(20, dtype=torch.int64))
    attack = Ensemble(EnsembleSettings(adversary=letter))  # type: ignore[arg-type]
    attack = attack.informed(auxiliary) if letter == "D" else attack
    assert [member.name for member in attack._members()] == [member.name for member in FEW[:most]]


def test_letter_d_needs_auxiliary_data() -> None:
    with pytest.raises(ConfigError, match=r"attack.adversary: 'D' needs auxiliary data"):
        Ensemble(EnsembleSettings(adversary="D")).reconstruct([captured("lenet", "torch")], seed=0)


def test_a_network_in_spikingjellys_multi_step_mode_is_attacked_by_what_does_not_fold_it(
    few: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def multi_step(spec: ModelSpec) -> nn.Module:
        convolution = layer.Conv2d(1, 4, 5, stride=2, padding=2)
        return jelly.Repeated(
            nn.Sequential(convolution, jelly.leaky(), layer.Flatten(), layer.Linear(4 * 8 * 8, spec.input.classes))
        )

    monkeypatch.setitem(MODELS, "jelly", ModelEntry(multi_step, spiking=True, summary="in multi-step mode"))
    model = ModelSpec("jelly", SPEC, spiking=SpikingSpec(timesteps=4), init="torch")
    pictures = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    capture = capture_gradient(model, parameters_of(build_model(model, seed=1)), pictures, torch.tensor([3]))
    (answer,) = Ensemble().reconstruct([dataclasses.replace(capture, id="own/r001-c000")], seed=0)
    assert answer.labels.tolist() == [3]
    assert answer.engine.partition(":")[0] in {"idlg", "inverting_gradients"}
    assert answer.refused is not None
    assert set(answer.refused) >= {"frozen_delta", "feature_kalman"}
    assert "a model that folds over victims (own/r001-c000: " in answer.refused["frozen_delta"]
    assert load_record(Reconstruction, save_record(answer, tmp_path / "answer.safetensors")).refused == answer.refused
    for member in ("frozen_delta", "feature_kalman"):
        with pytest.raises(ConfigError, match=r"fold"):
            build_attack(member).reconstruct([capture], seed=0)


def test_members_that_do_not_take_a_victim_are_passed_over(few: None) -> None:
    (answer,) = Ensemble().reconstruct([captured("lenet", "uniform", count=2)], seed=0)
    assert answer.attack == "ensemble"
    assert answer.labels.tolist() == [0, 1]
    assert answer.engine.partition(":")[0] in {"idlg", "inverting_gradients", "frozen_delta"}


def test_the_nearest_update_wins_for_an_ann_and_the_counts_are_of_all(few: None) -> None:
    (answer,) = Ensemble().reconstruct([captured("lenet", "uniform")], seed=0)
    assert answer.gradient_evaluations > 3 + 4 + 50
    assert answer.settings == EnsembleSettings().model_dump()


def test_what_the_update_tells_decides_for_a_spiking_network() -> None:
    assert preference(captured("lenet", "uniform")) == ()
    assert preference(captured("spiking_lenet", "torch"))[0] == "frozen_delta B"
    assert preference(captured("spiking_lenet", "uniform"))[0] == "feature_kalman D"
    assert preference(captured("spiking_lenet", "uniform", count=2))[0] == "frozen_delta B"


def test_a_chosen_answer_is_that_of_its_member(few: None) -> None:
    (answer,) = Ensemble().reconstruct([captured("spiking_lenet", "uniform")], seed=0)
    assert answer.engine == "feature_kalman: forward passes only"


def test_a_spiking_network_is_spared_no_member_if_no_other_takes_it() -> None:
    capture = captured("spiking_lenet", "torch")
    (alone,) = Ensemble(EnsembleSettings(adversary="A")).reconstruct([capture], seed=0)
    assert alone.engine == "idlg: folded"
    search = next(member for member in MEMBERS if member.name == "idlg")
    assert not search.takes(capture, "quick")
    assert search.takes(capture, "standard")


def test_where_the_first_layer_gives_the_input_nothing_is_searched() -> None:
    model = ModelSpec("mlp", SPEC, init="torch", hidden=20)
    picture = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    capture = capture_gradient(model, parameters_of(build_model(model, seed=1)), picture, torch.tensor([3]))
    (answer,) = Ensemble(EnsembleSettings(adversary="A")).reconstruct([capture], seed=0)
    assert (answer.engine.partition(":")[0], answer.labels.tolist()) == ("exact", [3])
    assert torch.allclose(answer.inputs, picture, atol=1e-4)
    assert answer.gradient_evaluations <= 1


def test_a_match_ends_the_search(few: None) -> None:
    (alone,) = Ensemble(EnsembleSettings(adversary="A")).reconstruct([captured("lenet", "uniform")], seed=0)
    matched = {"idlg A": (alone, 1e-4)}
    assert ensemble._is_matched(matched)
    assert not ensemble._is_matched({"idlg A": (alone, 1e-2)})


def test_every_effort_has_members_with_valid_settings() -> None:
    for effort in ("quick", "standard", "thorough"):
        attack = Ensemble(EnsembleSettings(effort=effort))
        assert len([attack._built(member) for member in MEMBERS if effort in member.efforts]) >= 5
