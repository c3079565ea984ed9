"""Every network of the zoo can be attacked: an engine takes it, and the attack's loss is about 0 at the truth alone."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from typing import Literal

import pytest

from attacks.engines.choice import choose
from attacks.engines.truth import mismatch
from fl_sim.client_training import ClientTraining
from fl_sim.records import CapturedUpdate
from tests import zoo

Kind = Literal["gradient", "delta"]

ABOUT_ZERO, CLEARLY = 1e-3, 1e-2
LARGE: dict[str, Kind] = {
    "resnet18": "delta", "resnet18_eval": "gradient", "group_norm_resnet": "delta", "vgg11_bn": "gradient",
    "mobilenet": "delta", "jelly_sew": "gradient",
}  # fmt: skip
"""Networks that take seconds, and the kind of update on which each is tried once."""

DRAWING = (
    "mnist_example",
    "gru_words",
    "dropout_2d",
    "functional_dropout",
    "lstm_rows",
    "small_vit",
    "mobilenet",
    "jelly_events",
)
"""Networks that drop out in train mode. The server knows no masks, so no loss of its own is 0 at the truth."""

CASES = [
    pytest.param(name, kind, marks=[pytest.mark.slow] * (name in LARGE))
    for name in zoo.ZOO
    for kind in ("gradient", "delta")
    if LARGE.get(name, kind) == kind
]  # fmt: skip


@pytest.fixture(autouse=True)
def _calm() -> Iterator[None]:
    """Let libraries warn of their own networks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def entry_of(name: str) -> zoo.ZooEntry:
    entry = zoo.ZOO[name]
    if not zoo.is_installed(entry):
        pytest.skip(f"{entry.needs} is not installed; pip install '.[dev]' installs it")
    return entry


def mismatch_of(entry: zoo.ZooEntry, kind: Kind, **training: object) -> float:
    """Return the mismatch at the truth of a client that trains with other settings than those of its entry."""
    with zoo.in_table(entry):
        own = dataclasses.replace(entry, training=entry.training.model_copy(update=training))
        return mismatch(*zoo.capture_of(own, 0, kind=kind))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_loss_is_zero_at_the_truth(name: str, kind: Kind) -> None:
    entry = entry_of(name)
    training = {"mode": "eval"} if name in DRAWING else {}
    assert mismatch_of(entry, kind, **training) < ABOUT_ZERO


REMEMBERING = ("spectral_norm", "hooked_spectral_norm", "batch_norm_cumulative", "jelly_lif", "snntorch_hidden")
"""Networks that change with each call and draw nothing."""


@pytest.mark.parametrize("name", [*(name for name in DRAWING if name not in LARGE), *REMEMBERING])
def test_random_draws_are_told_and_show_at_the_truth(name: str) -> None:
    entry = entry_of(name)
    with zoo.in_table(entry):
        assert choose([zoo.capture_of(entry, 0)[0]]).draws == (name in DRAWING)
    assert (mismatch_of(entry, "gradient") > CLEARLY) == (name in DRAWING)


# Faults that are planted


@pytest.fixture(params=["tutorial_sigmoid", "batch_norm", "lstm_cells", "jelly_if"])
def whole(request: pytest.FixtureRequest) -> Iterator[tuple[zoo.ZooEntry, Kind]]:
    """Yield networks of both engines: one that is folded, and three that are replayed."""
    entry = entry_of(request.param)
    with zoo.in_table(entry):
        yield entry, "delta"


def at_truth(entry: zoo.ZooEntry, kind: Kind, **changes: object) -> float:
    """Return the mismatch at the truth of a capture that the server takes for another."""
    capture, *truth = zoo.capture_of(entry, 0, 3, kind=kind)
    return mismatch(dataclasses.replace(capture, **changes), *truth)  # type: ignore[arg-type]


def taken_for(entry: zoo.ZooEntry, kind: Kind, **training: object) -> float:
    """Return the mismatch at the truth if the server believes the client to train otherwise."""
    return at_truth(entry, kind, training=entry.training.model_copy(update=training))


def test_a_wrong_scale_of_the_loss_is_found(whole: tuple[zoo.ZooEntry, Kind]) -> None:
    """The update of the truth is then twice, or with a sum of three thrice, the captured one."""
    assert taken_for(*whole, loss_scale=2.0) == pytest.approx(1.0, rel=1e-3)
    assert taken_for(*whole, reduction="sum") == pytest.approx(2.0, rel=1e-3)


def test_a_swapped_head_is_found(whole: tuple[zoo.ZooEntry, Kind]) -> None:
    capture, *truth = zoo.capture_of(whole[0], 0, kind="delta")
    head = [name for name, value in capture.parameters.items() if value.shape[:1] == (capture.model.input.classes,)]
    other = {name: value.flip(0) for name, value in capture.parameters.items() if name in head}
    wrong = dataclasses.replace(capture, parameters={**capture.parameters, **other})
    assert mismatch(wrong, *truth) > CLEARLY
    assert mismatch(capture, *truth) < ABOUT_ZERO


def test_another_batch_is_found(whole: tuple[zoo.ZooEntry, Kind]) -> None:
    capture, *_ = zoo.capture_of(whole[0], 0, kind="delta")
    assert mismatch(capture, *zoo.capture_of(whole[0], 1, kind="delta")[1:]) > CLEARLY


def test_eval_for_train_is_found() -> None:
    for name in ("batch_norm", "jelly_batch_norm", "dropout_2d", "small_vit"):
        entry = entry_of(name)
        with zoo.in_table(entry):
            assert taken_for(entry, "gradient", mode="eval") > CLEARLY, name
            eager = dataclasses.replace(entry, training=ClientTraining(mode="eval"))
            assert at_truth(eager, "gradient") < ABOUT_ZERO, name


def test_running_statistics_count_where_the_update_shares_them() -> None:
    """A delta whose statistics are another batch's is found by them alone."""
    entry = entry_of("batch_norm")
    with zoo.in_table(entry):
        capture, *truth = zoo.capture_of(entry, 0, 3, kind="delta")
        other, *_ = zoo.capture_of(entry, 1, 3, kind="delta")
        swapped = {name: other.update[name] for name in capture.update if "running" in name}
        assert mismatch(dataclasses.replace(capture, update={**capture.update, **swapped}), *truth) > CLEARLY


def test_a_layer_that_the_client_froze_is_found(whole: tuple[zoo.ZooEntry, Kind]) -> None:
    entry = whole[0]
    names = list(zoo.capture_of(entry, 0)[0].update)
    layer = names[-1].rpartition(".")[0]
    frozen = dataclasses.replace(entry, training=entry.training.model_copy(update={"frozen": f"{layer}.*"}))
    assert taken_for(frozen, "delta", frozen=None) > CLEARLY
    assert at_truth(frozen, "delta") < ABOUT_ZERO


def test_buffers_that_count_do_not_hide_a_fault() -> None:
    """A delta holds how many batches a normalisation has seen, a number that is much larger than the gradient."""
    entry = entry_of("batch_norm")
    with zoo.in_table(entry):
        found = [taken_for(entry, kind, loss_scale=2.0) for kind in ("gradient", "delta")]
    assert found == pytest.approx([1.0, 1.0], rel=1e-3)


def stored(capture: CapturedUpdate) -> CapturedUpdate:
    """Return a capture as files keep it, where names have the order of the alphabet."""
    ordered = {name: capture.update[name] for name in sorted(capture.update)}
    return dataclasses.replace(capture, update=ordered)


def test_the_order_of_names_means_nothing(whole: tuple[zoo.ZooEntry, Kind]) -> None:
    capture, *truth = zoo.capture_of(whole[0], 0, kind="delta")
    assert mismatch(stored(capture), *truth) < ABOUT_ZERO
