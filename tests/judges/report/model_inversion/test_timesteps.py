"""Attacks against the time steps T of their targets, from rows with numbers that a reader can follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from judges.report.model_inversion.report import write_inversion_report
from judges.report.model_inversion.tables_timesteps import panels_of, swept, timesteps_drawings, timesteps_section
from tests.judges.class_runs import Toy
from tests.judges.pages import cells_of
from tests.judges.report.model_inversion.reading import page_of

TRIED: dict[str, Any] = {"own_success": True, "own_confidence": 0.9, "second_targets": 2, "second_confidence": 0.4}


def toy(*, steps: tuple[int, ...] = (5, 25)) -> Toy:
    """Return an ANN, and spiking networks with two codes and several T, of which more recognise more classes."""
    made = Toy(people={"toy": False})
    made.attack(made.target("toy", "mlp"), "mi_face", 9, nearest_ssim=0.5)
    for code, more in (("direct", 2), ("rate", 0)):
        for number in reversed(steps):
            told = made.target("toy", "spiking_mlp", varied={"timesteps": number, "encoder": code}, accuracies=(0.9,))
            right = number // 5 + more
            made.attack(told, "brainleaks_v1", right, nearest_ssim=number / 100, nearest_train=50.0 / number,
                        second_success=1, **TRIED)  # fmt: skip
    return made


def test_lines_are_by_attack_and_code_and_ordered_by_t() -> None:
    (one,) = swept(toy().summary())
    assert one.name == "toy, MLP"
    panels = {panel.up: panel for panel in panels_of(one).values()}
    accuracy = panels["attack accuracy, %"]
    assert {line.name: [(point.tau, point.mean) for point in line.points] for line in accuracy.lines} == {
        "BrainLeaks-v1, direct code": [(5, 30.0), (25, 70.0)],
        "BrainLeaks-v1, rate code": [(5, 10.0), (25, 50.0)],
    }
    assert [(line.name, line.points[0].mean) for line in accuracy.level] == [("MI-Face, ANN", 85.0)]
    assert accuracy.beneath is not None
    assert [point.tau for point in accuracy.beneath.points] == [5, 25]
    second = panels["success on a second target, %"]
    assert {point.mean for line in second.lines for point in line.points} == {50.0}  # one of two
    assert not second.level  # the ANN's answers were not tried
    assert panels["SSIM to the nearest example"].lines[0].points[1].mean == pytest.approx(0.25)
    assert panels["distance to the nearest example"].lines[0].points[0].mean == pytest.approx(10.0)


def test_numbers_stand_below_the_figures(tmp_path: Path) -> None:
    folder = toy().write(tmp_path)
    write_inversion_report(folder)
    lines = cells_of(page_of(folder), "timesteps")
    assert [line[0] for line in lines if line[0][:1].isdigit() or "MI-Face" in line[0]] == [
        "\N{EN DASH} MI-Face, ANN",
        "5 BrainLeaks-v1, direct code",
        "25 BrainLeaks-v1, direct code",
        "5 BrainLeaks-v1, rate code",
        "25 BrainLeaks-v1, rate code",
    ]
    names = [name for name, _ in timesteps_drawings(toy().summary())]
    assert names == [f"timesteps-1-{name}" for name in ("accuracy", "transfer", "ssim", "distance")]


def test_a_single_t_is_no_curve() -> None:
    assert swept(toy(steps=(25,)).summary()) == []
    assert not timesteps_section(toy(steps=(25,)).summary()).shown
