"""The adversary, which reconstructs inputs from what an honest-but-curious server observes. It never sees the truth.

The tables of attacks: name -> class and settings. Importing this does not import torch. Other packages add attacks by
the entry points `spikeleak.attacks`, `spikeleak.model_inversions` and `spikeleak.membership_inferences`; see
`fl_sim.plugins`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attacks.inversion_settings import (
    BrainLeaksV1Settings,
    BrainLeaksV2Settings,
    MIFaceSettings,
    ModelInversionSettings,
)
from attacks.membership.table import MEMBERSHIP_INFERENCES as MEMBERSHIP_INFERENCES
from attacks.membership.table import MembershipEntry as MembershipEntry
from attacks.settings import (
    NO_AUXILIARY,
    AuxiliarySettings,
    DLGSettings,
    EnsembleSettings,
    ExactSettings,
    FeatureKalmanSettings,
    FrozenDeltaSettings,
    GRNNSettings,
    IDLGSettings,
    InversionSettings,
    InvertingGradientsSettings,
    LearnedSettings,
)
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.plugins import Table, located, refuse_class, refuse_place, refuse_switch, refuse_text

if TYPE_CHECKING:
    from attacks.contracts import GradientInversion, MembershipInference, ModelInversion


@dataclass(frozen=True)
class AttackEntry:
    """A line of the table of attacks.

    Attributes:
        attack: a class whose constructor takes `settings`, or its import path ("package.module:name").
        settings: class of its settings.
        adversary: the adversary's knowledge as a letter of Carletti et al. (USENIX Security 2025); A: the update.
        summary: one line for `spikeleak list attacks`.
        draws: whether it draws random numbers; if not, its answer is the same for every seed.
        matching: whether it looks for inputs whose update equals the captured one; a run then first checks that such
            an update can be computed for the model.
        averages: whether its answer is a mean of candidates, whose own loss may be above theirs.
        needs_auxiliary: whether it answers only with auxiliary data, see `attacks.settings.AuxiliarySettings`.
    """

    attack: str | type[GradientInversion]
    settings: type[InversionSettings]
    adversary: str
    summary: str
    draws: bool = True
    matching: bool = True
    averages: bool = False
    needs_auxiliary: bool = False

    def __post_init__(self) -> None:
        """Validate on construction, so that an invalid entry fails where it is defined."""
        refuse_place(self, "attack")
        refuse_class(self, "settings", InversionSettings)
        refuse_text(self, "adversary", "summary")
        refuse_switch(self, "draws", "matching", "averages", "needs_auxiliary")
        if self.needs_auxiliary:
            refuse_class(self, "settings", AuxiliarySettings)


_OWN_ATTACKS = {
    "dlg": AttackEntry(
        "attacks.dlg:DLG", DLGSettings, "A", "Deep Leakage from Gradients: image and soft label matched together"
    ),
    "idlg": AttackEntry(
        "attacks.idlg:IDLG", IDLGSettings, "A", "improved DLG: the label is read off the last layer, the image matched"
    ),
    "grnn": AttackEntry(
        "attacks.grnn:GRNN", GRNNSettings, "B", "GRNN: a generator of image and soft label fitted to each update"
    ),
    "inverting_gradients": AttackEntry(
        "attacks.descent.inverting_gradients:InvertingGradients",
        InvertingGradientsSettings,
        "B",
        "Inverting Gradients: the direction of the update and the total variation, by signed Adam",
    ),
    "frozen_delta": AttackEntry(
        "attacks.descent.frozen_delta:FrozenDelta",
        FrozenDeltaSettings,
        "B",
        "frozen-delta matching: layers' gradients matched without second derivatives",
        draws=False,
    ),
    "feature_kalman": AttackEntry(
        "attacks.features.kalman:FeatureKalman",
        FeatureKalmanSettings,
        "B",
        "ensemble Kalman inversion of the last layer's exact features, by forward passes only; D with auxiliary data",
        averages=True,
    ),
    "ensemble": AttackEntry(
        "attacks.ensemble:Ensemble",
        EnsembleSettings,
        "B",
        "every attack here that fits the victim, the answer chosen without the truth; D with auxiliary data",
    ),
    "learned": AttackEntry(
        "attacks.learned.attack:Learned",
        LearnedSettings,
        "D",
        "a regression from gradients to inputs, learned on auxiliary data; images and whole recordings",
        draws=False,
        needs_auxiliary=True,
    ),
    "exact": AttackEntry(
        "attacks.exact:Exact",
        ExactSettings,
        "A",
        "no search: labels, and the input where the first layer gives it in closed form",
        draws=False,
        matching=False,
    ),
}
ATTACKS = Table("spikeleak.attacks", AttackEntry, _OWN_ATTACKS)


@dataclass(frozen=True)
class InversionEntry:
    """A line of the table of model inversions.

    Attributes:
        attack: a class whose constructor takes `settings`, or its import path ("package.module:name").
        settings: class of its settings.
        spiking: whether it inverts spiking models rather than ANNs.
        summary: one line for `spikeleak list attacks`.
        draws: whether it draws random numbers; if not, its answer is the same for every seed.
    """

    attack: str | type[ModelInversion]
    settings: type[ModelInversionSettings]
    spiking: bool
    summary: str
    draws: bool = True

    def __post_init__(self) -> None:
        """Validate on construction, so that an invalid entry fails where it is defined."""
        refuse_place(self, "attack")
        refuse_class(self, "settings", ModelInversionSettings)
        refuse_text(self, "summary")
        refuse_switch(self, "spiking", "draws")


_OWN_INVERSIONS = {
    "mi_face": InversionEntry(
        "attacks.mi_face:MIFace",
        MIFaceSettings,
        spiking=False,
        summary="MI-Face: gradient descent on an ANN's input",
        draws=False,
    ),
    "brainleaks_v1": InversionEntry(
        "attacks.brainleaks:BrainLeaksV1",
        BrainLeaksV1Settings,
        spiking=True,
        summary="BrainLeaks-v1: spikes set and cleared by the sign of the surrogate gradient",
    ),
    "brainleaks_v2": InversionEntry(
        "attacks.brainleaks:BrainLeaksV2",
        BrainLeaksV2Settings,
        spiking=True,
        summary="BrainLeaks-v2: the parameters of a Bernoulli distribution over spikes, fitted to a population",
    ),
}
MODEL_INVERSIONS = Table("spikeleak.model_inversions", InversionEntry, _OWN_INVERSIONS)


AnyEntry = AttackEntry | InversionEntry | MembershipEntry


def entry_of(name: str) -> AnyEntry:
    """Return the entry of an attack in any of the tables; a ConfigError if there is none."""
    entry: AnyEntry = _table_of(name)[name]
    return entry


def origin_of(name: str) -> str:
    """Return the package of an attack in any of the tables, see `Table.origin`; a ConfigError if there is none."""
    return _table_of(name).origin(name)


def _table_of(name: str) -> Table[Any]:
    tables: tuple[Table[Any], ...] = (ATTACKS, MODEL_INVERSIONS, MEMBERSHIP_INFERENCES)
    found = next((table for table in tables if name in table), None)
    if found is None:
        raise unknown_name("attack.name", name, [key for table in tables for key in table], addable=True)
    return found


def build_attack(name: str, settings: Mapping[str, Any] | None = None) -> GradientInversion:
    """Return the attack called `name` with `settings`; missing ones have their defaults.

    Raises:
        ConfigError: the attack is not known, or it does not have or accept a setting.
    """
    if name not in ATTACKS:
        raise unknown_name("attack.name", name, ATTACKS, addable=True)
    built: GradientInversion = build_entry(name, ATTACKS[name], settings)
    return built


def adversary_of(name: str, settings: Mapping[str, Any]) -> str:
    """Return the letter of the adversary of a gradient inversion with all its settings: D if these name auxiliary data.

    An attack that is in no table has no letter, "".
    """
    if name not in ATTACKS:
        return ""
    named = settings.get("auxiliary", NO_AUXILIARY) != NO_AUXILIARY
    return "D" if named and issubclass(ATTACKS[name].settings, AuxiliarySettings) else ATTACKS[name].adversary


def build_inversion(name: str, settings: Mapping[str, Any] | None = None) -> ModelInversion:
    """Return the model inversion called `name` with `settings`; missing ones have the values of its preset.

    Raises:
        ConfigError: the attack is not known, or it does not have or accept a setting.
    """
    if name not in MODEL_INVERSIONS:
        raise unknown_name("attack.name", name, MODEL_INVERSIONS, addable=True)
    built: ModelInversion = build_entry(name, MODEL_INVERSIONS[name], settings)
    return built


def build_membership(name: str, settings: Mapping[str, Any] | None = None) -> MembershipInference:
    """Return the membership inference called `name` with `settings`; missing ones have their defaults.

    Raises:
        ConfigError: the attack is not known, or it does not have or accept a setting.
    """
    if name not in MEMBERSHIP_INFERENCES:
        raise unknown_name("attack.name", name, MEMBERSHIP_INFERENCES, addable=True)
    built: MembershipInference = build_entry(name, MEMBERSHIP_INFERENCES[name], settings)
    return built


def build_entry(name: str, entry: AnyEntry, settings: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - the class in the entry
    """Return the attack of an entry, which need not be in a table.

    Args:
        name: name of the attack in error messages.
        entry: an entry for any of the tables.
        settings: of the attack; missing ones have their defaults or the values of the preset.

    Raises:
        ConfigError: the attack does not have or accept a setting, or its class cannot be imported.
    """
    attack = located(entry.attack, f"attack '{name}'")
    try:
        return attack(entry.settings(**(settings or {})))
    except ValueError as error:
        raise ConfigError(f"attack '{name}': {error}") from error
