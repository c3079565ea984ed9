"""Hundreds of victims in one process: memory that stops growing after the first of them, and no file left open.

`python -m tests.test_memory_growth NAME FOLDER` runs one loop and prints what it measured as JSON.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from attacks import build_attack, build_inversion
from attacks.contracts import Inversion, Reconstruction
from attacks.testing.victims import LENET, MLP, SMALL, SPIKING_LENET, SPIKING_MLP, captures_of, trained, truth
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, ModelSpec, SealedBatch, TrainedModel, load_record, save_record
from fl_sim.specs import InputSpec
from judges.classifiers.cache import Judge
from judges.report.gradient_inversion.report import write_report
from judges.runs.pictures import save_pictures
from judges.runs.rows import Context, write_scores
from judges.scoring.assignment import assigned
from judges.scoring.gallery import build_gallery
from judges.scoring.gradient_inversion import score
from judges.summaries.gradient_inversion import summarise, write_summary
from tests import programs

STATM, OPEN = Path("/proc/self/statm"), Path("/proc/self/fd")
MOST_GROWTH = 0.02
CONTEXT = Context(
    experiment="growth", cell="toy/idlg", dataset="toy", model="lenet", family="lenet", init="uniform", attack="idlg"
)

Step = Callable[[int], None]
"""Does the work of the call with that number."""


class Loop(NamedTuple):
    """A kind of work, done again and again.

    Attributes:
        begin: sets the work up in a folder.
        calls: how often it is done.
        warm_up: after how many of them the memory is measured for the first time.
    """

    begin: Callable[[Path], Step]
    calls: int
    warm_up: int


class Measured(NamedTuple):
    """Memory in MB and open files, after the warm-up and at the end."""

    warm: float
    end: float
    open_warm: int
    open_end: int

    @property
    def growth(self) -> float:
        """Return the growth as a share."""
        return self.end / self.warm - 1.0


def attacked(attack: str, model: ModelSpec, victims: int, **settings: int) -> Callable[[Path], Step]:
    """Return work that captures so many updates, keeps them, attacks them as they were kept, and judges the answers."""

    def begin(folder: Path) -> Step:
        judge = Judge("net", "toy", build_model(LENET, seed=0).eval(), 1.0, 0.25, 40, 8, "an untrained network")

        def step(call: int) -> None:
            inputs, labels = truth(victims, seed=call)
            captures = captures_of(model, inputs, labels, seed=victims * call)
            kept = [save_record(capture, folder / f"c{at}.safetensors") for at, capture in enumerate(captures)]
            loaded = [load_record(CapturedUpdate, path) for path in kept]
            for at, answer in enumerate(build_attack(attack, settings).reconstruct(loaded, seed=call)):
                found = load_record(Reconstruction, save_record(answer, folder / "answer.safetensors"))
                sealed = SealedBatch(found.capture_id, inputs[at], labels[at])
                assert len(score(found, sealed, spec=SMALL, judge=judge, context=CONTEXT)) == 1

        return step

    return begin


def inverted(attack: str, model: ModelSpec, **settings: int) -> Callable[[Path], Step]:
    """Return work that keeps a model, inverts it as it was kept, and keeps the answer."""

    def begin(folder: Path) -> Step:
        def step(call: int) -> None:
            kept = save_record(trained(model, seed=call), folder / "model.safetensors")
            answer = build_inversion(attack, settings).invert(load_record(TrainedModel, kept), [0, 1, 2, 3], seed=call)
            load_record(Inversion, save_record(answer, folder / "answer.safetensors"))

        return step

    return begin


def reported(folder: Path) -> Step:
    """Return work that writes the report of one run anew: an attack on four victims, with pictures and figures."""
    spec = InputSpec(channels=1, height=12, width=12, classes=4)
    inputs, labels = truth(4, spec)
    captures = captures_of(ModelSpec("lenet", spec), inputs, labels)
    sealed = [SealedBatch(capture.id, inputs[at], labels[at]) for at, capture in enumerate(captures)]
    answers = build_attack("idlg", {"iterations": 3}).reconstruct(captures, seed=0)
    orders = [assigned(answer.inputs, truth.inputs) for answer, truth in zip(answers, sealed, strict=True)]
    rows = [
        row
        for answer, truth in zip(answers, sealed, strict=True)
        for row in score(answer, truth, spec=spec, judge=None, context=CONTEXT)
    ]
    save_pictures(build_gallery(rows, answers, sealed, orders, spec=spec), folder)
    write_scores(rows, folder / "scores.csv")
    write_summary(summarise(rows), folder / "summary.json")
    (folder / "manifest.json").write_text(json.dumps({"title": "growth", "datasets": {"toy": {"people": False}}}))
    (folder / "config.toml").write_text('name = "growth"\n')
    return lambda _: assert_written(write_report(folder))


def assert_written(page: Path) -> None:
    assert page.stat().st_size > 0


LOOPS = {
    "idlg on 250 victims": Loop(attacked("idlg", LENET, 10, iterations=2, inner_iterations=2), 25, 5),
    "idlg on 100 spiking victims": Loop(attacked("idlg", SPIKING_LENET, 10, iterations=2, inner_iterations=2), 10, 4),
    "grnn on 60 victims": Loop(attacked("grnn", LENET, 5, steps=4), 12, 4),
    "mi_face on 100 models": Loop(inverted("mi_face", MLP, iterations=20), 100, 20),
    "brainleaks_v2 on 60 models": Loop(inverted("brainleaks_v2", SPIKING_MLP, iterations=6), 60, 15),
    "10 reports": Loop(reported, 14, 4),
}


def measured(loop: Loop, folder: Path) -> Measured:
    """Run a loop in this process."""
    step = loop.begin(folder)
    for call in range(loop.warm_up):
        step(call)
    warm, open_warm = resident()
    for call in range(loop.warm_up, loop.calls):
        step(call)
    end, open_end = resident()
    return Measured(warm, end, open_warm, open_end)


def resident() -> tuple[float, int]:
    """Return the resident memory in MB and the number of open files; what only waits to be collected counts not."""
    gc.collect()
    pages = int(STATM.read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(list(OPEN.iterdir()))


@pytest.mark.endurance
@pytest.mark.skipif(not STATM.exists(), reason="reads /proc, which Linux has")
@pytest.mark.parametrize("name", LOOPS)
def test_memory_stops_growing_and_no_file_stays_open(name: str, tmp_path: Path) -> None:
    found = measured_elsewhere(name, tmp_path)
    sys.stdout.write(f"{name}: {found.warm:.1f} MB after the warm-up, {found.end:.1f} MB at the end\n")
    assert found.growth < MOST_GROWTH, found
    assert found.open_end == found.open_warm, found


@pytest.mark.skipif(not STATM.exists(), reason="reads /proc, which Linux has")
@pytest.mark.endurance
def test_a_leak_is_seen(tmp_path: Path) -> None:
    """A measure that no leak moves proves nothing."""
    found = measured_elsewhere(LEAK, tmp_path)
    assert found.end - found.warm > 100
    assert found.open_end - found.open_warm == 30


def measured_elsewhere(name: str, folder: Path) -> Measured:
    """Measure a loop in a process of its own: one that has freed much memory grows into that first."""
    done = programs.run("-m", "tests.test_memory_growth", name, folder, cwd=Path(__file__).parents[1], timeout=600)
    assert done.returncode == 0, done.stderr
    return Measured(*json.loads(done.stdout))


def leaking(folder: Path) -> Step:
    """Keep 4 MB and an open file of each call."""
    kept: list[object] = []

    def leak(call: int) -> None:
        kept.append(torch.ones(2**20))
        kept.append((folder / str(call)).open("w"))

    return leak


LEAK = "a leak"


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(json.dumps(measured({**LOOPS, LEAK: Loop(leaking, 40, 10)}[sys.argv[1]], Path(sys.argv[2]))))
