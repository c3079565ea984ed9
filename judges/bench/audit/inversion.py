"""Model inversion of recorded global models, in a folder of its own in that of the audit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attacks.posterior import model_id
from fl_sim.config import validate
from fl_sim.datasets.examples import Dataset
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS
from fl_sim.records import save_record
from judges.bench.audit.models import RecordedModel
from judges.bench.audit.within import WithinAudit
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Engine
from judges.bench.model_inversion import InversionRun
from judges.bench.targets import Attackable, Trained
from judges.classifiers import check_judge
from judges.classifiers.settings import JudgeOptions
from judges.plans.audit.threats import RecordedTarget, fits, make_recorded_inversion_plan, model_settings
from judges.plans.model_inversion import InversionConfig, TargetPlan
from judges.progress import Watch
from judges.runs.names import group_label
from judges.runs.rows.classes import FEDERATION, TargetFacts
from judges.scoring.membership.recorded import Others
from judges.scoring.models.accuracy import held_out_accuracy


class RecordedInversion(WithinAudit, InversionRun):
    """The model inversion of recorded global models; see `InversionRun`.

    Args:
        raw: the config of its folder.
        folder: of its results.
        models: what it attacks.
        others: examples that no client holds, of which the accuracy is that of the models.
        data: what trains and measures the judge.
        facts: further entries of the manifest.
        watch, options: as of every execution.
    """

    def __init__(
        self,
        raw: Mapping[str, Any],
        folder: Path,
        models: Sequence[RecordedModel],
        others: Others,
        data: Dataset,
        facts: Mapping[str, Any],
        watch: Watch,
        options: EngineOptions | None = None,
    ) -> None:
        plan = make_recorded_inversion_plan(dict(raw))
        attacked = [one for one in models if any(fits(cell, one.spec) for cell in plan.cells)]
        targets, cells = [], []
        for one in attacked:
            config = validate(
                InversionConfig,
                {**plan.base.model_dump(include={"name", "seed", "threads", "device"}), "target": FEDERATION,
                 "task": "model_inversion", "model": model_settings(one.spec)},
            )  # fmt: skip
            target = RecordedTarget(group_label(one.attacked), one.attacked, config)
            targets.append(target)
            cells += [dataclasses.replace(cell, target=target.label) for cell in plan.cells if fits(cell, one.spec)]
        unique = {cell.name: cell for cell in cells}
        super().__init__(
            dataclasses.replace(plan, targets=tuple(targets), cells=tuple(unique.values())), folder, watch, options
        )
        self._all, self._models = tuple(models), tuple(attacked)
        self._others, self._data, self._told = others, data, dict(facts)

    def lack(self) -> str:
        """Return why it cannot be made, or ""."""
        if not self.plan.cells:
            names = ", ".join(cell.attack for cell in make_recorded_inversion_plan(self.plan.raw).cells)
            kind = "a spiking network" if MODELS[self._all[0].spec.architecture].spiking else "an ANN"
            return f"{names} is not for {kind}"
        try:
            for target in self.plan.targets:
                check_judge(JudgeOptions(name=target.judge), self._data, device=self.plan.base.device)
        except ConfigError as error:
            return str(error).rstrip(".")
        return ""

    def tasks(self) -> int:
        """Return the number of answers and of their judgements."""
        attacks = [(one, cell) for one in self.plan.targets for cell in self.plan.attacks_on(one)]
        return 2 * sum(len(self._attack_seeds(cell)) for _, cell in attacks)

    def gather(self, engine: Engine) -> Iterator[Attackable]:  # noqa: ARG002 - the models exist
        """Store every model under attack, and yield it."""
        for one, target in zip(self._models, self.plan.targets, strict=True):
            accuracy = held_out_accuracy(one.model, self._others.examples(), device=self.plan.base.device)
            model = dataclasses.replace(one.model, test_accuracy=accuracy)
            name = target.federation(self.plan.base.seed + one.number)
            path = save_record(model, self.folder / "models" / f"{name}.safetensors")
            facts = TargetFacts(
                **vars(one.attacked),
                source=one.source,
                round=model.round,
                seed=self.plan.base.seed + one.number,
                test_accuracy=accuracy,
                train_accuracy=None,
                seconds=0.0,
                classes=one.spec.input.classes,
                n_test=len(self._others.examples()),
                shape=one.spec.input.frame,
            )
            yield Attackable(target, Trained(path, model_id(model), facts))

    def facts(self) -> Mapping[str, Any]:
        """Return further entries of the manifest."""
        return {"repeats": len(self._models), **self._told}

    def _dataset(self, target: TargetPlan) -> Dataset:  # noqa: ARG002 - one for all models
        """Return what trains and measures the judge."""
        return self._data
