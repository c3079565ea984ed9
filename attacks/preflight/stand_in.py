"""A capture that nobody sent: what a server would see of a client, before there is one."""

from __future__ import annotations

from typing import Literal

import torch

from fl_sim.client_steps import trainable
from fl_sim.client_training import ClientTraining
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate
from fl_sim.specs import ModelSpec

ID = "stand-in/r001-c000"


def stand_in(
    model: ModelSpec,
    training: ClientTraining,
    *,
    kind: Literal["gradient", "delta"] = "gradient",
    seed: int | None = None,
    buffers: bool = True,
) -> CapturedUpdate:
    """Return what a server would capture of a client with a fresh model, with zeros in place of its update.

    Args:
        model: of the client.
        training: how it computes its steps.
        kind: what it shares.
        seed: draws the parameters by `model.init`; None leaves them as the builder made them.
        buffers: whether a delta holds those too, as a module's state_dict does.

    Raises:
        ConfigError: the model cannot be built.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build_model(model, seed=seed)
    parameters = {name: value.detach().clone() for name, value in module.named_parameters()}
    state = {name: value.detach().clone() for name, value in module.state_dict().items()}
    names = trainable(module, training) if kind == "gradient" else state if buffers else parameters
    sent = parameters | state if buffers else parameters
    return CapturedUpdate(
        id=ID,
        round=1,
        client=0,
        model=model,
        parameters=sent,
        update={name: torch.zeros_like(sent[name]) for name in names},
        kind=kind,
        training=training,
    )
