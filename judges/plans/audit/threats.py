"""The threats of an audit besides gradient inversion: their names, and the plans of their own folders.

The folder of the audit says which global models these attack, so that the plans here have attacks and no targets. None
of this imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attacks import MEMBERSHIP_INFERENCES, MODEL_INVERSIONS
from fl_sim.config import Raw, validate
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.models import MODELS
from fl_sim.specs import ModelSpec, Settings, SpikingSpec
from judges.plans.base import AttackSettings, checked_attack, unit_digest
from judges.plans.membership import MembershipCell, MembershipConfig, MembershipPlan
from judges.plans.model_inversion import InversionCell, InversionConfig, InversionPlan, TargetPlan
from judges.runs.manifest import THREATS

GRADIENT, MODEL, MEMBERSHIP = "gradient", "model", "membership"
NAMES: Mapping[str, str] = dict(zip((GRADIENT, MODEL, MEMBERSHIP), THREATS, strict=True))
"""{name of a threat after `--threats`: its table in a config, and its folder in that of a run}."""

MODEL_TASK, MEMBERSHIP_TASK = "audit_model_inversion", "audit_membership"
MOST_CANDIDATES = 2000
"""Largest number of members and others together whose membership is asked for."""

FITTING: Mapping[bool, str] = {False: "mi_face", True: "brainleaks_v2"}
"""{whether a model spikes: the model inversion that an audit makes of it if none is named}."""

_EVIDENCE = "evidence"


class RecordedTarget(TargetPlan):
    """The global model of a recorded federation, whose answers a judge of public pictures recognises."""

    @property
    def judge(self) -> str:
        """Return the name of the network that judges attacks on it; it is trained on few pictures of any size."""
        return "brainleaks_snn" if self.spiking else "lenet"


def threats_in(told: object) -> str:
    """Return the threats of an audit as the text of its config: in the order of `NAMES`, gradient inversion always.

    Args:
        told: names with commas between them, or a list of them.

    Raises:
        ConfigError: a name is not known.
    """
    items = told.split(",") if isinstance(told, str) else told if isinstance(told, list) else [told]
    named = [str(item).strip() for item in items]
    for name in named:
        if name not in NAMES:
            raise unknown_name("threats", name, NAMES)
    return ",".join(name for name in NAMES if name in (GRADIENT, *named))


def check_attacks(inversion: AttackSettings, inference: AttackSettings) -> None:
    """Raise a ConfigError if an attack of an audit's further threats, or a setting of it, is not known or possible."""
    _checked("model_inversion", inversion, MODEL_INVERSIONS)
    (chosen,) = _checked("membership", inference, MEMBERSHIP_INFERENCES)
    if MEMBERSHIP_INFERENCES[chosen.name].shadows:
        fitting = ", ".join(key for key, entry in MEMBERSHIP_INFERENCES.items() if not entry.shadows)
        raise ConfigError(
            f"membership.name: '{chosen.name}' compares with shadow models, which an audit does not train; "
            f"choose {fitting}."
        )


def threat_config(threat: str, audit: Mapping[str, Any], attack: AttackSettings, evidence: str) -> Raw:
    """Return the config of a threat's own folder.

    Args:
        threat: one of `THREATS`.
        audit: seed, threads and device of the audit.
        attack: the attack.
        evidence: hash of all that it attacks and is given, of which its results are.
    """
    task = MODEL_TASK if threat == NAMES[MODEL] else MEMBERSHIP_TASK
    return {"task": task, **audit, "attack": {"name": attack.name, **attack.settings}, _EVIDENCE: evidence}


def make_recorded_inversion_plan(raw: Raw) -> InversionPlan:
    """Return the plan of a model inversion of recorded global models; a ConfigError if its config is wrong."""
    attacks, config = _read(raw, MODEL_TASK, MODEL_INVERSIONS, "model_inversion")
    base = validate(InversionConfig, {**config, "task": "model_inversion", "target": "federation"})
    cells = tuple(InversionCell("", one.name, one.name, one.settings, {}) for one in attacks)
    return InversionPlan(raw, base, (), cells, {cell.label: _unit(base, raw, cell) for cell in cells})


def make_recorded_membership_plan(raw: Raw) -> MembershipPlan:
    """Return the plan of membership inferences on recorded global models; a ConfigError if its config is wrong."""
    (attack,), config = _read(raw, MEMBERSHIP_TASK, MEMBERSHIP_INFERENCES, "membership")
    base = validate(
        MembershipConfig, {**config, "task": "membership", "target": "federation", "candidates": MOST_CANDIDATES}
    )
    cell = MembershipCell("", attack.name, attack.name, attack.settings, {})
    return MembershipPlan(raw, base, (), (cell,), {cell.label: _unit(base, raw, cell)})


def model_settings(model: ModelSpec) -> Raw:
    """Return the table [model] of a config for a recorded model, as far as plans read it."""
    steps = model.spiking.model_dump(include=set(SpikingSpec.model_fields)) if model.spiking is not None else {}
    return {**steps, "name": model.architecture, "init": "torch"}


def fits(cell: InversionCell, model: ModelSpec) -> bool:
    """Return whether a model inversion is for a kind of network."""
    return MODEL_INVERSIONS[cell.attack].spiking == MODELS[model.architecture].spiking


def _read(raw: Raw, task: str, table: Any, where: str) -> tuple[list[AttackSettings], Raw]:  # noqa: ANN401 - any
    """Return the attacks of a threat's own config, and the settings that experiments have too."""
    if raw.get("task") != task:
        raise ConfigError(f'task: expected "{task}", got {raw.get("task")!r}.')
    own = {key: value for key, value in raw.items() if key not in ("task", "attack", _EVIDENCE)}
    attack = validate(AttackSettings, {"name": "", **raw.get("attack", {})})
    return _checked(where, attack, table), {**own, "name": where}


def _checked(where: str, attack: AttackSettings, table: Any) -> list[AttackSettings]:  # noqa: ANN401 - any attacks
    """Return the attack that is named, or else those that may fit; errors name its table of the audit's config."""
    names = [attack.name] if attack.name else list(FITTING.values())
    try:
        return [
            checked_attack(AttackSettings(name=name, **attack.settings), {"attack": {"name": names}}, table)
            for name in names
        ]
    except ConfigError as error:
        raise ConfigError(f"{where}{str(error).removeprefix('attack')}") from error


def _unit(base: Settings, raw: Raw, cell: InversionCell) -> str:
    """Return a hash of all that the results of an attack depend on."""
    return unit_digest(base, {"name": cell.attack, **cell.all_settings, _EVIDENCE: raw.get(_EVIDENCE)})
