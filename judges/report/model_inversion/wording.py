"""What a report on model inversion calls things, and what its words mean (words.toml). Plain text."""

from __future__ import annotations

import tomllib
from pathlib import Path

from fl_sim.models import MODELS
from judges.runs.class_rows import FEDERATION, ClassScore
from judges.runs.rows import CONTROL_PREFIX
from judges.scoring.album import Album
from judges.summaries.class_verdicts import CONTROL, PARTLY, RECOVERED, TRACES
from judges.summaries.model_inversion import CLASS_MEAN, REAL, SHUFFLED, InversionSummary, Kind, TargetSummary

_WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
THREAT_MODEL: str = _WORDS["threat_model"]
DEFINITIONS: tuple[tuple[str, str], ...] = tuple(_WORDS["definitions"].items())
NOTES: dict[str, str] = _WORDS["notes"]

ANN, SNN = "ANN", "SNN"
ATTACKS = {"mi_face": "MI-Face", "brainleaks_v1": "BrainLeaks-v1", "brainleaks_v2": "BrainLeaks-v2"}
"""What the literature calls the attacks."""

TONES = {RECOVERED: "yes", PARTLY: "some", TRACES: "some", CONTROL: "control"}
_CONTROLS = {CLASS_MEAN: "class mean", REAL: "real examples"}
_SPIKING = "spiking_"


Attacked = InversionSummary | TargetSummary | Album
"""What has a network."""
Attacking = InversionSummary | ClassScore | Album
"""What has an attack or a control."""


def is_spiking(of: Attacked) -> bool:
    """Return whether a network is a spiking one."""
    return _spikes(of.model)


def network(of: Attacked) -> str:
    """Return "SNN" or "ANN"."""
    return SNN if is_spiking(of) else ANN


def model_name(of: Attacked) -> str:
    """Return the name of a network with those of its settings that vary."""
    return of.model


def network_name(of: Attacked) -> str:
    """Return the kind and the name of a network: "SNN spiking_mlp"."""
    return f"{network(of)} {model_name(of)}"


def family(of: Attacked) -> str:
    """Return what a network and its spiking twin have in common."""
    return of.model.partition(" ")[0].removeprefix(_SPIKING)


def attack_name(of: Attacking) -> str:
    """Return the name of an attack with those of its settings that vary, or of a control: "BrainLeaks-v2, shuffled"."""
    return _named(of.attack)


def attack_family(of: Attacking) -> str:
    """Return the key of an attack without its settings: "brainleaks_v2"."""
    return of.attack.partition("-")[0]


def is_shuffled(of: Attacking, attack: Attacking) -> bool:
    """Return whether a control holds the values of an attack in random order."""
    return of.attack == f"{SHUFFLED}{attack.attack}"


def is_class_mean(of: Attacking) -> bool:
    """Return whether a control is the mean example of each class."""
    return of.attack == CLASS_MEAN


def is_real(of: Attacking) -> bool:
    """Return whether a control is real test examples."""
    return of.attack == REAL


def name_of_target(target: Kind) -> str:
    """Return (data set, model, source, round) in words."""
    dataset, model, source, number = target
    trained = f"federation, round {number}" if source == FEDERATION else f"{number} epoch{'' if number == 1 else 's'}"
    return " \N{MIDDLE DOT} ".join((dataset, f"{SNN if _spikes(model) else ANN} {model}", trained))


def tone(verdict: str) -> str:
    """Return how loudly a verdict is printed: "yes" for a leak, "some" for part of one, "no" or "control"."""
    return TONES.get(verdict, "no")


def count_of(cell: InversionSummary) -> str:
    """Return targets x attacks on each x classes."""
    return " \N{MULTIPLICATION SIGN} ".join(str(part) for part in (cell.targets, cell.repeats, cell.classes))


def over(cell: InversionSummary) -> str:
    """Return what a cell's means and deviations are over."""
    count = cell.scores.count
    return "one attack" if count == 1 else f"mean \N{PLUS-MINUS SIGN} over {count} attacks"


def _spikes(model: str) -> bool:
    """Return whether a model, as rows name it, is a spiking network."""
    name = model.partition(" ")[0]
    return MODELS[name].spiking if name in MODELS else name.startswith(_SPIKING)


def _named(attack: str) -> str:
    """Return the name of an attack or control, as rows name it."""
    if attack.startswith(SHUFFLED):
        return f"{_named(attack.removeprefix(SHUFFLED))}, shuffled"
    base, _, varied = attack.partition("-")
    if base in ATTACKS:
        return ATTACKS[base] + (f", {varied}" if varied else "")
    return _CONTROLS.get(attack, attack.removeprefix(CONTROL_PREFIX))
