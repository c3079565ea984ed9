from __future__ import annotations

from rich.console import Console

from judges.report.console import terminal_table
from judges.report.model_inversion.tables import results_table
from tests.judges.class_runs import Toy, central_run


def printed(toy: Toy) -> list[str]:
    console = Console(width=160, color_system=None)
    with console.capture() as text:
        console.print(terminal_table(results_table(toy.summary())))
    return [line.rstrip() for line in text.get().splitlines() if line.strip()]


def test_attacks_and_controls_stand_under_what_was_attacked() -> None:
    lines = printed(central_run())
    at = lines.index("MNIST, SNN spiking MLP, 10 epochs")
    assert lines[at + 1] == "test accuracy 96.5 \N{PLUS-MINUS SIGN} 0.7"
    assert " ".join(lines[at + 2].split()) == (
        "BrainLeaks-v1 60 85.0 \N{PLUS-MINUS SIGN} 5.5 [60, 100] 100.0 \N{PLUS-MINUS SIGN} 0.0 "
        "77.2 \N{PLUS-MINUS SIGN} 4.7 85.0 \N{PLUS-MINUS SIGN} 5.5 99.0 classes recovered"
    )
    assert [line.split()[:2] for line in lines[at + 4 : at + 8]] == [
        ["control:", "class"], ["control:", "real"], ["control:", "BrainLeaks-v1,"], ["control:", "BrainLeaks-v2,"],
    ]  # fmt: skip


def test_a_diverged_attack_says_so_and_names_are_no_markup() -> None:
    toy = Toy()
    target = toy.target("mnist", "spiking_mlp", accuracies=(0.9,))
    toy.attack(target, "[red]x[/red]", 0, stop_reason="diverged", picture=False)
    (line,) = [line for line in printed(toy) if "10 diverged" in line]
    assert line.split()[0] == "[red]x[/red]"
    assert line.endswith("diverged; 10 diverged")
