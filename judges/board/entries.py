"""The folder of a finished run -> its submission."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fl_sim.config import read_toml
from fl_sim.errors import DataError
from fl_sim.files import sha256
from judges import intervals
from judges.board.fixed import name_of
from judges.board.submission import FORMAT, Entry, Hashes, Mean, Rate, Submission, Versions, VictimSet
from judges.export.cells import ExportedCell, read_export
from judges.plans.gradient_inversion import Federation, make_plan
from judges.runs.manifest import failed_cells, read_manifest
from judges.runs.names import defence_name
from judges.scoring.victims import victims_of
from judges.summaries.gradient_inversion import CellSummary, read_summary

_ELSEWHERE: Mapping[str, Any] = {
    "dataset": {"root"}, "federation": {"engine", "keep_every"}, "repeat": True,
}  # fmt: skip
"""Settings of a federation on which its victims do not depend."""

_ATTACK = "attack."


def submission_of(run_dir: Path, by: str = "") -> Submission:
    """Return what a finished run of gradient inversion hands in, one entry a cell.

    Args:
        run_dir: folder of the run.
        by: who hands it in.

    Raises:
        DataError: a file is missing or corrupt, or nothing was scored.
    """
    manifest, summary = read_manifest(run_dir), read_summary(run_dir / "summary.json")
    plan = make_plan(read_toml(run_dir / "config.toml"))
    exported = read_export(run_dir).cells
    attacked = {one.attacked.group for one in plan.federations}
    pairs = [
        (cell, whole)
        for cell, whole in zip(summary.cells, exported, strict=True)
        if not cell.is_control and cell.group in attacked
    ]
    if not pairs:
        raise DataError(f"{run_dir}: expected the cells of a finished run, found none that was scored.")
    victims = {one.attacked.group: _victims(run_dir, one) for one in plan.federations}
    versions = manifest.get("versions", {})
    return Submission(
        format=FORMAT,
        run=str(manifest.get("title", run_dir.resolve().name))[:200],
        by=by,
        seed=plan.base.seed,
        machine=str(manifest.get("machine", ""))[:200],
        device=str(manifest.get("device", "")),
        versions=Versions(
            python=str(manifest.get("python", "")),
            torch=str(versions.get("torch", "")),
            spikeleak=str(versions.get("spikeleak", "")),
        ),
        hashes=Hashes(
            config=sha256(run_dir / "config.toml"),
            manifest=sha256(run_dir / "manifest.json"),
            scores=sha256(run_dir / "scores.csv"),
            scores_without_times=str(manifest.get("scores_sha256", "")),
        ),
        failed=len(failed_cells(manifest)),
        entries=tuple(_entry(cell, whole, victims[cell.group]) for cell, whole in pairs),
    )


def _victims(run_dir: Path, federation: Federation) -> VictimSet:
    """Return the victims of a federation's repetitions."""
    names = [federation.repetition(repeat)[0] for repeat in range(federation.repeats)]
    config = federation.config
    settings: dict[str, Any] = config.model_dump(mode="json", exclude_defaults=True, exclude=dict(_ELSEWHERE))
    found = victims_of(run_dir, names, settings)
    return VictimSet(set=name_of(found.digest), **asdict(found))


def _entry(cell: CellSummary, whole: ExportedCell, victims: VictimSet) -> Entry:
    """Return the entry of a cell; `whole` has all settings of its attack."""
    settings = {key.removeprefix(_ATTACK): one for key, one in whole.settings.items() if key.startswith(_ATTACK)}
    return Entry(
        cell=cell.cell,
        data=cell.dataset,
        model=cell.model,
        init=cell.init,
        spiking=cell.spiking,
        varied=dict(cell.varied),
        defence=defence_name(cell),
        victims=victims,
        attack=cell.attack,
        settings=settings,
        adversary=cell.adversary,
        auxiliary=cell.auxiliary,
        n=cell.n,
        evaluations=cell.gradient_evaluations,
        seconds=cell.seconds,
        recovered=_rate(cell.comparison.succeeded) if cell.comparison else None,
        recognisable=_rate(cell.recognisable) if cell.recognisable else None,
        solved=_rate(cell.solved),
        diverged=cell.diverged,
        label_accuracy=cell.label_accuracy,
        verdict=cell.verdict,
        **dict(_means(cell)),
    )


def _rate(found: intervals.Rate) -> Rate:
    return Rate(**asdict(found))


def _means(cell: CellSummary) -> Iterator[tuple[str, Mean | None]]:
    """Yield the means by name, with their intervals."""
    for name in ("ssim", "psnr_db", "mse"):
        values: intervals.Distribution | None = getattr(cell, name)
        low, high = cell.intervals.get(name) or (None, None)
        mean = values.mean if values is not None else None
        yield name, None if mean is None or not math.isfinite(mean) else Mean(mean=mean, low=low, high=high)
