"""The honest-but-curious server: runs a strategy and records what every client sends."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from logging import INFO
from pathlib import Path

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.common.logger import log
from flwr.serverapp import Grid, ServerApp

from fl_sim.captures import CaptureStore
from fl_sim.config import FederationSettings, SimulationConfig
from fl_sim.config.federation import SUM_OF_CLIENTS
from fl_sim.contents import write_contents
from fl_sim.defences.settings import POISSON
from fl_sim.errors import WriteError
from fl_sim.federation.client_data import input_spec, is_captured, splits
from fl_sim.federation.dropout import DropOut
from fl_sim.federation.interception import CuriousGrid, Sink
from fl_sim.federation.isolation import private_torch
from fl_sim.federation.mods import kept_local, shared_state
from fl_sim.federation.observer import SumOfClients
from fl_sim.federation.ordering import OrderedGrid, SeededStrategy
from fl_sim.federation.presence import Presence
from fl_sim.federation.replies import SoundReplies
from fl_sim.federation.settings import RunSettings
from fl_sim.federation.strategies import build_strategy
from fl_sim.global_models import global_model_path, trained_model_path
from fl_sim.models import build_model
from fl_sim.normalisation import load_state, set_to_test, statistics_of
from fl_sim.records import CapturedUpdate, ModelSpec, TrainedModel, save_record
from fl_sim.seeding import derive_seed, torch_stream
from fl_sim.specs import Scalar
from fl_sim.training import accuracy, load_parameters, parameters_of


def build_server_app(
    run_config: Mapping[str, Scalar] | None = None,
    *,
    sink: Sink | None = None,
    observe: bool = True,
    on_result: Callable[[TrainedModel], object] | None = None,
) -> ServerApp:
    """Return the server app.

    If the settings have an `output`, captures are written to OUTPUT/captures; the trained model and those of the rounds
    that `federation.keep_every` selects are written to OUTPUT/models.

    The app raises WriteError if a record could not be written.

    Args:
        run_config: the flat settings, for engines that leave `context.run_config` empty; None to read them from there.
        sink: receives each captured update in place of the store on disk.
        observe: whether updates are captured at all; the trained model is bit-identical either way.
        on_result: called with the trained model, for callers in the same process.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        run = RunSettings.read(context.run_config if run_config is None else run_config)
        store = _Storing(run.output / "captures") if run.output is not None and sink is None else None
        with private_torch():
            trained, presence = _federate(grid, run, (sink or store) if observe else None)
        if store is not None and store.failure is not None:
            raise store.failure
        if run.output is not None:
            models = _save(trained, run, run.output / "models")
            captures = store.captures.written if store is not None and observe else None
            write_contents(presence.contents(run, models, captures), run.output, run.federation_id)
            log(INFO, "Records of federation '%s' saved to %s", run.federation_id, run.output)
        log(INFO, "Test accuracy after round %d: %.4f", trained.round, trained.test_accuracy)
        if on_result is not None:
            on_result(trained)

    return app


class _Storing:
    """Stores captures and remembers the first failure, since exceptions of a sink are only logged.

    A federation that lacks some captures must not pass for a finished one.
    """

    def __init__(self, folder: Path) -> None:
        self.captures = CaptureStore(folder)
        self.failure: WriteError | None = None

    def __call__(self, capture: CapturedUpdate) -> None:
        try:
            self.captures(capture)
        except WriteError as error:
            self.failure = self.failure or error
            raise


def _federate(grid: Grid, run: RunSettings, sink: Sink | None) -> tuple[TrainedModel, Presence]:
    """Run all rounds, and return the trained model and which clients took part.

    Raises:
        ConfigError: a setting is wrong.
        SpikeleakError: too few clients connected, or all clients of a round failed.
    """
    config = run.config
    spec = config.model.spec(input_spec(config))
    initial = build_model(spec, seed=derive_seed(config.seed, "initial-model", config.repeat))
    ordered = OrderedGrid(grid, config.federation.clients)
    held, _ = splits(config.dataset)
    stream = torch_stream(config.seed, "dropout", config.repeat)
    answering = DropOut(build_strategy(config), config.federation.dropout, stream, ordered.partition_of)
    strategy = SoundReplies(answering, most_examples=len(held))
    view = _view(run, sink)
    watched = ordered if view is None else _watched(ordered, run, spec, view)
    seeded = SeededStrategy(strategy, derive_seed(config.seed, "strategy", config.repeat))
    result = seeded.start(
        grid=watched,
        initial_arrays=ArrayRecord(dict(shared_state(config, initial))),
        num_rounds=config.federation.rounds,
        train_config=_orders(config.federation),
        evaluate_fn=_keeper(run, spec),
    )
    if isinstance(view, SumOfClients):
        view.finish()
    trained = _tested(run, spec, result.arrays, config.federation.rounds)
    return trained, Presence.of(strategy, ordered)


def _orders(federation: FederationSettings) -> ConfigRecord:
    """Return the config of the train messages."""
    local = {"local-epochs": federation.local_epochs} if federation.local_epochs else {}
    return ConfigRecord(
        {
            "share": "weights",
            "learning-rate": federation.learning_rate,
            "batch-size": federation.batch_size,
            **(local or {"local-steps": federation.local_steps}),
        }
    )


def _view(run: RunSettings, sink: Sink | None) -> Sink | None:
    """Return what receives each client's update: the sink, or what shows it no more than sums over clients."""
    federation = run.config.federation
    if sink is None or federation.observer != SUM_OF_CLIENTS:
        return sink
    return SumOfClients(sink, run.federation_id, clients=federation.clients, summed=federation.summed_clients)


def _watched(grid: OrderedGrid, run: RunSettings, spec: ModelSpec, sink: Sink) -> Grid:
    """Return a Grid that records the updates of the rounds to capture.

    The clients report what they hold. How many examples they use in local steps follows from the server's own orders.
    """
    federation = run.config.federation
    used = {} if federation.local_epochs else {"num_examples": federation.batch_size * federation.local_steps}

    def pass_on(capture: CapturedUpdate) -> None:
        if is_captured(run.config, capture.round, capture.client):
            sink(as_sampled(run.config, capture))

    return CuriousGrid(
        grid,
        pass_on,
        model=spec,
        federation_id=run.federation_id,
        client_of=grid.partition_of,
        client={**run.config.client.known(), **used},
    )


def as_sampled(config: SimulationConfig, capture: CapturedUpdate) -> CapturedUpdate:
    """Return a capture with what the server knows of how the clients draw their batches.

    The sum of a Poisson sample's gradients is divided by the mean size of the samples, whatever its own.
    """
    if not config.defence.samples:
        return capture
    training = capture.training.filled({"reduction": "sum", "loss_scale": 1.0 / config.federation.batch_size})
    return dataclasses.replace(capture, sampling=POISSON, training=training)


def _keeper(run: RunSettings, spec: ModelSpec) -> Callable[[int, ArrayRecord], MetricRecord | None] | None:
    """Return a function that stores the global model, called before the first round and after each; None to store none.

    It skips the last round, whose model is always tested and stored when the federation has finished.
    """
    every, rounds = run.config.federation.keep_every, run.config.federation.rounds
    if run.output is None or not every:
        return None
    folder = run.output / "models"

    def keep(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
        if server_round % every or server_round == rounds:
            return None
        kept = _tested(run, spec, arrays, server_round)
        save_record(kept, global_model_path(folder, run.federation_id, server_round))
        return MetricRecord({"test-accuracy": kept.test_accuracy})

    return keep


def _save(trained: TrainedModel, run: RunSettings, folder: Path) -> list[Path]:
    """Write the model after the last round, and return the paths of all models of the federation."""
    every, last = run.config.federation.keep_every, trained.round
    paths = [trained_model_path(folder, run.federation_id)]
    if every:
        rounds = [*range(0, last, every), last]
        paths += [global_model_path(folder, run.federation_id, number) for number in rounds]
        save_record(trained, paths[-1])
    save_record(trained, paths[0])
    return paths


# Measuring the accuracy of a spiking model on 60,000 images takes longer than the federation.
MOST_TESTED = 2000
_TEST_BATCH = 250


def _tested(run: RunSettings, spec: ModelSpec, arrays: ArrayRecord, server_round: int) -> TrainedModel:
    """Return the global model after a round, tested on (at most 2,000 examples of) the split that no client holds."""
    model = build_model(spec)
    tensors = arrays.to_torch_state_dict()
    load_parameters(model, tensors, partly=bool(kept_local(run.config, model)))
    load_state(model, tensors, statistics_of(model).keys())
    set_to_test(model, tensors)
    _, unseen = splits(run.config.dataset)
    chosen = torch.randperm(len(unseen), generator=torch_stream(run.config.seed, "test"))[:MOST_TESTED]
    right = 0.0
    for part in torch.split(chosen, _TEST_BATCH):  # the frames of all recordings at once could take gigabytes
        right += accuracy(model, *unseen.batch(part)) * len(part)
    return TrainedModel(
        model=spec,
        parameters=parameters_of(model),
        test_accuracy=right / len(chosen),
        round=server_round,
        seed=run.config.seed,
    )


app = build_server_app()
