"""A GPU against the CPU, in four minutes: do answers agree, how fast are many victims, and a start on Table IV.

    python -m tests.gpu_smoke [--device cuda] [--minutes 4]

It passes (exit code 0) or says what differs (1). Every attack and model inversion is short and in float64 and float32.
In float64 the devices round differently by about 1e-16 an operation, which a few steps of a search amplify; 1e-4 is
what is left of the agreement. In float32 thresholds of neurons may be crossed by rounding alone, so that only the share
of victims that agree is printed. The rest of the time goes into MNIST's cells of Table IV at paper scale, in a folder
that a second call goes on with. Not part of the tests, which use a pretended device (tests/pretend_cuda.py).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from torch import Tensor

from attacks import ATTACKS, MODEL_INVERSIONS, build_attack, build_inversion
from attacks.contracts import UsesAuxiliary
from attacks.testing.victims import auxiliary_for, captures_of, trained, truth
from fl_sim.errors import ConfigError
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SpikingSpec
from judges.bench.process import check_device, prepare_process
from tests import zoo

TOLERANCE = 1e-4
"""Largest difference of two answers in float64, relative to the range of the inputs."""

SMALL = InputSpec(1, 12, 12, 4)
MNIST = InputSpec(1, 28, 28, 10)
SHORT = {"iterations": 1, "steps": 2, "rounds": 1, "draws": 16, "prior_count": 16, "adversary": "A"}
NETWORKS = ("jelly_plif", "snntorch_loop", "batch_norm", "lstm_words", "small_vit_eval", "group_norm", "tied_layers")
VICTIMS = (1, 16, 128, 1024, 4096)
TABLE = ("scale=paper", "dataset.name=mnist", "attack.name=dlg,idlg,grnn,ensemble")
"""What is set of Table IV: MNIST's cells."""


@dataclass(frozen=True)
class Pair:
    """The same work on two devices: a name, and a function that returns the answers on one of them."""

    name: str
    run: Callable[[str, str], Sequence[Tensor]]


def spec(model: str, images: InputSpec) -> ModelSpec:
    """Return a model, with five time steps where it is a spiking one."""
    spiking = SpikingSpec(timesteps=5) if model.startswith("spiking") else None
    return ModelSpec(model, images, "torch", spiking)


def attacked(name: str, captures: Sequence[CapturedUpdate]) -> Callable[[str, str], Sequence[Tensor]]:
    """Return a function of device and precision that returns what a short attack answers."""
    entry = ATTACKS[name]
    fields = entry.settings.model_fields

    def run(device: str, precision: str) -> list[Tensor]:
        values = {key: value for key, value in {**SHORT, "precision": precision}.items() if key in fields}
        attack = build_attack(name, values)
        if entry.needs_auxiliary and isinstance(attack, UsesAuxiliary):
            attack = attack.informed(auxiliary_for(captures[0].model.input))
        return [one.inputs for one in attack.reconstruct(captures, seed=0, device=device)]

    return run


def inverted(name: str) -> Callable[[str, str], Sequence[Tensor]]:
    """Return a function of device and precision that returns what a short model inversion answers."""
    target = trained(spec("spiking_mlp" if MODEL_INVERSIONS[name].spiking else "mlp", SMALL))

    def run(device: str, precision: str) -> list[Tensor]:
        attack = build_inversion(name, {"iterations": 5, "precision": precision})
        return [attack.invert(target, (0, 1, 2), seed=0, device=device).inputs]

    return run


def pairs() -> Iterator[Pair]:
    """Yield all that is compared."""
    for model in ("lenet", "spiking_lenet"):
        inputs, labels = truth(3, SMALL)
        captures = captures_of(spec(model, SMALL), inputs, labels)
        for name in ATTACKS:
            yield Pair(f"{name} on {model}", attacked(name, captures))
    for network in (name for name in NETWORKS if zoo.is_installed(zoo.ZOO[name])):
        with zoo.in_table(zoo.ZOO[network]):
            capture, _, _ = zoo.capture_of(zoo.ZOO[network], seed=0)
            yield Pair(f"dlg on {network}", attacked("dlg", [capture]))
    for name in MODEL_INVERSIONS:
        yield Pair(f"{name}", inverted(name))


def apart(pair: Pair, device: str) -> tuple[float, tuple[str, str]]:
    """Return the largest difference of the answers of two devices, and the cells of its row.

    Networks that compute in float32 only, as those of snnTorch, whose spikes are of that kind, fail in float64 on the
    CPU as well. Of them every answer in float32 must agree.
    """
    rough = zip(pair.run("cpu", "float32"), pair.run(device, "float32"), strict=True)
    near = [bool(((a - b).abs() <= 1e-3).all()) for a, b in rough]
    share = f"{sum(near)} of {len(near)}"
    try:
        here = pair.run("cpu", "float64")
    except RuntimeError:
        return (0.0 if all(near) else float("inf")), ("float32 only", share)
    far = max(float((a - b).abs().max()) for a, b in zip(here, pair.run(device, "float64"), strict=True))
    return far, (f"{far:.1e}", share)


def compared(device: str, console: Console) -> list[str]:
    """Print how far answers of two devices are apart, and return the names of those that differ."""
    table = Table("what", "float64: largest difference", "float32: answers within 1e-3", box=None)
    differ = []
    for pair in pairs():
        try:
            far, found = apart(pair, device)
        except Exception as error:  # noqa: BLE001 - whatever a device does not do is the finding
            far, found = float("inf"), (f"{type(error).__name__}: {error}".splitlines()[0], "")
        if not far <= TOLERANCE:
            differ.append(pair.name)
        table.add_row(pair.name, *found)
    console.print(table)
    return differ


def rates(device: str, deadline: float, console: Console) -> None:
    """Print evaluations a second of iDLG at growing numbers of victims that are attacked together."""
    table = Table("victims", "lenet, evaluations a second", "spiking_lenet", box=None)
    for count in VICTIMS:
        row = []
        for model in ("lenet", "spiking_lenet"):
            inputs, labels = truth(1, MNIST)
            captures = captures_of(spec(model, MNIST), inputs, labels) * count
            attack = build_attack("idlg", {"iterations": 1, "history": 5, "victims_per_batch": count})
            started = time.monotonic()
            answers = attack.reconstruct(captures, seed=0, device=device)
            row.append(f"{sum(one.gradient_evaluations for one in answers) / (time.monotonic() - started):.0f}")
        table.add_row(str(count), *row)
        if time.monotonic() > deadline:
            break
    console.print(table)


def main(arguments: Sequence[str]) -> int:
    """Compare, measure, and begin Table IV; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu_smoke")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=4.0)
    chosen = parser.parse_args(arguments)
    console, end = Console(), time.monotonic() + 60 * chosen.minutes
    try:
        check_device(chosen.device)
    except ConfigError as error:
        console.print(str(error))
        return 2
    prepare_process(1)
    differ = compared(chosen.device, console)
    rates(chosen.device, end - 90, console)
    if end - time.monotonic() > 20:
        changes = [part for assignment in TABLE for part in ("--set", assignment)]
        place = ["--device", chosen.device, "--out", "runs/gpu-smoke"]
        command = [sys.executable, "-m", "judges.cli", "run", "configs/table4.toml", *changes, *place]
        try:
            subprocess.run(command, timeout=end - time.monotonic(), check=True)
        except subprocess.TimeoutExpired:
            console.print("Table IV was stopped by the clock; what is done stands in runs/gpu-smoke.")
        except subprocess.CalledProcessError as error:
            console.print(f"Table IV ended with exit code {error.returncode}.")
            differ.append("Table IV")
    console.print(f"differ: {', '.join(differ)}" if differ else "CPU and device agree.")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
