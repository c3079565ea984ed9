"""`spikeleak check`: a model of the user's own, a model of the table, captures; what is printed and the exit code."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fl_sim.captures import CaptureStore
from fl_sim.client_training import ClientTraining
from fl_sim.models import MODELS, build_model
from fl_sim.specs import InputSpec, ModelSpec
from tests.attacks.clients import client
from tests.judges.bench.test_audit import leave_captures
from tests.judges.cli.conftest import Call

MODULE = """
import torch
from spikingjelly.activation_based import neuron
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 5, stride=4)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 7 * 7, 10)

    def forward(self, x):
        x = F.dropout(self.norm(self.conv(x)).sigmoid(), training=self.training)
        return self.head(x.flatten(1))


class Spiking(nn.Module):
    # does not reset its neurons itself

    def __init__(self):
        super().__init__()
        self.dense, self.neurons = nn.Linear(10, 3), neuron.IFNode()

    def forward(self, x):
        return self.neurons(2.0 * self.dense(x.flatten(1)))


class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(10, 3)

    def forward(self, x):
        return self.cache["weight"] + self.head(x)

    cache = {}


def of_spec(spec: "ModelSpec"):
    return nn.Sequential(nn.Flatten(), nn.Linear(spec.input.width, spec.input.classes))


def of_classes(classes: int):
    return nn.Linear(10, classes)


def unbuilt():
    return {}["weight"]


def trained():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 5))


def words():
    return nn.Sequential(nn.EmbeddingBag(30, 6), nn.Linear(6, 4))


instance = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
with torch.no_grad():
    instance[1].weight.fill_(0.25)
number = 7
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder with a module of the user's own, and forget both afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "nets_of_mine.py").write_text(MODULE)
    before = set(MODELS)
    yield
    sys.modules.pop("nets_of_mine", None)
    for name in set(MODELS) - before:
        del MODELS[name]


def facts(printed: str) -> dict[str, str]:
    """Return {name: value} of what was printed; a value may go on in the next lines."""
    found: dict[str, str] = {}
    column = re.search(r"(?m)^input +", printed)
    assert column is not None
    width, name = len(column[0]), ""
    for line in printed.splitlines():
        name = line[:width].strip() or name
        found[name] = f"{found.get(name, '')} {line[width:].strip()}".strip()
    return found


def test_a_network_of_the_users_own_is_examined(spikeleak: Call, tmp_path: Path) -> None:
    code, out, err = spikeleak(
        "check", "nets_of_mine:Net", "--set", "assumed.batch_size=4", "--set", "assumed.loss=nll"
    )
    assert (code, err) == (0, "")
    found = facts(out)
    assert found["model"] == "nets_of_mine:Net"
    assert found["input"] == "3x32x32 in [0, 1], 10 classes"
    assert found["input.channels"] == "3, inferred: inputs of the first layer, 'conv' (Conv2d)"
    assert found["input.height"].startswith("32, inferred: of the usual sides")
    assert found["batch_size"] == "4, assumed"
    assert found["loss"] == "nll, assumed"
    assert found["momentum"] == "unknown, taken to be 0"
    assert found["local steps"] == "1, with 4 examples to look for"
    assert found["contradictions"] == "none"
    assert found["engine"].startswith("replayed")
    assert found["not folded because"] == "its loss is nll"
    assert found["random numbers"].startswith("drawn by the model's own code")
    assert found["trained and shared"] == (
        "conv.weight, conv.bias, norm.weight, norm.bias, head.weight, head.bias: 2,282 numbers"
    )
    assert found["loss at the truth"].endswith(": about 0")
    assert found["second derivative"].startswith("runs; one evaluation takes")
    assert found["attacked"].startswith("4 inputs (12,288 numbers) behind a gradient, by the 2,282 numbers")
    assert "what random numbers the client drew" in found["not attacked"]
    assert all(name in found for name in ClientTraining.model_fields)
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["nets_of_mine.py"]


def test_the_statistics_of_a_delta_and_its_steps_are_told(spikeleak: Call) -> None:
    delta = ["assumed.kind=delta", "assumed.learning_rate=0.1", "assumed.batch_size=3", "assumed.epochs=2"]
    told = [*delta, "assumed.num_examples=8", "assumed.frozen=conv.*", "assumed.mode=train"]
    code, out, _ = spikeleak("check", "nets_of_mine:Net", *(f"--set={one}" for one in told))
    found = facts(out)
    assert code == 0
    assert found["shares"] == "weights after local steps"
    assert found["local steps"] == "6, with 8 examples to look for"
    assert found["not trained"] == "conv.weight, conv.bias"
    assert found["shared statistics"] == "of batch normalisation norm"


def test_what_cannot_be_attacked_ends_with_the_users_own_line(spikeleak: Call) -> None:
    shape = ("--set", "input.channels=1", "--set", "input.height=1", "--set", "input.width=10")
    code, out, err = spikeleak("check", "nets_of_mine:Broken", *shape)
    assert code == 2
    assert "KeyError: 'weight'" in facts(out)["refused"]
    line = 1 + MODULE.splitlines().index("""        return self.cache["weight"] + self.head(x)""")
    assert err.startswith("spikeleak: nets_of_mine:Broken: cannot be attacked. model 'nets_of_mine:Broken': its own ")
    assert err.endswith(f"""(nets_of_mine.py, line {line}: return self.cache["weight"] + self.head(x))\n""")


@pytest.mark.parametrize(
    ("target", "more", "words"),
    [
        ("nets_of_mine:unbuilt", (), r"fails when it is built: KeyError: 'weight' \(nets_of_mine\.py, line"),
        ("nets_of_mine:nett", (), r"nets_of_mine: 'nett' is not known\. Did you mean 'Net'\?"),
        ("nets_of_mine:number", (), r"expected a torch module, its class, or a function that returns it, got 7"),
        ("nets_of_mine:of_classes", (), r"expected no arguments, or one ModelSpec, but it needs classes\."),
        ("nets_of_mine:of_spec", (), r"no channels and no height and no width and no classes\."),
        ("nets_of_his:Net", (), r"spikeleak: nets_of_his: cannot be imported \(ModuleNotFoundError"),
        ("lenett", (), r"check: 'lenett' is not known\. Did you mean 'lenet'\?"),
        ("lenet", ("input.heigt=3",), r"input\.heigt: unknown key\. Did you mean 'height'\?"),
        ("lenet", ("assumed.los=3",), r"assumed\.los: unknown key\. Did you mean 'loss'\?"),
        ("nets_of_mine:trained", ("assumed.kind=delta",), r"no learning_rate and no local_steps .* --set assumed\."),
        ("nets_of_mine:trained", ("assumed.nesterov=true",), r"nesterov: needs a momentum above 0"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_one_clear_paragraph(spikeleak: Call, target: str, more: tuple[str, ...], words: str) -> None:
    code, _, err = spikeleak("check", target, *(f"--set={one}" for one in more))
    assert code == 2
    assert re.search(words, err)
    assert err.count("\n") == 1


def test_a_state_between_calls_is_told(spikeleak: Call) -> None:
    """A client that does not set its neurons to rest sends other updates."""
    shape = [f"--set=input.{key}={value}" for key, value in {"channels": 1, "height": 1, "width": 10}.items()]
    code, out, _ = spikeleak("check", "nets_of_mine:Spiking", *shape, "--set=input.classes=3")
    assert code == 0
    assert facts(out)["state"].startswith("of neurons: set to rest before each step")
    _, out, _ = spikeleak("check", "nets_of_mine:Net")
    assert "state" not in facts(out)


def test_functions_and_instances_are_built_as_they_are(spikeleak: Call) -> None:
    """An instance keeps its weights: equal weights give equal features, so that labels cannot be told by "weights"."""
    shape = [
        f"--set=input.{key}={value}" for key, value in zip(("channels", "height", "width"), (1, 1, 12), strict=True)
    ]
    code, out, _ = spikeleak("check", "nets_of_mine:of_spec", *shape, "--set=input.classes=4")
    assert (code, facts(out)["trained and shared"]) == (0, "1.weight, 1.bias: 52 numbers")
    code, out, _ = spikeleak("check", "nets_of_mine:instance")
    assert (code, facts(out)["input"]) == (0, "1x1x12 in [0, 1], 3 classes")
    built = build_model(ModelSpec("nets_of_mine:instance", InputSpec(1, 1, 12, 3), "torch"))
    assert torch.equal(built.get_parameter("1.weight"), torch.full((3, 12), 0.25))
    code, out, _ = spikeleak("check", "nets_of_mine:trained", "--set=input.height=4", "--set=input.width=4")
    assert (code, facts(out)["input.channels"][:1]) == (0, "3")


def test_a_model_of_the_table(spikeleak: Call) -> None:
    shape = [f"--set=input.{one}" for one in ("channels=1", "height=12", "width=12", "classes=4", "low=-1.0")]
    code, out, _ = spikeleak("check", "spiking_lenet", *shape, "--set=model.timesteps=2")
    found = facts(out)
    assert (code, found["engine"]) == (0, "folded: many victims side by side")
    assert found["input"] == "1x12x12 in [-1, 1], 4 classes"
    assert found["random numbers"] == "none"
    rate = spikeleak("check", "spiking_lenet", *shape, "--set=model.timesteps=2", "--set=model.encoder=rate")
    assert facts(rate[1])["random numbers"].startswith("drawn by encoder")


def test_captures_say_what_they_know(spikeleak: Call, tmp_path: Path) -> None:
    """One client of each problem is examined: here one that shares a gradient, and two that differ in their steps."""
    leave_captures(tmp_path / "mine", sealed=0, count=2)
    store = CaptureStore(tmp_path / "mine" / "captures")
    for number, steps in enumerate((2, 1)):
        capture, _ = client(seed=number, local_steps=steps, num_examples=steps)
        store(dataclasses.replace(capture, id=f"other/r001-c00{number}"))
    code, out, _ = spikeleak("check", "mine", "--set", "assumed.momentum=0.5")
    assert code == 0
    parts = [facts(part) for part in out.split("\n\n")]
    assert [part["local steps"] for part in parts] == [
        "1, with 1 example to look for", "2, with 2 examples to look for", "1, with 1 example to look for",
    ]  # fmt: skip
    assert [part["learning_rate"] for part in parts] == ["not needed for a gradient", "0.1, known", "0.1, known"]
    assert {part["momentum"] for part in parts} == {"0.5, assumed"}
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["captures"]
    code, _, err = spikeleak("check", "mine", "--set", "assumed.learning_rate=0.2")
    assert code == 2
    assert "assumed.learning_rate: 0.2 is assumed, but the server's config of" in err
    code, _, err = spikeleak("check", "mine", "--set", "input.height=3")
    assert (code, "the captures in mine say it themselves" in err) == (2, True)
    (tmp_path / "empty").mkdir()
    code, _, err = spikeleak("check", "empty")
    assert code == 3
    assert "expected captures, found none" in err


def test_a_network_that_reads_texts(spikeleak: Call) -> None:
    text = ("--set", "input.vocabulary=30", "--set", "input.height=5")
    code, out, err = spikeleak("check", "nets_of_mine:words", *text)
    assert (code, err) == (0, "")
    found = facts(out)
    assert found["input"] == "texts of 5 tokens out of 30, 4 classes"
    assert found["engine"].startswith("replayed")
    assert found["attacked"].startswith("1 input (5 tokens) behind a gradient")
    code, _, err = spikeleak("check", "nets_of_mine:words")
    assert code == 2
    assert "--set input.height=LENGTH --set input.vocabulary=VOCABULARY" in " ".join(err.split())
    code, _, err = spikeleak("check", "nets_of_mine:words", *text[:2])
    assert code == 2
    assert "no height" in err
