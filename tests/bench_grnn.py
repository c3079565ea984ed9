"""Speed of GRNN side by side against the published way: one victim, one plain module, torch.optim.RMSprop.

Run with `python -m tests.bench_grnn`. Both sides attack the same victims, with the same latents and first generators,
in one process and one thread; only ratios are worth comparing between machines. Not part of the tests.
"""

from __future__ import annotations

import torch
from rich.console import Console
from rich.table import Table

from attacks.grnn import GRNN
from attacks.grnn.generator import LATENT, draw, layout_of
from attacks.settings import GRNNSettings
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec
from fl_sim.seeding import torch_stream
from fl_sim.training import load_parameters
from judges.bench.process import prepare_process
from tests.bench_matching import Case, user_seconds, victims
from tests.grnn_peer import PeerGenerator, peer_steps

STEPS = 60
TOGETHER = (1, 16, 32, 64)
CASES = (
    ("classic LeNet 32x32x3, 10 classes", ModelSpec("classic_lenet", InputSpec(3, 32, 32, 10))),
    ("classic LeNet 32x32x1, 10 classes", ModelSpec("classic_lenet", InputSpec(1, 32, 32, 10))),
    ("LeNet 28x28x1, 10 classes", ModelSpec("lenet", InputSpec(1, 28, 28, 10))),
)


def published_way(captures: list[CapturedUpdate]) -> float:
    """Return user milliseconds a victim-step of GRNN as its authors run it."""
    started = user_seconds()
    for capture in captures:
        spec = capture.model.input
        layout, stream = layout_of(spec), torch_stream(0, "generator", capture.id)
        latents = torch.randn(1, LATENT, generator=stream)
        generator = PeerGenerator(layout.base, layout.widths, layout.size, spec.classes)
        generator.load(draw(layout, spec.classes, stream))
        model = build_model(capture.model)
        load_parameters(model, capture.parameters)
        peer_steps(model, capture.update, generator, latents, steps=STEPS)
    return 1e3 * (user_seconds() - started) / (STEPS * len(captures))


def our_way(captures: list[CapturedUpdate], *, together: int) -> float:
    """Return user milliseconds a victim-step of `together` generators side by side."""
    settings = GRNNSettings(steps=STEPS, victims_per_batch=together)
    started = user_seconds()
    GRNN(settings).reconstruct(captures[:together], seed=0)
    return 1e3 * (user_seconds() - started) / (STEPS * together)


def main() -> None:
    """Print the table."""
    prepare_process(1)
    table = Table("victims' model", "victims at once", "user ms a victim-step", "ratio", box=None)
    for name, spec in CASES:
        captures, _ = victims(Case(name, spec, "digits", max(TOGETHER), 1, STEPS), max(TOGETHER))
        published_way(captures[:1])  # warms both up: the library chooses its kernels at the first call
        theirs = published_way(captures[:4])
        table.add_row(name, "published way, 1", f"{theirs:.2f}", "")
        for together in TOGETHER:
            ours = our_way(captures, together=together)
            table.add_row("", str(together), f"{ours:.2f}", f"{theirs / ours:.2f}x")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
