"""Settings of the apps: their run config (the flat form of `SimulationConfig`) and the config of a train message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pydantic
from flwr.app import Message
from pydantic import Field

from fl_sim.captures import check_federation_id
from fl_sim.config import SimulationConfig, flatten, unflatten, validate
from fl_sim.config.defence import default_settings, without_defaults
from fl_sim.errors import ConfigError
from fl_sim.specs import Scalar


@dataclass(frozen=True)
class RunSettings:
    """The settings of one run of the apps.

    Attributes:
        config: the federation. Its `engine` is read by `fl_sim.simulation` only; `flwr run` is itself an engine.
        output: absolute folder of captures, sealed batches and models; None to store nothing.
        federation_id: name of the federation in that folder.
    """

    config: SimulationConfig
    output: Path | None = None
    federation_id: str = "federation"

    @classmethod
    def read(cls, run_config: Mapping[str, Scalar]) -> RunSettings:
        """Return the settings in a flat run config.

        Args:
            run_config: as Flower passes it, or as `flat` returns it. It may contain the settings of other defences with
                their default values.

        Raises:
            ConfigError: it is empty, a key is unknown or of the wrong type, or `output` is not absolute.
        """
        if not run_config:
            raise ConfigError(
                "The run config is empty. Start the apps with `flwr run`, or build them with "
                "build_client_app(run_config) and build_server_app(run_config)."
            )
        rest = {key: value for key, value in run_config.items() if key not in ("output", "federation_id")}
        output = str(run_config.get("output", ""))
        if output and not Path(output).is_absolute():
            raise ConfigError(
                f"output: expected an absolute folder, since the apps run in a folder of Flower's, got {output!r}."
            )
        raw = unflatten(rest)
        if isinstance(raw.get("defence"), dict):
            raw["defence"] = without_defaults(raw["defence"])
        return cls(
            config=validate(SimulationConfig, raw),
            output=Path(output) if output else None,
            federation_id=check_federation_id(str(run_config.get("federation_id", "federation"))),
        )

    def flat(self) -> dict[str, Scalar]:
        """Return the run config for `read`, including the defaults of every defence."""
        output = str(self.output) if self.output else ""
        defaults = {f"defence.{key}": value for key, value in default_settings().items()}
        return {**defaults, **flatten(self.config), "output": output, "federation_id": self.federation_id}


class TrainOrder(pydantic.BaseModel):
    """The server's instructions in a train message; keys for other clients are ignored.

    Attributes:
        server_round: from 1.
        share: whether the client replies with a gradient or with weights.
        learning_rate, local_steps: of local SGD; a gradient is that of one batch.
        local_epochs: passes over all examples in place of local steps; 0 for local steps.
        batch_size: N.
        proximal_mu: FedProx's mu; 0 for none.
    """

    model_config = pydantic.ConfigDict(
        frozen=True, strict=True, extra="ignore", alias_generator=lambda name: name.replace("_", "-")
    )
    server_round: int = Field(ge=1)
    share: Literal["gradient", "weights"] = "weights"
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    local_steps: int = Field(default=1, ge=1)
    local_epochs: int = Field(default=0, ge=0)
    proximal_mu: float = Field(default=0.0, ge=0)

    @classmethod
    def of(cls, message: Message) -> TrainOrder:
        """Return the instructions in a train message.

        Raises:
            ConfigError: a key is missing, of the wrong type, or incompatible with another one.
        """
        return validate(cls, dict(message.content["config"]))

    @pydantic.model_validator(mode="after")
    def _possible(self) -> TrainOrder:
        if self.share == "gradient" and (self.local_steps != 1 or self.local_epochs):
            raise ValueError("local-steps: a shared gradient is that of one batch, so it must be 1")
        return self
