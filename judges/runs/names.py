"""Names of models, attacks and controls, which are formatted from columns here and never parsed back.

A name is for readers and in words: "digits, spiking LeNet (T=5), torch initialisation". A key or a label is for random
streams, trackers and folders, and holds the names that a config has.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Protocol

from fl_sim.defences import NO_DEFENCE
from fl_sim.errors import ConfigError
from fl_sim.specs import Scalar
from judges.runs.identity import AS_SENT, NO_OP, RUNG, SHUFFLED, SWAPPED, Attacked, Group, Varied
from judges.runs.rows.classes import FEDERATION, FILE, Target
from judges.runs.rows.membership import CLIENT, NULL

LONGEST = 90
ANN, SNN = "ANN", "SNN"
CONTROL = "control: "
"""Prefix of a control's cell, for readers of the table of rows."""

_SPIKING = "spiking_"
_WORDS = {
    "mi_face": "MI-Face", "brainleaks_v1": "BrainLeaks-v1", "brainleaks_v2": "BrainLeaks-v2", "dlg": "DLG",
    "idlg": "iDLG", "grnn": "GRNN", "inverting_gradients": "Inverting Gradients", "frozen_delta": "frozen delta",
    "feature_kalman": "feature Kalman", "loss_threshold": "loss threshold", "lira": "LiRA", "rmia": "RMIA",
    "gradient_cosine": "gradient cosine",
    "lenet": "LeNet", "classic_lenet": "classic LeNet", "mlp": "MLP",
    "clip": "clipping", "noise": "clipping and noise", "prune": "pruning", "quantise": "quantisation", "top_k": "top-k",
    "soteria": "Soteria", "dp_sgd": "DP-SGD",
    "flower_local_dp": "Flower's LocalDpMod", "flower_fixed_clipping": "Flower's fixed clipping",
    "flower_adaptive_clipping": "Flower's adaptive clipping",
    "mnist": "MNIST",
    "cifar100": "CIFAR-100", "lfw": "LFW", "att_faces": "AT&T faces", "att_faces_8_9": "AT&T faces (split 8:9)",
    "digits_dvs": "digits as events", "nmnist": "N-MNIST", "dvs_gesture": "DVS128 Gesture",
}  # fmt: skip
"""What the tables' names are in words, as the literature has them; other names, such as added ones, stay."""


_PROTOCOLS = {"ours": "our"}

_SILENT = ("snapshots",)
"""Settings of attacks that change no answer, and so no name for readers."""


class Named(Protocol):
    """An attack or a control in a row, a summary or a picture; see `judges.runs.identity.Approach`."""

    @property
    def attack(self) -> str:
        """Return the attack's name in the table."""

    @property
    def attack_settings(self) -> Varied:
        """Return the settings of the attack that vary."""

    @property
    def control(self) -> str:
        """Return the kind of control; "" for an attack."""


class NamedAtThreshold(Named, Protocol):
    """An attack or a control with the columns of a gradient inversion."""

    @property
    def guess(self) -> str:
        """Return how the initial guess is drawn."""

    @property
    def thresholding(self) -> str:
        """Return how the answer became spikes."""

    @property
    def tau(self) -> float | None:
        """Return the threshold; None if there was none."""


def settings_name(settings: Varied) -> str:
    """Return settings in one line: "timesteps=5 hidden=30", or ""."""
    return " ".join(_assignments(settings))


def in_words(name: str) -> str:
    """Return the name of a data set, model, attack or defence in words: "spiking LeNet"."""
    if name.startswith(_SPIKING) and name.removeprefix(_SPIKING) in _WORDS:
        return f"spiking {_WORDS[name.removeprefix(_SPIKING)]}"
    return _WORDS.get(name, name)


def _with_settings(name: str, settings: Varied) -> str:
    """Return a name in words with the settings that vary: "spiking LeNet (T=5)"."""
    told = ", ".join(_setting(key, value) for key, value in settings.items())
    return f"{in_words(name)} ({told})" if told else in_words(name)


def _setting(key: str, value: Scalar) -> str:
    """Return a setting that varies in words: "T=5", "published protocol", "rung 1: one example", "bits=4"."""
    if key == "protocol":
        return f"{_PROTOCOLS.get(str(value), value)} protocol"
    if key in ("adversary", RUNG):
        return f"{key} {value}"
    return f"T={value}" if key == "timesteps" else f"{key.replace('_', ' ')}={value}"


def network(victim: Attacked | Group) -> str:
    """Return "SNN" or "ANN"."""
    return SNN if victim.spiking else ANN


def model_key(victim: Attacked | Group) -> str:
    """Return the architecture with the other settings that vary: "spiking_lenet timesteps=5"."""
    return f"{victim.model} {settings_name(dict(victim.varied))}".strip()


def defence_key(victim: Attacked | Group) -> str:
    """Return the defence with the settings that vary: "none", "clip", "quantise bits=4"."""
    return f"{victim.defence} {settings_name(dict(victim.defence_settings))}".strip()


def model_name(victim: Attacked | Group) -> str:
    """Return the architecture in words with the other settings that vary: "spiking LeNet (T=5)"."""
    return _with_settings(victim.model, dict(victim.varied))


def network_name(victim: Attacked | Group) -> str:
    """Return the kind and the name of a network: "SNN spiking MLP"."""
    return f"{network(victim)} {model_name(victim)}"


def defence_name(victim: Attacked | Group) -> str:
    """Return the defence in words with the settings that vary: "none", "clipping", "quantisation (bits=4)"."""
    return _with_settings(victim.defence, dict(victim.defence_settings))


def init_name(victim: Attacked | Group) -> str:
    """Return how the parameters started: "torch initialisation", "parameters as sent", or ""."""
    if victim.init == AS_SENT:
        return f"parameters {AS_SENT}"
    return f"{victim.init} initialisation" if victim.init else ""


def group_name(victim: Attacked | Group, *, init: bool = True) -> str:
    """Return what was attacked in words; `init` says whether to include the initialisation."""
    start, defence = init_name(victim) if init else "", defence_name(victim)
    parts = [in_words(victim.dataset), model_name(victim), start, "" if victim.defence == NO_DEFENCE else defence]
    return ", ".join(part for part in parts if part)


def target_name(target: Target) -> str:
    """Return a kind of target in words."""
    group = target.group
    epochs = f"{target.round} epoch{'' if target.round == 1 else 's'}"
    trained = {
        FEDERATION: f"federation, round {target.round}",
        CLIENT: f"clients' updates, round {target.round}",
        FILE: "weights from a file",
    }.get(target.source, epochs)
    return ", ".join((in_words(group.dataset), network_name(group), trained))


def way_name(thresholding: str) -> str:
    """Return a way of thresholding in words: "post-optimisation"."""
    return thresholding.replace("_", "-")


def attack_name(one: Named) -> str:
    """Return the name of an attack with the settings that vary, or of a control."""
    name = _with_settings(one.attack, {key: value for key, value in one.attack_settings.items() if key not in _SILENT})
    if one.control in (SHUFFLED, SWAPPED, NULL):
        return f"{name}, {one.control}"
    return one.control or name


def line_name(one: NamedAtThreshold) -> str:
    """Return the name of an attack with its thresholding, or of a control of a gradient inversion."""
    if one.control == NO_OP:
        return no_op_name(in_words(one.guess), one.tau)
    threshold = "" if one.tau is None else f"tau {one.tau:g}"
    way = way_name(one.thresholding) if threshold and one.control in ("", SWAPPED) else ""
    return ", ".join(part for part in (attack_name(one), way, threshold if way else "") if part)


def no_op_name(guess: str, tau: float | None) -> str:
    """Return the name of the control that is an initial guess before any step."""
    return f"{NO_OP} ({guess if tau is None else f'{guess}, tau {tau:g}'})"


def control_cell(where: str, control: str) -> str:
    """Return the cell of a control's rows."""
    return f"{where}/{CONTROL}{control}"


def federation_label(victim: Attacked, *, defence: bool) -> str:
    """Return the name of a federation in folders, with or without the defence.

    It is part of the ids of captures, which attacks see, so of a root seed that varies it has a hash only.

    Raises:
        ConfigError: the name is too long for a folder.
    """
    parts = [victim.dataset, victim.model, victim.init]
    parts += [victim.defence, *_assignments(victim.defence_settings)] if defence else []
    varied = {key: _hashed(value) if key == "seed" else value for key, value in victim.varied.items()}
    label = file_name("-".join([*parts, *_assignments(varied)]))
    if len(label) > LONGEST:
        raise ConfigError(f"the grid gives a federation the name '{label}', which is too long for a folder.")
    return label


def group_label(victim: Attacked) -> str:
    """Return the name of the captures of one model of an audit in folders, truncated if it is too long."""
    return file_name("-".join([victim.model, *_assignments(victim.varied)]))[:LONGEST]


def attack_key(name: str, varied: Varied) -> str:
    """Return what random streams call an attack with those of its settings that vary, however long that is."""
    return file_name("-".join([name, *_assignments(varied)]))


def attack_label(name: str, varied: Mapping[str, Scalar]) -> str:
    """Return the name of an attack with the settings that vary in folders.

    Raises:
        ConfigError: the name is too long for a folder.
    """
    label = attack_key(name, varied)
    if len(label) > LONGEST:
        raise ConfigError(f"attack: the grid gives it the name '{label}', which is too long for a folder.")
    return label


def file_name(text: str) -> str:
    """Return `text` with every character that is unsafe in a file name replaced by _."""
    return re.sub(r"[^A-Za-z0-9._=-]", "_", text)


def _hashed(seed: Scalar) -> str:
    return hashlib.sha256(f"label of the seed {seed}".encode()).hexdigest()[:8]


def _assignments(settings: Varied) -> list[str]:
    return [f"{key}={value}" for key, value in settings.items()]
