"""A gradient inversion under test, with what it needs to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from attacks import AttackEntry, build_entry
from attacks.contracts import GradientInversion, Reconstruction, UsesAuxiliary
from attacks.settings import InversionSettings
from attacks.testing.victims import auxiliary_for, captures_of, truth
from fl_sim.records import CapturedUpdate, ModelSpec, Scalar
from fl_sim.testing.promises import require

Answers = list[Reconstruction]


@dataclass(frozen=True)
class Solves:
    """The claimed success of an attack on the first model, with random inputs whose mean squared error to grey is 1/12.

    Attributes:
        steps: number of steps.
        mse: upper bound of the median error over six victims.
        settings: further settings.
    """

    steps: int
    mse: float
    settings: Mapping[str, Scalar]


@dataclass(frozen=True)
class Attacked:
    """An attack under test.

    Attributes:
        name: name of the attack.
        entry: its entry in the table.
        settings: settings for all checks.
        models: models to attack; only the first if one is enough.
        counter: the setting that limits its steps; "" if it has none.
        solves: the claimed success; None to claim nothing.
    """

    name: str
    entry: AttackEntry
    settings: Mapping[str, Scalar]
    models: Sequence[ModelSpec]
    counter: str
    solves: Solves | None = None

    def chosen(self, *, steps: int | None = None, **wanted: Scalar) -> InversionSettings:
        """Return settings with this number of steps, and those of `wanted` that the attack has."""
        fields = self.entry.settings.model_fields
        changes = {key: value for key, value in wanted.items() if key in fields}
        if steps is not None and self.counter:
            changes[self.counter] = steps
        return self.entry.settings(**{**self.settings, **changes})

    def run(self, captures: Sequence[CapturedUpdate], chosen: InversionSettings, *, seed: int = 0) -> Answers:
        """Return the reconstructions from captures."""
        return self.build(chosen).reconstruct(captures, seed=seed)

    def build(self, chosen: InversionSettings) -> GradientInversion:
        """Return the attack, with random auxiliary data if it needs some."""
        built: GradientInversion = build_entry(self.name, self.entry, chosen.model_dump())
        if not self.entry.needs_auxiliary:
            return built
        able = isinstance(built, UsesAuxiliary)
        require(able, "its entry says needs_auxiliary=True, and it has no method `informed` to take auxiliary data.")
        return built.informed(auxiliary_for(self.models[0].input)) if isinstance(built, UsesAuxiliary) else built

    def victims(self, count: int) -> tuple[list[CapturedUpdate], Tensor]:
        """Return captures of the first model, and the inputs (V, ...) behind them."""
        inputs, labels = truth(count, self.models[0].input)
        return captures_of(self.models[0], inputs, labels), inputs
