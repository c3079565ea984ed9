"""The answers of an experiment of model inversion: which are there, and the jobs that make the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from attacks.contracts import Inversion
from fl_sim.records import load_record
from judges.bench.engines import Started
from judges.bench.jobs import InversionJob
from judges.bench.targets import Trained
from judges.plans.model_inversion import InversionCell


@dataclass(frozen=True)
class Answer:
    """One attack on one model.

    Attributes:
        cell, seed: the attack.
        path: of its answer.
        first: whether its answer is drawn again and shown.
        job: that makes it; None where it is there.
    """

    cell: InversionCell
    seed: int
    path: Path
    first: bool
    job: Started | None


def inversion_job(cell: InversionCell, trained: Trained, seed: int, path: Path, device: str) -> InversionJob:
    """Return the job that makes the answer at `path`."""
    return InversionJob(
        attack=cell.attack,
        settings=dict(cell.settings),
        seed=seed,
        device=device,
        model=trained.path,
        classes=trained.facts.classes,
        path=path,
    )


def is_done(cell: InversionCell, trained: Trained, path: Path) -> bool:
    """Return whether there is an answer of an earlier call, of the same model and settings."""
    if not path.is_file():
        return False
    kept = load_record(Inversion, path)
    return kept.settings == cell.all_settings and kept.model_id == trained.id
