"""Tries answers on models that their attack never saw: what an answer owes to its class, and what to one training.

An input that fools one network and no other of the same kind shows that network; one that its like take for the class
too shows what all of them learnt, which is the data (Tramer et al. 2017 on the transfer of adversarial examples; for
model inversion the counterpart of the evaluation classifier of BrainLeaks, section 4.1, without another architecture).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from attacks.posterior import Target, log_posterior
from fl_sim.records import TrainedModel
from judges.runs.rows.classes import ClassScore
from judges.scoring.class_metrics import ClassOutcomes, outcomes
from judges.scoring.model_inversion import Shown


def tried(
    rows: Sequence[ClassScore], shown: Shown, own: TrainedModel, others: Sequence[TrainedModel], *, device: str = "cpu"
) -> list[ClassScore]:
    """Return rows with what the attacked model and others of its kind make of the answers.

    Answers and their shuffled values go into each model as they are. What stands for real images is coded by each model
    itself, as it would be in its use.

    Args:
        rows: one for each class, in the order of the answers.
        shown: the answers.
        own: the attacked model; for a control, the model of its rows.
        others: models of the same kind, which the attack never saw; at least one.
        device: where to compute.
    """
    first, *second = (_believed(model, shown, device) for model in (own, *others))
    wins = torch.stack([one.rank == 1 for one in second]).sum(0)
    confidence = torch.stack([one.confidence for one in second]).mean(0)
    return [
        replace(
            row,
            own_success=bool(first.rank[at] == 1),
            own_confidence=float(first.confidence[at]),
            second_targets=len(second),
            second_success=int(wins[at]),
            second_confidence=float(confidence[at]),
        )
        for at, row in enumerate(rows)
    ]


@torch.no_grad()
def _believed(model: TrainedModel, shown: Shown, device: str) -> ClassOutcomes:
    """Return what a model believes of each answer; a tie counts against the attack, as it does for judges."""
    spiking = model.model.spiking is not None
    target = Target(model, spiking=spiking, attack="transfer", device=device, precision="float32")
    inputs = shown.inputs if shown.still is None else shown.still
    return outcomes(log_posterior(target.outputs(inputs.to(device))).cpu(), shown.classes)
