"""The adversary: turns what an honest-but-curious server saw into inputs. Never sees the truth.

The table of attacks: name -> where it lives and what it may be told. Importing this does not import torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attacks.settings import DLGSettings, IDLGSettings
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.specs import Settings

if TYPE_CHECKING:
    from attacks.contracts import GradientInversion


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
    settings: type[Settings]
    adversary: str
    summary: str


ATTACKS: dict[str, AttackEntry] = {
    "dlg": AttackEntry(
        "attacks.dlg:DLG", DLGSettings, "A", "Deep Leakage from Gradients: image and soft label matched together"
    ),
    "idlg": AttackEntry(
        "attacks.idlg:IDLG", IDLGSettings, "A", "improved DLG: the label is read off the last layer, the image matched"
    ),
}


def build_attack(name: str, settings: Mapping[str, Any] | None = None) -> GradientInversion:
    """Return the attack called `name` with `settings` (its defaults for what is not given).

    Raises:
        ConfigError: no such attack, or a setting that it does not have or accept.
    """
    if name not in ATTACKS:
        raise unknown_name("attack.name", name, ATTACKS)
    entry = ATTACKS[name]
    attack: Any = entry.attack
    if isinstance(attack, str):
        module, _, attribute = attack.partition(":")
        attack = getattr(importlib.import_module(module), attribute)
    try:
        built: GradientInversion = attack(entry.settings(**(settings or {})))
    except ValueError as error:
        raise ConfigError(f"attack '{name}': {error}") from error
    return built
