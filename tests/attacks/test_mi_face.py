"""MI-Face: against a written-out loop over one class, and its rules for ending."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from attacks.contracts import StopReason
from attacks.inversion_settings import MIFaceSettings
from attacks.mi_face import Descent, MIFace
from attacks.posterior import Target
from fl_sim.errors import ConfigError
from tests.attacks.inversion_helpers import MLP, SPIKING_MLP, trained, weights

MODEL = trained(MLP, scale=6.0)


def plain(label: int, settings: MIFaceSettings) -> tuple[Tensor, int, StopReason]:
    """Return image, iterations and how it ended, one class at a time, the derivative written out."""
    first, first_bias, second, second_bias = weights(MODEL)
    x, summed, previous, idle = torch.zeros(20).double(), torch.zeros(20).double(), float("inf"), 0
    for iteration in range(1, settings.iterations + 1):
        hidden = torch.sigmoid(first @ x + first_bias)
        belief = torch.softmax(second @ hidden + second_bias, 0)
        cost = float(1.0 - belief[label])
        toward = belief[label] * (belief - torch.eye(4).double()[label])  # d cost / d logits
        slope = first.T @ ((second.T @ toward) * hidden * (1.0 - hidden))
        if settings.steps == "accumulating":
            summed = summed + slope
            x = x - settings.learning_rate * summed
        else:
            x = (x - settings.learning_rate * slope).clamp(0.0, 1.0)
        idle = idle + 1 if cost >= previous else 0
        previous = cost
        if cost <= settings.tolerance:
            return x, iteration, StopReason.CONVERGED
        if idle >= settings.patience:
            return x, iteration, StopReason.STALLED
    return x, settings.iterations, StopReason.BUDGET


@pytest.mark.parametrize("steps", ["projected", "accumulating"])
@pytest.mark.parametrize("learning_rate", [0.1, 2.0])
def test_the_batch_follows_a_written_out_loop_over_one_class(steps: Any, learning_rate: float) -> None:
    settings = MIFaceSettings(
        steps=steps, learning_rate=learning_rate, iterations=400, patience=5, tolerance=0.08, precision="float64"
    )
    result = MIFace(settings).invert(MODEL, [2, 0, 3, 1], seed=0)
    for row, label in enumerate([2, 0, 3, 1]):
        x, iterations, reason = plain(label, settings)
        assert result.stop_reasons[row] is reason
        # Where a descent stalls, rounding decides whether a cost is smaller than the one before.
        assert reason is StopReason.STALLED or int(result.iterations[row]) == iterations
        torch.testing.assert_close(result.inputs[row].flatten(), x, rtol=1e-6, atol=1e-8)
    assert len(set(result.stop_reasons)) > 1
    assert len(set(result.iterations.tolist())) > 1


@pytest.mark.parametrize("steps", ["projected", "accumulating"])
def test_a_batch_ends_where_each_class_would_alone(steps: Any) -> None:
    attack = MIFace(MIFaceSettings(steps=steps, iterations=150, tolerance=0.08, precision="float64"))
    together = attack.invert(MODEL, range(4), seed=0)
    for label in range(4):
        alone = attack.invert(MODEL, [label], seed=0)
        torch.testing.assert_close(together.inputs[label], alone.inputs[0], rtol=1e-6, atol=1e-8)
        assert together.iterations[label] == alone.iterations[0]
        assert together.stop_reasons[label] is alone.stop_reasons[0]


class Scripted(Descent):
    """A descent whose costs are given and whose gradient is one everywhere."""

    def __init__(self, costs: list[float], settings: MIFaceSettings) -> None:
        target = Target(MODEL, spiking=False, attack="test", device="cpu", precision="float64")
        super().__init__(target, torch.tensor([0]), settings)
        self._script = iter(costs)

    def _evaluate(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - as its parent
        return torch.tensor([next(self._script)]).double(), -torch.ones_like(images)


def steps_until_the_end(costs: list[float], **settings: Any) -> tuple[int, StopReason, float]:
    descent = Scripted(costs, MIFaceSettings(**settings))
    while len(descent.rows) > 0:
        descent.step()
    return int(descent.iterations[0]), descent.reasons[0], float(descent.images.mean())


def test_patience_counts_from_the_iteration_before_and_not_from_the_best() -> None:
    # 0.5 is never undercut, but each decrease starts the count anew.
    costs = [0.5, 0.9, 0.8, 0.7, 0.8, 0.75, 0.75, 0.8, 0.8, 0.1]
    assert steps_until_the_end(costs, patience=3)[:2] == (9, StopReason.STALLED)
    assert steps_until_the_end(costs, patience=2)[:2] == (7 + 1, StopReason.STALLED)


def test_the_tolerance_is_met_by_the_cost_before_the_update_and_the_update_is_kept() -> None:
    iterations, reason, mean = steps_until_the_end([0.5, 0.011, 0.01, 0.0])
    assert (iterations, reason) == (3, StopReason.CONVERGED)
    assert mean == pytest.approx(0.3)  # three steps of a tenth


def test_gradients_that_are_never_cleared_add_up() -> None:
    # Steps of 1, 2 and 3 tenths; nothing is clamped.
    assert steps_until_the_end([0.5, 0.4, 0.3, 0.0], steps="accumulating")[2] == pytest.approx(0.1 * (1 + 2 + 3 + 4))
    assert steps_until_the_end([0.5, *[0.4 - 0.01 * k for k in range(30)], 0.0])[2] == 1.0


def test_a_cost_that_is_no_number_ends_as_diverged() -> None:
    assert steps_until_the_end([0.5, float("nan")])[:2] == (2, StopReason.DIVERGED)


def test_progress_names_the_classes_that_are_finished() -> None:
    told: list[tuple[int, int]] = []
    settings = MIFaceSettings(iterations=400, tolerance=0.08)
    MIFace(settings).invert(MODEL, range(4), seed=0, progress=lambda done, of: told.append((done, of)))
    assert told[-1] == (4, 4)
    assert told == sorted(set(told))


def test_presets_are_the_authors_two_forms() -> None:
    assert MIFaceSettings() == MIFaceSettings(preset="mnist")
    assert MIFaceSettings().steps == "projected"
    assert MIFaceSettings(preset="att_faces").steps == "accumulating"
    assert MIFaceSettings(preset="att_faces", steps="projected").steps == "projected"
    with pytest.raises(ValueError, match="Did you mean 'mnist'"):
        MIFaceSettings(preset="mnits")


def test_a_spiking_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'mi_face': it inverts ANNs.*choose brainleaks_v1 or brainleaks_v2"):
        MIFace().invert(trained(SPIKING_MLP), [0], seed=0)


def test_the_pictures_of_a_search_lead_to_its_answer_and_change_nothing() -> None:
    settings = (MIFaceSettings(iterations=40, tolerance=0.5, snapshots=count) for count in (0, 4))
    bare, filmed = (MIFace(own).invert(MODEL, range(4), seed=0) for own in settings)
    assert (bare.snapshots, bare.snapshot_steps) == (None, None)
    assert bare.inputs.equal(filmed.inputs)
    assert filmed.snapshots is not None
    assert filmed.snapshot_steps is not None
    for row, end in enumerate(filmed.iterations.tolist()):
        steps = [step for step in filmed.snapshot_steps[row].tolist() if step >= 0]
        assert (steps[0], steps[-1], steps) == (0, end, sorted(set(steps)))
        assert filmed.snapshots[row, 0].equal(torch.zeros_like(bare.inputs[row]))
        assert filmed.snapshots[row, len(steps) - 1].equal(bare.inputs[row])
        assert bool(filmed.snapshots[row, len(steps) :].isnan().all())
        stopped = MIFace(MIFaceSettings(iterations=steps[1], tolerance=0.0)).invert(MODEL, [row], seed=0)
        torch.testing.assert_close(filmed.snapshots[row, 1], stopped.inputs[0])
