"""The README's Python, run as it stands there, and its claims about files."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor, nn
from torch.nn import functional as F

from fl_sim.federation.local_grid import LocalGrid
from fl_sim.models import MODELS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


class Net(nn.Module):
    """The convolutional network of Flower's quickstart for PyTorch: a model that knows nothing of this project."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(-1, 16 * 5 * 5)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        logits: Tensor = self.fc3(x)
        return logits


def quickstart_client() -> ClientApp:
    """Return a client app as Flower's quickstart has it: one example, one step of SGD, weights shared."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        model = Net()
        model.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
        generator = torch.Generator().manual_seed(int(context.node_config["partition-id"]))
        inputs, labels = torch.rand(1, 3, 32, 32, generator=generator), torch.tensor([3])
        optimiser = torch.optim.SGD(
            model.parameters(), lr=float(str(message.content.config_records["config"]["learning-rate"]))
        )
        F.cross_entropy(model(inputs), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord({"num-examples": 1})})
        return Message(content=content, reply_to=message)

    return app


def test_the_one_line_captures_a_foreign_app_and_the_captures_can_be_attacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = types.ModuleType("task")
    task.Net = Net  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "task", task)
    monkeypatch.setattr("fl_sim.models.MODELS", MODELS)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(BLOCKS[0], names)  # noqa: S102 - the README's own lines
    grid = LocalGrid(quickstart_client(), 2)
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
    names["app"](grid, context)  # type: ignore[operator]
    try:
        exec(BLOCKS[1], {})  # noqa: S102
    finally:
        MODELS.pop("net", None)
    printed = capsys.readouterr().out
    assert "mine/r001-c000" in printed
    assert "mine/r001-c001" in printed


def test_the_attack_without_a_federation_solves_its_example(capsys: pytest.CaptureFixture[str]) -> None:
    exec(BLOCKS[2], {})  # noqa: S102
    found = re.search(r"label 7, MSE (\S+), converged", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) < 1e-3


def test_every_file_that_the_readme_names_is_there() -> None:
    named = set(re.findall(r"`?((?:fl_sim|attacks|judges|configs|tests)/[\w/.-]+\.(?:py|toml|png|md))", TEXT))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
