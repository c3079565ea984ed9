"""TOML -> typed settings. An unknown key, a wrong type or an impossible combination is an error with the key's path.

A config is flat TOML with at most two levels. A plain value in place of a table is the table's `name`
(`model = "lenet"` means `[model] name = "lenet"`), and any list is an axis of a grid: `expand` returns one plain config
per combination. Nothing here imports torch, so that an invalid config is reported at once.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic
from pydantic import Field

from fl_sim.client_training import ClientTraining
from fl_sim.config.defence import DefenceSettings, refuse_misfit
from fl_sim.config.federation import FederationSettings as FederationSettings
from fl_sim.config.strategies import STRATEGY_ARGUMENTS, check_arguments
from fl_sim.datasets import DATASETS, load_dataset
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS
from fl_sim.specs import Framing, InputSpec, ModelSpec, OwnData, Scalar, Settings, SpikingSpec
from fl_sim.validation import in_table
from fl_sim.validation import validate as validate  # re-exported, so that reading a config needs this module only

if TYPE_CHECKING:
    from fl_sim.datasets.examples import Dataset

Raw = dict[str, Any]
STRATEGIES = tuple(STRATEGY_ARGUMENTS)


class DatasetSettings(Framing, OwnData):
    """The private data of the clients.

    The settings of `Framing` are read by event data sets only, those of `OwnData` by data of the user's own only.

    Attributes:
        name: in the table `fl_sim.datasets.DATASETS`.
        root: folder of the data; "" for `SPIKELEAK_DATA`, then the cache of downloads. Of "npz" and "folder" the file
            or folder itself, of "huggingface" the name of the data set.
        size: side in pixels of the square to which images are resized, at least 7 (the window of SSIM); 0 for the data
            set's default.
        channels: 3 makes colour images with equal channels out of grey ones, as GRNN's authors do; 0 for those that the
            images have.
        split: the split that the clients hold. The judges train on the train split; the global model is tested on the
            split that the clients do not hold.
        partitioner: "iid" or "dirichlet" (label skew).
        alpha: concentration of the Dirichlet partitioner.
        singles: number of clients, the first ones, that hold a single example each; the partitioner divides the rest of
            the split among the others. FedAvg weighs a client by what it holds, so they hardly move the model.
    """

    name: str = "digits"
    root: str = ""
    size: int = Field(default=0, ge=0, le=1024)
    channels: Literal[0, 3] = 0
    split: Literal["train", "test"] = "train"
    partitioner: Literal["iid", "dirichlet"] = "iid"
    alpha: float = Field(default=0.5, gt=0)
    singles: int = Field(default=0, ge=0)

    @pydantic.field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return in_table(name, DATASETS)

    @pydantic.field_validator("size")
    @classmethod
    def _large_enough(cls, size: int) -> int:
        if 0 < size < 7:
            raise ValueError(f"expected 0 for the default, or a side of 7 pixels or more, got {size}")
        return size

    @property
    def framing(self) -> Framing:
        """Return the settings of how recordings become frames."""
        return Framing(**self.model_dump(include=set(Framing.model_fields)))

    @property
    def own(self) -> OwnData:
        """Return what data of the user's own do not say themselves."""
        return OwnData(**self.model_dump(include=set(OwnData.model_fields)))

    def load(self) -> Dataset:
        """Return the data set; the errors are those of `fl_sim.datasets.load_dataset`."""
        return load_dataset(
            self.name, root=self.root, size=self.size, channels=self.channels, framing=self.framing, own=self.own
        )


class ModelSettings(SpikingSpec):
    """The model that the clients train. The spiking settings are read by spiking models only.

    Attributes:
        name: in the table `fl_sim.models.MODELS`.
        init: "uniform" (DLG's U(-0.5, 0.5) on weights and biases) or "torch" (the library's defaults).
        hidden: units of the hidden layer; used by "mlp" and "spiking_mlp" only.
    """

    name: str = "lenet"
    init: Literal["uniform", "torch"] = "uniform"
    hidden: int = Field(default=3000, ge=1)

    @pydantic.field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return in_table(name, MODELS)

    def spec(self, input_spec: InputSpec) -> ModelSpec:
        """Return the specification of this model for inputs of `input_spec`."""
        spiking = None
        if MODELS[self.name].spiking:
            spiking = SpikingSpec(**self.model_dump(include=set(SpikingSpec.model_fields)))
        return ModelSpec(self.name, input_spec, self.init, spiking, self.hidden)


class StrategySettings(Settings):
    """The aggregation strategy: "FedSGD" (clients share gradients) or any of Flower's.

    Every further key is an argument of the strategy's constructor.

    Attributes:
        name: in the table `fl_sim.config.strategies.STRATEGY_ARGUMENTS`.
        num_malicious_nodes: how many clients of a round are taken to be malicious.
        num_nodes_to_select: how many updates of a round are averaged.
        eta: the server's learning rate.
        eta_l: the clients' learning rate as Flower logs it; they step by `federation.learning_rate`.
        tau: degree of adaptivity, added to the root of the second moment.
        beta_1: how much of the first moment each round keeps.
        beta_2: how much of the second moment each round keeps.
        server_learning_rate, server_momentum: of the server's step along the mean change.
        proximal_mu: weight of the proximal term in the clients' loss; 0 for FedAvg.
        beta: share of the values that is cut off at both ends, in [0, 0.5).
        q: degree of fairness; 0 for FedAvg.
        noise_multiplier: of central differential privacy: sigma, the noise on the sum of a round's updates in units of
            the clipping norm.
        clipping_norm: largest l2 norm of an update that is averaged.
        initial_clipping_norm: the same in the first round, where it is adapted.
        target_clipped_quantile: share of the updates that should be clipped.
        clip_norm_lr: rate of the geometric adaptation.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="allow", strict=True)
    name: str = "FedSGD"

    @pydantic.field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return in_table(name, STRATEGIES, addable=False)

    @property
    def arguments(self) -> dict[str, Scalar]:
        """Return the arguments of the strategy's constructor."""
        return dict(self.model_extra or {})


class SimulationConfig(Settings):
    """All settings of one federation.

    Attributes:
        seed: the root seed, from which every random stream is derived.
        repeat: index of the repetition of an experiment; each has its own initial model and batches.
        dataset, model, federation, strategy, defence: the settings of the tables of these names.
        client: how the clients compute their steps; plain SGD on the mean cross-entropy where nothing is set.
    """

    seed: int = 0
    repeat: int = Field(default=0, ge=0)
    dataset: DatasetSettings = DatasetSettings()
    model: ModelSettings = ModelSettings()
    federation: FederationSettings = FederationSettings()
    client: ClientTraining = ClientTraining()
    strategy: StrategySettings = StrategySettings()
    defence: DefenceSettings = DefenceSettings()

    @pydantic.model_validator(mode="after")
    def _possible(self) -> SimulationConfig:
        check_arguments(self.strategy.name, self.strategy.arguments)
        for key, one in (("local_steps", 1), ("local_epochs", 0)):
            if self.strategy.name == "FedSGD" and getattr(self.federation, key) != one:
                raise ValueError(f"federation.{key}: FedSGD shares the gradient of one batch, so it must be {one}; "
                                 "for more local steps choose strategy = \"FedAvg\"")  # fmt: skip
        spiking = MODELS[self.model.name].spiking
        refuse_misfit(self.defence.name, strategy=self.strategy.name, client=self.client.known(), spiking=spiking)
        if self.defence.samples and self.federation.local_epochs:
            raise ValueError("federation.local_epochs: Poisson samples make no passes; say federation.local_steps")
        if self.defence.samples and self.federation.share_labels and not self.defence.tells_sizes:
            raise ValueError("federation.share_labels: the labels of Poisson samples tell their sizes, so set "
                             "defence.tell_sizes = true as well")  # fmt: skip
        return self


def flatten(settings: pydantic.BaseModel) -> dict[str, Scalar]:
    """Return settings in the form of Flower's run config: one level, keys joined by dots, plain values only."""
    flat: dict[str, Scalar] = {}
    for key, value in settings.model_dump(exclude_none=True).items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": item for inner, item in value.items()}
        else:
            flat[key] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> Raw:
    """Return the nested form of a flat run config; the inverse of `flatten`."""
    raw: Raw = {}
    for path, value in flat.items():
        table, _, key = path.rpartition(".")
        (raw.setdefault(table, {}) if table else raw)[key] = value
    return raw


def read_toml(path: Path) -> Raw:
    """Return the content of a TOML file.

    Raises:
        ConfigError: the file does not exist, or is not valid TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows editors begin files with a mark
    except OSError as error:
        raise ConfigError(f"{path}: expected a config in TOML, found no readable file ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: expected TOML, but {error}.") from error


def override(raw: Raw, assignments: Iterable[str], tables: Iterable[str]) -> Raw:
    """Return a copy of `raw` with each "key=value" or "table.key=value" applied.

    A value is parsed as TOML; if that fails, a,b is a list and anything else is text.

    Raises:
        ConfigError: an assignment has no "=" or more than two levels.
    """
    result: Raw = {key: dict(value) if isinstance(value, dict) else value for key, value in raw.items()}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        table, _, key = path.strip().rpartition(".")
        if not equals or not key or "." in table:
            raise ConfigError(f"--set {assignment}: expected key=value or table.key=value.")
        if not table and key in tables:
            table, key = key, "name"
        target = result if not table else result.setdefault(table, {})
        if not isinstance(target, dict):
            target = result[table] = {"name": target}
        target[key] = _value(text.strip())
    return result


def expand(raw: Raw, tables: Sequence[str]) -> list[Raw]:
    """Return one plain config per combination of the lists in `raw`, in the order of the file.

    Args:
        raw: a config as read; a list is an axis of the grid.
        tables: keys at which a plain value is the table's `name`.

    Raises:
        ConfigError: a list is empty, or a quoted key contains a dot.
    """
    for key in (key for key in raw if "." in key):
        raise ConfigError(f"{key}: expected a key in a table, got one key with a dot in it; leave out the quotes.")
    named = {
        key: {"name": value} if key in tables and not isinstance(value, dict) else value for key, value in raw.items()
    }
    flat: Raw = {}
    for key, value in named.items():
        flat |= {f"{key}.{name}": item for name, item in value.items()} if isinstance(value, dict) else {key: value}
    axes = [value if isinstance(value, list) else [value] for value in flat.values()]
    for path, values in zip(flat, axes, strict=True):
        if not values:
            raise ConfigError(f"{path}: expected a value or a list of values, got an empty list.")
    return [unflatten(dict(zip(flat, combination, strict=True))) for combination in itertools.product(*axes)]


def _value(text: str) -> Any:  # noqa: ANN401 - any TOML value
    """Return `text` parsed as a TOML value; if that fails, a list if it has commas, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return [_value(part.strip()) for part in text.split(",")] if "," in text else text
