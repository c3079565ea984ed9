"""Models inverted from Python, and runs of model inversion read from their folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import spikeleak
import torch
from torch import nn

from attacks.testing.victims import MLP, SPIKING_MLP, trained
from fl_sim.errors import ConfigError
from fl_sim.records import save_record
from judges.notebook.results import Result
from tests.judges.class_runs import Toy

STEPS = {"iterations": 3}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Sigmoid(), nn.Linear(8, 3))


def test_a_module_is_inverted_beside_the_mean_of_each_class(capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = torch.rand(6, 1, 8, 8), torch.tensor([0, 0, 2, 2, 1, 1])
    found = spikeleak.invert(network(), [0, 2], images=images, labels=labels, set=STEPS)
    assert found.inversion.attack == "mi_face"
    assert found.inputs.shape == (2, 1, 8, 8)
    assert found.inversion.iterations.tolist() == [3, 3]
    assert found.means is not None
    assert found.means[1].allclose(images[2:4].mean(0))
    assert [pair.subject for pair in found.answers] == ["class 0", "class 2"]
    assert all(pair.ssim is not None for pair in found.answers)
    assert found._repr_html_().count("<img ") == 4
    assert [text.get_text() for text in found.figure().texts] == ["class mean", "mi_face"]
    found.show()
    told = capsys.readouterr()
    assert "of 2 pictures" in told.out
    assert told.err == ""


def test_a_model_of_the_table_is_inverted_by_the_attack_for_its_kind(tmp_path: Path) -> None:
    path = save_record(trained(SPIKING_MLP), tmp_path / "model.safetensors")
    spiking = spikeleak.invert(path, 1, set=STEPS)
    assert spiking.inversion.attack == "brainleaks_v2"
    assert spiking.inputs.shape == (7, 1, 1, 4, 5)
    assert len(spiking.figure().axes) == 1
    assert spikeleak.invert(trained(MLP), range(4), set=STEPS).inversion.attack == "mi_face"


def test_a_search_is_drawn_from_its_starting_point_to_the_answer() -> None:
    found = spikeleak.invert(network(), [0, 2], shape=(1, 8, 8), set=STEPS | {"snapshots": 3})
    assert [pair.steps for pair in found.answers] == [(0, 2, 3)] * 2
    assert found.answers[0].snapshots[2].equal(found.answers[0].answer)
    captions = [axes.get_xlabel() for axes in found.figure("search").axes if axes.get_xlabel()]
    assert [caption for caption in captions if "step" in caption] == ["step 0", "step 2", "step 3"] * 2
    with pytest.raises(ConfigError, match="snapshots"):
        spikeleak.invert(network(), 0, shape=(1, 8, 8), set=STEPS).figure("search")
    with pytest.raises(ConfigError, match="answers or search"):
        found.figure("film")


def test_pandas_gets_a_row_for_each_class() -> None:
    pytest.importorskip("pandas")
    assert list(spikeleak.invert(network(), [0, 2], shape=(1, 8, 8), set=STEPS).to_pandas()["class"]) == [0, 2]


def test_people_are_hidden() -> None:
    found = spikeleak.invert(network(), 0, shape=(1, 8, 8), people=True, set=STEPS)
    assert "<img" not in found._repr_html_()
    with pytest.raises(ConfigError, match="may show people"):
        found.figure()
    assert (
        "<img" in spikeleak.invert(network(), 0, shape=(1, 8, 8), people=True, show_faces=True, set=STEPS)._repr_html_()
    )


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ConfigError, match=r"attack: 'mi_fac' is not known\. Did you mean 'mi_face'"):
        spikeleak.invert(network(), 0, "mi_fac")
    with pytest.raises(ConfigError, match="iteration: unknown key"):
        spikeleak.invert(network(), 0, set={"iteration": 3})
    with pytest.raises(ConfigError, match="classes: expected numbers from 0 to 2, got 3"):
        spikeleak.invert(network(), 3)
    with pytest.raises(ConfigError, match="shape"):
        spikeleak.invert(nn.Conv2d(1, 3, 3), 0)
    with pytest.raises(ConfigError, match="none of 1"):
        spikeleak.invert(network(), [0, 1], images=torch.rand(1, 1, 8, 8), labels=torch.tensor([0]), set=STEPS)
    with pytest.raises(ConfigError, match=r"model: expected a torch\.nn\.Module"):
        spikeleak.invert(3, 0)  # type: ignore[arg-type]


def test_a_run_of_model_inversion_is_read_from_its_folder(tmp_path: Path) -> None:
    toy = Toy(people={"toy": False})
    toy.attack(toy.target("toy", "spiking_mlp"), "brainleaks_v2", 9)
    result = Result(toy.write(tmp_path))
    (verdict,) = result.verdicts
    assert (verdict.attack, verdict.verdict) == ("BrainLeaks-v2", "classes recovered")
    assert "toy" in verdict.victims
    assert len(result.answers) == 10
    assert result._repr_html_().count("<img ") == 20
    assert Result(Toy(people={"toy": True}).write(tmp_path / "people")).answers == ()
