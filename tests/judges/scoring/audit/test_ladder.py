"""The rungs of the ladder: what each adds, and that the updates are those of plain torch."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fl_sim.client_training import ClientTraining
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SealedBatch
from fl_sim.training import local_sgd, parameters_of
from judges.scoring.audit.ladder import Rung, ladder_of

SPEC = ModelSpec("mlp", InputSpec(1, 4, 4, 3), hidden=5)
RATE = 0.2


def clients(count: int, *, steps: int, size: int) -> tuple[list[CapturedUpdate], dict[str, SealedBatch]]:
    """Return clients that take SGD steps on batches of their own, and their examples."""
    captures, truths = [], {}
    for number in range(count):
        generator = torch.Generator().manual_seed(number)
        inputs = torch.rand(steps * size, 1, 4, 4, generator=generator)
        labels = torch.randint(3, (steps * size,), generator=generator)
        module = build_model(SPEC, seed=50)
        sent = parameters_of(module)
        local_sgd(
            module, list(zip(torch.split(inputs, size), torch.split(labels, size), strict=True)), learning_rate=RATE
        )
        update = {name: value - sent[name] for name, value in parameters_of(module).items()}
        name = f"mine/r001-c{number:03d}"
        captures.append(
            CapturedUpdate(
                name, 1, number, SPEC, sent, update, "delta", learning_rate=RATE, local_steps=steps, batch_size=size,
                num_examples=steps * size, training=ClientTraining(clip_norm=9.0),
            )
        )  # fmt: skip
        truths[name] = SealedBatch(name, inputs, labels, defence="noise")
    return captures, truths


def climb(count: int, *, steps: int, size: int, examples: int, mismatch: float = 0.0) -> list[Rung]:
    captures, truths = clients(count, steps=steps, size=size)
    return ladder_of(captures, truths, dict.fromkeys(truths, mismatch), examples=examples, seed=7).rungs


def test_each_rung_adds_one_thing() -> None:
    found = climb(3, steps=2, size=4, examples=10, mismatch=0.5)
    assert [rung.name for rung in found] == ["one example", "batch of 4", "2 steps", "weights as sent", "as captured"]
    assert [len(rung.captures) for rung in found] == [10, 4, 2, 2, 2]
    assert [len(rung.truths[0].labels) for rung in found] == [1, 4, 8, 8, 8]
    one, batch, steps, sent, captured = (rung.captures[0] for rung in found)
    assert [one.kind, batch.kind, steps.kind, sent.kind] == ["gradient", "gradient", "delta", "delta"]
    assert (one.num_examples, batch.num_examples, steps.num_examples) == (1, 4, 8)
    assert [capture.training.clip_norm for capture in (one, batch, steps, sent, captured)] == [0.0] * 4 + [9.0]
    weights = [next(iter(capture.parameters.values())) for capture in (one, batch, steps, sent, captured)]
    same = [torch.equal(left, right) for left, right in itertools.pairwise(weights)]
    assert same == [True, True, False, True]


def test_what_changes_nothing_is_no_rung() -> None:
    assert [rung.name for rung in climb(2, steps=1, size=1, examples=2)] == ["one example", "weights as sent"]
    assert [rung.name for rung in climb(2, steps=3, size=1, examples=9)] == [
        "one example",
        "3 steps",
        "weights as sent",
    ]
    assert climb(2, steps=1, size=1, examples=0) == []


def test_updates_are_those_of_the_client_itself() -> None:
    captures, truths = clients(1, steps=2, size=4)
    plain = [replace(capture, training=ClientTraining()) for capture in captures]
    found = {rung.name: rung for rung in ladder_of(plain, truths, {plain[0].id: 1.0}, examples=8, seed=7).rungs}
    ours, theirs = found["weights as sent"].captures[0].update, captures[0].update
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)
    first = found["batch of 4"]
    expected = _gradient(first.captures[0], truths[captures[0].id])
    assert all(torch.allclose(first.captures[0].update[name], expected[name], atol=1e-6) for name in expected)


def _gradient(capture: CapturedUpdate, truth: SealedBatch) -> dict[str, Tensor]:
    """Return the gradient of the first four examples by torch's own functions."""
    module = build_model(SPEC)
    module.load_state_dict(capture.parameters)
    loss = torch.nn.functional.cross_entropy(module(truth.inputs[:4]), truth.labels[:4])
    names, values = zip(*module.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, values), strict=True))


def test_a_model_that_fails_on_one_example_lacks_that_rung(monkeypatch: pytest.MonkeyPatch) -> None:
    from fl_sim.models import MODELS, ModelEntry

    monkeypatch.setitem(MODELS, "norms", ModelEntry(f"{__name__}:norms", spiking=False, summary="normalises"))
    captures, truths = clients(1, steps=2, size=4)
    module = norms(SPEC)
    sent = {name: value.clone() for name, value in module.state_dict().items()}
    spec = ModelSpec("norms", SPEC.input)
    capture = replace(captures[0], model=spec, parameters=sent, update=sent, training=ClientTraining())
    found = ladder_of([capture], truths, {}, examples=8, seed=7).rungs
    assert [rung.name for rung in found] == ["batch of 4", "2 steps", "weights as sent"]


def test_a_training_that_runs_away_is_no_rung() -> None:
    """Its learning rate suits the model that was sent, not an untrained one: nothing could be told from it."""
    captures, truths = clients(1, steps=2, size=4)
    wild = [replace(captures[0], learning_rate=1e3)]
    ladder = ladder_of(wild, truths, {}, examples=8, seed=7)
    assert [rung.name for rung in ladder.rungs] == ["one example", "batch of 4", "2 steps and weights as sent"]
    assert len(ladder.remarks) == 1
    assert ladder.remarks[0].startswith("the ladder has no rung '2 steps' alone: there the clients' own training runs")
    again = ladder_of(wild, truths, {wild[0].id: 1.0}, examples=8, seed=7)
    assert [rung.name for rung in again.rungs][2:] == ["2 steps and weights as sent and as captured"]
    assert ladder_of(captures, truths, {}, examples=8, seed=7).remarks == []


def test_a_model_of_somebody_else_starts_as_it_is_built() -> None:
    """A capture does not tell how its model was initialised; U(-0.5, 0.5) is a habit of ours."""
    captures, truths = clients(1, steps=1, size=1)
    drawn, built = (
        ladder_of(captures, truths, {}, examples=1, seed=7, as_built=one).rungs[0].captures[0].parameters
        for one in (False, True)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = parameters_of(build_model(SPEC, seed=None))
    assert all(torch.equal(built[name], plain[name]) for name in plain)
    expected = parameters_of(build_model(SPEC, seed=7))
    assert all(torch.equal(drawn[name], expected[name]) for name in plain)
    assert max(value.abs().max() for value in drawn.values()) > 0.45


def norms(_spec: ModelSpec) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(16, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 3)
    )
