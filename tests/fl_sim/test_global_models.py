"""The global models that a server keeps: which rounds, what is in them, and that keeping them changes nothing."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import warnings
from pathlib import Path

with warnings.catch_warnings():
    # typer 0.20 reads two names that click 8.5 deprecates; neither is ours.
    warnings.filterwarnings("ignore", "'click", DeprecationWarning)
    import flwr.serverapp  # noqa: F401

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fl_sim.captures import CaptureStore
from fl_sim.config import STRATEGIES, SimulationConfig, validate
from fl_sim.config.strategies import STRATEGY_CLAIMS
from fl_sim.errors import ConfigError
from fl_sim.federation.client_data import input_spec, splits
from fl_sim.global_models import global_model_path, global_models, trained_model_path
from fl_sim.models import build_model
from fl_sim.records import TrainedModel, load_record
from fl_sim.seeding import derive_seed, torch_stream
from fl_sim.simulation import run_federation
from fl_sim.training import accuracy, load_parameters, parameters_of
from tests.fl_sim.slow_strategies import strategies

IDS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,20}", fullmatch=True)
ROUNDS = st.integers(0, 12_000)


def config_of(
    strategy: str = "FedAvg", model: dict[str, object] | None = None, **federation: object
) -> SimulationConfig:
    """Return a config of three clients; Krum's family need seven, one of them malicious."""
    table: dict[str, object] = {"name": strategy}
    if strategy in ("Krum", "MultiKrum", "Bulyan"):
        table["num_malicious_nodes"] = 1
        federation["clients"] = 7
    return validate(
        SimulationConfig, {"strategy": table, "model": model or {}, "federation": {"clients": 3, **federation}}
    )


def kept(config: SimulationConfig, output: Path, federation_id: str = "f") -> dict[int, TrainedModel]:
    """Run a federation and return the global models that it kept."""
    run_federation(config, output=output, federation_id=federation_id)
    paths = global_models(output / "models", federation_id)
    return {number: load_record(TrainedModel, path) for number, path in paths.items()}


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every record below a folder but the models of single rounds, by its relative path."""
    files = (path for path in sorted(folder.rglob("*.safetensors")) if "@" not in path.name)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class TestPaths:
    @given(st.lists(st.tuples(IDS, ROUNDS | st.none()), unique=True, min_size=2))
    def test_no_two_models_share_a_file(self, models: list[tuple[str, int | None]]) -> None:
        folder = Path("/models")
        paths = {
            trained_model_path(folder, name) if number is None else global_model_path(folder, name, number)
            for name, number in models
        }
        assert len(paths) == len(models)
        assert all(path.parent == folder for path in paths)

    def test_an_id_that_looks_like_anothers_round_is_a_federation_of_its_own(self, tmp_path: Path) -> None:
        names = ("a", "a-r005", "a-r005-r001", "digits-lenet-torch-000", "digits-lenet-torch", "a.safetensors", "r005")
        for index, name in enumerate(names):
            for path in (trained_model_path(tmp_path, name), global_model_path(tmp_path, name, index)):
                assert not path.exists()
                path.write_text(name)
        for index, name in enumerate(names):
            (path,) = global_models(tmp_path, name).values()
            assert path == global_model_path(tmp_path, name, index)
            assert path.read_text() == trained_model_path(tmp_path, name).read_text() == name

    def test_rounds_are_sorted_by_number(self, tmp_path: Path) -> None:
        for number in (1000, 5, 999, 0):
            global_model_path(tmp_path, "f", number).write_text("")
        assert list(global_models(tmp_path, "f")) == [0, 5, 999, 1000]

    @pytest.mark.parametrize("name", ["f@r05.safetensors", "f@r0005.safetensors", "f@r005.tmp", "f@r-05.safetensors"])
    def test_other_files_are_no_models(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_text("")
        (tmp_path / "f@r007.safetensors").mkdir()
        assert global_models(tmp_path, "f") == {}

    def test_a_folder_that_is_not_there_holds_none(self, tmp_path: Path) -> None:
        assert global_models(tmp_path / "nowhere", "f") == {}

    @pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "*", "a@r005", "[a]"])
    def test_no_name_leaves_the_folder(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="federation_id"):
            trained_model_path(tmp_path, name)
        with pytest.raises(ConfigError, match="federation_id"):
            global_model_path(tmp_path, name, 1)
        with pytest.raises(ConfigError, match="federation_id"):
            global_models(tmp_path, name)

    def test_a_negative_round_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="at least 0, got -1"):
            global_model_path(tmp_path, "f", -1)

    def test_they_are_found_without_flower(self) -> None:
        code = "import fl_sim.global_models, sys; sys.exit('flwr' in sys.modules or 'ray' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestKeeping:
    @pytest.mark.parametrize(
        ("every", "rounds", "expected"), [(0, 3, []), (1, 3, [0, 1, 2, 3]), (2, 5, [0, 2, 4, 5]), (9, 3, [0, 3])]
    )
    def test_which_rounds_are_kept(self, every: int, rounds: int, expected: list[int], tmp_path: Path) -> None:
        models = kept(config_of(rounds=rounds, keep_every=every), tmp_path)
        assert list(models) == [model.round for model in models.values()] == expected
        files = sorted(path.name for path in (tmp_path / "models").iterdir())
        assert len(files) == len(expected) + 1
        assert "f.safetensors" in files

    def test_the_first_is_the_initial_model_and_the_last_the_trained_one(self, tmp_path: Path) -> None:
        config = config_of(rounds=2, keep_every=2)
        models = kept(config, tmp_path)
        initial = build_model(config.model.spec(input_spec(config)), seed=derive_seed(0, "initial-model", 0))
        assert all(value.equal(models[0].parameters[name]) for name, value in parameters_of(initial).items())
        folder = tmp_path / "models"
        assert global_model_path(folder, "f", 2).read_bytes() == trained_model_path(folder, "f").read_bytes()

    def test_each_is_what_the_next_round_starts_from(self, tmp_path: Path) -> None:
        models = kept(config_of(rounds=3, keep_every=1), tmp_path)
        captures = CaptureStore(tmp_path / "captures")
        for number in range(3):
            sent = captures.load(f"f/r{number + 1:03d}-c001").parameters
            assert all(value.equal(models[number].parameters[name]) for name, value in sent.items())

    def test_a_round_is_tested_as_a_federation_of_that_many_rounds_is(self, tmp_path: Path) -> None:
        model: dict[str, object] = {"name": "spiking_mlp", "init": "torch", "hidden": 20, "encoder": "rate"}
        settings: dict[str, object] = {"learning_rate": 1.0, "local_steps": 10, "batch_size": 20, "rounds": 2}
        models = kept(config_of("FedAvg", model, **settings | {"rounds": 3, "keep_every": 1}), tmp_path)
        shorter = run_federation(config_of("FedAvg", model, **settings), output=tmp_path / "2", federation_id="f")
        assert models[2].test_accuracy == shorter.test_accuracy != models[0].test_accuracy
        assert all(value.equal(shorter.parameters[name]) for name, value in models[2].parameters.items())

    def test_the_accuracy_is_that_of_the_kept_parameters_on_unseen_data(self, tmp_path: Path) -> None:
        config = config_of(rounds=1, keep_every=1, local_steps=20, batch_size=20)
        for model in kept(config, tmp_path).values():
            network = build_model(model.model)
            load_parameters(network, model.parameters)
            _, unseen = splits(config.dataset)
            chosen = torch.randperm(len(unseen), generator=torch_stream(0, "test"))
            assert model.test_accuracy == pytest.approx(accuracy(network, *unseen.batch(chosen)))

    @pytest.mark.parametrize("strategy", strategies(name for name in STRATEGIES if name not in STRATEGY_CLAIMS))
    def test_keeping_changes_no_other_byte(self, strategy: str, tmp_path: Path) -> None:
        for every in (0, 1):
            config = config_of(strategy, rounds=2, keep_every=every)
            run_federation(config, output=tmp_path / str(every), federation_id="f")
        assert digests(tmp_path / "0") == digests(tmp_path / "1")
        assert list(global_models(tmp_path / "1" / "models", "f")) == [0, 1, 2]

    def test_a_sample_of_the_clients_is_the_same(self, tmp_path: Path) -> None:
        model: dict[str, object] = {"name": "spiking_lenet", "timesteps": 2, "encoder": "rate"}
        for every in (0, 1):
            config = config_of(model=model, clients=6, fraction=0.5, rounds=3, keep_every=every)
            run_federation(config, output=tmp_path / str(every), federation_id="f")
        assert digests(tmp_path / "0") == digests(tmp_path / "1")

    def test_global_generators_are_left_alone(self, tmp_path: Path) -> None:
        state = torch.get_rng_state()
        kept(config_of(rounds=2, keep_every=1), tmp_path)
        assert torch.get_rng_state().equal(state)

    def test_federations_whose_ids_look_like_rounds_share_a_folder(self, tmp_path: Path) -> None:
        first = kept(config_of(rounds=1, keep_every=1), tmp_path, "f")
        before = digests(tmp_path)
        other = kept(config_of(rounds=1), tmp_path, "f-r001")
        assert other == {}
        assert before.items() < digests(tmp_path).items()
        again = global_models(tmp_path / "models", "f")
        assert list(again) == list(first) == [0, 1]

    def test_what_was_kept_is_logged_as_flower_does(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        run_federation(config_of(rounds=2, keep_every=1), output=tmp_path, federation_id="f", verbose=True)
        assert sum("test-accuracy" in record.getMessage() for record in caplog.records) >= 2

    def test_a_negative_number_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"federation.keep_every"):
            config_of(keep_every=-1)
