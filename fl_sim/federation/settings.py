"""The run config of the Flower apps: the flat form of `SimulationConfig`, and where the records go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fl_sim.captures import check_federation_id
from fl_sim.config import SimulationConfig, flatten, unflatten, validate
from fl_sim.defence_settings import default_settings, without_defaults
from fl_sim.errors import ConfigError
from fl_sim.specs import Scalar


@dataclass(frozen=True)
class RunSettings:
    """What one run of the apps does.

    Attributes:
        config: the federation. Its `engine` is read by `fl_sim.simulation` only; `flwr run` is an engine itself.
        output: absolute folder of captures, sealed batches and models; None to keep nothing.
        federation_id: name of the federation in that folder.
    """

    config: SimulationConfig
    output: Path | None = None
    federation_id: str = "federation"

    @classmethod
    def read(cls, run_config: Mapping[str, Scalar]) -> RunSettings:
        """Return the settings that a flat run config holds.

        Args:
            run_config: as Flower hands it over, or as `flat` returns it. Settings of defences that are not chosen may
                stand in it with their defaults.

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
        """Return the run config that `read` reads, the defaults of every defence among it."""
        output = str(self.output) if self.output else ""
        defaults = {f"defence.{key}": value for key, value in default_settings().items()}
        return {**defaults, **flatten(self.config), "output": output, "federation_id": self.federation_id}
