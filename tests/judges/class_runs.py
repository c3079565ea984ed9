"""Run folders of model inversions with numbers that a reader can follow, without any training or attack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fl_sim.specs import Scalar
from judges.runs.identity import CLASS_MEAN, REAL, SHUFFLED, Approach, columns_of
from judges.runs.names import control_cell
from judges.runs.pictures import ANSWER, NEAREST, TRUTH, Pictures, save_pictures
from judges.runs.rows.classes import (
    CENTRAL,
    FEDERATION,
    AttackedModel,
    ClassScore,
    InversionScores,
    Repeated,
    TargetFacts,
)
from judges.runs.tables import write_rows
from judges.scoring.class_metrics import over_draws
from judges.summaries.model_inversion import Inversions, summarise, write_inversions

JUDGES = {False: "brainleaks_cnn", True: "brainleaks_snn"}
STEPS = 6
DRAWN = over_draws([InversionScores(0.7, 0.9, 0.42, 1.0), InversionScores(0.66, 0.88, 0.40, 0.9)])
"""68.0 +- 2.0, 89.0 +- 1.0, 41.0 +- 1.0, 95.0 +- 5.0 out of 100."""


def network(model: str) -> dict[str, Any]:
    """Return the columns of an architecture."""
    return {"model": model, "family": model.removeprefix("spiking_"), "spiking": model.startswith("spiking_")}


def row(**changes: Any) -> ClassScore:
    """Return a row of a recognised answer; keywords replace fields."""
    model = str(changes.get("model", "spiking_mlp"))
    values: dict[str, Any] = {
        "experiment": "e", "cell": "t/brainleaks_v2", "dataset": "toy", **network(model), "source": CENTRAL,
        "round": 10, "target_seed": 0, "attack": "" if "control" in changes else "brainleaks_v2",
        "attack_seed": 0, "judge": "brainleaks_snn",
        "label": 0, "rank": 1, "predicted": 0, "confidence": 0.9, "distinctive": True, "target_confidence": 0.99,
        "iterations": 120, "stop_reason": "budget", "density": 0.21, "zeros": 0.5, "largest": 1.0,
        "nearest_train": 6.2, "nearest_test": 6.4, "nearest_train_label": 0, "nearer_train": False, "seconds": 1.25,
    }  # fmt: skip
    return ClassScore(**(values | changes))


@dataclass
class Toy:
    """A run that is filled step by step and then written.

    Attributes:
        people: {data set: whether it shows people}, as the manifest says.
        names: of classes, of data sets whose classes are not just numbered.
    """

    people: dict[str, bool] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rows: list[ClassScore] = field(default_factory=list)
    targets: list[TargetFacts] = field(default_factory=list)
    albums: list[Pictures] = field(default_factory=list)
    draws: dict[str, Repeated] = field(default_factory=dict)

    def target(
        self,
        dataset: str,
        model: str,
        *,
        classes: int = 10,
        accuracies: tuple[float, ...] = (0.96, 0.97),
        side: int = 8,
        shape: tuple[int, int, int] | None = None,
        number: int = 0,
        varied: Mapping[str, Scalar] | None = None,
    ) -> Mapping[str, Any]:
        """Add targets, one for each accuracy, and their plain controls; return what `attack` needs to know of them.

        Args:
            dataset, model: which.
            classes: K.
            accuracies: of each seed, on test data.
            side: of the pictures.
            shape: (C, H, W) that the facts tell; that of the pictures where None.
            number: of the federation's round; 0 for central targets.
            varied: further settings of the training that vary.
        """
        source = FEDERATION if number else CENTRAL
        known: dict[str, Any] = {"dataset": dataset, **network(model), "varied": dict(varied or {})}
        known |= {"source": source, "round": number or 10}
        for seed, accuracy in enumerate(accuracies):
            trained = None if number else 1.0
            self.targets.append(
                TargetFacts(
                    **known, seed=seed, test_accuracy=accuracy, train_accuracy=trained, seconds=3.0,
                    classes=classes, n_test=100, shape=shape or (1, side, side),
                )
            )  # fmt: skip
        told = {**known, "classes": classes, "seeds": len(accuracies), "side": side}
        for name, right in ((CLASS_MEAN, classes), (REAL, classes - 1)):
            self._add(told, name, right, repeats=1, changes=_no_target() | {"control": name, "attack": ""})
        return told

    def attack(
        self,
        told: Mapping[str, Any],
        attack: str,
        right: int,
        *,
        repeats: int = 1,
        noise: int = 0,
        draws: Repeated | None = None,
        picture: bool = True,
        **changes: Any,
    ) -> None:
        """Add an attack on targets of one kind, its shuffled values, and its album.

        Args:
            told: what `target` returned.
            attack: its name.
            right: of how many classes the judge recognises the answer; one of them fewer in every second attack.
            repeats: attacks on each target.
            noise: the same of the shuffled values.
            draws: over draws of the first answer.
            picture: whether there is an album.
            changes: fields of all rows.
        """
        own = {"attack": attack, **changes}
        cell = self._add(told, attack, right, repeats=repeats, changes=own)
        shuffled = {"attack": attack, "attack_settings": changes.get("attack_settings", {}), "control": SHUFFLED}
        self._add(told, f"{SHUFFLED} {attack}", noise, repeats=repeats, changes=_no_target() | shuffled)
        if draws is not None:
            self.draws[cell] = draws
        if picture:
            self.albums.append(self._album(told, cell))

    def summary(self) -> Inversions:
        """Return the summary of what was added."""
        judges: dict[str, Mapping[str, Scalar]] = {}
        for one in self.rows:
            measured: dict[str, Scalar] = {"accuracy": 0.975, "train_accuracy": 1.0, "chance": 0.1, "epochs": 9}
            facts: dict[str, Scalar] = {"name": one.judge, "description": "a judge", "n_train": 400, "n_test": 100}
            judges[f"{one.dataset} {one.judge}"] = {**facts, **measured}
        return summarise(self.rows, self.targets, judges=judges, draws=self.draws, seed=0)

    def write(self, folder: Path, **manifest: Any) -> Path:
        """Write the run folder and return its path."""
        write_rows(ClassScore, self.rows, folder / "scores.csv")
        write_inversions(self.summary(), folder / "summary.json")
        for album in self.albums:
            save_pictures(album, folder)
        shown = {name: {"people": people, "sha256": "abc123"} for name, people in self.people.items()}
        told = {"experiment": "toy inversions", "seed": 0, "datasets": shown, **manifest}
        (folder / "manifest.json").write_text(json.dumps(told))
        (folder / "config.toml").write_text('task = "model_inversion"\nname = "toy"\n')
        return folder

    def _add(self, told: Mapping[str, Any], name: str, right: int, *, repeats: int, changes: Mapping[str, Any]) -> str:
        """Add rows and return their cell."""
        spiking = told["spiking"]
        known = {key: told[key] for key in ("dataset", "model", "family", "spiking", "varied", "source", "round")}
        where = f"{known['dataset']}-{known['model']}@{known['round']}"
        cell = control_cell(where, name) if "control" in changes else f"{where}/{name}"
        shared = {**known, "cell": cell, "judge": JUDGES[spiking]}
        for seed in range(told["seeds"]):
            for again in range(repeats):
                told_apart = right - (seed + again) % 2 if right else 0
                for label in range(told["classes"]):
                    own = {"density": 0.21 if spiking else None, "nearer_train": label % 2 == 0}
                    own |= _told(label, label < told_apart, told["classes"]) | dict(changes)
                    self.rows.append(row(**shared, target_seed=seed, attack_seed=again, label=label, **own))
        return cell

    def _album(self, told: Mapping[str, Any], cell: str) -> Pictures:
        """Return the album of the first attack of a cell."""
        count, side, spiking = told["classes"], told["side"], told["spiking"]
        stream = torch.Generator().manual_seed(len(self.albums))
        truth = torch.zeros(count, 1, side, side)
        for label in range(count):  # a bright cross, elsewhere for each class
            truth[label, 0, label * 3 % side] = truth[label, 0, :, label % side] = 1.0
        noise = torch.rand(truth.shape, generator=stream)
        spikes = (torch.rand(STEPS, 1, side, side, generator=stream) < 0.3).to(torch.uint8)
        own = [one for one in self.rows if one.cell == cell][:count]
        names = self.names.get(told["dataset"], tuple(f"class {label}" for label in range(count)))
        return Pictures(
            **columns_of(own[0], Approach, AttackedModel), cell=cell, subjects=names,
            images={TRUTH: truth, ANSWER: 0.6 * truth + 0.4 * noise, NEAREST: truth.flip(0)},
            numbers={
                "label": tuple(range(count)),
                "confidence": tuple(one.confidence for one in own),
                "target_confidence": tuple(one.target_confidence or 0.0 for one in own),
            },
            words={
                "stop_reason": tuple(one.stop_reason for one in own),
                "seen": tuple(names[one.predicted] for one in own),
                "nearest": names[::-1],
            },
            spikes=spikes if spiking else spikes[:0], spikes_of=min(3, count - 1),
        )  # fmt: skip


def _told(label: int, recognised: bool, classes: int) -> dict[str, Any]:
    """Return the columns of an answer that the judge recognises, or takes for the next class."""
    if recognised:
        return {"rank": 1, "predicted": label, "confidence": 0.9, "distinctive": True}
    return {"rank": 3, "predicted": (label + 1) % classes, "confidence": 0.05, "distinctive": False}


def _no_target() -> dict[str, Any]:
    """Return what only an attack has."""
    return {"target_confidence": None, "stop_reason": "", "iterations": 0, "seconds": 0.0}


def central_run() -> Toy:
    """Return MNIST as the paper has it, hidden faces with 40 classes, gestures, and a set with other sizes."""
    toy = Toy(people={"mnist": False, "att_faces_8_9": True, "dvs_gesture": False, "toy": False})
    shape = (1, 28, 28)
    ann = toy.target("mnist", "mlp", shape=shape)
    toy.attack(ann, "mi_face", 6)
    snn = toy.target("mnist", "spiking_mlp", shape=shape)
    toy.attack(snn, "brainleaks_v1", 9, repeats=3)
    toy.attack(snn, "brainleaks_v2", 10, repeats=3, draws=DRAWN)
    faces = (1, 112, 92)
    toy.attack(toy.target("att_faces_8_9", "mlp", classes=40, side=16, shape=faces), "mi_face", 36)
    snn = toy.target("att_faces_8_9", "spiking_mlp", classes=40, side=16, shape=faces)
    toy.attack(snn, "brainleaks_v2", 15, repeats=2, draws=DRAWN)
    snn = toy.target("dvs_gesture", "spiking_mlp", side=16, shape=(1, 128, 128), accuracies=(0.78,))
    toy.attack(snn, "brainleaks_v1", 1, target_confidence=0.2)
    toy.attack(snn, "brainleaks_v2", 1, draws=DRAWN)
    other = toy.target("toy", "spiking_mlp", varied={"timesteps": 5}, classes=3, accuracies=(0.9,))
    toy.attack(other, "brainleaks_v2", 3, attack_settings={"sparsity": 0.1})
    return toy


def federated_run() -> Toy:
    """Return three rounds of a federation of 12 classes, with both kinds of networks."""
    toy = Toy(people={"digits": False})
    for number, right in ((1, 0), (3, 5), (5, 11)):
        ann = toy.target("digits", "mlp", classes=12, accuracies=(0.2 * number,), number=number)
        toy.attack(ann, "mi_face", right)
        snn = toy.target("digits", "spiking_mlp", classes=12, accuracies=(0.19 * number,), number=number)
        toy.attack(snn, "brainleaks_v2", right, repeats=2, draws=DRAWN)
    return toy
