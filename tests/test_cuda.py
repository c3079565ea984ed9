"""The same work on a GPU: on a pretended one everywhere, and on a real one where torch finds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from attacks import ATTACKS, MODEL_INVERSIONS, build_attack, build_inversion
from attacks.contracts import Reconstruction, UsesAuxiliary
from attacks.testing.victims import auxiliary_for, trained
from fl_sim.datasets import load_dataset
from fl_sim.records import InputSpec, ModelSpec, SpikingSpec
from judges.bench.execution import run_plan
from judges.classifiers import JudgeOptions, get_judge
from judges.plans.gradient_inversion import make_plan
from judges.progress import Watch
from judges.runs.rows import read_scores
from tests import zoo
from tests.attacks.helpers import LENET, SPIKING_LENET, captures_of, truth
from tests.pretend_cuda import pretended_cuda

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")

SHORT = {"iterations": 1, "steps": 2, "rounds": 1, "draws": 16, "prior_count": 16, "adversary": "A"}
"""Settings of all attacks that make them short."""

MLP = ModelSpec("mlp", InputSpec(1, 8, 8, 4), hidden=8)
SPIKING_MLP = ModelSpec("spiking_mlp", InputSpec(1, 8, 8, 4), spiking=SpikingSpec(timesteps=5), hidden=8)


def answers(name: str, captures: Any, device: str, **settings: Any) -> list[Reconstruction]:
    """Return what a short attack answers."""
    entry = ATTACKS[name]
    chosen = {key: value for key, value in {**SHORT, **settings}.items() if key in entry.settings.model_fields}
    attack = build_attack(name, chosen)
    if entry.needs_auxiliary and isinstance(attack, UsesAuxiliary):
        attack = attack.informed(auxiliary_for(captures[0].model.input))
    return attack.reconstruct(captures, seed=0, device=device)


def test_the_pretended_device_refuses_what_cuda_refuses() -> None:
    with pretended_cuda() as device:
        there = torch.ones(3, device=device)
        assert there.device == (there * 2.0).new_zeros(2).device == device
        with pytest.raises(RuntimeError, match="aten::add: expected all tensors to be on the same device"):
            there + torch.ones(3)
        with pytest.raises(TypeError, match="can't convert cuda"):
            there.numpy()
        assert torch.equal(there.cpu() + torch.ones(3), torch.full((3,), 2.0))


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("model", [LENET, SPIKING_LENET], ids=["lenet", "spiking_lenet"])
def test_an_attack_mixes_no_devices(name: str, model: ModelSpec) -> None:
    captures = captures_of(model, *truth(2))
    with pretended_cuda():
        there = answers(name, captures, "cuda")
    for cpu, gpu in zip(answers(name, captures, "cpu"), there, strict=True):
        assert torch.equal(cpu.inputs, gpu.inputs)


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("jelly_plif", "inverting_gradients"),
        ("batch_norm", "dlg"),
        ("lstm_words", "dlg"),
        ("mse_of_classes", "idlg"),
        ("frozen_layers", "inverting_gradients"),
    ],
)
def test_a_replayed_network_mixes_no_devices(network: str, name: str) -> None:
    with zoo.in_table(zoo.ZOO[network]):
        capture, _, _ = zoo.capture_of(zoo.ZOO[network], seed=0)
        with pretended_cuda():
            (there,) = answers(name, [capture], "cuda")
        assert torch.equal(answers(name, [capture], "cpu")[0].inputs, there.inputs)


@pytest.mark.parametrize("name", MODEL_INVERSIONS)
def test_a_model_inversion_mixes_no_devices(name: str) -> None:
    target = trained(SPIKING_MLP if MODEL_INVERSIONS[name].spiking else MLP)
    attack = build_inversion(name, {"iterations": 3})
    with pretended_cuda():
        there = attack.invert(target, (0, 1), seed=0, device="cuda")
    assert torch.equal(attack.invert(target, (0, 1), seed=0).inputs, there.inputs)


def test_a_judge_mixes_no_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path))
    digits, options = load_dataset("digits"), JudgeOptions(max_epochs=1, max_examples=100)
    images, _ = digits.test.batch(torch.arange(4))
    with pretended_cuda():
        there = get_judge(options, digits, device="cuda").log_probabilities(images)
    assert torch.equal(get_judge(options, digits).log_probabilities(images), there)


@gpu
@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("model", [LENET, SPIKING_LENET], ids=["lenet", "spiking_lenet"])
def test_an_attack_answers_as_on_the_cpu(name: str, model: ModelSpec) -> None:
    captures = captures_of(model, *truth(3))
    here, there = (answers(name, captures, device, precision="float64") for device in ("cpu", "cuda"))
    for cpu, gpu in zip(here, there, strict=True):
        assert gpu.inputs.device.type == "cpu"
        torch.testing.assert_close(gpu.inputs, cpu.inputs, rtol=1e-4, atol=1e-5)


@gpu
def test_a_whole_experiment_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path / "cache"))
    raw = {"name": "gpu", "device": "cuda", "attack": {"name": "idlg", "iterations": 2}, "judge": {"max_epochs": 1}}
    page = run_plan(make_plan(raw), tmp_path / "run", Watch())
    assert {row.judge_correct is None for row in read_scores(page.parent / "scores.csv")} == {False}
