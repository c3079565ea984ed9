"""The models of an audit: of a recorded federation the trained one if it is kept, else the one that was sent last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from fl_sim.captures import CaptureStore
from fl_sim.errors import DataError
from fl_sim.global_models import trained_model_path
from fl_sim.observed import assuming
from fl_sim.records import CapturedUpdate, ModelSpec, TrainedModel, load_record
from fl_sim.specs import Scalar
from judges.runs.identity import Attacked
from judges.runs.rows.classes import FEDERATION, FILE
from judges.scoring.truths import Evidence

_SIZE = "batch_size"


@dataclass(frozen=True)
class RecordedModel:
    """A global model that was recorded, or the model of a file.

    Attributes:
        number: its place among those of the audit, from 0.
        attacked: its columns in the rows, which tell no batch size.
        model: its parameters, and after how many rounds they were taken; its accuracy is not known yet, and 0.
        before: the parameters of one round before; {} where they were not recorded.
        first: what the first recorded client was sent, if that was in round 1; None if not.
        last: an update of the last recorded round, with what is assumed, which tells how clients train; None of a file.
        seen: ids of the captured updates of the rounds behind the model.
        path: of the model that was kept; None for what was sent.
    """

    number: int
    attacked: Attacked
    model: TrainedModel
    before: Mapping[str, Tensor]
    first: CapturedUpdate | None
    last: CapturedUpdate | None
    seen: tuple[str, ...]
    path: Path | None = None

    @property
    def source(self) -> str:
        """Return where it comes from, as rows say it."""
        return FILE if self.last is None else FEDERATION

    @property
    def after(self) -> str:
        """Return the suffix of names of a federation's model after a round; "" of a file's."""
        return "" if self.last is None else f"@r{self.model.round:03d}"

    @property
    def spec(self) -> ModelSpec:
        """Return the specification of the model."""
        return self.model.model


def recorded_models(
    folder: Path, evidence: Iterable[Evidence], assumed: Mapping[str, Scalar], *, seed: int
) -> Iterator[RecordedModel]:
    """Yield the last global model of each federation, and of each model that it trained.

    Args:
        folder: of the audit.
        evidence: its captures.
        assumed: facts about the clients to assume where their captures do not state them.
        seed: root seed of the audit.
    """
    store = CaptureStore(folder / "captures")
    owners = {key.id: key for key in store.listed()}
    found: dict[tuple[str, ModelSpec], tuple[Attacked, list[str]]] = {}
    for one in evidence:
        varied = {key: value for key, value in one.attacked.varied.items() if key != _SIZE}
        for name in one.ids:
            key = owners[name].federation, one.model
            found.setdefault(key, (replace(one.attacked, varied=varied), []))[1].append(name)
    for number, ((federation, spec), (attacked, names)) in enumerate(found.items()):
        names.sort(key=lambda name: (owners[name].round, owners[name].client))
        first, last = store.load(names[0]), store.load(names[-1])
        path = trained_model_path(folder / "models", federation)
        kept = _kept(path, spec)
        after = last.round - 1 if kept is None else kept.round
        sent = {owners[name].round - 1: name for name in names}
        before = store.load(sent[after - 1]).parameters if after - 1 in sent else {}
        yield RecordedModel(
            number,
            attacked,
            TrainedModel(spec, last.parameters if kept is None else kept.parameters, 0.0, after, seed),
            before,
            first if first.round == 1 else None,
            assuming(last, assumed),
            tuple(name for name in names if owners[name].round <= after),
            None if kept is None else path,
        )


def _kept(path: Path, spec: ModelSpec) -> TrainedModel | None:
    """Return the trained model in a file; None if there is none, or if it is not of this specification."""
    if not path.is_file():
        return None
    try:
        model = load_record(TrainedModel, path)
    except DataError:
        return None
    same = (model.model.architecture, model.model.input) == (spec.architecture, spec.input)
    return replace(model, model=spec) if same else None
