"""Auxiliary examples for attacks, read where they are used: from a data set, or from public pictures."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from attacks.contracts import Auxiliary, GradientInversion, UsesAuxiliary
from attacks.settings import NO_AUXILIARY, PUBLIC
from fl_sim.config import DatasetSettings
from fl_sim.datasets import DATASETS, load_dataset
from fl_sim.datasets.channels import COLOUR
from fl_sim.datasets.examples import Dataset, Examples
from fl_sim.datasets.reading.public import PublicPictures, read_public
from fl_sim.errors import ConfigError
from fl_sim.seeding import torch_stream
from fl_sim.specs import Framing, InputSpec, OwnData, Scalar
from judges.plans.gradient_inversion import Cell


@dataclass(frozen=True)
class Source:
    """Where the auxiliary examples of an attack come from; a value that can be sent to another process.

    Attributes:
        name: data set in the table, or "public".
        split: of that data set.
        count: number of examples to draw; all of them if there are fewer.
        seed: of the draw.
        spec: what the victims' model takes.
        root, size, framing, own: how the data set is read, as those of the victims are.
        folder: of public pictures.
    """

    name: str
    split: str
    count: int
    seed: int
    spec: InputSpec
    root: str = ""
    size: int = 0
    framing: Framing = field(default_factory=Framing)
    own: OwnData = field(default_factory=OwnData)
    folder: str = ""

    def dataset(self) -> Dataset | None:
        """Return the data set; None for public pictures.

        Raises:
            ConfigError: its inputs are not such that the victims' model takes them.
            DataError: its files are missing or corrupt.
        """
        if self.name == PUBLIC:
            return None
        kinds = ("images", "recordings of events")
        ours, theirs = kinds[bool(self.spec.timesteps)], kinds[DATASETS[self.name].events]
        if ours != theirs:
            raise ConfigError(f"attack.auxiliary: '{self.name}' holds {theirs}, and the victims' model takes {ours}.")
        channels = COLOUR if self.spec.channels == COLOUR and not DATASETS[self.name].events else 0
        dataset = load_dataset(
            self.name, root=self.root, size=self.size, channels=channels, framing=self.framing, own=self.own
        )
        shapes = [(spec.timesteps, *spec.frame) for spec in (self.spec, dataset.spec)]
        if shapes[0] != shapes[1]:
            first = 0 if self.spec.timesteps else 1
            raise ConfigError(
                f"attack.auxiliary: inputs of '{self.name}' are {shapes[1][first:]}, and the victims' model takes "
                f"{shapes[0][first:]}."
            )
        return dataset

    def pictures(self) -> PublicPictures:
        """Return the public pictures; the errors are those of `read_public`."""
        return read_public(Path(self.folder), self.spec)

    def told(self) -> str:
        """Return which examples these are, in words; the errors are those of `dataset` and `pictures`."""
        dataset = self.dataset()
        held = self.pictures() if dataset is None else _split(dataset, self.split)
        many = f"{self.count:,} of the {len(held):,}" if self.count < len(held) else f"all {len(held):,}"
        if dataset is None:
            return f"{many} public pictures in '{self.folder}'"
        return f"{many} examples of the {self.split} split of '{self.name}'"


def source_of(
    settings: Mapping[str, Scalar], spec: InputSpec, victims: DatasetSettings | None, *, seed: int, public: str = ""
) -> Source | None:
    """Return where the auxiliary examples come from that an attack's settings name; None if they name none.

    Args:
        settings: all settings of the attack.
        spec: what the victims' model takes.
        victims: the data of the clients; None if they are not known.
        seed: root seed of the experiment.
        public: folder of the public pictures of an audit.
    """
    name = str(settings.get("auxiliary", NO_AUXILIARY))
    if name == NO_AUXILIARY:
        return None
    count = int(settings["auxiliary_count"])
    source = Source(name, str(settings["auxiliary_split"]), count, seed, spec, folder=public)
    if name == PUBLIC:
        return source
    square = spec.height if spec.height == spec.width else 0
    size = victims.size if victims is not None and victims.name == name else square
    framing = victims.framing if victims is not None and DATASETS[name].events else Framing()
    own = victims.own if victims is not None and DATASETS[name].own else OwnData()
    return Source(name, source.split, count, seed, spec, victims.root if victims else "", size, framing, own)


class AuxiliaryData:
    """The auxiliary data of the attacks of a run.

    Args:
        seed: root seed of the experiment.
        public: folder of the public pictures of an audit.

    Attributes:
        datasets: those that were read, by name.
        told: {attack, with the settings that vary: which examples it is given, in words}.
    """

    def __init__(self, seed: int, public: str) -> None:
        self._seed, self.public = seed, public
        self.datasets: dict[str, Dataset] = {}
        self.told: dict[str, str] = {}

    def read(self, cells: Iterable[Cell], spec: InputSpec, victims: DatasetSettings | None) -> None:
        """Read the data of the attacks of cells on models with these inputs.

        Raises:
            ConfigError, DataError: as `Source.dataset` and `Source.pictures`.
        """
        for cell in cells:
            source = source_of(cell.all_settings, spec, victims, seed=self._seed, public=self.public)
            dataset = source.dataset() if source else None
            self.datasets |= {dataset.name: dataset} if dataset else {}
            if source:
                told = self.told.setdefault(cell.source, source.told())
                self.told[cell.source] = told if source.told() in told else f"{told}; {source.told()}"


def informed(attack: GradientInversion, source: Source | None) -> GradientInversion:
    """Return an attack with the auxiliary examples of a source, if there is one.

    Raises:
        ConfigError: the attack takes none, or as `Source.dataset`.
    """
    if source is None:
        return attack
    if not isinstance(attack, UsesAuxiliary):
        raise ConfigError(
            f"attack.auxiliary: {type(attack).__name__} has no method `informed` to take auxiliary data, although its "
            "settings have this key."
        )
    return attack.informed(examples(source))


def examples(source: Source) -> Auxiliary:
    """Return the examples of a source, in the range of the victims' inputs; the same ones wherever it is called."""
    dataset = source.dataset()
    if dataset is not None:
        return _drawn(source, dataset.digest)
    pictures = source.pictures()
    return Auxiliary(source.name, *pictures.batch(_order(source, len(pictures))))


@functools.lru_cache(maxsize=2)
def _drawn(source: Source, digest: str) -> Auxiliary:  # noqa: ARG001 - the files may change within a process
    """Return examples of a data set; they are drawn once per process, since a job attacks a few victims only."""
    dataset, spec = source.dataset(), source.spec
    assert dataset is not None  # noqa: S101 - public pictures are read above
    inputs, labels = _split(dataset, source.split).batch(_order(source, len(_split(dataset, source.split))))
    low, high = dataset.spec.low, dataset.spec.high
    if (low, high) != (spec.low, spec.high):
        inputs = spec.low + (spec.high - spec.low) * (inputs - low) / (high - low)
    return Auxiliary(source.name, inputs, labels)


def _order(source: Source, held: int) -> Tensor:
    """Return indices of the examples that are drawn from so many."""
    generator = torch_stream(source.seed, "auxiliary", source.name, source.split)
    return torch.randperm(held, generator=generator)[: source.count]


def _split(dataset: Dataset, name: str) -> Examples:
    return dataset.train if name == "train" else dataset.test
