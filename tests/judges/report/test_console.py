from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from judges.report.console import terminal_table
from judges.report.gradient_inversion.tables_record import (
    record_groups,
    record_table,
    results_of_attacks,
    results_tables,
)
from judges.runs.rows import Score
from judges.summaries.gradient_inversion import summarise, write_summary
from tests.judges.spike_rows import spike_rows


def printed(scores: list[Score]) -> list[str]:
    console = Console(width=160, color_system=None)
    with console.capture() as text:
        console.print(terminal_table(*results_tables(summarise(scores))))
    return [line.rstrip() for line in text.get().splitlines() if line.strip()]


def test_images_have_ssim_and_a_verdict(row: Callable[..., Score]) -> None:
    header, group, attack, control = printed([row(), row(control="black", ssim=0.2, label_recovered=-1)])
    assert "SSIM" in header
    assert "l2" not in header
    assert group == "toy, LeNet, uniform initialisation"
    assert attack.split()[:3] == ["iDLG", "1", "0.90"]
    assert attack.endswith("recovered")
    assert control.split()[:3] == ["black", "1", "0.20"]


def test_events_have_l2_and_what_it_equals(row: Callable[..., Score]) -> None:
    lines = printed(spike_rows(row))
    assert "l2" in lines[0].split()
    assert "SSIM" not in lines[0]
    (line,) = [line for line in lines if "  DLG, in-optimisation, tau 0.5" in line]
    assert line.split()[4:6] == ["4", "40.10"]
    assert line.endswith("equals guess and empty")


def test_where_there_is_no_ssim_is_a_dash_and_once_the_reason(row: Callable[..., Score], tmp_path: Path) -> None:
    small = {"ssim": None, "last_ssim": None, "recognisable": None}
    rows = [row(**small), row(**small, control="black", label_recovered=-1)]
    write_summary(summarise(rows), tmp_path / "summary.json")
    console = Console(width=400, color_system=None)
    with console.capture() as text:
        console.print(results_of_attacks(tmp_path))
    header, _, attack, control, reason = [line.rstrip() for line in text.get().splitlines() if line.strip()]
    assert header.split()[:8] == ["attack", "n", "median", "SSIM", "mean", "PSNR", "solved", "recognisable"]
    for line in (attack, control):
        assert line.split()[1:7] == ["1", "\N{EN DASH}", "30.0", "0", "%", "\N{EN DASH}"]
    assert reason.startswith("SSIM is not defined for pictures smaller than its window of 7x7 pixels.")


def test_labels_of_a_batch_are_those_found_in_any_order(row: Callable[..., Score]) -> None:
    batch = [row(example=index, label_correct=False, label_found=index == 0) for index in range(4)]
    table = record_table(record_groups(summarise(batch)))
    (column,) = [place for place, column in enumerate(table.columns) if column.heading == "Label"]
    ((_, cells),) = table.lines(table.groups[0])
    assert (cells[column].text, cells[column].below) == ("25\N{NO-BREAK SPACE}%", "paired 0\N{NO-BREAK SPACE}%")
    ((_, cells),) = table.lines(record_groups(summarise(batch[:1]))[0])
    assert (cells[column].text, cells[column].below) == ("100\N{NO-BREAK SPACE}%", "")


def test_a_run_of_both_has_both_tables(row: Callable[..., Score]) -> None:
    lines = printed([row(), *spike_rows(row)])
    assert [line.split()[0] for line in lines if line.startswith("attack")] == ["attack", "attack"]
    assert any(line.endswith("recovered") for line in lines)
