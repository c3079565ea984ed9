"""The checks that a plugin's author has find attacks that break their promises, and say which and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import BaseModel

from attacks import AttackEntry, InversionEntry
from attacks.contracts import Inversion, Progress, Reconstruction, StopReason
from attacks.dlg import DLG
from attacks.inversion_settings import MIFaceSettings
from attacks.mi_face import MIFace
from attacks.settings import DLGSettings
from attacks.testing import check_attack, check_model_inversion
from fl_sim.errors import ConfigError
from fl_sim.records import CapturedUpdate, TrainedModel

Results = list[Reconstruction]


def broken_attack(break_it: Callable[[Results, Sequence[CapturedUpdate]], Results]) -> AttackEntry:
    """Return an entry of DLG whose answers are changed."""

    class Broken(DLG):
        name = "attack"

        def reconstruct(
            self,
            captures: Sequence[CapturedUpdate],
            *,
            seed: int,
            device: str = "cpu",
            progress: Progress | None = None,
        ) -> Results:
            return break_it(super().reconstruct(captures, seed=seed, device=device, progress=progress), captures)

    return AttackEntry(Broken, DLGSettings, adversary="A", summary="broken")


def each(**changed: Any) -> Callable[[Results, Sequence[CapturedUpdate]], Results]:
    return lambda results, _: [replace(result, **changed) for result in results]


def drawn(results: Results, _: Sequence[CapturedUpdate]) -> Results:
    return [replace(result, inputs=torch.rand(result.inputs.shape)) for result in results]


def in_place(results: Results, captures: Sequence[CapturedUpdate]) -> Results:
    for gradient in captures[0].update.values():
        gradient.zero_()
    return results


def by_place(results: Results, _: Sequence[CapturedUpdate]) -> Results:
    return [replace(result, inputs=result.inputs * 0.1 * place) for place, result in enumerate(results)]


ATTACKS: list[tuple[str, Any, str]] = [
    ("one answer for each capture in order and in range", lambda r, _: r[::-1], "expected one answer per capture"),
    ("one answer for each capture in order and in range", lambda r, _: r[1:], "expected one answer per capture"),
    (
        "one answer for each capture in order and in range",
        each(inputs=torch.zeros(2)),
        r"inputs: expected \(1, 1, 8, 8",
    ),
    (
        "one answer for each capture in order and in range",
        each(inputs=torch.full((1, 1, 8, 8), 2.0)),
        "expected 0.0 to",
    ),
    ("an answer says how it was made", each(attack="dlg"), "attack: expected its name in the table, found 'dlg'"),
    ("an answer says how it was made", each(settings={}), "settings: expected all of them"),
    ("an answer says how it was made", each(seed=0), "seed: expected the seed of the call, 3, found 0"),
    ("the same seed gives the same tensors and another seed others", drawn, "the same seed gave other tensors"),
    (
        "the same seed gives the same tensors and another seed others",
        each(inputs=torch.zeros(1, 1, 8, 8)),
        "another seed gave the same tensors; set draws=False",
    ),
    ("a guess does not depend on neighbours", by_place, "a victim's guess depends on the victims before it"),
    ("the steps are kept", each(iterations=61), "iterations = 3 allows 60 iterations, found 61"),
    ("untouched settings return the guess", each(iterations=1), "expected no iteration"),
    ("untouched settings return the guess", each(stop_reason=StopReason.STALLED), "expected 'budget spent'"),
    (
        "the candidate is the one with the smallest loss",
        each(matching_loss=1e9),
        "the answer is not the best candidate",
    ),
    ("captures are left alone", in_place, "it changes the captured update"),
    ("an answer survives the disk", each(labels="seven"), "it raised DataError: "),
]


@pytest.mark.parametrize(("promise", "break_it", "sentence"), ATTACKS)
def test_a_broken_attack_is_found_with_a_sentence(promise: str, break_it: Any, sentence: str) -> None:
    with pytest.raises(AssertionError, match=rf"'attack' \({promise}\): .*{sentence}"):
        check_attack(broken_attack(break_it), only=[promise])


def test_an_attack_that_peeks_or_claims_too_much_is_found() -> None:
    entry = broken_attack(lambda results, _: results)
    with pytest.raises(AssertionError, match="expected an error below 0, found"):
        check_attack(entry, only=["it solves what it claims and noise hurts"], solves=(1, 0.0, {}))
    with pytest.raises(ConfigError, match="Did you mean 'idlg'"):
        check_attack("idgl")


class Loose(DLGSettings):
    """Takes any key."""

    model_config = BaseModel.model_config | {"extra": "allow"}


class Listed(DLGSettings):
    """Has a setting that no config can hold."""

    scales: tuple[int, ...] = (1, 2)


@pytest.mark.parametrize(
    ("settings", "sentence"), [(Loose, "was accepted; derive"), (Listed, "setting 'scales' is a tuple")]
)
def test_settings_that_no_config_can_tell_are_found(settings: type[DLGSettings], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_attack(AttackEntry(DLG, settings, adversary="A", summary="s"))


def broken_inversion(break_it: Callable[[Inversion], Inversion]) -> InversionEntry:
    """Return an entry of MI-Face whose answer is changed."""

    class Broken(MIFace):
        def invert(
            self,
            model: TrainedModel,
            classes: Sequence[int],
            *,
            seed: int,
            device: str = "cpu",
            progress: Progress | None = None,
        ) -> Inversion:
            if not len(classes):
                classes = [0]
            return break_it(super().invert(model, classes, seed=seed, device=device, progress=progress))

    return InversionEntry(Broken, MIFaceSettings, spiking=False, summary="broken", draws=False)


INVERSIONS: list[tuple[str, Any, str]] = [
    (
        "the shape is the models input with time first",
        {"inputs": torch.zeros(3, 20)},
        r"inputs: expected \(3, 1, 4, 5\)",
    ),
    ("the shape is the models input with time first", {"classes": torch.tensor([0, 2, 1])}, "classes: expected"),
    ("an answer says how it was made", {"attack": "other"}, "attack: expected its name"),
    ("an answer says how it was made", {"attack": "attack", "model_id": "x"}, "model_id: expected that of the model"),
    (
        "spikes are binary probabilities and pixels in range",
        {"confidence": torch.tensor([2.0])},
        "confidence: expected 0",
    ),
    ("the budget is kept", {"iterations": torch.tensor([1, 4, 1])}, "3 iterations were allowed"),
    (
        "the confidence is the models belief in exactly these inputs",
        {"confidence": torch.tensor([0.1, 0.2, 0.3])},
        "confidence: expected",
    ),
    ("it raises the models belief", {"confidence": torch.tensor([0.1, 0.2, 0.3])}, "the confidence fell from"),
    ("classes that the model does not have are refused", {}, r"classes \[\] were accepted for a model with 4"),
]


@pytest.mark.parametrize(("promise", "changed", "sentence"), INVERSIONS)
def test_a_broken_inversion_is_found_with_a_sentence(promise: str, changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AssertionError, match=rf"'attack' \({promise}\): .*{sentence}"):
        check_model_inversion(broken_inversion(lambda answer: replace(answer, **changed)), only=[promise])


def test_an_inversion_that_draws_says_so() -> None:
    def add_noise(answer: Inversion) -> Inversion:
        generator = torch.Generator().manual_seed(answer.seed)
        return replace(answer, inputs=torch.rand(answer.inputs.shape, generator=generator))

    promise = "the same seed gives the same inputs and another seed others where anything is drawn"
    entry = broken_inversion(add_noise)
    with pytest.raises(AssertionError, match="its entry says draws=False, but another seed gave other"):
        check_model_inversion(entry, only=[promise])
    check_model_inversion(replace(entry, draws=True), only=[promise])
