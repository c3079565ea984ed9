"""The table `[federation]` of a config. Nothing here imports torch."""

from __future__ import annotations

from typing import Literal, Self

import pydantic
from pydantic import Field

from fl_sim.specs import Settings

EACH_CLIENT, SUM_OF_CLIENTS = "each client", "sum of clients"
"""What the server sees: each client's update, or the sum over several, as secure aggregation leaves it."""


class FederationSettings(Settings):
    """The clients, rounds, local training and engine of a federation.

    Attributes:
        engine: "local" (in this process) or "ray" (Flower's own simulation engine).
        clients: number of clients, each with one partition (2 is what `flwr run` simulates by default).
        rounds: number of server rounds.
        fraction: share of the clients that train in a round.
        batch_size: N, examples per local step.
        local_steps: optimiser steps of a client per round (always 1 under FedSGD), each on a full batch.
        local_epochs: passes of a client over all examples that it holds, per round, in place of `local_steps`; the last
            batch of a pass may be smaller, unless `client.drop_last`. 0 for `local_steps`.
        dropout: probability that a client that was asked to train does not answer in a round; at least one answers.
        learning_rate: of the client's steps; under FedSGD, of the server's step.
        share_labels: whether clients tell the server the labels of their examples, in the order in which they use them:
            a server that knows them from elsewhere. iDLG then uses them and reads none.
        keep_every: the global model is stored every `keep_every` rounds, before the first round and after the last; 0
            to store only the last. No other result depends on it.
        capture_every: updates are captured, and batches sealed, in rounds 1, 1 + `capture_every`, ...; 0 for none. The
            training does not depend on it.
        capture_most: largest number of examples that a client whose updates are captured holds; 0 for no limit. The
            training does not depend on it.
        observer: whether the server sees the update of "each client", or the "sum of clients" only, as behind secure
            aggregation. The training does not depend on it.
        summed_clients: k, number of clients in a sum; those left over in a round are not seen. 0 for all that answer.
    """

    engine: Literal["local", "ray"] = "local"
    clients: int = Field(default=2, ge=1)
    rounds: int = Field(default=1, ge=1)
    fraction: float = Field(default=1.0, gt=0, le=1)
    batch_size: int = Field(default=1, ge=1)
    local_steps: int = Field(default=1, ge=1)
    local_epochs: int = Field(default=0, ge=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    learning_rate: float = Field(default=0.1, gt=0)
    share_labels: bool = False
    keep_every: int = Field(default=0, ge=0)
    capture_every: int = Field(default=1, ge=0)
    capture_most: int = Field(default=0, ge=0)
    observer: Literal["each client", "sum of clients"] = "each client"
    summed_clients: int = Field(default=0, ge=0)

    @pydantic.model_validator(mode="after")
    def _either(self) -> Self:
        if self.local_epochs and self.local_steps != 1:
            raise ValueError("local_epochs: say for how many local steps or for how many epochs, not both")
        if self.summed_clients and self.observer == EACH_CLIENT:
            raise ValueError(
                f'summed_clients: is read with observer = "{SUM_OF_CLIENTS}" only; a sum of 1 is each client'
            )
        if self.summed_clients > max(1, int(self.clients * self.fraction + 1e-9)):
            raise ValueError(f"summed_clients: a sum over {self.summed_clients} is more than the clients of a round")
        return self

    def captures(self, server_round: int) -> bool:
        """Return whether updates are captured in a round, from 1."""
        return bool(self.capture_every) and (server_round - 1) % self.capture_every == 0
