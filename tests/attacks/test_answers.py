"""The answers of an attack are checked where they are taken: each fault is named with the attack and the capture."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch

from attacks import ATTACKS, AttackEntry, build_inversion
from attacks.answers import AttackError, Call, answers_of, checked_answers, inversion_of
from attacks.contracts import GradientInversion, Inversion, ModelInversion, Reconstruction, StopReason
from attacks.idlg import IDLG
from attacks.inversion_settings import MIFaceSettings
from attacks.mi_face import MIFace
from attacks.settings import IDLGSettings
from attacks.testing.victims import EVENT_MLP, LENET, MLP, SPIKING_MLP, captures_of, trained, truth
from fl_sim.records import CapturedUpdate, ModelSpec

Change = Callable[[list[Reconstruction]], Any]
REASON: dict[str, Any] = {"stop_reason": "solved!"}
FIRST, SECOND = "test/r001-c000", "test/r001-c001"


class MuteError(Exception):
    """An error that cannot be told."""

    def __str__(self) -> str:
        raise ValueError


def throw(error: BaseException) -> None:
    raise error


def changed(**fields: Any) -> Change:
    return lambda found: [dataclasses.replace(one, **fields) for one in found]


FAULTS: dict[str, tuple[Change, str]] = {
    "raises": (lambda _: 1 / 0, "failed on {first} and 2 more: ZeroDivisionError: division by zero"),
    "leaves": (lambda _: sys.exit(0), "failed on {first} and 2 more: SystemExit: 0"),
    "one too few": (lambda found: found[:-1], "on {first} and 2 more: expected 3 answers, got 2 answers"),
    "nothing": (lambda _: None, "on {first} and 2 more: expected 3 answers, got a NoneType"),
    "of another": (lambda found: [found[0], *found[:2]], "on {second}: the answer's capture_id is '{first}'"),
    "NaN": (
        lambda found: [dataclasses.replace(one, inputs=one.inputs * torch.nan) for one in found],
        "on {first}: the answer's inputs hold NaN or infinity, and it did not end as diverged",
    ),
    "out of range": (
        lambda found: [dataclasses.replace(one, inputs=one.inputs + 2) for one in found],
        "on {first}: the answer's inputs lie in [2",
    ),
    "wrong shape": (
        lambda found: [found[0], dataclasses.replace(found[1], inputs=found[1].inputs[..., 1:]), found[2]],
        "on {second}: the answer's inputs have shape (1, 1, 8, 7), expected (1, 1, 8, 8)",
    ),
    "no reason": (
        lambda found: [dataclasses.replace(one, **REASON) for one in found],
        "on {first}: the answer's stop_reason is 'solved!', expected a StopReason",
    ),
    "negative counts": (
        lambda found: [dataclasses.replace(one, gradient_evaluations=-1) for one in found],
        "on {first}: the answer's gradient_evaluations is -1, expected a whole number of at least 0",
    ),
    "other settings": (
        lambda found: [dataclasses.replace(one, settings={}) for one in found],
        "on {first}: the answer's settings is {{}}, expected",
    ),
    "leaves by another way": (
        lambda _: throw(asyncio.CancelledError()),
        "failed on {first} and 2 more: CancelledError",
    ),
    "an error without a message": (
        lambda _: throw(MuteError()),
        "failed on {first} and 2 more: MuteError: (without a message)",
    ),
    "a book as a message": (lambda _: throw(ValueError("x" * 10**6)), "failed on {first} and 2 more: ValueError: xxx"),
    "no settings": (changed(settings=None), "failed on {first}: TypeError"),
    "a seed of many": (changed(seed=torch.ones(2)), "failed on {first}: RuntimeError"),
    "unknown classes": (changed(labels=torch.tensor([999])), "on {first}: the answer's labels are [999], expected -1"),
    "labels of nothing": (
        changed(labels=torch.tensor([1], device="meta")),
        "on {first}: the answer's labels are a tensor of layout torch.strided on meta, expected a plain one",
    ),
    "yes and no": (changed(labels=torch.tensor([True])), "on {first}: the answer's labels are of torch.bool, expected"),
    "sparse": (
        lambda found: [dataclasses.replace(one, last_inputs=one.inputs.to_sparse()) for one in found],
        "on {first}: the answer's last_inputs are a tensor of layout torch.sparse_coo",
    ),
    "complex": (
        lambda found: [dataclasses.replace(one, last_inputs=one.inputs.to(torch.complex64)) for one in found],
        "on {first}: the answer's last_inputs are of torch.complex64",
    ),
    "a loss that no float holds": (changed(matching_loss=10**400), "failed on {first}: OverflowError"),
    "a count that no file holds": (changed(iterations=2**64), "on {first}: the answer's iterations is 18446744"),
    "an engine of half a letter": (changed(engine="\ud800"), "failed on {first}: UnicodeEncodeError"),
    "a reason of no kind": (changed(refused={"idlg": 3}), "on {first}: the answer's refused is {{'idlg': 3}}"),
    "no engine": (changed(engine=None), "on {first}: the answer's engine is a NoneType, expected a text"),
}


class Theirs(IDLG):
    """Somebody else's attack."""

    name = "theirs"


@pytest.fixture(scope="module")
def captures() -> list[CapturedUpdate]:
    return captures_of(LENET, *truth(3))


@pytest.fixture(autouse=True)
def _in_the_table() -> Iterator[None]:
    ATTACKS["theirs"] = AttackEntry(Theirs, IDLGSettings, adversary="A", summary="somebody else's")
    yield
    del ATTACKS["theirs"]


def call() -> Call:
    return Call.of("theirs", {"iterations": 0}, seed=3)


def faulty(change: Change) -> GradientInversion:
    class Faulty(Theirs):
        def reconstruct(self, captures: Sequence[CapturedUpdate], **more: Any) -> Any:
            return change(super().reconstruct(captures, **more))

    return Faulty(IDLGSettings(iterations=0))


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_that_is_none_is_named(fault: str, captures: list[CapturedUpdate]) -> None:
    change, words = FAULTS[fault]
    with pytest.raises(AttackError) as caught:
        answers_of(faulty(change), captures, call())
    expected = words.format(first=FIRST, second=SECOND)
    assert str(caught.value).startswith(f"attack 'theirs' (added by hand) {expected}")
    assert len(str(caught.value)) < 3000


def test_what_is_right_comes_back_with_seconds_that_were_measured(captures: list[CapturedUpdate]) -> None:
    (one,) = answers_of(faulty(lambda found: [dataclasses.replace(found[0], seconds=-1e9)]), captures[:1], call())
    assert 0 < one.seconds < 60
    assert checked_answers([one], captures[:1], call()) == [one]
    lost = dataclasses.replace(one, inputs=one.inputs * torch.nan, stop_reason=StopReason.DIVERGED)
    assert checked_answers((lost,), captures[:1], call()) == [lost]


class Yes:
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def test_what_an_answer_says_of_its_call_is_what_the_call_was(captures: list[CapturedUpdate]) -> None:
    class Other(Reconstruction):
        pass

    lies: dict[str, Any] = dict.fromkeys(("capture_id", "attack", "seed"), Yes())
    (one,) = answers_of(
        faulty(lambda found: [Other(**vars(dataclasses.replace(found[0], **lies)))]), captures[:1], call()
    )
    assert type(one) is Reconstruction
    assert (one.capture_id, one.attack, one.seed) == (FIRST, "theirs", 3)


def test_a_lack_of_memory_is_no_fault_of_the_attack(captures: list[CapturedUpdate]) -> None:
    def greedy(_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    with pytest.raises(RuntimeError, match="can't allocate memory"):
        answers_of(faulty(greedy), captures, call())


def test_an_attack_of_ours_is_named_without_a_package() -> None:
    assert Call.of("dlg", {}, seed=0).described == "attack 'dlg'"


def changed_inversion(found: Inversion, **fields: Any) -> Inversion:
    return dataclasses.replace(found, **fields)


INVERSION_FAULTS: dict[str, tuple[Callable[[Inversion], Any], str]] = {
    "raises": (lambda _: 1 / 0, "failed on the model 'mlp' of round 3: ZeroDivisionError: division by zero"),
    "nothing": (lambda _: None, "on the model 'mlp' of round 3: expected an Inversion, got a NoneType"),
    "NaN": (
        lambda found: dataclasses.replace(found, inputs=found.inputs * torch.nan),
        "on the model 'mlp' of round 3: the answer's inputs or confidence hold NaN or infinity",
    ),
    "one too few": (
        lambda found: dataclasses.replace(found, inputs=found.inputs[1:]),
        "on the model 'mlp' of round 3: the answer's inputs have shape (1, 1, 4, 5), expected (2, 1, 4, 5)",
    ),
    "other classes": (
        lambda found: dataclasses.replace(found, classes=found.classes.flip(0)),
        "on the model 'mlp' of round 3: the answer's classes is [2, 0], expected [0, 2]",
    ),
    "another model": (
        lambda found: dataclasses.replace(found, model_id="0"),
        "on the model 'mlp' of round 3: the answer's model_id is '0', expected",
    ),
    "no reasons": (
        lambda found: dataclasses.replace(found, stop_reasons=()),
        "on the model 'mlp' of round 3: the answer has 0 stop_reasons for 2 classes",
    ),
    "no classes": (
        lambda found: changed_inversion(found, classes=None),
        "failed on the model 'mlp' of round 3: AttributeError",
    ),
    "other probabilities": (
        lambda found: dataclasses.replace(found, probabilities=torch.ones(3)),
        "on the model 'mlp' of round 3: the answer's probabilities have shape (3,), expected (2, 1, 4, 5)",
    ),
    "a list": (
        lambda found: changed_inversion(found, confidence=[0.5, 0.5]),
        "on the model 'mlp' of round 3: the answer's confidence are a list, expected a tensor",
    ),
}


def inverting(change: Callable[[Inversion], Any]) -> ModelInversion:
    class Faulty(MIFace):
        def invert(self, *arguments: Any, **more: Any) -> Any:
            return change(super().invert(*arguments, **more))

    return Faulty(MIFaceSettings(iterations=1))


@pytest.mark.parametrize("fault", INVERSION_FAULTS)
def test_an_inversion_that_is_none_is_named(fault: str) -> None:
    change, words = INVERSION_FAULTS[fault]
    asked = Call.of("mi_face", {"iterations": 1}, seed=3)
    with pytest.raises(AttackError) as caught:
        inversion_of(inverting(change), trained(MLP), (0, 2), asked)
    assert str(caught.value).startswith(f"attack 'mi_face' {words}")


@pytest.mark.parametrize("spec", [SPIKING_MLP, EVENT_MLP])
def test_an_inversion_of_spikes_comes_back_with_seconds_that_were_measured(spec: ModelSpec) -> None:
    asked = Call.of("brainleaks_v1", {"iterations": 1}, seed=3)
    found = inversion_of(build_inversion(asked.name, asked.settings), trained(spec), (0, 2), asked)
    assert found.inputs.shape[1] == 2
    assert 0 < found.seconds < 60
