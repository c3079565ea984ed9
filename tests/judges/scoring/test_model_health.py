"""The health of models under attack, with closed forms: dead and silent networks, known firing rates, known norms."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from attacks.dlg import DLG
from attacks.settings import DLGSettings
from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.global_models import trained_model_path
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, TrainedModel, load_record
from fl_sim.simulation import run_federation
from fl_sim.specs import InputSpec, ModelSpec, SpikingSpec
from fl_sim.training import capture_gradient, parameters_of
from judges.classifiers.settings import JudgeOptions
from judges.plans.gradient_inversion import Federation, make_plan
from judges.progress import Watch
from judges.runs.identity import Attacked, columns_of
from judges.runs.measures import Health
from judges.runs.rows import Score
from judges.scoring.models.health import Vitals, examine, vitals
from judges.scoring.session import Session
from judges.scoring.truths import Evidence, Victim
from judges.summaries.gradient_inversion import read_summary, summarise, write_summary

SMALL = InputSpec(1, 12, 12, 4)
LABELS = torch.tensor([1, 3])
STEPS = 4
ATTACKED = Attacked(
    dataset="toy",
    model="my_snn",
    family="lenet",
    spiking=True,
    varied={"timesteps": 4},
    init="uniform",
    defence="clip",
    defence_settings={"clipping_norm": 2.0},
)


def spec_of(architecture: str, **spiking: Any) -> ModelSpec:
    neurons = SpikingSpec(timesteps=STEPS, **spiking) if architecture.startswith("spiking") else None
    return ModelSpec(architecture, SMALL, spiking=neurons, hidden=8)


def inputs_of(count: int = 2) -> Tensor:
    return torch.rand(count, *SMALL.frame, generator=torch.Generator().manual_seed(0))


def capture_of(spec: ModelSpec, change: Callable[[str, Tensor], Tensor] = lambda _, value: value) -> CapturedUpdate:
    """Return the update of a client whose model has the parameters of seed 0 as `change` has them."""
    parameters = {name: change(name, value) for name, value in parameters_of(build_model(spec, seed=0)).items()}
    return capture_gradient(spec, parameters, inputs_of(), LABELS)


@pytest.mark.parametrize("architecture", ["lenet", "spiking_lenet", "spiking_mlp"])
def test_a_network_of_zeros_is_dead(architecture: str) -> None:
    """Equal logits give softmax - one-hot, and with weights of 0 nothing of it comes back to the layers before."""
    capture = capture_of(spec_of(architecture), lambda _, value: torch.zeros_like(value))
    found = vitals(capture, inputs_of())
    assert found.dead
    entries = sum(tensor.numel() for tensor in capture.update.values())
    # Sigmoids of 0 are a half and give the head a gradient; neurons that never fire give it none but of its biases.
    told = capture.update["head.weight"].numel() + 4 if architecture == "lenet" else 4
    assert found.zero_gradient == pytest.approx(1 - told / entries)
    # The mean of two examples of classes 1 and 3 is (1/4, -1/4, 1/4, -1/4), of norm a half. In the mean potential of IF
    # neurons over T steps a bias counts (1 + ... + T) / T times.
    gain = 1.0 if architecture == "lenet" else (STEPS + 1) / 2
    features = 12 * 3 * 3 / 4 if architecture == "lenet" else 0.0
    assert found.gradient_norm == pytest.approx(gain * math.sqrt(1 + features) / 2)
    assert set(found.silent.values()) == (set() if architecture == "lenet" else {1.0})


def test_a_threshold_that_nothing_reaches_silences_but_leaves_the_surrogate_gradients() -> None:
    found = vitals(capture_of(spec_of("spiking_lenet", threshold=100.0)), inputs_of())
    assert dict(found.firing_rates) == {"body.1": 0.0, "body.3": 0.0, "body.5": 0.0}
    assert dict(found.silent) == {"body.1": 1.0, "body.3": 1.0, "body.5": 1.0}
    assert not found.dead
    assert examine(ATTACKED, [found], accuracies=[], classes=4).all_silent


def test_known_firing_rates() -> None:
    """A constant current of a half fires an IF neuron of threshold 1 in every second step; of none, never."""

    def steady(name: str, value: Tensor) -> Tensor:
        if value.shape == (8,):
            return torch.tensor([0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
        return torch.zeros_like(value) if name.startswith("body") else value

    found = vitals(capture_of(spec_of("spiking_mlp"), steady), inputs_of())
    assert dict(found.firing_rates) == {"body.1": 2 / 8 / 2}
    assert dict(found.silent) == {"body.1": 6 / 8}
    assert not found.dead


def test_an_ordinary_network_is_alive() -> None:
    plain = vitals(capture_of(spec_of("lenet")), inputs_of())
    assert (plain.firing_rates, plain.silent, plain.dead) == ({}, {}, False)
    spiking = vitals(capture_of(spec_of("spiking_lenet")), inputs_of())
    assert all(0 < rate < 1 for rate in spiking.firing_rates.values())
    assert all(0 <= share < 1 for share in spiking.silent.values())
    assert 0 < spiking.zero_gradient < 1


def test_events_and_other_dtypes_are_read_as_they_are() -> None:
    spec = replace(spec_of("spiking_lenet"), input=replace(SMALL, timesteps=3))
    parameters = {name: value.double() for name, value in parameters_of(build_model(spec, seed=0)).items()}
    frames = inputs_of().round().expand(3, 2, *SMALL.frame)
    capture = capture_gradient(spec, parameters, frames.double(), LABELS)
    assert list(vitals(capture, frames).firing_rates) == ["body.1", "body.3", "body.5"]


def test_the_norm_of_a_delta_is_that_of_the_gradient_it_tells() -> None:
    capture = capture_of(spec_of("lenet"))
    moved = {name: -0.1 * 5 * value for name, value in capture.update.items()}
    delta = replace(capture, update=moved, kind="delta", learning_rate=0.1, local_steps=5)
    norm = vitals(capture, inputs_of()).gradient_norm
    assert vitals(delta, inputs_of()).gradient_norm == pytest.approx(norm)
    unknown = vitals(replace(delta, learning_rate=None), inputs_of())
    assert unknown.gradient_norm is None
    assert examine(ATTACKED, [unknown], accuracies=[], classes=4).gradient_norm is None


def test_a_group_has_the_means_of_its_captures() -> None:
    found = [
        Vitals({"body.1": rate}, {"body.1": 1 - rate}, share, dead, norm)
        for rate, share, dead, norm in [(0.2, 0.5, True, 1.0), (0.4, 1.0, True, 3.0), (0.6, 0.0, False, 8.0)]
    ]
    health = examine(ATTACKED, found, accuracies=[0.5, math.nan, 0.75], classes=4)
    assert (columns_of(health, Attacked), health.group) == (vars(ATTACKED), ATTACKED.group)
    assert (health.captures, health.accuracy, health.chance) == (3, 0.625, 0.25)
    assert health.firing_rates == {"body.1": pytest.approx(0.4)}
    assert health.silent == {"body.1": pytest.approx(0.6)}
    assert health.zero_gradient == 0.5
    assert health.dead == pytest.approx(2 / 3)
    assert health.gradient_norm is not None
    assert (health.gradient_norm.mean, health.gradient_norm.median) == (4.0, 3.0)
    assert not health.all_silent
    assert examine(ATTACKED, found, accuracies=[math.nan], classes=4).accuracy is None
    assert not health.told_labels


def test_labels_that_one_client_told_are_known_to_the_server() -> None:
    capture = capture_of(spec_of("lenet"))
    found = [vitals(one, inputs_of()) for one in (capture, replace(capture, labels=LABELS))]
    assert [one.told_labels for one in found] == [False, True]
    assert examine(ATTACKED, found, accuracies=[], classes=4).told_labels


@dataclass(frozen=True)
class Trained:
    """Two repetitions of a spiking federation: their folder, their plan, and their captures as evidence."""

    folder: Path
    federation: Federation
    evidence: Evidence

    def session(self) -> Session:
        """Return a session without a judge."""
        watch = Watch(Console(file=io.StringIO()))
        return Session("tiny", self.folder, JudgeOptions(name="none"), device="cpu", distances=0, watch=watch)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("session")
    raw = {
        "name": "tiny",
        "dataset": {"name": "digits", "split": "test", "size": 12},
        "model": {"name": "spiking_lenet", "timesteps": [2]},
        "federation": {"clients": 2, "rounds": 2},
        "defence": {"name": "quantise", "bits": [16]},
        "repeats": 2,
        "attack": "dlg",
        "judge": "none",
    }
    (federation,) = make_plan(raw).federations
    captures, victims, models = CaptureStore(folder / "captures"), [], {}
    for repeat in range(2):
        name, config = federation.repetition(repeat)
        run_federation(config, output=folder, federation_id=name)
        victims += [Victim(key.id, key.round, repeat) for key in captures.listed(name)]
        models[name] = trained_model_path(folder / "models", name)
    model = captures.stored(victims[0].id).model
    evidence = Evidence(
        federation.label, federation.attacked, tuple(victims), 7, model, federation.config.dataset, models
    )
    return Trained(folder, federation, evidence)


def test_a_session_examines_evidence_once(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    session, captures = trained.session(), CaptureStore(trained.folder / "captures")
    session.examine(trained.evidence, captures)
    assert not list(session.health)  # nothing is open
    session.open(trained.evidence, complete=True)
    session.examine(trained.evidence, captures)
    monkeypatch.setattr(CaptureStore, "load", None)
    session.examine(trained.evidence, captures)
    (health,) = session.health
    assert columns_of(health, Attacked) == {
        "dataset": "digits",
        "model": "spiking_lenet",
        "family": "lenet",
        "spiking": True,
        "varied": {"timesteps": 2},
        "init": "uniform",
        "defence": "quantise",
        "defence_settings": {"bits": 16},
    }
    assert (health.captures, health.chance) == (8, 0.1)
    accuracies = [load_record(TrainedModel, path).test_accuracy for path in trained.evidence.models.values()]
    assert len(accuracies) == 2
    assert health.accuracy == pytest.approx(sum(accuracies) / 2)
    assert set(health.firing_rates) == set(health.silent) == {"body.1", "body.3", "body.5"}
    assert health.gradient_norm is not None
    assert health.dead == 0.0


def test_a_session_reads_the_truth_of_evidence_once(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    session, evidence = trained.session(), trained.evidence
    fewer = replace(evidence, victims=evidence.victims[:2])
    assert session.open(evidence, complete=True) == list(evidence.victims)
    assert session.open(fewer, complete=False) == list(fewer.victims)
    assert not session.knows(evidence.ids[2])
    monkeypatch.setattr(SealedStore, "load", None)
    assert session.open(fewer, complete=False) == list(fewer.victims)
    with pytest.raises(TypeError):
        session.open(evidence, complete=True)


def test_rows_tell_round_repetition_and_steps_and_how_far_an_answer_moved(trained: Trained) -> None:
    """Two attacks without a step: one beside its own guess, one beside a guess that is half the range away."""
    session, evidence = trained.session(), trained.evidence
    assert session.open(evidence, complete=True) == list(evidence.victims)
    captures = list(CaptureStore(trained.folder / "captures"))
    results = DLG(DLGSettings(iterations=0, guess="uniform")).reconstruct(captures, seed=0)
    guesses = {result.capture_id: result.inputs + 0.5 * index for index, result in enumerate(results[:2])}
    context = replace(session.context(evidence, "cell"), attack="dlg", guess="uniform")
    rows = session.rows(evidence, context, results, guesses=guesses)
    assert [row.moved for row in rows] == [0.0, pytest.approx(0.5), *[None] * 6]
    assert [(row.repeat, row.round) for row in rows] == [(0, 1), (0, 1), (0, 2), (0, 2), (1, 1), (1, 1), (1, 2), (1, 2)]
    assert {(row.timesteps, row.matching_loss == row.first_loss) for row in rows} == {(2, True)}
    assert {row.group for row in rows} == {trained.federation.attacked.group}
    assert {(row.experiment, row.cell, row.seed) for row in rows} == {("tiny", "cell", 7)}


def test_round_and_repetition_are_the_evidences_and_not_read_from_names(trained: Trained) -> None:
    session = trained.session()
    odd = tuple(replace(victim, round=90 + at, repeat=5) for at, victim in enumerate(trained.evidence.victims))
    evidence = replace(trained.evidence, victims=odd)
    session.open(evidence, complete=True)
    captures = [CaptureStore(trained.folder / "captures").load(victim.id) for victim in odd]
    results = DLG(DLGSettings(iterations=0)).reconstruct(captures, seed=0)
    rows = session.rows(evidence, session.context(evidence, "cell"), results)
    assert [(row.round, row.repeat) for row in rows] == [(90 + at, 5) for at in range(8)]


def test_controls_are_told_by_their_kind_and_share_group_and_victim_with_the_attacks(trained: Trained) -> None:
    session, evidence = trained.session(), trained.evidence
    session.open(evidence, complete=True)
    results = DLG(DLGSettings(iterations=0)).reconstruct(list(CaptureStore(trained.folder / "captures")), seed=0)
    attacks = session.rows(evidence, replace(session.context(evidence, "cell"), attack="dlg"), results)
    plain = session.plain_controls(evidence)
    starts = session.no_op(evidence, results, attack="dlg-grey", guess="dlg-grey normal", name="no-op (own)")
    where = evidence.name
    assert {(row.control, row.attack, row.guess, row.cell) for row in [*plain, *starts]} == {
        ("black", "", "", f"{where}/control: black"),
        ("grey", "", "", f"{where}/control: grey"),
        ("mean image", "", "", f"{where}/control: mean image"),
        ("class mean", "", "", f"{where}/control: class mean"),
        ("no-op", "dlg-grey", "dlg-grey normal", f"{where}/control: no-op (own)"),
    }
    assert {row.victim for row in plain} == {row.victim for row in starts} == {row.victim for row in attacks}
    assert not any(row.is_control for row in attacks)


def test_a_summary_keeps_the_health_of_its_groups_and_reads_without(
    trained: Trained, tmp_path: Path, row: Callable[..., Score]
) -> None:
    session = trained.session()
    session.open(trained.evidence, complete=True)
    session.examine(trained.evidence, CaptureStore(trained.folder / "captures"))
    (health,) = session.health
    other: Health = replace(health, varied={"timesteps": 3})
    summary = summarise([row(**vars(trained.federation.attacked))], health=[other, health])
    assert summary.health == (health,)
    path = write_summary(summary, tmp_path / "summary.json")
    assert read_summary(path) == summary
    told = json.loads(path.read_text())
    del told["health"]
    path.write_text(json.dumps(told))
    assert read_summary(path) == replace(summary, health=())
