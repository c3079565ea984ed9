"""The examination of a client before anything is attacked: what an attack would look for, and what would hide it.

Nothing is computed but a few updates of random examples, so that it takes seconds whatever the federation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import torch

from attacks.engines.choice import Choice, choose
from attacks.engines.plain import planted
from attacks.preflight.evaluation import Evaluation, evaluated
from attacks.preflight.layers import Layers, drawing, layers_of
from attacks.reading.labels import recover_labels
from attacks.settings import IDLGSettings
from fl_sim.errors import ConfigError, SpikeleakError
from fl_sim.observed import batch_size, contradictions, local_steps, why_not_searched
from fl_sim.records import CapturedUpdate

_TRIES = 2


@dataclass(frozen=True)
class Preflight:
    """What can be said of a client before it is attacked.

    Attributes:
        capture: the update, with all that is known or assumed of its client.
        refusal: why it cannot be attacked; "" if it can.
        steps, examples: numbers of local steps and of different examples that follow from the facts; 0 if none follow.
        contradictions: what the facts contradict each other in, as sentences.
        layers: the model's parameters and what the client does with them; None if the model cannot be built.
        choice: the engine, and what its self-check found; None if there is none.
        drawing: modules whose forward pass draws random numbers in the client's mode; "" is the model's own code.
        evaluation: the attack's loss at planted examples, and what it costs; None if there is no engine.
        labels: {rule: share of random batches whose labels it reads}, for the rules of iDLG; empty if the targets are
            values and not classes.
        most_examples: largest number of examples whose inputs attacks search for by default.
    """

    capture: CapturedUpdate
    refusal: str = ""
    steps: int = 0
    examples: int = 0
    contradictions: tuple[str, ...] = ()
    layers: Layers | None = None
    choice: Choice | None = None
    drawing: tuple[str, ...] = ()
    evaluation: Evaluation | None = None
    labels: Mapping[str, float] = field(default_factory=dict)
    most_examples: int = IDLGSettings().most_examples


def examine(capture: CapturedUpdate) -> Preflight:
    """Return what can be said of the client behind a captured update; reasons against an attack are part of it."""
    found: dict[str, object] = {}
    try:
        found["steps"], found["examples"] = len(local_steps(capture)), batch_size(capture)
        refusal = why_not_searched(capture)
        if refusal:
            raise ConfigError(f"{refusal}.")
        found["contradictions"] = tuple(contradictions(capture))
        found["layers"] = layers = layers_of(capture)
        found["choice"] = choice = choose([capture])
        found["drawing"] = drawing(capture) if choice.draws else ()
        found["evaluation"] = evaluation = evaluated(capture, choice, layers.matched)
        found["labels"] = _labels(capture)
        refusal = _refusal(evaluation)
    except SpikeleakError as error:
        refusal = str(error)
    return Preflight(capture, refusal, **found)  # type: ignore[arg-type]


def _refusal(evaluation: Evaluation) -> str:
    """Return why an attack could find nothing although it can be computed, or ""."""
    if not evaluation.norm > 0:
        return "the update of random examples is 0 everywhere, so it says nothing about them."
    if not math.isfinite(evaluation.at_truth):
        return "the loss of an attack is not finite at the client's own examples."
    return ""


def _labels(capture: CapturedUpdate) -> dict[str, float]:
    """Return the share of random batches whose labels each rule reads off the last layer."""
    if capture.model.input.classes == 1:
        return {}
    tries = [planted(capture, seed=seed, precision=torch.float32) for seed in range(_TRIES)]
    found = {}
    for rule in get_args(IDLGSettings.model_fields["label_rule"].annotation):
        right = 0
        for one in tries:
            try:
                read = recover_labels(one.capture, rule=rule)
            except ConfigError:  # the rule has no layer to read
                continue
            right += int(read.tolist() == one.labels.sort().values.tolist())
        found[rule] = right / _TRIES
    return found
