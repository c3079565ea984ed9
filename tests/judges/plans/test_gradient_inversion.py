"""Experiments: the grid of federations and attacks that a config describes, and what is refused."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from attacks import ATTACKS, AttackEntry
from attacks.settings import DLGSettings, IDLGSettings
from fl_sim.defences import DEFENCES, DefenceEntry
from fl_sim.defences.settings import ClipSettings
from fl_sim.errors import ConfigError
from fl_sim.specs import Framing, SpikingSpec
from judges.kinds import read_plan
from judges.plans.added import override_attack
from judges.plans.gradient_inversion import Cell, Plan, make_plan
from judges.plans.membership import MembershipPlan
from judges.plans.model_inversion import InversionPlan
from judges.plans.rounds import RoundsPlan
from judges.runs.names import file_name

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.toml"))


def plan(**raw: Any) -> Plan:
    return make_plan({"name": "e", **raw})


def read(path: Path, *assignments: str) -> Plan:
    made = read_plan(path, assignments)
    assert isinstance(made, Plan)
    return made


def hashed(seed: int) -> str:
    """Return what a label says of a root seed that varies."""
    return hashlib.sha256(b"label of the seed %d" % seed).hexdigest()[:8]


def refusal(**raw: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        plan(**raw)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def labels(made: Plan) -> list[str]:
    return [federation.label for federation in made.federations]


# The grid


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_every_shipped_config_is_a_plan_named_after_its_file(path: Path) -> None:
    scales = tomllib.loads(path.read_text(encoding="utf-8")).get("scales", {})
    for scale in scales or [""]:
        made = read_plan(path, [f"scale={scale}"] if scale else [])
        assert made.base.name == f"{path.stem}-{scale}".rstrip("-")
        assert made.base.scale == scale
        for part in made.parts.values() if isinstance(made, RoundsPlan) else [made]:
            assert isinstance(part, Plan | InversionPlan | MembershipPlan)
            attacked = part.federations if isinstance(part, Plan) else part.targets
            assert len(attacked) > 0
            assert len(part.cells) >= len(attacked) or (isinstance(part, Plan) and part.base.class_distances > 0)
    assert not scales or list(scales) == ["smoke", "small", "paper"]


def test_there_are_shipped_configs() -> None:
    assert "demo" in {path.stem for path in CONFIGS}


def test_an_empty_config_is_one_attack_on_one_federation() -> None:
    made = plan()
    assert labels(made) == ["digits-lenet-uniform"]
    assert [(cell.federation, cell.label, cell.attack, dict(cell.settings)) for cell in made.cells] == [
        ("digits-lenet-uniform", "idlg", "idlg", {})
    ]
    assert made.cells[0].name == "digits-lenet-uniform/idlg"


def test_the_demo_is_four_federations_under_three_attacks() -> None:
    made = read(Path(__file__).parents[3] / "configs" / "demo.toml")
    assert labels(made) == [
        "digits-lenet-uniform", "digits-lenet-torch", "digits-spiking_lenet-uniform", "digits-spiking_lenet-torch",
    ]  # fmt: skip
    assert {cell.name for cell in made.cells} == {
        f"{one}/{attack}" for one in labels(made) for attack in ("dlg", "idlg", "ensemble")
    }


def test_axes_name_the_federations_in_order_and_single_values_do_not() -> None:
    made = plan(federation={"clients": [2, 3], "batch_size": 4}, seed=[0, 1])
    assert labels(made) == [f"digits-lenet-uniform-clients={n}-seed={hashed(s)}" for n in (2, 3) for s in (0, 1)]
    assert [one.config.federation.clients for one in made.federations] == [2, 2, 3, 3]
    assert [one.config.seed for one in made.federations] == [0, 1, 0, 1]


def test_spiking_axes_multiply_spiking_federations_only() -> None:
    made = plan(model={"name": ["lenet", "spiking_lenet"], "timesteps": [2, 4, 8], "neuron": ["if", "lif"]})
    assert labels(made)[0] == "digits-lenet-uniform"
    assert len(made.federations) == len(made.cells) == 1 + 3 * 2
    assert labels(made)[-1] == "digits-spiking_lenet-uniform-timesteps=8-neuron=lif"
    assert made.federations[-1].config.model.timesteps == 8


def test_an_anns_federation_does_not_depend_on_spiking_settings() -> None:
    one, other = (plan(model={"name": "lenet", "timesteps": steps}).federations[0] for steps in (3, 9))
    assert one == other
    assert one.config.model.timesteps == SpikingSpec().timesteps


def test_attack_axes_name_the_attacks_that_have_them() -> None:
    made = plan(attack={"name": ["dlg", "idlg"], "label_rule": ["weights", "bias"], "restarts": 2})
    assert {cell.label: dict(cell.settings) for cell in made.cells} == {
        "dlg": {"restarts": 2},
        "idlg-label_rule=weights": {"restarts": 2, "label_rule": "weights"},
        "idlg-label_rule=bias": {"restarts": 2, "label_rule": "bias"},
    }


def test_attack_axes_make_no_federations() -> None:
    made = plan(attack={"iterations": [1, 2, 3]})
    assert labels(made) == ["digits-lenet-uniform"]
    assert [cell.label for cell in made.cells] == ["idlg-iterations=1", "idlg-iterations=2", "idlg-iterations=3"]


@pytest.mark.parametrize("path", ["attack", "attack.name"])
def test_naming_the_attack_itself_names_no_setting(path: str) -> None:
    made = make_plan({"name": "e", "attack": {"name": "dlg", "iterations": 3}}, named=[path, "attack.iterations"])
    assert made.cells[0].name == "digits-lenet-uniform/dlg-iterations=3"


def test_a_defence_is_an_axis_whose_settings_are_those_of_the_defences_that_have_them() -> None:
    made = plan(defence={"name": ["none", "clip", "noise", "quantise"], "clipping_norm": [1.0, 2.0], "bits": [4, 8]})
    assert labels(made) == [
        "digits-lenet-uniform-none",
        *(f"digits-lenet-uniform-clip-clipping_norm={norm}" for norm in (1.0, 2.0)),
        *(f"digits-lenet-uniform-noise-clipping_norm={norm}" for norm in (1.0, 2.0)),
        *(f"digits-lenet-uniform-quantise-bits={bits}" for bits in (4, 8)),
    ]
    assert made.federations[3].config.defence.settings == {"clipping_norm": 1.0, "noise_multiplier": 4.0}
    told = [(one.attacked.defence, dict(one.attacked.defence_settings)) for one in made.federations]
    assert told == [
        ("none", {}),
        *(("clip", {"clipping_norm": norm}) for norm in (1.0, 2.0)),
        *(("noise", {"clipping_norm": norm}) for norm in (1.0, 2.0)),
        *(("quantise", {"bits": bits}) for bits in (4, 8)),
    ]
    assert {tuple(one.attacked.varied) for one in made.federations} == {()}  # the rows have columns for it
    assert labels(plan(defence=["none"])) == ["digits-lenet-uniform-none"]
    assert labels(plan(defence="none")) == labels(plan(defence={})) == ["digits-lenet-uniform"]


def test_one_defence_is_named_and_its_settings_are_where_they_vary() -> None:
    assert labels(plan(defence="clip")) == ["digits-lenet-uniform-clip"]
    assert labels(plan(defence={"name": "quantise", "bits": 4})) == ["digits-lenet-uniform-quantise"]
    made = plan(defence={"name": "quantise", "bits": [4, 8]}, seed=[0, 1])
    assert set(labels(made)) == {
        f"digits-lenet-uniform-quantise-bits={bits}-seed={hashed(seed)}" for bits in (4, 8) for seed in (0, 1)
    }
    assert [(one.attacked.defence, one.attacked.defence_settings, one.attacked.varied) for one in made.federations] == [
        ("quantise", {"bits": bits}, {"seed": seed}) for bits in (4, 8) for seed in (0, 1)
    ]


def test_a_list_of_one_value_is_an_axis_that_is_named() -> None:
    assert labels(plan(federation={"clients": [2]})) == ["digits-lenet-uniform-clients=2"]


def test_repetitions_differ_in_their_number_only() -> None:
    federation = plan(repeats=3).federations[0]
    assert federation.repeats == 3
    name, config = federation.repetition(2)
    assert name == "digits-lenet-uniform-002"
    assert config == federation.config.model_copy(update={"repeat": 2})
    assert federation.repetition(0)[1] == federation.config


def test_labels_are_names_of_folders(tmp_path: Path) -> None:
    made = plan(dataset={"alpha": [0.1, 1e-7]}, attack={"name": "idlg", "label_rule": ["weights", "bias"]})
    for label in labels(made):
        assert Path(label).name == label
        assert "/" not in label
        assert " " not in label


# The digest and the name


def test_the_digest_is_of_the_config_whatever_the_order_of_its_keys() -> None:
    digest = plan(seed=1, model={"name": "lenet", "tau": 2.0}).digest
    assert digest == plan(model={"tau": 2.0, "name": "lenet"}, seed=1).digest
    assert digest != plan(seed=2, model={"name": "lenet", "tau": 2.0}).digest
    assert plan().digest == plan(seed=0, model="lenet").digest  # a default said aloud is the same experiment


def test_a_config_without_a_name_is_called_after_its_file(tmp_path: Path) -> None:
    path = tmp_path / "table_four.toml"
    path.write_text('seed = 3\n[attack]\nname = "dlg"\n')
    made = read(path, "attack.iterations=2,3", "model=spiking_lenet")
    assert made.base.name == "table_four"
    assert [cell.name for cell in made.cells] == [
        f"digits-spiking_lenet-uniform/dlg-iterations={count}" for count in (2, 3)
    ]
    assert (made.raw["name"], made.raw["seed"], made.raw["model"]["name"]) == ("table_four", 3, "spiking_lenet")
    assert made.raw["attack"] == DLGSettings().model_dump() | {"name": "dlg", "iterations": [2, 3]}


def test_the_resolved_config_is_whole_and_makes_the_same_plan() -> None:
    made = plan(model={"name": ["lenet", "spiking_lenet"], "tau": 3.0}, attack=["dlg", "idlg"])
    assert made.raw["attack"] == IDLGSettings().model_dump() | {"name": ["dlg", "idlg"]}
    assert made.raw["federation"]["clients"] == 2
    assert "repeat" not in made.raw
    again = make_plan(made.raw)
    assert (again.raw, again.federations) == (made.raw, made.federations)
    assert [cell.name for cell in again.cells] == [cell.name for cell in made.cells]


def test_attacks_keep_their_own_defaults_when_the_resolved_config_is_read_again() -> None:
    plan = make_plan({"name": "both", "attack": {"name": ["dlg", "grnn"]}})
    again = make_plan(plan.raw)
    assert [cell.all_settings for cell in again.cells] == [cell.all_settings for cell in plan.cells]
    assert again.units == plan.units
    assert {cell.attack: cell.all_settings["learning_rate"] for cell in again.cells} == {"dlg": 1.0, "grnn": 1e-4}


def test_the_resolved_config_tells_what_all_its_defences_do() -> None:
    made = plan(defence=["none", "clip", "noise", "quantise"])
    told = {"clipping_norm": 4.0, "noise_multiplier": 4.0, "bits": 8}
    assert made.raw["defence"] == told | {"name": ["none", "clip", "noise", "quantise"]}
    assert make_plan(made.raw).federations == made.federations
    assert made.digest == plan(defence={"name": ["none", "clip", "noise", "quantise"], **told}).digest
    assert plan(defence="clip").digest == plan(defence={"name": "clip", "clipping_norm": 4.0}).digest
    assert plan(defence="clip").digest != plan(defence={"name": "clip", "clipping_norm": 3.0}).digest


def test_what_two_defences_have_with_different_defaults_stays_untold(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strict(ClipSettings):
        clipping_norm: float = 1.0

    monkeypatch.setitem(DEFENCES, "strict", DefenceEntry("a:b", Strict, summary="s"))
    made = plan(defence=["clip", "strict"])
    assert made.raw["defence"] == {"name": ["clip", "strict"]}
    assert [one.config.defence.settings["clipping_norm"] for one in make_plan(made.raw).federations] == [4.0, 1.0]


@pytest.mark.parametrize("name", ["../up", "a/b", "/top", "..", ".hidden", "", "a b", "x" * 81, "a\x00"])
def test_a_name_that_could_leave_the_folder_is_refused(name: str) -> None:
    assert refusal(name=name).startswith("name: ")


@pytest.mark.parametrize("name", ["a", "table-4_v1.2", "x" * 80])
def test_a_plain_name_is_taken(name: str) -> None:
    assert plan(name=name).base.name == name


# What is refused


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"attack": {"name": "idgl"}}, ["attack.name: 'idgl' is not known.", "Did you mean 'idlg'?"]),
        ({"attack": "dgl"}, ["attack.name: 'dgl' is not known.", "Did you mean 'dlg'?"]),
        ({"attack": {"iterration": 3}}, ["attack.iterration: unknown key.", "Did you mean 'iterations'?"]),
        ({"attack": {"name": "dlg", "label_rule": "bias"}}, ["attack.label_rule: unknown key.", "Known: name, "]),
        ({"attack": {"name": ["dlg", "idlg"], "lable_rule": "bias"}}, ["Did you mean 'label_rule'?"]),
        ({"attack": {"iterations": "many"}}, ["attack.iterations: input should be a valid integer, got 'many'"]),
        ({"attack": {"iterations": [3, -1]}}, ["attack.iterations: input should be greater", "got -1"]),
        ({"attack": {"guess": "unifrom"}}, ["attack.guess: ", "Did you mean 'uniform'?"]),
        ({"attack": {"name": 3}}, ["attack.name: input should be a valid string, got 3"]),
        ({"defence": "clpi"}, ["defence.name: 'clpi' is not known.", "Did you mean 'clip'?"]),
        ({"defence": {"name": ["none", "prune"], "prune_rati": 0.1}}, ["defence.prune_rati: ", "'prune_ratio'?"]),
        ({"defence": {"name": ["none", "clip"], "bits": 4}}, ["defence.bits: unknown key.", "Known: name, clipping"]),
        ({"defence": {"bits": [4, 8]}}, ["defence.bits: unknown key.", "Known: name."]),
        ({"defence": {"name": "quantise", "bits": [8, 17]}}, ["defence.bits: input should be less", "got 17"]),
        ({"judge": "lennet"}, ["judge.name: 'lennet' is not known.", "Did you mean 'lenet'?"]),
        ({"judge": {"sed": 1}}, ["judge.sed: unknown key.", "Did you mean 'seed'?"]),
        ({"modle": "lenet"}, ["modle: unknown key.", "Did you mean 'model'?"]),
        (
            {"adversary": "B", "attack": {"name": "ensemble"}},
            ["adversary: unknown key. Did you mean 'attack.adversary'?"],
        ),
        ({"momentum": 0.5}, ["momentum: unknown key. Did you mean 'client.momentum'?"]),
        ({"model": ["lenet", "spiking_lenett"]}, ["model.name: ", "Did you mean 'spiking_lenet'?"]),
        ({"federation": {"local_steps": [1, 2]}}, ["federation.local_steps: FedSGD"]),
        ({"repeats": 0}, ["repeats: "]),
        ({"device": "gpu"}, ["device: ", "expected cpu, cuda, cuda:N or mps, got 'gpu'"]),
        ({"repeat": 2}, ["repeat: ", "repeats"]),
        ({"seed": []}, ["seed: expected a value or a list of values"]),
    ],
)
def test_what_is_wrong_is_named_by_its_path(raw: dict[str, Any], said: list[str]) -> None:
    message = refusal(**raw)
    assert all(part in message for part in said), message


@pytest.mark.parametrize(
    "raw",
    [{"repeats": [1, 2]}, {"threads": [1, 2]}, {"device": ["cpu", "cuda"]}, {"name": ["a", "b"]}, {"repeat": [0, 1]}],
)
def test_a_setting_of_the_whole_experiment_is_no_axis(raw: dict[str, Any]) -> None:
    assert refusal(**raw).startswith(f"{next(iter(raw))}: is the same for the whole experiment")


@pytest.mark.parametrize("key", [*Framing.model_fields, "root", "size"])
def test_what_the_examples_are_made_of_is_no_axis(key: str) -> None:
    assert refusal(dataset={key: [0, 1]}).startswith(f"dataset.{key}: is the same for the whole experiment")


def test_the_judge_is_no_axis() -> None:
    for judge in (["lenet", "none"], {"name": ["lenet", "none"]}):
        assert refusal(judge=judge).startswith("judge.name: is the same for the whole experiment")


def test_a_label_that_is_too_long_for_a_folder_is_refused() -> None:
    axes = {key: [1.0000000001] for key in ("learning_rate", "fraction")}
    axes["fraction"] = [0.123456789012]
    alphas = {"alpha": [0.12345678901234]}
    assert "too long" in refusal(
        dataset=alphas, federation=axes, model={"name": "spiking_lenet", "tau": [1.234567891234]}
    )


# Scales


def scaled(folder: Path, text: str, *assignments: str) -> Plan:
    path = folder / "wide.toml"
    path.write_text(text, encoding="utf-8")
    return read(path, *assignments)


SCALED = """
scale = "small"
attack = "dlg"
[scales.small]
repeats = 3
attack.iterations = 5
[scales.paper]
repeats = 500
dataset.size = 32
"""


def test_a_scale_goes_over_the_config_and_under_what_is_set(tmp_path: Path) -> None:
    small = scaled(tmp_path, SCALED)
    assert (small.base.name, small.base.repeats, small.cells[0].settings) == ("wide-small", 3, {"iterations": 5})
    assert "scales" not in small.raw
    paper = scaled(tmp_path, SCALED, "attack.iterations=7", "scale=paper", "repeats=2")
    assert (paper.base.name, paper.base.repeats, paper.base.dataset.size) == ("wide-paper", 2, 32)
    assert (paper.cells[0].attack, paper.cells[0].settings) == ("dlg", {"iterations": 7})


def test_a_plan_at_a_scale_is_the_plan_of_its_resolved_config(tmp_path: Path) -> None:
    made = scaled(tmp_path, SCALED)
    again = make_plan(made.raw)
    assert (again.raw, labels(again)) == (made.raw, labels(made))
    assert [cell.name for cell in again.cells] == [cell.name for cell in made.cells]


@pytest.mark.parametrize(
    ("text", "assignments", "said"),
    [
        (SCALED, ["scale=papr"], "Did you mean 'paper'?"),
        ("attack = 'dlg'", ["scale=small"], "this config has no scales"),
        (SCALED.replace("repeats = 3", "repats = 3"), [], "repats: unknown key."),
        ("scales = 3", [], "scales: expected tables"),
    ],
)
def test_a_wrong_scale_is_refused(text: str, assignments: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        scaled(tmp_path, text, *assignments)
    assert said in str(caught.value)


def test_settings_of_a_defence_that_an_assignment_replaces_are_left_out(tmp_path: Path) -> None:
    text = 'defence = {name = "prune", prune_ratio = 0.3}\nattack = "dlg"\n'
    assert scaled(tmp_path, text, "defence=none").federations[0].config.defence.settings == {}
    kept = scaled(tmp_path, text, "defence=prune,none").federations[0].config.defence
    assert (kept.name, kept.settings["prune_ratio"]) == ("prune", 0.3)
    with pytest.raises(ConfigError, match=r"defence\.prune_ratio: unknown key"):
        scaled(tmp_path, text, "defence=none", "defence.prune_ratio=0.5")


# Thresholds, and no attack


def test_seeds_that_differ_in_their_sign_have_files_of_their_own() -> None:
    made = plan(seed=[1, -1], attack="dlg")
    assert len({file_name(cell.name) for cell in made.cells}) == len(made.cells) == 2
    labels = [federation.label for federation in made.federations]
    assert len(set(labels)) == 2
    assert [federation.attacked.varied for federation in made.federations] == [{"seed": 1}, {"seed": -1}]
    assert not any("seed=1" in label or "seed=-1" in label for label in labels)  # ids of captures hold the label


def test_attacks_whose_names_would_be_the_same_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Noted(DLGSettings):
        note: str = ""

    monkeypatch.setitem(ATTACKS, "noted", AttackEntry("attacks.dlg:DLG", Noted, adversary="A", summary="with a note"))
    assert len(plan(attack={"name": "noted", "note": ["a b", "a-b"]}).cells) == 2
    told = refusal(attack={"name": "noted", "note": ["a b", "a_b"]})
    assert told == "attack: the grid names two different attacks 'noted-note=a_b'; give one of them only."


def test_thresholds_after_the_optimisation_share_one_attack() -> None:
    ways = ["none", "post_optimisation", "in_optimisation"]
    made = plan(attack={"name": "dlg", "thresholding": ways, "tau": [0.1, 0.5]})
    assert [cell.label for cell in made.cells] == [
        "dlg",
        "dlg-thresholding=post_optimisation-tau=0.1",
        "dlg-thresholding=post_optimisation-tau=0.5",
        "dlg-thresholding=in_optimisation-tau=0.1",
        "dlg-thresholding=in_optimisation-tau=0.5",
    ]
    assert [cell.source for cell in made.cells] == ["dlg"] * 3 + [cell.label for cell in made.cells[3:]]
    assert made.cells[0].settings == {}


def test_no_attack_leaves_it_at_the_federations() -> None:
    made = plan(attack="none", class_distances=5)
    assert (len(made.federations), made.cells) == (1, ())
    assert (
        refusal(attack={"name": "none", "iterations": 3})
        == "attack.name: 'none' reads no settings; leave out iterations."
    )


# Another attack on the same captures


def test_another_attack_starts_from_its_defaults_and_the_runs_own_from_its_settings() -> None:
    raw = {"name": "e", "seed": 3, "attack": {"name": "dlg", "iterations": 9}}
    new = override_attack(raw, ["attack.name=idlg", "attack.restarts=2"])
    assert new == {"name": "e", "seed": 3, "attack": {"name": "idlg", "restarts": 2}}
    assert raw["attack"] == {"name": "dlg", "iterations": 9}
    own = DLGSettings(iterations=9).model_dump()
    for assignments in (["attack.restarts=2"], ["attack=dlg", "attack.restarts=2"]):
        assert override_attack(raw, assignments)["attack"] == own | {"name": "dlg", "restarts": 2}


def test_one_of_several_attacks_keeps_only_its_own_settings() -> None:
    raw = {"name": "e", "attack": {"name": ["dlg", "idlg"], "label_rule": "bias", "iterations": 5}}
    assert override_attack(raw, ["attack=dlg"])["attack"] == DLGSettings(iterations=5).model_dump() | {"name": "dlg"}
    changed = override_attack(raw, ["attack=idlg"])["attack"]
    assert changed == IDLGSettings(iterations=5, label_rule="bias").model_dump() | {"name": "idlg"}


@pytest.mark.parametrize("assignment", ["seed=4", "model=spiking_lenet", "judge=none", "federation.clients=3", "x=1"])
def test_another_attack_changes_nothing_else(assignment: str) -> None:
    raw = {"name": "e", "seed": 3, "attack": "dlg"}
    with pytest.raises(ConfigError, match="only attack settings"):
        override_attack(raw, ["attack=idlg", assignment])


def test_a_plan_is_made_without_torch() -> None:
    code = (
        "import sys; from judges.plans.gradient_inversion import make_plan; make_plan({'name': 'e', 'seed': [0, 1]});"
        "sys.exit(bool({'torch', 'flwr'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_naming_one_attack_of_a_config_leaves_out_the_settings_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "both.toml"
    text = '[attack]\nname = ["idlg", "ensemble"]\nlabel_rule = "bias"\niterations = 7\neffort = "none"\n'
    path.write_text(f"{text}[scales.small]\nattack.restarts = 3\n")

    def only(assignment: str) -> Cell:
        plan = read_plan(path, ["scale=small", assignment])
        assert isinstance(plan, Plan)
        (cell,) = plan.cells
        return cell

    ensemble = only("attack.name=ensemble")
    assert (ensemble.attack, ensemble.settings) == ("ensemble", {"effort": "none"})
    idlg = only("attack=idlg")
    assert (idlg.settings["label_rule"], idlg.settings["iterations"], idlg.settings["restarts"]) == ("bias", 7, 3)
    assert "label_rule" not in only("attack=dlg").settings  # it is iDLG's alone
    with pytest.raises(ConfigError, match=r"attack\.label_rule: unknown key"):
        read_plan(path, ["scale=small", "attack=ensemble", "attack.label_rule=bias"])
    path.write_text(text.replace("iterations", "iteration"))
    with pytest.raises(ConfigError, match=r"attack\.iteration: unknown key"):
        read_plan(path, ["attack=dlg"])
