"""The parts of a finished run that other tools get: the settings, numbers, pictures and curves of each cell.

Reads only config.toml, manifest.json, summary.json and gallery/*.safetensors of a run folder of any kind.
`judges.export.trackers` writes the result for TensorBoard and MLflow; the files of the run remain authoritative.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attacks import ATTACKS, AttackEntry, InversionEntry, MembershipEntry
from fl_sim.config import flatten, read_toml
from fl_sim.specs import Scalar
from judges.kinds import kind_in
from judges.plans.audit import AuditPlan
from judges.plans.gradient_inversion import Plan
from judges.report.figures import PICTURE_SIDE, enlarged
from judges.report.formats import grouped
from judges.runs.identity import Attacked, Group
from judges.runs.manifest import GALLERY, read_manifest, without_people
from judges.runs.measures import Claimed
from judges.runs.names import attack_name, control_cell, defence_key, group_name, model_key
from judges.runs.pictures import ANSWER, TRUTH, Pictures, load_pictures
from judges.runs.tables import columns_of
from judges.summaries.gradient_inversion import CellSummary, Summary, read_summary
from judges.summaries.membership import MembershipSummary
from judges.summaries.model_inversion import InversionSummary
from judges.summaries.timelines import TimeSummary

Picture = npt.NDArray[np.uint8]
Settings = dict[str, Scalar]

_GAP, _WHITE = 4, 255
"""Width and grey level of the gap between truth and reconstruction."""


@dataclass(frozen=True)
class ExportedCell:
    """One attack, or one control, on one group of victims or one kind of target.

    Attributes:
        name: name of the cell or of the control.
        step: round of the target; 0 for gradient inversion.
        settings: the subject and the attack, with all settings of the federation or target and of the attack.
        numbers: means and shares by name, without missing and non-finite ones.
        words: the verdict and its reason.
        pictures: {name: (H, W, 3)}, truth to the left of the reconstruction.
        curves: matching losses (curves, steps), NaN after an attack's end.
        over_time: {measure: its mean in each time step of recordings of events, NaN where it is not finite}; {} for
            still images.
    """

    name: str
    step: int
    settings: Mapping[str, Scalar]
    numbers: Mapping[str, float]
    words: Mapping[str, str]
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    curves: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    over_time: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Export:
    """The exported parts of a run.

    Attributes:
        name: name of its folder.
        written: time at which its summary was written, in seconds since 1970; used as the time of everything exported.
        tags: versions, and the other plain values of the manifest.
        cells: in the order of the summary.
    """

    name: str
    written: float
    tags: Mapping[str, str]
    cells: tuple[ExportedCell, ...]

    def digest(self, cell: ExportedCell) -> str:
        """Return a hash of all that is exported of a cell except pictures and curves."""
        parts = (cell.settings, cell.numbers, cell.words, self.tags)
        content = [cell.name, cell.step, self.written, *(sorted(part.items()) for part in (*parts, cell.over_time))]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def read_export(run_dir: Path, *, show_faces: bool = False) -> Export:
    """Return the export of a finished run of any kind.

    Pictures of a data set are included only if the manifest says that it shows no people, or with `show_faces`.

    Raises:
        DataError: a file is missing or corrupt.
        ConfigError: its config is not that of an experiment, or names a plugin that is not installed.
    """
    kind = kind_in(run_dir)
    plan, manifest = kind.part("plan")(read_toml(run_dir / "config.toml")), read_manifest(run_dir)

    def shown(dataset: str) -> bool:
        return show_faces or without_people(manifest, dataset)

    cells: Iterator[ExportedCell] = kind.part("cells")(plan, run_dir, manifest, shown)
    written = (run_dir / "summary.json").stat().st_mtime
    return Export(run_dir.resolve().name, written, dict(_tags(manifest)), tuple(cells))


def cells_of_attacks(
    plan: Plan | AuditPlan, run_dir: Path, manifest: Mapping[str, Any], shown: Callable[[str], bool]
) -> Iterator[ExportedCell]:
    """Yield the cells of a run of gradient inversion, or of an audit.

    Args:
        plan: plan of the run.
        run_dir: folder of the run.
        manifest: its manifest, with the settings of attacks that are not in the config.
        shown: whether the pictures of a data set may be exported.
    """
    summary = read_summary(run_dir / "summary.json")
    galleries = {one.key: one for one in load_pictures(run_dir / GALLERY)}
    federations = {one.attacked.group: flatten(one.config) for one in plan.federations}
    claims = {one.group: _claim(one) for one in reversed(summary.claims)}
    attacks = {way(cell.attack, cell.varied, cell.thresholding, cell.tau): cell.settings for cell in plan.cells}
    times = {(one.group, one.cell): one for one in summary.timelines}
    for cell in summary.cells:
        time = times.get((cell.group, cell.cell))
        key = way(cell.attack, cell.attack_settings, cell.thresholding, cell.tau)
        settings = manifest.get("added", {}).get(cell.cell, attacks.get(key))
        pictures = galleries.get((cell.group, cell.cell))
        yield ExportedCell(
            cell.cell,
            0,
            identity(cell)
            | plain(federations.get(cell.group, {}))
            | claims.get(cell.group, {})
            | of_attack(ATTACKS, cell.attack, None if cell.is_control else settings),
            dict(finite(_gradient_numbers(cell) | _time_numbers(time))),
            {"verdict": cell.verdict, "reason": cell.reason},
            dict(drawn(pictures)) if pictures and shown(cell.dataset) else {},
            pictures.loss_curves if pictures else torch.empty(0, 0),
            _over_time(time),
        )
    yield from _accuracies(summary)


def _accuracies(summary: Summary) -> Iterator[ExportedCell]:
    """Yield the accuracy of the global models, one cell for each federation and kept round."""
    for group, own in grouped(summary.accuracies, lambda one: one.group).items():
        for number, models in grouped(own, lambda one: one.round).items():
            told = {"accuracy": sum(one.accuracy for one in models) / len(models)}
            yield ExportedCell(control_cell(group_name(group), "global model"), number, subject(group), told, {})


def subject(attacked: Attacked | Group) -> Settings:
    """Return the subject of attacks in plain values."""
    return {
        "dataset": attacked.dataset,
        "model": model_key(attacked),
        "init": attacked.init,
        "defence": defence_key(attacked),
    }


def identity(cell: CellSummary | InversionSummary | MembershipSummary) -> Settings:
    """Return the identity of a cell in plain values."""
    return {**subject(cell), "attack": attack_name(cell)}


def _claim(claim: Claimed) -> Settings:
    """Return a claim in plain values, without what it leaves open."""
    told = {key: getattr(claim, key) for key in columns_of(Claimed) if key not in columns_of(Attacked)}
    return {f"claim.{key}": value for key, value in told.items() if value not in (None, "")}


def way(attack: str, varied: Mapping[str, Scalar], *threshold: object) -> tuple[object, ...]:
    """Return a key that is unique among the attacks of a run, since all groups have the same axes."""
    return attack, tuple(varied.items()), *threshold


def plain(settings: Mapping[str, Any]) -> Settings:
    """Return settings except those of the attack, which come from `of_attack`; values that are not plain as text."""
    return {
        name: value if isinstance(value, Scalar) else str(value)
        for name, value in settings.items()
        if not name.startswith("attack.")
    }


def of_attack(
    table: Mapping[str, AttackEntry] | Mapping[str, InversionEntry] | Mapping[str, MembershipEntry],
    name: str,
    settings: Mapping[str, Any] | None,
) -> Settings:
    """Return an attack's settings with its defaults; {} for None, as for a control."""
    if settings is None:
        return {}
    full = table[name].settings.model_validate(dict(settings)).model_dump() if name in table else settings
    return {f"attack.{key}": value if isinstance(value, Scalar) else str(value) for key, value in full.items()}


def _gradient_numbers(cell: CellSummary) -> dict[str, float | None]:
    means = {name: getattr(cell, name).mean for name in ("mse", "l2")}
    same = (
        "asr", "ceiling", "label_accuracy", "label_accuracy_paired", "diverged", "seconds",
        "gradient_evaluations", "token_accuracy", "tokens_found",
    )  # fmt: skip
    return {
        "ssim": cell.ssim.mean if cell.ssim else None,
        "psnr_db": cell.psnr_db.mean if cell.psnr_db else None,
        **means,
        "recognisable": cell.recognisable.share if cell.recognisable else None,
        "solved": cell.solved.share,
        **{name: getattr(cell, name) for name in same},
        **{f"last_{name}": value for name, value in cell.last.items()},
        "victims": cell.n,
    }


def _time_numbers(time: TimeSummary | None) -> dict[str, float | None]:
    """Return how well profiles of spikes correlate, and of how many examples that is defined; {} of still images."""
    if time is None:
        return {}
    mean = time.correlation.mean if time.correlation else None
    return {"time_correlation": mean, "time_correlation_defined": time.defined}


def _over_time(time: TimeSummary | None) -> dict[str, tuple[float, ...]]:
    """Return the means in each time step."""
    if time is None:
        return {}
    known = {"truth": time.truth, "spikes": time.answer, "l2": time.l2, "ssim": time.ssim or ()}
    return {
        name: tuple(math.nan if value is None else value for value in values)
        for name, values in known.items()
        if values
    }


def finite(numbers: Mapping[str, float | None]) -> Iterator[tuple[str, float]]:
    """Yield the finite numbers."""
    return ((name, float(value)) for name, value in numbers.items() if value is not None and math.isfinite(value))


def drawn(pictures: Pictures) -> Iterator[tuple[str, Picture]]:
    """Yield truth and answer, from left to right, of each role, or of each class; nothing of texts."""
    if pictures.texts:
        return
    labels = (f"{label:.0f}" for label in pictures.numbers["label"])
    names = pictures.roles or [" ".join(pair) for pair in zip(labels, pictures.subjects, strict=True)]
    for at, name in enumerate(names):
        parts: list[Picture] = []
        for kind in (TRUTH, ANSWER):
            low, high = pictures.limits_of(kind, at)
            picture = enlarged(pictures.images[kind][at], low=low, high=high, side=PICTURE_SIDE).convert("RGB")
            parts += [np.asarray(picture, dtype=np.uint8), np.full((picture.height, _GAP, 3), _WHITE, dtype=np.uint8)]
        yield name, np.concatenate(parts[:-1], axis=1)


def _tags(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the plain values of a manifest, and its versions."""
    for key, value in manifest.items():
        if isinstance(value, Scalar):
            yield key, str(value)
    versions = manifest.get("versions", {})
    yield from ((f"version.{name}", str(value)) for name, value in versions.items())
