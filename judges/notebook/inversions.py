"""Invert a trained model, and look at the pictures of its classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from attacks import MODEL_INVERSIONS, build_inversion
from attacks.answers import Call, inversion_of
from attacks.contracts import Inversion
from fl_sim.config import validate
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.models import MODELS
from fl_sim.records import TrainedModel, load_record
from judges.fitted import Fitted, Head, Line
from judges.notebook.display import console, display, in_notebook, working
from judges.notebook.own_models import built, input_of
from judges.notebook.page import html_of
from judges.notebook.pictures import Pair, figure_of, searched
from judges.notebook.results import data_frame
from judges.scoring.class_metrics import min_max_scaled, rate_decoded
from judges.scoring.image_metrics import has_ssim, ssim

if TYPE_CHECKING:
    import pandas

SURE = 0.5
"""A model whose posterior is above this takes a picture for one of the class."""


def invert(
    model: nn.Module | TrainedModel | str | Path,
    classes: int | Sequence[int],
    attack: str = "",
    *,
    images: Tensor | None = None,
    labels: Tensor | None = None,
    shape: tuple[int, int, int] | None = None,
    low: float = 0.0,
    high: float = 1.0,
    set: Mapping[str, Any] | None = None,  # noqa: A002 - as on the command line
    people: bool = False,
    show_faces: bool = False,
    device: str = "cpu",
    seed: int = 0,
    progress: bool = True,
) -> InvertedModel:
    """Make a picture of each class that a trained model holds, as `spikeleak invert` does.

    Args:
        model: any torch module that takes images; or a trained model of spikeleak, as a record or the path of one.
        classes: the classes, or one.
        attack: "mi_face", "brainleaks_v1" or "brainleaks_v2"; by default the second version for a spiking network of
            the table, and MI-Face for everything else.
        images, labels: (N, C, H, W) and (N,), examples of the classes; the mean picture of each class then stands
            beside the answer, with the SSIM of the two.
        shape: (C, H, W) of an input, where neither the images nor the model's layers say it.
        low, high: the values of black and white.
        set: settings of the attack, such as {"iterations": 200}.
        people: whether the classes are people, whose pictures are then hidden.
        show_faces: show them all the same.
        device: where to compute: "cpu" or "cuda".
        seed: of the attack's random draws.
        progress: whether a line tells of progress.

    Raises:
        ConfigError: the attack, a setting or a class is not known, or the model is not such as the attack inverts.
        DataError: the file of the model is missing or corrupt.
    """
    examples = None if images is None or labels is None else (torch.as_tensor(images).float(), torch.as_tensor(labels))
    sizes = tuple(examples[0].shape[1:]) if examples is not None else shape
    target = _trained(model, sizes, low=low, high=high, seed=seed)
    entry = MODELS.get(target.model.architecture)
    name = attack or ("brainleaks_v2" if entry is not None and entry.spiking else "mi_face")
    if name not in MODEL_INVERSIONS:
        raise unknown_name("attack", name, MODEL_INVERSIONS)
    settings = validate(MODEL_INVERSIONS[name].settings, dict(set or {})).model_dump(include={*(set or {})})
    wanted = [classes] if isinstance(classes, int) else [int(label) for label in classes]
    beyond = [label for label in wanted if not 0 <= label < target.model.input.classes]
    if beyond or not wanted:
        most = target.model.input.classes - 1
        raise ConfigError(f"classes: expected numbers from 0 to {most}, got {beyond[0] if beyond else 'none'}.")
    call = Call.of(name, settings, seed=seed, device=device)
    with working(progress=progress) as watch, watch.task(f"{name} on {target.model.architecture}") as advance:
        inversion = inversion_of(build_inversion(name, settings), target, wanted, call, advance)
    means = None if examples is None else _means(*examples, wanted)
    return InvertedModel(target, inversion, means, hidden=people and not show_faces)


@dataclass(frozen=True)
class InvertedModel:
    """The pictures of its classes that a model holds.

    Attributes:
        model: what was inverted.
        inversion: the answer: inputs (K, C, H, W), or spikes (T, K, C, H, W), and the model's confidence in each.
        means: (K, C, H, W), the mean picture of each class; None where there were no examples.
        hidden: whether the pictures may show people, and are not shown.
    """

    model: TrainedModel
    inversion: Inversion
    means: Tensor | None
    hidden: bool

    @property
    def inputs(self) -> Tensor:
        """Return the inputs (K, C, H, W), or spikes (T, K, C, H, W)."""
        return self.inversion.inputs

    @property
    def confidence(self) -> Tensor:
        """Return the model's posterior (K,) of each class for its input."""
        return self.inversion.confidence

    @property
    def answers(self) -> tuple[Pair, ...]:
        """The pictures, each beside the mean of its class; none of people."""
        if self.hidden:
            return ()
        pictures = min_max_scaled(rate_decoded(self.inputs).float()).nan_to_num(0.0)
        truths = None if self.means is None else min_max_scaled(self.means)
        alike = self._ssims(pictures, truths)
        return tuple(
            Pair(
                attack=self.inversion.attack,
                victim=self.model.model.architecture,
                subject=f"class {label}",
                truth=None if truths is None else truths[row],
                answer=picture,
                ssim=alike[row],
                beside="class mean",
                confidence=float(self.confidence[row]),
                **self._search(row),
            )
            for row, (label, picture) in enumerate(zip(self.inversion.classes.tolist(), pictures, strict=True))
        )

    def _search(self, row: int) -> dict[str, Any]:
        """Return the pictures of a search as fields of a pair, as bright as its answer, if it kept any."""
        found = self.inversion
        if found.snapshots is None or found.snapshot_steps is None:
            return {}
        answer = rate_decoded(self.inputs)[row]
        low, high = float(answer.min()), float(answer.max())
        return searched(found.snapshots[row], found.snapshot_steps[row].tolist(), low, high if high > low else low + 1)

    def show(self) -> None:
        """Show the pictures in a notebook; elsewhere print what is known of each."""
        if in_notebook():
            display(self)
            return
        rows = self._columns()
        heads = [Head(name, left=name == "stop_reason") for name in rows]
        lines = [Line([f"{value:.3f}" if isinstance(value, float) else str(value) for value in row])
                 for row in zip(*rows.values(), strict=True)]  # fmt: skip
        out = console()
        out.print(Fitted(heads, lines))
        out.print(f"{self._sentence} The pictures are in .inputs; .figure() draws them.", markup=False, soft_wrap=True)

    def figure(self, kind: str = "answers") -> Figure:
        """Return a matplotlib figure, which belongs to no window.

        Args:
            kind: "answers", or "search", the pictures of each search from its starting point to the answer.

        Raises:
            ConfigError: there is no such kind or picture, or the pictures may show people.
        """
        if self.hidden:
            raise ConfigError("figure: the pictures may show people and are hidden; show_faces=True shows them.")
        return figure_of(self.answers, kind)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a row for each class; a ConfigError if pandas is not installed."""
        return data_frame(self._columns())

    def _repr_html_(self) -> str:
        """Return the pictures as HTML that loads nothing."""
        hidden = "The pictures may show people and are hidden; show_faces=True shows them." if self.hidden else ""
        return html_of((), self.answers, [self._sentence], hidden=hidden)

    @property
    def _sentence(self) -> str:
        """Return in words how sure the model is; whether a picture shows the class, only who looks at it can tell."""
        sure = int((self.confidence > SURE).sum())
        return (
            f"The model is sure of {sure} of {len(self.confidence)} pictures. That it is says nothing of whether they "
            "show the class: that takes an eye, or a judge, as in a run of model inversion."
        )

    def _columns(self) -> dict[str, list[Any]]:
        answer = self.inversion
        return {
            "class": answer.classes.tolist(),
            "confidence": answer.confidence.tolist(),
            "iterations": answer.iterations.tolist(),
            "stop_reason": [reason.value for reason in answer.stop_reasons],
        }

    def _ssims(self, pictures: Tensor, truths: Tensor | None) -> list[float | None]:
        if truths is None or truths.shape != pictures.shape or not has_ssim(truths):
            return [None] * len(pictures)
        return list(ssim(pictures, truths, low=0.0, high=1.0).tolist())


def _trained(
    model: nn.Module | TrainedModel | str | Path, shape: tuple[int, ...] | None, *, low: float, high: float, seed: int
) -> TrainedModel:
    """Return the model under attack as a record."""
    if isinstance(model, TrainedModel):
        return model
    if isinstance(model, str | Path):
        return load_record(TrainedModel, Path(model))
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model: expected a torch.nn.Module or a trained model, got a {type(model).__name__}.")
    spec, module = built(model, input_of(model, shape, low, high), seed=seed)
    parameters = {name: value.detach().clone() for name, value in module.named_parameters()}
    return TrainedModel(spec, parameters, math.nan, 0, seed)


def _means(images: Tensor, labels: Tensor, classes: Sequence[int]) -> Tensor:
    """Return the mean picture (K, C, H, W) of each class."""
    lacking = [label for label in classes if not bool((labels == label).any())]
    if lacking:
        raise ConfigError(f"images, labels: expected examples of every class to invert, found none of {lacking[0]}.")
    return torch.stack([images[labels == label].mean(0) for label in classes])
