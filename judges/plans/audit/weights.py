"""The plan of an audit of a model's file: whose weights they are, who was in the training, which threats are tried.

Importing this does not import torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from fl_sim.config import DatasetSettings, ModelSettings, Raw, override, validate
from fl_sim.errors import ConfigError
from fl_sim.specs import MOST_STEPS, Settings
from judges.plans.audit import AuditSettings
from judges.plans.audit.threats import GRADIENT, MEMBERSHIP, MODEL, NAMES, check_attacks, threats_in
from judges.plans.base import AttackSettings, Device, axes, plan_digest

TASK = "audit_weights"
TABLES = ("dataset", "model", "model_inversion", "membership")
TRAIN = "train"
"""In place of a folder of pictures: the members are the train split of the data set that is named."""

_OF_A_MODEL = (".pt", ".pth", ".bin", ".safetensors")

SIZES = ("channels", "height", "width", "classes")


class InputSettings(Settings):
    """The input of somebody else's model, where it is not that of the data set named, or none is.

    Attributes:
        channels, height, width: size of one frame; 0 for that of the data set, or in `spikeleak check` for what the
            model's own layers say.
        classes: number of labels; 0 for those of the data set, or in `spikeleak check` for the last layer's outputs.
        low, high: value range, by default that of the data set; -1 and 1 for the usual normalisation of images by mean
            0.5 and deviation 0.5.
        timesteps: number of time bins of an event recording, by default that of the data set.
        vocabulary: number of different tokens of a text; its number of tokens is the height. 0 for numbers.
    """

    channels: int = Field(default=0, ge=0)
    height: int = Field(default=0, ge=0)
    width: int = Field(default=0, ge=0)
    classes: int = Field(default=0, ge=0)
    low: float = 0.0
    high: float = 1.0
    timesteps: int = Field(default=0, ge=0, le=MOST_STEPS)
    vocabulary: int = Field(default=0, ge=0)

    @property
    def given(self) -> dict[str, Any]:
        """Return what is set, by field of an `InputSpec`."""
        told = self.model_dump(include=self.model_fields_set)
        text = {"channels": 1, "width": self.vocabulary} if self.vocabulary else {}
        return text | {key: value for key, value in told.items() if value or key not in SIZES}


class Whose(Settings):
    """Of which model a file of weights is; all unset for a trained model of ours, which says so itself.

    Attributes:
        model: the model and its neurons.
        dataset: the data set that it was trained on.
        input: what its inputs look like.
    """

    model: ModelSettings = ModelSettings()
    dataset: DatasetSettings = DatasetSettings()
    input: InputSettings = InputSettings()

    @property
    def named(self) -> frozenset[str]:
        """Return which of the three are set."""
        return frozenset(self.model_fields_set & Whose.model_fields.keys())


class WeightsAuditSettings(Whose):
    """How a model's file is attacked, and what is known of its training.

    Attributes:
        task: the kind of experiment.
        file: path of the weights, or of a trained model that spikeleak has written.
        members: what it was trained on: "train" for the train split of the data set named, or a folder of pictures with
            one subfolder for each class; "" if nobody says, so that no membership inference can be scored.
        public: folder of pictures that it was not trained on, where no data set is named: one subfolder for each class.
        people: whether the data show people, whose pictures are then hidden.
        seed: seed of the attacks and of the draws.
        threads: torch threads.
        device: where attacks and the judge compute.
        threats: "model", "membership" or both with a comma between them.
        model_inversion: the model inversion, and its settings; by default mi_face of an ANN and brainleaks_v2 of a
            spiking network.
        membership: the membership inference, and its settings; one without shadow models.
    """

    task: Literal["audit_weights"] = "audit_weights"
    file: str = Field(min_length=1)
    members: str = ""
    public: str = ""
    people: bool = False
    seed: int = Field(default=0, ge=0)
    threads: int = Field(default=1, ge=1)
    device: Device = "cpu"
    threats: str = f"{MODEL},{MEMBERSHIP}"
    model_inversion: AttackSettings = AuditSettings().model_inversion
    membership: AttackSettings = AuditSettings().membership

    @property
    def data(self) -> DatasetSettings | None:
        """Return the data set that is named, of whose train split the model is; None if none is."""
        return self.dataset.model_copy(update={"split": "train"}) if "dataset" in self.named else None

    @property
    def further(self) -> tuple[str, ...]:
        """Return the threats by the names of their folders."""
        return tuple(NAMES[name] for name in self.threats.split(","))


@dataclass(frozen=True)
class WeightsAuditPlan:
    """A whole audit of a model's file.

    Attributes:
        raw: the config as read, completed by the defaults.
        base: its settings.
    """

    raw: Raw
    base: WeightsAuditSettings

    @property
    def units(self) -> Mapping[str, str]:
        """Return {threat: hash of the config}; the plans of the threats have cells of their own."""
        return dict.fromkeys(self.base.further, self.digest)

    @property
    def digest(self) -> str:
        """Return a hash of the config."""
        return plan_digest(self.raw)


def is_file(target: Path, members: str) -> bool:
    """Return whether an audit is of a model's file: there is one, or nothing that is named as one or has members."""
    return target.is_file() or (not target.exists() and (bool(members) or target.suffix in _OF_A_MODEL))


def beside(file: Path, what: str = "audit") -> Path:
    """Return the folder of the results on a model's file: beside it, or beside the run that it is of, which stays so.

    Args:
        file: of the model.
        what: the attack, or "audit".
    """
    name, run = f"{file.stem}-{what}", file.resolve().parent.parent
    is_in_run = file.resolve().parent.name == "models" and (run / "manifest.json").is_file()
    return run.parent / f"{run.name}-{name}" if is_in_run else file.parent / name


def read_weights_audit(
    file: str, assignments: Iterable[str], *, public: str = "", members: str = "", threats: str = ""
) -> WeightsAuditPlan:
    """Return the audit of a file that "key=value" assignments describe; see `make_weights_audit_plan`."""
    told = {"public": public, "members": members, "threats": threats}
    given = {key: text for key, text in told.items() if text}
    raw = override({"task": TASK, "file": file, **given}, assignments, TABLES)
    if raw["file"] != file:
        raise ConfigError(f"file: is '{file}', as the audit is told; leave it out.")
    return make_weights_audit_plan(raw)


def make_weights_audit_plan(raw: Raw) -> WeightsAuditPlan:
    """Return the audit of a model's file that a config describes.

    Raises:
        ConfigError: a key, attack or threat is not known, a type or value is wrong, a setting has a list, both a data
            set and public pictures are named, or the members are of a data set that is not named.
    """
    for path in axes(raw, TABLES):
        raise ConfigError(f"{path}: is the same for the whole audit, so it cannot be a list.")
    usual = WeightsAuditSettings.model_fields
    for table, name in (("membership", usual["membership"].default.name), ("model_inversion", "")):
        if isinstance(raw.get(table), dict):
            raw = {**raw, table: {"name": name, **raw[table]}}
    if "threats" in raw:
        raw = {**raw, "threats": _threats(raw["threats"])}
    base = validate(WeightsAuditSettings, raw)
    if "split" in base.dataset.model_fields_set and base.dataset.split != TRAIN:
        raise ConfigError(
            f'dataset.split: expected "{TRAIN}" or nothing, got "{base.dataset.split}"; of a model that was trained on '
            "another split, give the pictures of both as folders, --members and --public."
        )
    if "dataset" in base.named and base.public:
        raise ConfigError(
            f"public: examples that the model was not trained on come from the data set '{base.dataset.name}' or from "
            f"'{base.public}', not from both; leave out --public or dataset."
        )
    if base.members == TRAIN and "dataset" not in base.named:
        raise ConfigError(
            f'members: "{TRAIN}" is the train split of a data set, and none is named; add --set dataset=NAME, or give '
            "a folder of pictures."
        )
    check_attacks(base.model_inversion, base.membership)
    return WeightsAuditPlan(_resolved(base), base)


def _threats(told: object) -> str:
    """Return the threats to a model alone; a ConfigError if one needs updates of clients or is not known."""
    known = threats_in(told).split(",")[1:]
    if not known or (isinstance(told, str) and GRADIENT in [name.strip() for name in told.split(",")]):
        raise ConfigError(
            f'threats: a model alone has no updates of clients, so that "{GRADIENT}" needs the folder of a '
            f"federation's captures; choose {MODEL}, {MEMBERSHIP} or both."
        )
    return ",".join(known)


def _resolved(base: WeightsAuditSettings) -> Raw:
    """Return a config completed by its defaults, with the tables on the model as far as they are set."""
    whole = base.model_dump(exclude={"model", "dataset", "input"}, exclude_none=True)
    for table in base.named:
        own = getattr(base, table)
        whole[table] = own.model_dump(include=own.model_fields_set | {"name"} & type(own).model_fields.keys())
    return whole
