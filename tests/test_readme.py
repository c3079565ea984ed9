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
from typer.testing import CliRunner

from fl_sim.federation.local_grid import LocalGrid
from fl_sim.models import MODELS
from judges.cli import app
from judges.runs.rows import read_scores

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
        told = {"message": message, "context": context, "content": content, "images": inputs, "labels": labels}
        exec(BLOCKS[2], told)  # noqa: S102 - the README's own lines
        return Message(content=content, reply_to=message)

    return app


def test_the_one_line_captures_a_foreign_app_and_the_audit_scores_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = types.ModuleType("task")
    task.Net = Net  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "task", task)
    monkeypatch.setattr("fl_sim.models.MODELS", MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, object] = {}
    exec(BLOCKS[0], names)  # noqa: S102
    grid = LocalGrid(quickstart_client(), 2)
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
    names["app"](grid, context)  # type: ignore[operator]
    (tmp_path / "my_models.py").write_text(BLOCKS[1])
    (line,) = re.findall(r"^spikeleak (audit runs/mine .*?attack=.*?) *#", TEXT, flags=re.MULTILINE)
    try:
        done = CliRunner().invoke(app, [*line.replace("=100", "=5").split()], catch_exceptions=False)
    finally:
        MODELS.pop("net", None)
        sys.modules.pop("my_models", None)
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == f"report: {(tmp_path / 'runs/mine/report.html').resolve().as_uri()}"
    rows = read_scores(tmp_path / "runs" / "mine" / "scores.csv")
    assert {row.capture_id for row in rows} == {"mine/r001-c000", "mine/r001-c001"}
    assert {row.attack for row in rows if not row.is_control} == {"idlg", "dlg"}
    assert {row.label for row in rows} == {3}


def test_the_attack_without_a_federation_solves_its_example(capsys: pytest.CaptureFixture[str]) -> None:
    exec(BLOCKS[3], {})  # noqa: S102
    found = re.search(r"label 7, MSE (\S+), converged", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) < 1e-3


def test_every_file_that_the_readme_names_is_there() -> None:
    named = set(re.findall(r"`?((?:fl_sim|attacks|judges|configs|tests)/[\w/.-]+\.(?:py|toml|png|md))", TEXT))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
