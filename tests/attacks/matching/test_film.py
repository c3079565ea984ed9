"""The pictures of a search: which there are, and that taking them changes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from attacks import ATTACKS, build_attack
from attacks.contracts import Reconstruction
from attacks.matching.film import HELD, Film, evenly
from attacks.settings import DLGSettings
from fl_sim.errors import ConfigError
from fl_sim.records import LATER, load_record, record_bytes, save_record
from tests.attacks.helpers import LENET, captures_of, truth

SEARCHES: Mapping[str, dict[str, Any]] = {
    "dlg": {"iterations": 3, "restarts": 1},
    "idlg": {"iterations": 3},
    "inverting_gradients": {"steps": 12, "restarts": 1, "dark_background": 0.1},
    "frozen_delta": {"steps": 12},
    "grnn": {"steps": 3},
}


def answers(name: str, **settings: int | float) -> list[Reconstruction]:
    captures = captures_of(LENET, *truth(2))
    return build_attack(name, {**SEARCHES.get(name, {}), **settings}).reconstruct(captures, seed=3)


def test_steps_are_evenly_spread_from_the_first_to_the_last() -> None:
    assert evenly(300, 7) == [0, 50, 100, 150, 200, 250, 300]
    assert evenly(2, 7) == [0, 1, 2]
    assert evenly(0, 3) == [0]
    assert evenly(300, 0) == []


@pytest.mark.parametrize("end", [0, 1, 5, 40, 301])
def test_a_film_of_unknown_length_is_nearly_even_and_bounded(end: int) -> None:
    film = Film(5, torch.tensor([0.0]))
    for step in range(1, end + 1):
        film.see(step, torch.tensor([float(step)]))
        assert len(film._held) <= HELD * 5
    pictures = film.developed(end, torch.tensor([float(end)]))
    steps = list(pictures)
    assert steps[0] == 0
    assert steps[-1] == end
    assert len(steps) == min(5, end + 1)
    assert [float(point) for point in pictures.values()] == [float(step) for step in steps]
    assert all(abs(step - even) <= end / 10 for step, even in zip(steps, evenly(end, 5), strict=True))


def test_an_iterate_within_a_step_does_not_replace_that_at_its_start() -> None:
    guess, last = torch.tensor([0.0]), torch.tensor([7.0])
    assert Film(3, guess).developed(0, last) == {0: guess, 1: last}
    assert list(Film(3, guess).developed(0, guess)) == [0]


@pytest.mark.parametrize("name", SEARCHES)
def test_pictures_lead_from_the_guess_to_the_last_iterate_and_change_nothing(name: str) -> None:
    start = ATTACKS[name].settings(**SEARCHES[name]).untouched().model_dump()
    guesses = build_attack(name, start).reconstruct(captures_of(LENET, *truth(2)), seed=3)
    for plain, shown, guess in zip(answers(name), answers(name, snapshots=4), guesses, strict=True):
        assert shown.snapshots is not None
        assert shown.snapshot_steps is not None
        assert plain.snapshots is None
        assert shown.snapshots.shape == (len(shown.snapshot_steps), *plain.inputs.shape)
        assert 2 <= len(shown.snapshot_steps) <= 4
        assert shown.snapshot_steps[0] == 0
        assert (shown.snapshot_steps.diff() > 0).all()
        if plain.restarts == 1:
            assert shown.snapshots[-1].equal(plain.last_inputs)
            assert "dark_background" in SEARCHES[name] or shown.snapshots[0].equal(guess.inputs)
        bare = dataclasses.replace(
            shown, seconds=plain.seconds, settings=plain.settings, snapshots=None, snapshot_steps=None
        )
        assert record_bytes(bare) == record_bytes(plain)


def test_without_snapshots_settings_and_records_are_as_before() -> None:
    assert "snapshots" not in DLGSettings().model_dump()
    assert DLGSettings(snapshots=3).model_dump()["snapshots"] == 3
    assert DLGSettings(snapshots=3).untouched() == DLGSettings(iterations=0)
    (answer, _) = answers("dlg")
    assert b"snapshot" not in record_bytes(answer)
    later = [field.name for field in dataclasses.fields(answer) if field.metadata == LATER]
    assert later == ["snapshots", "snapshot_steps", "refused"]


def test_records_of_pictures_come_back(tmp_path: Path) -> None:
    (answer, _) = answers("dlg", snapshots=3)
    loaded = load_record(Reconstruction, save_record(answer, tmp_path / "r.safetensors"))
    assert record_bytes(loaded) == record_bytes(answer)


def test_one_picture_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        build_attack("dlg", {"snapshots": 1})


def test_the_ensemble_passes_pictures_on() -> None:
    (capture,) = captures_of(LENET, *truth(1))
    (answer,) = build_attack("ensemble", {"snapshots": 3, "adversary": "A"}).reconstruct([capture], seed=3)
    assert answer.engine.startswith("idlg")
    assert answer.snapshots is not None
    assert answer.settings["snapshots"] == 3
