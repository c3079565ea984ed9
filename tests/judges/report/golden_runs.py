"""Two run folders, one of each kind, in which every table of a report has lines: what the golden files are of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from fl_sim.records import Scalar
from judges.runs.identity import Attacked, columns_of
from judges.runs.rows import Score, write_scores
from judges.summaries.gradient_inversion import summarise, write_summary
from tests.judges.class_runs import Toy, central_run, federated_run
from tests.judges.report.gradient_inversion.test_reads import BATCHES, reads_of
from tests.judges.report.gradient_inversion.test_trends import health
from tests.judges.spike_rows import DISTANCES, spike_rows

Row = Callable[..., Score]
JUDGE: dict[str, Scalar] = {
    "name": "lenet", "description": "a LeNet", "epochs": 9, "accuracy": 0.981, "train_accuracy": 0.997, "chance": 0.1,
    "n_train": 60000, "n_test": 10000,
}  # fmt: skip


def gradient_run(folder: Path, row: Row) -> Path:
    """Write a run on images, with trends over rounds and T, and on events; return its folder."""
    rows = [*_images(row), *spike_rows(row)]
    firsts = {score.group: score for score in reversed(rows)}
    groups = dict.fromkeys(score.group for score in rows)
    healths = [health(**columns_of(firsts[group], Attacked), **({} if group.spiking else _still())) for group in groups]
    judges: dict[str, dict[str, Scalar]] = {"mnist": JUDGE, "dvs_gesture": {"accuracy": 0.8, "chance": 1 / 11}}
    write_scores(rows, folder / "scores.csv")
    summary = summarise(rows, judges=judges, distances=DISTANCES, health=healths)
    reads = (reads_of(dataset="mnist", model="lenet"), reads_of(**BATCHES, dataset="mnist", model="spiking_lenet"))
    write_summary(replace(summary, reads=reads), folder / "summary.json")
    manifest = {"title": "golden", "failed": {"mnist/grnn": "no memory: 3 GB & more"}, "wall_seconds": 12.5}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "config.toml").write_text('name = "golden"\n')
    return folder


def inversion_run(folder: Path) -> Path:
    """Write the central and the federated run as one, without pictures; return its folder."""
    toy, federated = central_run(), federated_run()
    both = Toy(
        people=toy.people | federated.people,
        rows=toy.rows + federated.rows,
        targets=toy.targets + federated.targets,
        draws=toy.draws | federated.draws,
    )
    return both.write(folder, failed={"mnist/mi_face": "no memory"})


def _still() -> dict[str, object]:
    """Return what health says of a network that does not spike."""
    return {"firing_rates": {}, "silent": {}, "dead": 0.0, "accuracy": None}


def _images(row: Row) -> Iterator[Score]:
    """Yield attacks on MNIST, of two initialisations, with a defence and on digits without a judge; and controls."""
    for place, steps in enumerate((0, 1, 10)):
        model: dict[str, object] = {"model": "spiking_lenet", "varied": {"timesteps": steps}} if steps else {}
        known = {"dataset": "mnist", "timesteps": steps, **model}
        for init in ("uniform", "torch")[: 2 - bool(steps)]:
            yield from _cell(row, 0.9 - 0.2 * place, **known, init=init, attack="dlg", cell="dlg", adversary="A")
            yield from _cell(row, 0.8 - 0.3 * place, **known, init=init, attack="idlg", cell="idlg", adversary="C")
            yield from _cell(row, 0.1, **known, init=init, control="swapped", attack="dlg", cell="swapped dlg")
            yield from _cell(row, 0.1, **known, init=init, control="black", cell="")
            yield from _cell(row, 0.2, **known, init=init, control="no-op", cell="", judge_correct=False)
    noisy = {"dataset": "mnist", "defence": "noise", "defence_settings": {"multiplier": 4}}
    yield from _cell(row, 0.3, **noisy, attack="dlg", cell="dlg", adversary="A")
    for budget in (30, 300):  # two cells of one attack
        known = {"dataset": "digits", "attack": "idlg", "cell": f"{budget} steps", "judge_correct": None}
        effort = {"gradient_evaluations": budget, "seconds": 0.01 * budget}
        yield from _cell(row, 0.5, **known, **effort, adversary="D", auxiliary="mnist")


def _cell(row: Row, ssim: float, **changes: object) -> Iterator[Score]:
    """Yield four victims in two rounds; the first attack diverged."""
    for index in range(4):
        own = {"repeat": index, "capture_id": f"f-{index}/r001-c000", "round": 1 + index % 2, "last_ssim": 0.125}
        own |= {"ssim": ssim - 0.05 * index, "psnr_db": 20.0 * ssim + index, "mse": 0.01 * index, "l2": 3.0 + index}
        own |= {"judge_correct": index > 0, "stop_reason": "diverged" if index == 0 else "converged"}
        yield row(**(own | changes))
