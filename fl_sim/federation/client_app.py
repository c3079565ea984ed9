"""The honest client: trains on its own data as the server's config says, and seals the truth out of band.

The config of a train message determines the training: `share` ("gradient" of one batch, or "weights" after local SGD),
`learning-rate`, `batch-size`, `local-steps` or `local-epochs`, FedProx's `proximal-mu`, and `server-round`, which
Flower sets. The client's defence changes the gradient of each step, or, as a mod, the update between the
training and the reply.

A client reports how many examples it holds, by which FederatedAveraging weighs it (n_k / n in McMahan et al. 2017,
algorithm 1), however many of them it has used in the round.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor, nn
from torch.nn import functional as F

from fl_sim.captures import SealedStore, capture_id
from fl_sim.client_steps import client_gradient, step_loss, train_client
from fl_sim.config import SimulationConfig
from fl_sim.encoders import Encoder
from fl_sim.errors import ConfigError
from fl_sim.federation.client_data import (
    Batch,
    draw_batches,
    draw_epochs,
    draw_samples,
    input_spec,
    is_captured,
    partition_indices,
    splits,
)
from fl_sim.federation.isolation import private_torch
from fl_sim.federation.mods import defence_mod, gradient_rule, kept_local, shared_state
from fl_sim.federation.ordering import answer_partition_query, client_record, own_partition
from fl_sim.federation.settings import RunSettings, TrainOrder
from fl_sim.losses import targets_of
from fl_sim.models import build_model
from fl_sim.normalisation import load_state, set_to_test, statistics_of
from fl_sim.records import SealedBatch
from fl_sim.seeding import derive_seed, torch_stream
from fl_sim.specs import Scalar
from fl_sim.training import GradientOf, Parameters, accuracy, load_parameters, local_sgd

LOCAL = "local-state"
"""Name of the record in a client's own state of the parts of its model that are not shared."""

_EVALUATION_BATCH = 500


def build_client_app(run_config: Mapping[str, Scalar] | None = None) -> ClientApp:
    """Return the client app.

    Args:
        run_config: the flat settings, for engines that leave `context.run_config` empty; None to read them from there.
    """
    app = ClientApp()

    def settings(context: Context) -> RunSettings:
        return RunSettings.read(context.run_config if run_config is None else run_config)

    @app.train(mods=[defence_mod(settings)])
    def train(message: Message, context: Context) -> Message:
        with private_torch():
            return _train(message, context, settings(context))

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        with private_torch():
            return _evaluate(message, context, settings(context))

    return answer_partition_query(app)


def _train(message: Message, context: Context, run: RunSettings) -> Message:
    """Reply with the gradient of one batch, or with the weights after local SGD."""
    config, order = run.config, TrainOrder.of(message)
    partition = own_partition(context)
    name = config.repeat, order.server_round, partition
    batches = _batches(config, partition, order, torch_stream(config.seed, "batch", *name))
    model = _model(message, context, run)
    encoded = _with_fresh_spikes(model, batches, derive_seed(config.seed, "encoder", *name))
    torch.default_generator.manual_seed(derive_seed(config.seed, "client", *name))
    update, loss = _update(model, encoded, order, run, gradient_rule(config, order.server_round, partition))
    _keep(model, context, kept_local(config, model))
    inputs, labels = (torch.cat(tensors, dim=_examples(tensors[0])) for tensors in zip(*batches, strict=True))
    if run.output is not None and is_captured(config, order.server_round, partition):
        own_id = capture_id(run.federation_id, order.server_round, partition)
        sealed = SealedBatch(own_id, inputs, labels, defence=config.defence.name)
        SealedStore(run.output / "sealed")(sealed)
    held = len(partition_indices(config, partition))
    told = labels[: held if order.local_epochs else None].tolist()  # later epochs use the same examples
    content = RecordDict(
        {
            "arrays": ArrayRecord(dict(update)),
            "metrics": MetricRecord({"num-examples": held, "train-loss": loss}),
            "client": client_record(
                context,
                told if config.federation.share_labels else (),
                [len(labels) for _, labels in batches] if config.defence.tells_sizes else (),
            ),
        }
    )
    return Message(content, reply_to=message)


def _batches(config: SimulationConfig, partition: int, order: TrainOrder, stream: torch.Generator) -> list[Batch]:
    """Return the batches of a client in a round."""
    if order.local_epochs:
        return draw_epochs(config, partition, epochs=order.local_epochs, size=order.batch_size, stream=stream)
    draw = draw_samples if config.defence.samples else draw_batches
    return draw(config, partition, count=order.local_steps, size=order.batch_size, stream=stream)


def _update(
    model: nn.Module, batches: Iterable[Batch], order: TrainOrder, run: RunSettings, gradient_of: GradientOf
) -> tuple[Parameters, float]:
    """Return the update to share, and the loss."""
    if run.config.client.known():
        return _trained(model, batches, order, run)
    if order.share == "weights":
        rate, mu = order.learning_rate, order.proximal_mu
        loss = local_sgd(model, batches, learning_rate=rate, proximal_mu=mu, gradient_of=gradient_of)
        return shared_state(run.config, model), loss
    inputs, labels = next(iter(batches))
    gradients, mean_loss = gradient_of(model, inputs, labels)
    return gradients, mean_loss.item()


def _trained(
    model: nn.Module, batches: Iterable[Batch], order: TrainOrder, run: RunSettings
) -> tuple[Parameters, float]:
    """Return the update to share, and the loss, of a training that is more than plain SGD on the cross-entropy."""
    training = run.config.client.filled({"proximal_mu": order.proximal_mu})
    classes = input_spec(run.config).classes
    # One batch at a time, since each sets the seed of the encoders.
    steps = ((inputs, targets_of(training, labels, classes)) for inputs, labels in batches)
    if order.share == "weights":
        losses = train_client(model, steps, training, learning_rate=order.learning_rate)
        return shared_state(run.config, model), sum(losses) / len(losses)
    batch = next(steps)
    update = client_gradient(model, batch, training)
    with torch.no_grad():
        loss = step_loss(model, *batch, training.taken()).item()
    return update, loss


def _evaluate(message: Message, context: Context, run: RunSettings) -> Message:
    """Reply with the loss and the accuracy of the model on the client's own data."""
    split, _ = splits(run.config.dataset)
    held = partition_indices(run.config, own_partition(context))
    model = _model(message, context, run)
    set_to_test(model, {*message.content["arrays"], *kept_local(run.config, model)})
    loss = right = 0.0
    with torch.no_grad():
        # Decode one part at a time: all frames of a client's recordings at once could take gigabytes.
        for start in range(0, len(held), _EVALUATION_BATCH):
            inputs, labels = split.batch(held[start : start + _EVALUATION_BATCH])
            loss += F.cross_entropy(model(inputs), labels, reduction="sum").item()
            right += accuracy(model, inputs, labels) * len(labels)
    metrics = MetricRecord({"num-examples": len(held), "eval-loss": loss / len(held), "eval-acc": right / len(held)})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def _examples(tensor: Tensor) -> int:
    """Return the axis of the examples in inputs or labels: event frames have time first."""
    return 1 if tensor.dim() == 5 else 0


def _model(message: Message, context: Context, run: RunSettings) -> nn.Module:
    """Return the model with what the server sent, cast to float32, and what the client has kept to itself.

    In its first round, what stays with the client is as the model's builder makes it.
    """
    model = build_model(run.config.model.spec(input_spec(run.config)))
    sent = message.content["arrays"]
    if not isinstance(sent, ArrayRecord):
        raise ConfigError("train message: expected an ArrayRecord 'arrays' from the server, found none.")
    tensors, kept = sent.to_torch_state_dict(), kept_local(run.config, model)
    load_parameters(model, tensors, partly=bool(kept))
    load_state(model, tensors, statistics_of(model).keys())
    own = context.state.array_records.get(LOCAL)
    if own is not None:
        load_state(model, own.to_torch_state_dict(), kept)
    return model


def _keep(model: nn.Module, context: Context, kept: Collection[str]) -> None:
    """Remember in the client's own state what does not leave it."""
    if kept:
        state = model.state_dict()
        context.state[LOCAL] = ArrayRecord({name: state[name].detach().clone() for name in sorted(kept)})


def _with_fresh_spikes(model: nn.Module, batches: Iterable[Batch], seed: int) -> Iterator[Batch]:
    """Yield the batches, each with its own Bernoulli draws in the model's encoders."""
    encoders = [module for module in model.modules() if isinstance(module, Encoder)]
    for step, batch in enumerate(batches):
        for encoder in encoders:
            encoder.seed = derive_seed(seed, step)
        yield batch


app = build_client_app()
