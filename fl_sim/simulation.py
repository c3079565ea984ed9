"""Runs the federation of a config, on the engine named there; writes captures, sealed batches and global models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# Import this package first: it sets environment variables that Flower reads when it is imported.
from fl_sim.federation.settings import RunSettings  # isort: split

import torch
from flwr.app import Context, RecordDict
from flwr.app.exception import AppExitException
from flwr.serverapp import ServerApp

from fl_sim.config import SimulationConfig
from fl_sim.datasets.examples import Dataset
from fl_sim.defences import NO_DEFENCE, bound, known_entry
from fl_sim.errors import ConfigError, SpikeleakError
from fl_sim.extras import RAY, require
from fl_sim.federation.client_app import build_client_app
from fl_sim.federation.client_data import check_batches, holding, input_spec, partition_indices, splits
from fl_sim.federation.exposure import claims_of as claims_of  # re-exported, as all that a caller needs of a federation
from fl_sim.federation.interception import Sink
from fl_sim.federation.isolation import flower_logging
from fl_sim.federation.local_grid import LocalGrid
from fl_sim.federation.mods import shared_state
from fl_sim.federation.server_app import as_sampled as as_sampled
from fl_sim.federation.server_app import build_server_app
from fl_sim.federation.strategies import sampled_clients as sampled_clients
from fl_sim.models import build_model
from fl_sim.plugins import located
from fl_sim.records import TrainedModel
from fl_sim.specs import Scalar


def run_federation(
    config: SimulationConfig,
    *,
    output: Path,
    federation_id: str,
    sink: Sink | None = None,
    observe: bool = True,
    verbose: bool = False,
    dataset: Dataset | None = None,
) -> TrainedModel:
    """Run one federation and return the model that it trained.

    Writes OUTPUT/captures/FEDERATION/*, OUTPUT/sealed/FEDERATION/* (see `fl_sim.captures`) and
    OUTPUT/models/FEDERATION* (see `fl_sim.global_models`). An earlier run's records under the same id are replaced,
    never removed.

    Args:
        config: complete settings of the federation.
        output: folder of the records.
        federation_id: name of this federation in that folder.
        sink: receives each captured update in place of the store on disk.
        observe: whether updates are captured at all.
        verbose: whether to show Flower's own log.
        dataset: what the clients hold, and the split for tests, in place of what the config names; on the engine
            "local" only.

    Raises:
        ConfigError, DataError: a setting is wrong, or the data are missing or corrupt.
        SpikeleakError: all clients of a round failed, or the strategy or the engine failed.
    """
    settings = RunSettings(config, output.resolve(), federation_id).flat()
    RunSettings.read(settings)
    check_federation(config, dataset=dataset)
    with holding(dataset):
        return _run(config, settings, sink=sink, observe=observe, verbose=verbose)


def _run(
    config: SimulationConfig, settings: Mapping[str, Scalar], *, sink: Sink | None, observe: bool, verbose: bool
) -> TrainedModel:
    """Run the federation of a flat run config."""
    results: list[TrainedModel] = []
    server_app = build_server_app(settings, sink=sink, observe=observe, on_result=results.append)
    start = _run_on_ray if config.federation.engine == "ray" else _run_locally
    with flower_logging(verbose=verbose):
        try:
            start(server_app, settings, config.federation.clients)
        except AppExitException as error:
            raise SpikeleakError(f"strategy: {config.strategy.name} failed: {error}") from error
    if not results:
        raise SpikeleakError("Flower's engine ended without a result.")
    return results[0]


def examples_of(config: SimulationConfig, client: int) -> int:
    """Return how many examples a client holds, by its partition id."""
    return len(partition_indices(config, client))


def shared_names(config: SimulationConfig) -> frozenset[str]:
    """Return the names of the parameters and buffers that server and clients exchange.

    Raises:
        ConfigError: the model cannot be built.
    """
    with torch.random.fork_rng(devices=[]):
        return frozenset(shared_state(config, build_model(config.model.spec(input_spec(config)))))


def check_federation(config: SimulationConfig, *, dataset: Dataset | None = None) -> None:
    """Check that a federation can run, before an engine is started.

    Args:
        config: of the federation.
        dataset: in place of the data that the config names, see `run_federation`.

    Raises:
        ConfigError: a client has too few examples for a batch, the defence cannot be imported or is not for this model,
            or the engine or what a defence needs is not installed.
        DataError: the data set is missing or corrupt.
    """
    if config.federation.engine == "ray":
        require(RAY, 'federation.engine: "ray"')
        if dataset is not None:
            raise ConfigError(
                'federation.engine: "ray" has clients in other processes, which hold what the config names.'
            )
    with holding(dataset):
        if config.defence.name != NO_DEFENCE:
            _check_defence(config)
        check_batches(config)


def _check_defence(config: SimulationConfig) -> None:
    """Check that the defence is installed and works on the model; a ConfigError if not."""
    name = config.defence.name
    entry = known_entry(name)
    require(entry.extra, f"defence.name: '{name}'")
    bound(name, entry, config.defence.settings)
    if entry.misfit is not None:
        model = build_model(config.model.spec(input_spec(config)), seed=config.seed)
        held, _ = splits(config.dataset)
        problem = located(entry.misfit, f"defence '{name}'")(model, *held.batch(torch.arange(min(2, len(held)))))
        if problem:
            raise ConfigError(f"defence.name: '{name}' cannot be had with model '{config.model.name}': {problem}.")


def _run_locally(server_app: ServerApp, settings: Mapping[str, Scalar], clients: int) -> None:
    """Run a federation in this process, one client after another."""
    grid = LocalGrid(build_client_app(), clients, run_config=settings)
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=dict(settings))
    server_app(grid=grid, context=context)


def _run_on_ray(server_app: ServerApp, settings: Mapping[str, Scalar], clients: int) -> None:
    """Run a federation on Flower's own simulation engine.

    `run_simulation` is deprecated in favour of `flwr run`, which cannot return a result to its caller; `flower_logging`
    suppresses the warning. It leaves run configs empty, so the client app carries the settings itself.
    """
    from flwr.simulation import run_simulation  # takes a second to import, and loads Ray

    try:
        run_simulation(
            server_app=server_app,
            client_app=build_client_app(settings),
            num_supernodes=clients,
            backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
        )
    except RuntimeError as error:
        raise SpikeleakError(f"Flower's simulation engine failed: {error.__cause__ or error}") from error
