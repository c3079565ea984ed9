"""Builds the rows of a finished run once more from what attacks answered: `spikeleak verify --deep`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fl_sim.config import read_toml
from fl_sim.errors import ConfigError
from judges.kinds import KINDS, kind_in, plan_of
from judges.progress import Watch
from judges.runs.identity import RUNG
from judges.runs.manifest import ADDED_BY, read_manifest, threats_of

if TYPE_CHECKING:
    from judges.runs.comparison import Comparison

# Modules that load torch are imported inside the function that needs them.

_GIVEN = ("config.toml", "manifest.json", "summary.json")
_ROOMS = ("federations", "captures", "sealed", "models", "reconstructions", "inversions", "inferences")


def rows_again(folder: Path) -> Comparison:
    """Score the answers of a run in a folder of its own, and return how the run's rows compare with the rows of these.

    Nothing of the run is written, and no attack is made again.

    Args:
        folder: of a finished run whose files are sound.

    Raises:
        ConfigError: its rows are those of a ladder, or of a threat of an audit, which only its audit can score.
        DataError: the folder holds no run.
    """
    from judges.bench.execution import run_plan
    from judges.bench.gradient_inversion.added import attack_run
    from judges.runs.comparison import compare

    _refuse_threat(folder)
    _refuse_ladder(folder)
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place) / folder.resolve().name
        for path in _sources(folder):
            link = scratch / path.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
        run_plan(plan_of(read_toml(folder / "config.toml")), scratch, Watch.silent())
        for assignments in dict.fromkeys(map(tuple, read_manifest(folder).get(ADDED_BY, {}).values())):
            attack_run(scratch, assignments, Watch.silent())
        return compare(folder, scratch)


def _sources(folder: Path) -> Iterator[Path]:
    """Yield the files from which rows are computed, without judgements beside the answers."""
    yield from (folder / name for name in _GIVEN if (folder / name).is_file())
    for room in _ROOMS:
        paths = (path for path in (folder / room).rglob("*") if path.is_file())
        yield from (path for path in paths if room != "inversions" or path.suffix == ".safetensors")
    for threat in threats_of(folder):
        yield from _sources(folder / threat)


def _refuse_threat(folder: Path) -> None:
    """Raise a ConfigError if the folder is that of a threat within an audit's."""
    kind = kind_in(folder)
    if kind.command == "audit" and kind is not KINDS["audit"]:
        raise ConfigError(
            f"--deep: {folder} holds one threat of an audit, whose captures are beside it; give {folder.parent}."
        )


def _refuse_ladder(folder: Path) -> None:
    """Raise a ConfigError if rows are those of a ladder."""
    from judges.runs.tables import read_frame

    frame = read_frame(folder / "scores.csv")
    if "varied" in frame.columns and any(f'"{RUNG}"' in text for text in frame.column("varied")):
        raise ConfigError(
            f"--deep: {folder} holds the rungs of a ladder, which `spikeleak audit {folder.parent} --ladder` scores."
        )
