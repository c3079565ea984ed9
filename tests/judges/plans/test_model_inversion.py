from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fl_sim.errors import ConfigError
from fl_sim.specs import BRAINLEAKS_NEURONS, SpikingSpec
from judges.kinds import plan_of, read_plan
from judges.plans.gradient_inversion import Plan
from judges.plans.model_inversion import AUTHORS_FRAMING, InversionPlan, make_inversion_plan
from judges.runs.identity import Attacked

CONFIGS = Path(__file__).parents[3] / "configs"


def plan(**raw: Any) -> InversionPlan:
    return make_inversion_plan({"task": "model_inversion", "name": "e", **raw})


def names(made: InversionPlan) -> list[str]:
    return [f"{cell.target}/{cell.label}" for cell in made.cells]


def test_only_attacks_that_are_for_a_model_and_models_that_read_the_data_are_paired() -> None:
    made = plan(model=["mlp", "spiking_mlp"], dataset=["digits", "digits_dvs"])
    assert names(made) == [
        "digits-mlp-torch/mi_face",
        "digits-spiking_mlp-torch/brainleaks_v1",
        "digits-spiking_mlp-torch/brainleaks_v2",
        "digits_dvs-spiking_mlp-torch/brainleaks_v1",
        "digits_dvs-spiking_mlp-torch/brainleaks_v2",
    ]
    assert [target.judge for target in made.targets] == ["brainleaks_cnn", "brainleaks_snn", "brainleaks_snn"]


def test_every_data_set_has_its_authors_constants_unless_told_otherwise() -> None:
    made = plan(model=["mlp", "spiking_mlp"], dataset=["mnist", "att_faces_8_9", "nmnist"])
    told = {target.label: target.config for target in made.targets}
    assert {label: config.training.preset for label, config in told.items()} == {
        "mnist-mlp-torch": "mnist_ann",
        "mnist-spiking_mlp-torch": "mnist_snn",
        "att_faces_8_9-mlp-torch": "att_faces_ann",
        "att_faces_8_9-spiking_mlp-torch": "att_faces_snn",
        "nmnist-spiking_mlp-torch": "nmnist_snn",
    }
    assert told["nmnist-spiking_mlp-torch"].training.learning_rate == 2e-4
    framing = told["nmnist-spiking_mlp-torch"].dataset.framing.model_dump()
    assert framing.items() >= AUTHORS_FRAMING["nmnist"].items()
    presets = {cell.target: cell.settings["preset"] for cell in made.cells}
    assert presets["att_faces_8_9-mlp-torch"] == "att_faces"
    assert presets["nmnist-spiking_mlp-torch"] == "nmnist"

    other = plan(dataset={"name": "nmnist", "polarity": "on"}, training={"epochs": 3}, attack={"preset": "mnist"})
    (target,) = other.targets
    assert (target.config.dataset.polarity, target.config.dataset.denoise_ms) == ("on", 40.0)
    assert (target.config.training.epochs, target.config.training.learning_rate) == (3, 2e-4)
    assert {cell.settings["preset"] for cell in other.cells} == {"mnist"}


def test_neurons_are_those_of_brainleaks_for_every_architecture() -> None:
    made = plan(model={"name": ["spiking_mlp", "spiking_lenet"], "slope": 25.0})
    for target in made.targets:
        neurons = SpikingSpec(**target.config.model.model_dump(include=set(SpikingSpec.model_fields)))
        assert neurons == BRAINLEAKS_NEURONS.model_copy(update={"slope": 25.0})
        assert target.config.model.init == "torch"


def test_what_varies_is_named_and_settings_of_another_attack_are_dropped() -> None:
    made = plan(attack={"name": ["brainleaks_v1", "brainleaks_v2"], "weights": ["proportional", "exponential"]})
    assert names(made) == [
        "digits-spiking_mlp-torch/brainleaks_v1",
        "digits-spiking_mlp-torch/brainleaks_v2-weights=proportional",
        "digits-spiking_mlp-torch/brainleaks_v2-weights=exponential",
    ]
    varied = plan(model={"name": "spiking_mlp", "timesteps": [5, 25]})
    assert [target.attacked for target in varied.targets] == [
        Attacked(
            dataset="digits", model="spiking_mlp", family="mlp", spiking=True, varied={"timesteps": steps}, init="torch"
        )
        for steps in (5, 25)
    ]


def test_settings_of_spiking_networks_make_no_further_targets_of_others() -> None:
    made = plan(model={"name": ["mlp", "spiking_mlp"], "timesteps": [5, 25], "encoder": ["rate", "direct"]})
    assert [target.label for target in made.targets if not target.spiking] == ["digits-mlp-torch"]
    assert len(made.targets) == 5
    (alone,) = plan(model="mlp").targets
    assert made.targets[0].config.model == alone.config.model


def test_further_targets_have_seeds_of_their_own_and_leave_the_experiment_what_it_is() -> None:
    one, other = plan(seed=3, repeats=2), plan(seed=3, repeats=2, transfer=2)
    assert [(list(target.seeds), list(target.unseen)) for target in (*one.targets, *other.targets)] == [
        ([3, 4], []), ([3, 4], [5, 6]),
    ]  # fmt: skip
    assert other.units == one.units  # the answers are the same
    assert plan_of(other.raw) == other
    assert "transfer" not in one.raw  # so that earlier runs stay what they are


def test_a_federation_is_told_as_a_simulation_that_is_a_repetition_of_the_first_one() -> None:
    made = plan(target="federation", seed=4, repeats=2, strategy="FedAvg", federation={"rounds": 3, "keep_every": 1})
    (target,) = made.targets
    assert list(target.seeds) == [4, 5]
    config = target.simulation(5)
    assert (config.seed, config.repeat, config.federation.rounds, config.strategy.name) == (4, 1, 3, "FedAvg")
    assert config.model == target.config.model


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"model": "mlp", "attack": "brainleaks_v2"}, "attack.name: none of the attacks"),
        ({"attack": "dlg"}, "attack.name: 'dlg' is not known"),
        ({"attack": {"name": "brainleaks_v2", "populaton": 3}}, "Did you mean 'population'"),
        ({"attack": {"name": "brainleaks_v2", "population": 0}}, "attack.population"),
        ({"attack": {"preset": "cifar"}}, "preset"),
        ({"federation": {"rounds": 2}}, 'federation: is not read where target = "central"'),
        ({"target": "federation", "training": {"epochs": 2}}, 'training: is not read where target = "federation"'),
        ({"target": "federation", "transfer": 1}, "transfer: tries answers on further targets of central trainings"),
        ({"transfer": [1, 2]}, "transfer: is the same for the whole experiment"),
        ({"draws": [1, 2]}, "draws: is the same for the whole experiment"),
        ({"judge": {"name": "lenet"}}, "judge.name: unknown key"),
        ({"dataset": {"name": "digits", "split": "test"}}, "dataset.split"),
        ({"taget": "central"}, "Did you mean 'target'"),
        ({"target": "centre"}, "target"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        plan(**raw)


def test_a_config_says_by_its_task_what_it_is() -> None:
    assert isinstance(plan_of({"name": "e"}), Plan)
    assert isinstance(read_plan(CONFIGS / "demo.toml"), Plan)
    assert isinstance(read_plan(CONFIGS / "brainleaks.toml", ["scale=smoke"]), InversionPlan)
    with pytest.raises(ConfigError, match="task: expected"):
        plan_of({"name": "e", "task": "model_inversions"})


def test_the_plan_of_what_was_resolved_is_the_same_plan() -> None:
    made = read_plan(CONFIGS / "brainleaks.toml", ["scale=small", "attack.iterations=7"])
    again = plan_of(made.raw)
    assert isinstance(made, InversionPlan)
    assert isinstance(again, InversionPlan)
    assert (again.targets, again.cells, again.digest) == (made.targets, made.cells, made.digest)


def test_no_torch_is_loaded_for_a_config() -> None:
    code = "import sys; from judges.kinds import plan_of; plan_of({'name': 'e', 'task': 'model_inversion'}); "
    subprocess.run([sys.executable, "-c", f"{code}assert 'torch' not in sys.modules"], check=True)
