"""Why a run over rounds has no statement of its own."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from fl_sim.errors import ConfigError
from judges.report.rounds.threats import THREATS


def refuse_statement(run_dir: Path) -> NoReturn:
    """Raise a ConfigError that names the runs whose statements there are."""
    folders = " and ".join(
        f"`spikeleak statement {run_dir / threat}`" for threat in THREATS if (run_dir / threat).is_dir()
    )
    raise ConfigError(
        f"{run_dir}: a statement is about one kind of attack, and this run has several, each with a folder of its own; "
        f"call {folders or 'it when the run has begun'}."
    )
