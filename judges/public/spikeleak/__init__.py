"""spikeleak under one name: what a program of one's own imports, as in `from spikeleak import CaptureStore`.

Importing this imports neither torch nor Flower; a name is looked up in the room that defines it when it is first used.
After it, `fl_sim`, `attacks` and `judges` are ours in this process, whatever lies beside the program.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spikeleak.precedence import prefer_ours

if TYPE_CHECKING:
    from attacks import ATTACKS as ATTACKS
    from attacks import AttackEntry as AttackEntry
    from attacks import MembershipEntry as MembershipEntry
    from attacks.idlg import IDLG as IDLG
    from attacks.matching import MatchingAttack as MatchingAttack
    from attacks.settings import DLGSettings as DLGSettings
    from attacks.testing import check_attack as check_attack
    from attacks.testing import check_membership as check_membership
    from attacks.testing import check_model_inversion as check_model_inversion
    from fl_sim.captures import CaptureStore as CaptureStore
    from fl_sim.datasets import load_dataset as load_dataset
    from fl_sim.datasets.entry import DatasetEntry as DatasetEntry
    from fl_sim.defences import DEFENCES as DEFENCES
    from fl_sim.defences import DefenceEntry as DefenceEntry
    from fl_sim.federation.interception import CuriousGrid as CuriousGrid
    from fl_sim.federation.interception import CuriousStrategy as CuriousStrategy
    from fl_sim.federation.ordering import OrderedGrid as OrderedGrid
    from fl_sim.federation.ordering import answer_partition_query as answer_partition_query
    from fl_sim.federation.sealing import seal as seal
    from fl_sim.models import MODELS as MODELS
    from fl_sim.models import ModelEntry as ModelEntry
    from fl_sim.models import build_model as build_model
    from fl_sim.models.spiking_lenet import SpikingTwin as SpikingTwin
    from fl_sim.records import InputSpec as InputSpec
    from fl_sim.records import ModelSpec as ModelSpec
    from fl_sim.specs import Settings as Settings
    from fl_sim.testing import check_dataset as check_dataset
    from fl_sim.testing import check_defence as check_defence
    from fl_sim.testing import check_model as check_model
    from fl_sim.training import capture_gradient as capture_gradient
    from fl_sim.training import parameters_of as parameters_of
    from judges.live import LiveAttack as LiveAttack
    from judges.notebook.calls import attack as attack
    from judges.notebook.calls import audit as audit
    from judges.notebook.calls import run as run
    from judges.notebook.inversions import invert as invert

    __version__: str

_ROOMS: Mapping[str, str] = {
    "ATTACKS": "attacks",
    "AttackEntry": "attacks",
    "CaptureStore": "fl_sim.captures",
    "CuriousGrid": "fl_sim.federation.interception",
    "CuriousStrategy": "fl_sim.federation.interception",
    "DEFENCES": "fl_sim.defences",
    "DLGSettings": "attacks.settings",
    "DatasetEntry": "fl_sim.datasets.entry",
    "DefenceEntry": "fl_sim.defences",
    "IDLG": "attacks.idlg",
    "InputSpec": "fl_sim.records",
    "LiveAttack": "judges.live",
    "MODELS": "fl_sim.models",
    "MatchingAttack": "attacks.matching",
    "MembershipEntry": "attacks",
    "ModelEntry": "fl_sim.models",
    "ModelSpec": "fl_sim.records",
    "OrderedGrid": "fl_sim.federation.ordering",
    "Settings": "fl_sim.specs",
    "SpikingTwin": "fl_sim.models.spiking_lenet",
    "answer_partition_query": "fl_sim.federation.ordering",
    "attack": "judges.notebook.calls",
    "audit": "judges.notebook.calls",
    "build_model": "fl_sim.models",
    "capture_gradient": "fl_sim.training",
    "check_attack": "attacks.testing",
    "check_dataset": "fl_sim.testing",
    "check_defence": "fl_sim.testing",
    "check_membership": "attacks.testing",
    "check_model": "fl_sim.testing",
    "check_model_inversion": "attacks.testing",
    "invert": "judges.notebook.inversions",
    "load_dataset": "fl_sim.datasets",
    "parameters_of": "fl_sim.training",
    "run": "judges.notebook.calls",
    "seal": "fl_sim.federation.sealing",
}
"""{public name: the module that defines it}."""

prefer_ours()


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as the types above say
    """Return a public name, which is then an attribute of this module; its type stands above."""
    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("spikeleak")
    elif name in _ROOMS:
        found = getattr(importlib.import_module(_ROOMS[name]), name)
    else:
        raise AttributeError(f"module 'spikeleak' has no attribute '{name}'")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return the public names, those that were not used yet too."""
    return sorted({*globals(), *_ROOMS, "__version__"})
