"""What a program of one's own gets of an attack on its own model."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import pytest
import spikeleak
import torch
from torch import Tensor, nn

from fl_sim.captures import CaptureStore
from fl_sim.datasets import load_dataset
from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.specs import InputSpec, ModelSpec
from judges.notebook.own_models import built
from judges.notebook.results import AttackResult
from judges.runs.rows import read_scores

SIDE = 8


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 16), nn.Sigmoid(), nn.Linear(16, 10))


def digits(count: int) -> tuple[Tensor, Tensor]:
    return load_dataset("digits", size=SIDE).test.batch(slice(0, count))


@pytest.fixture(scope="module")
def exact() -> AttackResult:
    """Return what the closed form found on two clients, for reading."""
    return spikeleak.attack(network(), *digits(2), "exact", clients=2)


def test_the_closed_form_recovers_each_image_and_says_so(exact: AttackResult) -> None:
    images, labels = digits(2)
    (verdict,) = exact.verdicts
    assert (verdict.attack, verdict.verdict) == ("exact", "recovered")
    assert [pair.label for pair in exact.answers] == labels.tolist()
    for pair, image in zip(exact.answers, images, strict=True):
        assert pair.truth is not None
        assert pair.truth.equal(image)
        assert pair.answer.allclose(image, atol=1e-3)
        assert pair.ssim == pytest.approx(1.0, abs=1e-4)
    assert "exact on captures" in repr(exact)
    assert exact.report.is_file()
    assert exact.failed == {}
    assert exact.ladder is None


def test_it_shows_itself_as_html_that_loads_nothing(exact: AttackResult) -> None:
    page = exact._repr_html_()
    assert page.count('src="data:image/png;base64,') == page.count("<img ") == 4
    assert "http" not in page
    assert "<b>recovered</b>" in page
    assert "SSIM 1.00" in page


def test_outside_a_notebook_it_prints_its_table_and_where_pictures_are(
    exact: AttackResult, capsys: pytest.CaptureFixture[str]
) -> None:
    exact.show()
    told = capsys.readouterr()
    assert "recovered" in told.out
    assert exact.report.as_uri() in told.out
    assert told.err == ""


def test_its_figure_has_the_truths_above_the_answers(exact: AttackResult) -> None:
    figure = exact.figure()
    assert [text.get_text() for text in figure.texts] == ["truth", "exact"]
    assert len(figure.axes) == 4
    assert figure.axes[2].get_xlabel() == "SSIM 1.00"
    with pytest.raises(ConfigError, match=r"attack\.snapshots"):
        exact.figure("search")
    with pytest.raises(ConfigError, match="answers or search"):
        exact.figure("other")


def test_pandas_gets_the_rows_of_attacks_and_controls(exact: AttackResult) -> None:
    pytest.importorskip("pandas")
    frame = exact.to_pandas()
    assert list(frame[frame["attack"] == "exact"]["label"])[:2] == digits(2)[1].tolist()
    assert {"black", "grey", "swapped"} <= {*frame["control"]}


def test_without_pandas_one_sentence_says_what_to_install(exact: AttackResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="pip install pandas"):
        exact.to_pandas()


def test_nothing_of_the_caller_is_changed_and_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    module, threads = network().eval(), torch.get_num_threads()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.random.get_rng_state()
    result = spikeleak.attack(module, *digits(1), "exact", learning_rate=0.1)
    assert all(value.equal(before[name]) for name, value in module.state_dict().items())
    assert not module.training
    assert torch.random.get_rng_state().equal(state)
    assert torch.get_num_threads() == threads
    assert capsys.readouterr() == ("", "")
    folder = result.folder
    assert folder.is_dir()
    del result
    gc.collect()
    assert not folder.exists()


def test_the_update_is_what_torch_computes(tmp_path: Path) -> None:
    module, (images, labels) = network(), digits(4)
    spikeleak.attack(module, images, labels, "exact", folder=tmp_path / "gradient")
    (capture,) = CaptureStore(tmp_path / "gradient/captures")
    loss = nn.functional.cross_entropy(module(images), labels)
    names = [name for name, _ in module.named_parameters()]
    for name, gradient in zip(names, torch.autograd.grad(loss, list(module.parameters())), strict=True):
        assert capture.update[name].allclose(gradient, atol=1e-7)

    training: dict[str, Any] = {"learning_rate": 0.1, "epochs": 2, "batch_size": 2, "momentum": 0.9}
    spikeleak.attack(module, images, labels, "exact", folder=tmp_path / "delta", **training)
    (capture,) = CaptureStore(tmp_path / "delta/captures")
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    optimiser = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    for start in (0, 2, 0, 2):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(images[start : start + 2]), labels[start : start + 2]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert (capture.kind, capture.epochs, capture.batch_size, capture.training.momentum) == ("delta", 2, 2, 0.9)
    for name, value in module.named_parameters():
        assert capture.update[name].allclose(value.detach() - before[name], atol=1e-6)


def test_several_attacks_are_answered_in_one_call_and_a_search_shows_its_way() -> None:
    settings = {"attack.iterations": 3, "attack.snapshots": 3}
    result = spikeleak.attack("lenet", *digits(1), ["exact", "idlg"], classes=10, set=settings)
    assert [one.attack for one in result.verdicts] == ["exact", "iDLG"]
    exact, idlg = result.answers
    assert exact.steps == ()
    assert idlg.steps[0] == 0
    assert idlg.snapshots.shape == (len(idlg.steps), 1, SIDE, SIDE)
    figure = result.figure("search")
    assert [text.get_text() for text in figure.texts] == ["iDLG"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["truth", *(f"step {step}" for step in idlg.steps)]
    assert len(result.figure("answers", attack="idlg").axes) == 2


def test_a_defence_changes_what_is_shared(tmp_path: Path) -> None:
    pruned = {"name": "prune", "prune_ratio": 1.0}
    result = spikeleak.attack(network(), *digits(1), "exact", defence=pruned, folder=tmp_path)
    (capture,) = CaptureStore(tmp_path / "captures")
    assert all(not value.any() for value in capture.update.values())
    assert result.verdicts[0].verdict != "recovered"
    assert {row.defence for row in read_scores(tmp_path / "scores.csv")} == {"prune"}
    capture_file = tmp_path / "captures/client/r001-c000.safetensors"
    capture_file.rename(capture_file.with_stem("r001-c009"))
    with pytest.raises(ConfigError, match="name a new folder"):
        spikeleak.attack(network(), *digits(1), "exact", folder=tmp_path)


def test_frames_of_events_are_shown_as_their_sum() -> None:
    events = torch.zeros(3, 1, 2, SIDE, SIDE)
    events[0, 0, 1, 2, 2] = events[2, 0, 1, 2, 2] = events[1, 0, 0, 5, 5] = 1.0
    model = {"name": "spiking_mlp", "hidden": 6, "timesteps": 3, "init": "torch"}
    result = spikeleak.attack(model, events, [1], "idlg", classes=3, set={"attack.iterations": 1})
    (pair,) = result.answers
    assert pair.truth is not None
    assert pair.truth[1, 2, 2] == 1.0
    assert pair.truth[0, 5, 5] == 0.5
    assert pair.answer.shape == (2, SIDE, SIDE)


def test_pictures_of_people_are_hidden_unless_they_are_asked_for(tmp_path: Path) -> None:
    hidden = spikeleak.attack(network(), *digits(1), "exact", people=True, folder=tmp_path)
    assert "<img" not in hidden._repr_html_()
    assert "may show people" in hidden._repr_html_()
    assert hidden.answers == ()
    with pytest.raises(ConfigError, match="may show people"):
        hidden.figure()
    named = spikeleak.attack(
        network(), *digits(1), "exact", people=True, set={"dataset.name": "digits", "dataset.size": SIDE}
    )
    assert "<img" not in named._repr_html_()
    shown = spikeleak.attack(network(), *digits(1), "exact", people=True, show_faces=True, folder=tmp_path)
    assert "<img" in shown._repr_html_()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "attack": ({"attacks": "igld"}, r"attack\.name: 'igld' is not known\. Did you mean 'idlg'"),
    "attacks": ({"attacks": []}, "expected the name of an attack, or a list of names"),
    "setting": ({"attacks": "idlg", "set": {"attack.iteration": 1}}, r"attack\.iteration: unknown key"),
    "key": ({"set": {"a.b.c": 1}}, "expected keys such as"),
    "value": ({"set": {"seed": object()}}, "set: seed: expected a value"),
    "table": ({"set": {"attack": {"name": "dlg"}}}, "name its keys as 'attack.KEY'"),
    "training": ({"momentun": 0.9}, "momentun: unknown key. Did you mean 'momentum'"),
    "rate": ({"local_steps": 2}, "learning_rate: a client of local steps"),
    "batch": ({"batch_size": 1}, "batch_size: a client that shares the gradient"),
    "examples": ({"num_examples": 9}, "num_examples: the images say"),
    "clients": ({"clients": 3}, "clients: expected a number that divides the 2 images, got 3"),
    "range": ({"high": 0.5}, "low, high: expected images from 0 to 0.5"),
    "shape": ({"images": torch.zeros(2, SIDE, SIDE)}, r"images: expected a tensor \(N, C, H, W\)"),
    "labels": ({"labels": [0, 10]}, "labels: expected whole numbers from 0 to 9"),
    "model": ({"model": 3}, "model: expected a torch.nn.Module"),
    "name": ({"model": "lanet", "classes": 10}, r"model\.name: 'lanet' is not known\. Did you mean 'lenet'"),
    "classes": ({"model": "lenet"}, "classes: a model of the table is built"),
    "fails": ({"model": nn.Linear(3, 2)}, "model: it fails on inputs of shape"),
    "frozen": ({"model": network().requires_grad_(False)}, "none of its parameters is trained"),
    "defence": ({"defence": "prun"}, r"defence\.name: 'prun' is not known"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_one_paragraph(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    changes, message = WRONG[name]
    images, labels = digits(2)
    given: dict[str, Any] = {"model": network(), "images": images, "labels": labels, "attacks": "exact", **changes}
    with pytest.raises(ConfigError, match=message) as caught:
        spikeleak.attack(**given)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def net(sign: float) -> nn.Module:
    """Return a network of a class "Net" of its own, as a cell of a notebook that is run again defines it."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(SIDE * SIDE, 10)

        def forward(self, inputs: Tensor) -> Tensor:
            logits: Tensor = sign * self.layer(inputs.flatten(1))
            return logits

    torch.manual_seed(0)
    return Net()


def test_models_with_the_same_numbers_and_other_code_are_apart() -> None:
    first, second, spec = net(1.0), net(-1.0), InputSpec(1, SIDE, SIDE, 10)
    names = [built(module, spec, seed=0)[0].architecture for module in (first, first, second)]
    assert names[0] == names[1]
    assert names[2] == f"{names[0]}-2"
    images, _ = digits(1)
    for module, name in ((first, names[0]), (second, names[2])):
        kept = build_model(ModelSpec(name, spec, "torch"))
        assert kept(images).equal(module(images))


def test_a_threshold_after_the_search_is_in_the_pictures_too() -> None:
    settings = {"attack.iterations": 1, "attack.thresholding": "post_optimisation", "attack.tau": 0.5}
    (pair,) = spikeleak.attack("lenet", *digits(1), "idlg", classes=10, set=settings).answers
    assert {*pair.answer.flatten().tolist()} == {0.0, 1.0}
    assert "tau 0.5" in pair.attack
