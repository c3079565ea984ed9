"""The READMEs: their Python run as it stands there, their commands, links and the names in them, and their length."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer.main
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor, nn
from torch.nn import functional as F
from typer.testing import CliRunner

from attacks import ATTACKS
from fl_sim.defences import DEFENCES
from fl_sim.federation.local_grid import LocalGrid
from fl_sim.models import MODELS
from fl_sim.specs import InputSpec
from fl_sim.testing import check_defence, check_model
from judges.bench.execution import run_plan
from judges.cli import app
from judges.kinds import read_plan
from judges.plans.audit import read_audit
from judges.plans.audit.weights import read_weights_audit
from judges.plans.reading import find_config
from judges.progress import Watch
from judges.runs.rows import read_scores
from tests.readmes import (
    ROOT,
    anchors,
    block,
    blocks,
    commands,
    documents,
    links,
    named_blocks,
    named_objects,
    named_paths,
    section,
)

MOST_WORDS = 1300
OWN_CONFIG = "my_snn.toml"
"""Written in a README, and run as it stands there by a test of its own."""
NOT_YET: set[str] = set()
"""Named, and made by a command of its own."""
DOCUMENTS = list(documents())
COMMANDS = [(name, line) for name, text in documents().items() for line in commands(text)]


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


TASK = f"""import torch
from torch import Tensor, nn
from torch.nn import functional as F

{inspect.getsource(Net)}"""


def quickstart_client() -> ClientApp:
    """Return a client app as Flower's quickstart has it: one example, one step of SGD, weights shared."""
    client = ClientApp()

    @client.train()
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
        names = {"message": message, "context": context, "content": content, "images": inputs, "labels": labels}
        exec(block("README.md", "client_app.py"), names)  # noqa: S102 - the README's own lines
        return Message(content=content, reply_to=message)

    return client


@pytest.fixture
def own_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Run the README's server module in a folder that holds its other modules; return what it defines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "task.py").write_text(TASK, encoding="utf-8")
    (tmp_path / "my_models.py").write_text(block("README.md", "my_models.py"), encoding="utf-8")
    names: dict[str, Any] = {}
    exec(block("README.md", "server_app.py"), names)  # noqa: S102
    yield names
    MODELS.pop("net", None)
    for module in ("my_models", "task"):
        sys.modules.pop(module, None)


@pytest.mark.endurance
def test_the_one_line_captures_a_foreign_app_and_the_audit_scores_it(own_app: dict[str, Any], tmp_path: Path) -> None:
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
    own_app["app"](LocalGrid(quickstart_client(), 2), context)
    (line,) = [line for name, line in COMMANDS if name == "README.md" and line.startswith("spikeleak audit")]
    cheap = ("attack=idlg,dlg", "attack.iterations=5", "checks=0", "ladder.examples=1")
    arguments = [*shlex.split(line)[1:], *(part for one in cheap for part in ("--set", one))]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    pages = [line for line in done.output.splitlines() if line.startswith("report: ")]
    folders = [(tmp_path / "runs/mine" / name).resolve() for name in ("", "ladder")]
    assert pages == [f"report: {(folder / 'report.html').as_uri()}" for folder in folders]
    rows = read_scores(tmp_path / "runs" / "mine" / "scores.csv")
    assert {row.capture_id for row in rows} == {"mine/r001-c000", "mine/r001-c001"}
    assert {row.attack for row in rows if not row.is_control} == {"idlg", "dlg"}
    assert {row.label for row in rows} == {3}


@pytest.mark.endurance
def test_the_live_attack_scores_each_update_of_a_foreign_app(own_app: dict[str, Any], tmp_path: Path) -> None:
    own_app |= {
        "grid": LocalGrid(quickstart_client(), 2),
        "strategy": own_app["FedAvg"](fraction_evaluate=0.0),
        "arrays": ArrayRecord(Net().state_dict()),
        "train_config": ConfigRecord({"learning-rate": 0.01, "local-steps": 1, "batch-size": 1}),
    }
    exec(block("fl_sim/README.md", "live_server.py").replace(": 100", ": 5"), own_app)  # noqa: S102
    answers = [json.loads(path.read_text("utf-8")) for path in sorted((tmp_path / "runs/mine/live").rglob("*.json"))]
    assert [(answer["attack"], len(answer["scores"])) for answer in answers] == [("idlg", 1), ("idlg", 1)]


def test_the_attack_without_a_federation_solves_its_example(capsys: pytest.CaptureFixture[str]) -> None:
    exec(block("attacks/README.md", "one_gradient.py"), {})  # noqa: S102
    found = re.search(r"label 7, MSE (\S+), converged", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) < 1e-3


@pytest.mark.endurance
def test_the_smallest_attack_keeps_the_promises_of_an_attack() -> None:
    names: dict[str, Any] = {}
    try:
        exec(block("README.md", "my_attack.py"), names)  # noqa: S102
        assert ATTACKS["my_attack"].attack is names["MyAttack"]
    finally:
        ATTACKS.pop("my_attack", None)


@pytest.mark.endurance
def test_the_network_and_the_defence_of_a_file_are_attacked_with_its_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the file alone to figures and tables, in the words of the README; smaller, which the promises are not."""
    document = "fl_sim/README.md"
    (tmp_path / "my_snn.py").write_text(block("fl_sim/README.md", "my_snn.py"))
    (config,) = (code for code in blocks(documents()[document], "toml") if code.startswith(f"# {OWN_CONFIG}"))
    (tmp_path / OWN_CONFIG).write_text(config)
    monkeypatch.chdir(tmp_path)
    smaller = ["repeats=1", "judge=none", "attack=idlg", "dataset.size=8"]
    smaller += ["attack.iterations=1", "attack.inner_iterations=2"]
    settings = [part for pair in smaller for part in ("--set", pair)]
    run, report = (line.partition("#")[0].split()[1:] for line in commands(documents()[document]) if "my_snn" in line)
    try:
        for words in ([*run, *settings, "--quiet"], report):
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 0, done.output
        check_model("my_snn", spec=InputSpec(channels=1, height=8, width=8, classes=3))
        check_defence("largest")
    finally:
        MODELS.pop("my_snn", None)
        DEFENCES.pop("largest", None)
        sys.modules.pop("my_snn", None)
    rows = read_scores(tmp_path / "runs/my_snn/scores.csv")
    assert {row.defence for row in rows} == {"none", "largest"}
    assert {row.model for row in rows} == {"my_snn"}
    assert list((tmp_path / "runs/my_snn/figures").glob("*.pdf"))
    assert "largest" in (tmp_path / "runs/my_snn/report.tex").read_text(encoding="utf-8")


def test_the_bound_of_a_judge_of_faces_is_the_share_of_people_seen_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty pictures of one person are all of somebody seen; twenty people with one picture each, none."""
    monkeypatch.chdir(tmp_path)
    code = block("configs/RESULTS.md", "seen_people.py")
    for people, expected in ((np.zeros(20, dtype=int), 1.0), (np.arange(20), 0.0)):
        np.savez("lfw_deepfunneled_32.npz", labels=people)
        exec(code, {})  # noqa: S102 - the document's own lines
        assert {float(line) for line in capsys.readouterr().out.split()} == {expected}


@pytest.mark.endurance
def test_two_runs_on_the_same_examples_are_read_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network beside itself spiking, in folders of their own, is one contrast of all its victims."""
    settings = ["attack=idlg", "attack.iterations=1", "judge=none", "checks=0", "repeats=2", "model.init=uniform"]
    folders = []
    for model in ("mlp", "spiking_mlp"):
        folders.append(tmp_path / model)
        plan = read_plan(ROOT / "configs/demo.toml", [*settings, f"model.name={model}", "federation.clients=1"])
        run_plan(plan, folders[-1], Watch.silent())
    monkeypatch.setattr("sys.argv", ["pairs.py", *map(str, folders)])
    exec(block("configs/RESULTS.md", "pairs.py"), {})  # noqa: S102 - the document's own lines
    (line,) = capsys.readouterr().out.splitlines()
    assert "MLP minus this network, on the same examples (2 pairs): iDLG SSIM " in line


def test_every_python_block_is_run_by_a_test() -> None:
    """Each is asked for by a call of `block` with its document and name written out."""
    there = {(document, name) for document in DOCUMENTS for name in named_blocks(document)}
    sources = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("test_*.py"))]
    asked = {call for source in sources for call in re.findall(r'\bblock\("([^"]+)", "([^"]+)"\)', source)}
    assert there
    assert there == asked


def test_the_front_page_is_short() -> None:
    assert len(documents()["README.md"].split()) <= MOST_WORDS


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_module_and_function_that_is_named_is_there(document: str) -> None:
    text = documents()[document]
    assert [path for path in sorted(named_paths(text) - NOT_YET) if not (ROOT / path).exists()] == []
    assert [name for name in sorted(named_objects(text)) if not is_there(name)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_inside_the_repository_leads_somewhere(document: str) -> None:
    for link in links(documents()[document]):
        place, _, fragment = link.partition("#")
        if place.startswith("https://"):
            continue
        target = (ROOT / document).parent / place if place else ROOT / document
        assert target.exists(), link
        assert not fragment or fragment in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.endurance
@pytest.mark.parametrize(("document", "line"), COMMANDS, ids=[line for _, line in COMMANDS])
def test_every_command_is_one_that_there_is(document: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    elif words[:2] == ["python", "-m"]:
        assert is_there(words[2])
    elif words[0] == "spikeleak":
        check_command(words[1:])
    else:
        known = ("export", "flwr", "flower-superlink", "flower-supernode")
        assert words[0] in known, "no test knows how to check this command"


def check_command(words: Sequence[str]) -> None:
    """Refuse a command line of `spikeleak` with an unknown command, option or setting; nothing is run."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        assert rest[0] in command.commands
        command = command.commands[rest.pop(0)]
    params = command.make_context(command.name, rest).params
    path = Path(params["config"]) if command.name == "run" else Path()
    if command.name == "run" and path.name != OWN_CONFIG:
        read_plan(
            ROOT / path if path.suffix and len(path.parts) > 1 else find_config(path), params["assignments"] or []
        )
    elif command.name == "audit":
        if Path(params["target"]).suffix:
            read_weights_audit(str(params["target"]), params["assignments"] or [], members=params["members"])
        else:
            read_audit(params["assignments"] or [])


def is_there(dotted: str) -> bool:
    """Return whether a dotted name is a module, or something in one."""
    module, _, rest = dotted.rpartition(".")
    try:
        importlib.import_module(dotted)
    except ModuleNotFoundError:
        return bool(module) and hasattr(importlib.import_module(module), rest)
    return True


def test_what_is_asked_of_the_texts_is_found_in_them() -> None:
    """The checks above hold for nothing where their patterns find nothing."""
    front = documents()["README.md"]
    assert "attacks/README.md" in {link.partition("#")[0] for link in links(front)}
    assert "fl_sim/records.py" in named_paths(front)
    assert "fl_sim.testing.check_defence" in named_objects(documents()["fl_sim/README.md"])
    assert "two-commands" in anchors(front)
    assert section("README.md", "Limits").startswith("\n* A failed attack is not a defence.")
    assert not is_there("attacks.no_such_name")
    with pytest.raises(AssertionError):
        check_command(["runn", "configs/demo.toml"])
