"""What the server tells a client to do in a round: the config of a train message, read by its keys in kebab-case."""

from __future__ import annotations

from typing import Literal

import pydantic
from flwr.app import Message
from pydantic import Field

from fl_sim.validation import validate


class TrainOrder(pydantic.BaseModel):
    """One order; keys that only other clients read are ignored.

    Attributes:
        server_round: from 1.
        share: what the client replies.
        learning_rate, local_steps: of local SGD; a gradient is of one batch.
        batch_size: N.
        proximal_mu: FedProx's mu, 0 for none.
    """

    model_config = pydantic.ConfigDict(
        frozen=True, strict=True, extra="ignore", alias_generator=lambda name: name.replace("_", "-")
    )
    server_round: int = Field(ge=1)
    share: Literal["gradient", "weights"] = "weights"
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    local_steps: int = Field(default=1, ge=1)
    proximal_mu: float = Field(default=0.0, ge=0)

    @classmethod
    def of(cls, message: Message) -> TrainOrder:
        """Return the order that a train message holds.

        Raises:
            ConfigError: a key is missing, of the wrong type, or does not go with another one.
        """
        return validate(cls, dict(message.content["config"]))

    @pydantic.model_validator(mode="after")
    def _possible(self) -> TrainOrder:
        if self.share == "gradient" and self.local_steps != 1:
            raise ValueError("local-steps: a shared gradient is of one batch, so it must be 1")
        return self
