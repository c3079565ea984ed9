"""The adversary: turns what an honest-but-curious server saw into inputs. Never sees the truth.

The tables of attacks: name -> where it lives and what it may be told. Importing this does not import torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attacks.inversion_settings import (
    BrainLeaksV1Settings,
    BrainLeaksV2Settings,
    MIFaceSettings,
    ModelInversionSettings,
)
from attacks.settings import DLGSettings, GRNNSettings, IDLGSettings, InversionSettings
from fl_sim.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from attacks.contracts import GradientInversion, ModelInversion


@dataclass(frozen=True)
class AttackEntry:
    """A line of the table of attacks.

    Attributes:
        attack: a class whose constructor takes `settings`, or where to import it from ("package.module:name").
        settings: its settings.
        adversary: what the adversary knows, in the letters of Carletti et al. (USENIX Security 2025); A: the update.
        summary: one line for `spikeleak list attacks`.
    """

    attack: str | type[GradientInversion]
    settings: type[InversionSettings]
    adversary: str
    summary: str


ATTACKS: dict[str, AttackEntry] = {
    "dlg": AttackEntry(
        "attacks.dlg:DLG", DLGSettings, "A", "Deep Leakage from Gradients: image and soft label matched together"
    ),
    "idlg": AttackEntry(
        "attacks.idlg:IDLG", IDLGSettings, "A", "improved DLG: the label is read off the last layer, the image matched"
    ),
    "grnn": AttackEntry(
        "attacks.grnn:GRNN", GRNNSettings, "B", "GRNN: a generator of image and soft label fitted to each update"
    ),
}


@dataclass(frozen=True)
class InversionEntry:
    """A line of the table of model inversions.

    Attributes:
        attack: a class whose constructor takes `settings`, or where to import it from ("package.module:name").
        settings: its settings.
        spiking: whether it inverts spiking models; else it inverts ANNs.
        summary: one line.
        draws: whether it draws anything; else its answer is the same for every seed.
    """

    attack: str | type[ModelInversion]
    settings: type[ModelInversionSettings]
    spiking: bool
    summary: str
    draws: bool = True


MODEL_INVERSIONS: dict[str, InversionEntry] = {
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


def build_attack(name: str, settings: Mapping[str, Any] | None = None) -> GradientInversion:
    """Return the attack called `name` with `settings` (its defaults for what is not given).

    Raises:
        ConfigError: no such attack, or a setting that it does not have or accept.
    """
    built: GradientInversion = _build(name, ATTACKS, settings)
    return built


def build_inversion(name: str, settings: Mapping[str, Any] | None = None) -> ModelInversion:
    """Return the model inversion called `name` with `settings` (those of its preset for what is not given).

    Raises:
        ConfigError: no such attack, or a setting that it does not have or accept.
    """
    built: ModelInversion = _build(name, MODEL_INVERSIONS, settings)
    return built


def _build(name: str, table: Mapping[str, AttackEntry | InversionEntry], settings: Mapping[str, Any] | None) -> Any:  # noqa: ANN401 - what the table holds
    if name not in table:
        raise unknown_name("attack.name", name, table)
    entry = table[name]
    attack: Any = entry.attack
    if isinstance(attack, str):
        module, _, attribute = attack.partition(":")
        attack = getattr(importlib.import_module(module), attribute)
    try:
        return attack(entry.settings(**(settings or {})))
    except ValueError as error:
        raise ConfigError(f"attack '{name}': {error}") from error
