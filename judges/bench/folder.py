"""The folder of a run while it is worked on: which experiment owns it, and what its manifest says of its origin."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import tomli_w
import torch

from attacks import ATTACKS, MEMBERSHIP_INFERENCES, MODEL_INVERSIONS
from fl_sim.config import Raw, read_toml
from fl_sim.datasets import DATASETS
from fl_sim.datasets.examples import Dataset
from fl_sim.defences import DEFENCES
from fl_sim.errors import ConfigError
from fl_sim.files import atomic_write
from fl_sim.models import MODELS
from fl_sim.plugins import Table
from judges.kinds import RunPlan, plan_of
from judges.runs.comparison import scores_digest
from judges.runs.integrity import unlist_derived
from judges.runs.manifest import ADDED_BY, NO_CHECKOUT, WRITTEN

_PACKAGES = ("spikeleak", "flwr", "torch", "torchvision", "spikingjelly", "numpy", "scikit-image", "safetensors")


def describe_run(
    plan: RunPlan,
    name: str,
    datasets: Mapping[str, Dataset],
    seconds: Mapping[str, float],
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the manifest of a run.

    Args:
        plan: the experiment.
        name: name of the experiment.
        datasets: the data sets that were read, by name.
        seconds: wall time of each part of the run.
        before: the manifest that an earlier call left, or {}; its versions and code stay on record, and so do the
            cells that `spikeleak attack` added.
    """
    return {
        "title": name,
        "experiment": name,
        "config_sha256": plan.digest,
        "cells": dict(plan.units),
        "seed": plan.base.seed,
        "device": plan.base.device,
        "threads": torch.get_num_threads(),
        **made_by(before),
        "datasets": facts_of_datasets(datasets),
        **{key: before[key] for key in ("added", ADDED_BY) if before.get(key)},
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def facts_of_datasets(datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """Return the manifest's entries on data sets, by name."""
    return {
        name: {"people": data.people, "sha256": data.digest, "source": data.source} for name, data in datasets.items()
    }


def made_by(before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest's entries on machine, versions and code, and on those of earlier calls that differ."""
    maker = {
        "python": platform.python_version(),
        "versions": {**{name: _version(name) for name in _PACKAGES}, **_plugin_versions()},
        "git_commit": _commit(),
    }
    earlier = list(before.get("earlier", []))
    old = {key: before.get(key) for key in maker}
    if before and old != maker and old not in earlier:
        earlier.append(old)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    return {"machine": machine, **maker, **({"earlier": earlier} if earlier else {})}


def claim_folder(plan: RunPlan, folder: Path) -> None:
    """Write the plan's config into `folder`, which holds none yet, or one to which this plan only adds cells.

    Raises:
        ConfigError: the folder holds another experiment, with a cell that is missing or different in this plan.
    """
    path = folder / "config.toml"
    if path.is_file():
        raw = read_toml(path)
        if raw == plan.raw:
            return
        lost = [cell for cell, digest in plan_of(raw).units.items() if plan.units.get(cell) != digest]
        if lost:
            raise ConfigError(
                f"{folder}: holds another experiment: its cell '{lost[0]}' is not in this config, or with other "
                f"settings{f', and {len(lost) - 1} more' if lost[1:] else ''}. Choose another folder with --out, or "
                "remove it with --fresh. A config that adds cells only goes on in the same folder."
            )
    unlist_derived(folder)
    atomic_write(path, tomli_w.dumps(plan.raw))


def others_results(raw: Raw, folder: Path) -> bool:
    """Return whether a folder holds results of another config than `raw`, which says all that they depend on."""
    path = folder / "config.toml"
    return path.is_file() and read_toml(path) != raw


def remove_run(folder: Path) -> None:
    """Remove the files that a run has written in `folder`; other files stay.

    Raises:
        ConfigError: the folder's config.toml is not that of an experiment, so its files are not ours to remove.
    """
    if not (folder / "config.toml").is_file():
        return
    try:
        plan_of(read_toml(folder / "config.toml"))
    except ConfigError as error:
        raise ConfigError(
            f"{folder}: --fresh removes earlier runs only, and the config.toml here is not that of a run ({error}) "
            "Choose another folder with --out."
        ) from error
    remove_entries(folder, reversed(WRITTEN))  # config.toml last, so that the rest can be removed after a crash


def remove_entries(folder: Path, names: Iterable[str]) -> None:
    """Remove files and subfolders of a folder by name; the target of a symbolic link stays."""
    for name in names:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def outcome(folder: Path, failed: Mapping[str, str], pieces: Mapping[str, int]) -> dict[str, Any]:
    """Return the manifest's entries on a run's results.

    Args:
        folder: folder of the run; its scores are hashed without their wall times.
        failed: reasons of failure, by name of the cell.
        pieces: number of pieces into which a chunk was split for lack of memory, by name of the cell.
    """
    problems = {"failed": dict(failed), "pieces": dict(pieces)}
    return {"scores_sha256": scores_digest(folder), **{key: cells for key, cells in problems.items() if cells}}


def _plugin_versions() -> dict[str, str]:
    """Return {package: version} of the packages that added entries to a table, whether the run uses them or not."""
    tables: tuple[Table[Any], ...] = (ATTACKS, MODEL_INVERSIONS, MEMBERSHIP_INFERENCES, MODELS, DATASETS, DEFENCES)
    return {package: version for table in tables for package, version in sorted(table.packages.items())}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """Return the commit of the checkout from which this code runs, followed by "+" if files differ from it."""
    here = Path(__file__).parent
    try:
        command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return NO_CHECKOUT
    return done.stdout.strip()
