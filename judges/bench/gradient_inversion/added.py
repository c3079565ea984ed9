"""Further attacks on the captures of a finished run of gradient inversion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from attacks.preflight.self_check import check_attackable
from fl_sim.config import read_toml, validate
from fl_sim.errors import ConfigError, DataError
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Engine
from judges.bench.gradient_inversion import Run
from judges.bench.gradient_inversion.cells import Start, match_updates, starts_of
from judges.bench.targets import data_of
from judges.classifiers import check_judge
from judges.kinds import KINDS, kind_in
from judges.plans.added import override_attack
from judges.plans.gradient_inversion import Cell, ExperimentConfig, Federation, Plan, make_plan
from judges.progress import Watch
from judges.runs.manifest import ADDED_BY, ADDED_ROWS, ROWS
from judges.runs.rows import Score, digests_of, finished_rows
from judges.scoring.truths import Evidence


class AddedAttack(Run):
    """Further attacks, `cells`, on the captures of a finished run; other rows stay unchanged.

    A federation that failed in the run has no captures and is left out.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        watch: Watch,
        options: EngineOptions | None,
        cells: Iterable[Cell],
        assignments: Sequence[str] = (),
    ) -> None:
        super().__init__(plan, folder, watch, options)
        self._cells, self._assignments = list(cells), list(assignments)

    def attacks(self) -> list[Cell]:
        """Return the added attacks."""
        return self._cells

    def tasks(self) -> int:
        """Return the number of added attacks."""
        return len({(cell.federation, cell.kept.source) for cell in self._cells})

    def check(self) -> None:
        """Read the auxiliary data, and let the models pass the self-check of attacks that match updates.

        Their federations have run.
        """
        for one in self.plan.federations:
            check_judge(self.plan.base.judge, data_of(one.config), device=self.plan.base.device)
            self.read_auxiliary(one, (cell for cell in self._cells if cell.federation == one.label))
        matching = {cell.federation for cell in self._cells if match_updates([cell])}
        there = [one for one in self.plan.federations if not self.lacking(one)]
        firsts = [(one.label, key.id) for one in there for key in self.captures.listed(one.repetition(0)[0])[:1]]
        check_attackable(self.victim(first) for label, first in firsts if label in matching)
        cells = [(cell, first) for cell in self._cells for label, first in firsts if label == cell.federation]
        self.refuse_pairs((cell, self.victim(first)) for cell, first in cells)

    def claim(self, *, fresh: bool) -> None:  # noqa: ARG002 - nothing is removed
        """Recall the run without the rows that are computed anew."""
        self.recall()
        lacking = {one.label: self._lack(one) for one in self.plan.federations if self.lacking(one)}
        fresh_cells = [cell for cell in self._cells if cell.federation not in lacking]
        replaced, planned = {cell.name for cell in fresh_cells}, {cell.name for cell in self.plan.cells}
        self.checks.forget(replaced)
        if ROWS not in self.before:
            raise DataError(
                f"{self.folder}: expected a finished run of this version, found no hashes of its rows; "
                f"`spikeleak run {self.folder / 'config.toml'} --out {self.folder}` goes on with it."
            )
        rows, lost = finished_rows(self.folder / "scores.csv", {**self._hashes(ROWS), **self._hashes(ADDED_ROWS)})
        if lost - replaced:
            raise DataError(
                f"{self.folder / 'scores.csv'}: expected the rows of '{min(lost - replaced)}' as they were written, "
                f"found others or none; `spikeleak run {self.folder / 'config.toml'} --out {self.folder}` scores the "
                "answers again."
            )
        self._kept = [row for row in rows if row.cell not in replaced]
        self.failed = {name: why for name, why in self.before.get("failed", {}).items() if name not in replaced}
        self.failed |= {cell.name: lacking[cell.federation] for cell in self._cells if cell.federation in lacking}
        added = {cell.name: dict(cell.settings) for cell in fresh_cells if cell.name not in planned}
        self.before["added"] = {**self.before.get("added", {}), **added}
        self.before[ADDED_BY] = {**self.before.get(ADDED_BY, {}), **dict.fromkeys(added, self._assignments)}

    def _lack(self, federation: Federation) -> str:
        """Return why there are no captures of a federation.

        Raises:
            DataError: it has finished, and a file that it wrote is missing or changed.
        """
        name, _ = self.lacking(federation)[0]
        flaw = self.federations.flaw(name)
        if self.federations.has_finished(name):
            raise DataError(
                f"{self.folder}: expected all that federation {name} wrote, but {flaw}; "
                f"`spikeleak run {self.folder / 'config.toml'} --out {self.folder}` makes it again."
            )
        return f"there are no captures: {flaw}"

    def gather(self, engine: Engine) -> Iterator[Evidence]:  # noqa: ARG002 - nothing is simulated
        """Yield the captures of all complete federations."""
        yield from self.evidence()

    def evidence(self) -> list[Evidence]:
        """Return the captures of all complete federations."""
        return [self._evidence(federation) for federation in self.plan.federations if not self.lacking(federation)]

    def cells_on(self, evidence: Evidence) -> list[Cell]:
        """Return the added attacks on a federation."""
        return [cell for cell in self._cells if cell.federation == evidence.name]

    def rows(self) -> list[Score]:
        """Return the rows of the run, then those of the added attacks."""
        scored = {row.cell for row in self._scores}
        return [*(row for row in self._kept if row.cell not in scored), *self._scores]

    def hashes_of_rows(self) -> dict[str, dict[str, str]]:
        """Return the entries of the manifest on the rows of the run and of added attacks."""
        new, own = digests_of(self._scores), self._hashes(ROWS)
        added = {cell: digest for cell, digest in new.items() if cell not in own}
        return {
            ROWS: {cell: new.get(cell, digest) for cell, digest in own.items()},
            ADDED_ROWS: {**self._hashes(ADDED_ROWS), **added},
        }

    def _hashes(self, key: str) -> dict[str, str]:
        """Return hashes of rows in the manifest that an earlier call left."""
        return dict(self.before.get(key, {}))

    def starts_known(self, evidence: Evidence) -> dict[Start, Cell]:
        """Return the starts of the run's own attacks, whose no-op controls exist."""
        return starts_of(self.plan.cells_on(evidence.name))


def attack_run(
    folder: Path, assignments: Sequence[str], watch: Watch, *, device: str = "", options: EngineOptions | None = None
) -> Path:
    """Run another attack on the captures of the run in `folder` and return the path of the report.

    Args:
        folder: folder of a finished run.
        assignments: "key=value", for keys of the attack only.
        watch: shows progress.
        device: device on which the attack computes; "" for that of the run.
        options: where its jobs run.

    Raises:
        ConfigError: an assignment is wrong, or changes anything but the attack.
        DataError: the folder holds no run.
    """
    if kind_in(folder) is not KINDS["gradient_inversion"]:
        raise ConfigError(
            f"{folder}: is no run of gradient inversion, so no attack can be added to it. For another attack on the "
            f"captures of an audit call `spikeleak audit {folder}` with --set attack=...; on a trained model "
            f"`spikeleak invert {folder / 'models'}/NAME.safetensors --set attack=...`."
        )
    old = read_toml(folder / "config.toml")
    done, new = make_plan(old), override_attack(old, assignments)
    cells = make_plan(new, named=[assignment.partition("=")[0].strip() for assignment in assignments]).cells
    for cell in cells:
        if any(known.name == cell.name and known.settings != cell.settings for known in done.cells):
            raise ConfigError(
                f"--set: the run has an attack called '{cell.label}' with other settings already, and its results "
                "stay; name a setting that differs with --set attack.KEY=VALUE, so that the new one has its own name."
            )
    if device:
        base = validate(ExperimentConfig, {**done.base.model_dump(), "device": device})
        done = replace(done, base=base)
    return AddedAttack(done, folder, watch, options, cells, assignments).execute()
