from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from judges.report.console import terminal_table
from judges.report.gradient_inversion.tables_record import results_tables
from judges.runs.rows import Score
from judges.summaries.gradient_inversion import summarise
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
    assert group == "toy \N{MIDDLE DOT} lenet \N{MIDDLE DOT} uniform init"
    assert attack.split()[:3] == ["idlg", "1", "0.90"]
    assert attack.endswith("recovered")
    assert control.split()[:3] == ["black", "1", "0.20"]


def test_events_have_l2_and_what_it_equals(row: Callable[..., Score]) -> None:
    lines = printed(spike_rows(row))
    assert "l2" in lines[0].split()
    assert "SSIM" not in lines[0]
    (line,) = [line for line in lines if "  dlg, in-optimisation, tau 0.5" in line]
    assert line.split()[4:6] == ["4", "40.10"]
    assert line.endswith("equals guess and empty")


def test_a_run_of_both_has_both_tables(row: Callable[..., Score]) -> None:
    lines = printed([row(), *spike_rows(row)])
    assert [line.split()[0] for line in lines if line.startswith("attack")] == ["attack", "attack"]
    assert any(line.endswith("recovered") for line in lines)
