"""What the examination of a client found, as facts for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fl_sim.client_training import TAKEN, ClientTraining
from fl_sim.specs import Scalar

if TYPE_CHECKING:
    from attacks.preflight import Preflight
    from attacks.preflight.evaluation import Evaluation
    from attacks.preflight.inputs import Inferred
    from attacks.preflight.layers import Layers
    from fl_sim.records import CapturedUpdate

Fact = tuple[str, str]

ABOUT_ZERO = 1e-2
"""Largest loss at the truth, relative to the norm of the update, that rounding explains."""

_OWN = ("learning_rate", "local_steps", "epochs", "batch_size", "num_examples")
_MOST_NAMES = 6


def facts_of(found: Preflight, captured: CapturedUpdate, inferred: Inferred) -> Iterator[Fact]:
    """Yield (name, value) of all that is to be said of a client.

    Args:
        found: the result of its examination.
        captured: the update without what is assumed.
        inferred: fields of the input that follow from the model's layers.
    """
    yield from _of_subject(found, inferred)
    yield from _of_client(found, captured)
    if found.steps:
        yield "local steps", f"{found.steps}, with {_counted(found.examples, 'example')} to look for"
        yield "contradictions", " ".join(found.contradictions) or "none"
    if found.layers is not None:
        yield from _of_layers(found.layers)
    if found.choice is not None:
        yield from _of_engine(found)
    if found.evaluation is not None:
        yield from _of_evaluation(found.evaluation)
        yield "labels", _of_labels(found)
    if found.refusal:
        yield "refused", found.refusal
        return
    yield "attacked", _what_is_attacked(found)
    yield "not attacked", _what_is_not(found)


def _of_subject(found: Preflight, inferred: Inferred) -> Iterator[Fact]:
    capture = found.capture
    spec = capture.model.input
    frames = f"{spec.timesteps} frames of " if spec.timesteps else ""
    yield "model", capture.model.architecture
    shape = f"{frames}{spec.channels}x{spec.height}x{spec.width} in [{spec.low:g}, {spec.high:g}]"
    if spec.vocabulary:
        shape = f"texts of {_counted(spec.height, 'token')} out of {spec.vocabulary:,}"
    yield "input", f"{shape}, {_counted(spec.classes, 'class', 'classes')}"
    for key, (value, why) in inferred.items():
        yield f"input.{key}", f"{value}, inferred: {why}"


def _of_client(found: Preflight, captured: CapturedUpdate) -> Iterator[Fact]:
    """Yield each fact about the client as known, assumed or unknown."""
    yield "shares", "the gradient of one batch" if captured.kind == "gradient" else "weights after local steps"
    for key in _OWN:
        known, value = getattr(captured, key) or None, getattr(found.capture, key) or None
        yield key, _status(known, value, _taken_of_own(found, key))
    for key in ClientTraining.model_fields:
        known, value = getattr(captured.training, key), getattr(found.capture.training, key)
        yield key, _status(known, value, f"unknown, taken to be {_plain(_taken(found, key))}")


def _status(known: Scalar | None, value: Scalar | None, otherwise: str) -> str:
    if known is not None:
        return f"{_plain(known)}, known"
    return f"{_plain(value)}, assumed" if value is not None else otherwise


def _taken(found: Preflight, key: str) -> Scalar:
    """Return what an unknown field of the training is taken to be."""
    if key == "loss" and found.capture.model.input.classes == 1:
        return "bce_with_logits"
    return TAKEN[key]


def _taken_of_own(found: Preflight, key: str) -> str:
    """Return what an unknown number of the client means."""
    gradient = found.capture.kind == "gradient"
    if gradient and key in ("learning_rate", "local_steps", "epochs"):
        return "not needed for a gradient"
    if key == "batch_size":
        return f"unknown, taken to be {found.examples or 1}"
    if key == "num_examples":
        return "unknown, taken to be what the steps use"
    return "not needed" if key == "epochs" and found.capture.local_steps else "unknown"


def _of_layers(layers: Layers) -> Iterator[Fact]:
    yield "trained and shared", f"{_named(layers.matched)}: {layers.numbers:,} numbers"
    yield "not trained", _named(layers.frozen)
    yield "trained, not shared", _named(layers.unshared)
    yield "not sent", _named(layers.unsent, "taken to be as in a new model: ")
    yield "tied", _named([" = ".join(group) for group in layers.tied])
    yield "shared statistics", _named(layers.statistics, "of batch normalisation ")
    if layers.stateful:
        told = "a client that lets it last from batch to batch sends other updates"
        yield "state", f"of {_named(layers.stateful)}: set to rest before each step; {told}"


def _of_engine(found: Preflight) -> Iterator[Fact]:
    choice = found.choice
    assert choice is not None  # noqa: S101 - the caller asks
    sides = {
        "folded": "many victims side by side",
        "replayed together": "the clients' steps, many victims side by side",
        "replayed": "the client's steps, one victim after another",
    }
    yield "engine", f"{choice.engine}: {sides.get(choice.engine, '')}"
    if choice.why_not_folded:
        yield "not folded because", choice.why_not_folded.removeprefix("model: ")
    apart = f"differs from plain torch by {choice.error:.1g} times the tolerance"
    yield "self-check", apart if choice.error else "equals plain torch"
    if choice.draws:
        named = _named([name or "the model's own code" for name in found.drawing]) if found.drawing else "its own code"
        yield "random numbers", f"drawn by {named}; no server knows them, so attacks leave them out"
    else:
        yield "random numbers", "none"


def _of_evaluation(found: Evaluation) -> Iterator[Fact]:
    zero = "about 0" if found.at_truth < ABOUT_ZERO else "NOT about 0"
    yield "loss at the truth", f"{found.at_truth:.1g} of the update's norm at planted examples: {zero}"
    if found.as_drawn != found.at_truth:
        yield "with random numbers", f"{found.as_drawn:.2g} of the norm, which no attack gets below at the truth"
    about = "about " if found.estimated else ""
    yield (
        "second derivative",
        (
            f"runs; one evaluation takes {about}{_time(found.milliseconds)} on a CPU core and keeps about "
            f"{max(1, round(found.megabytes)):,} MB"
        ),
    )


def _of_labels(found: Preflight) -> str:
    if not found.labels:
        return "the targets are values, not classes; they are looked for with the inputs"
    read = [rule for rule, share in found.labels.items() if share == 1.0]
    partly = [f"{rule} ({share:.0%})" for rule, share in found.labels.items() if 0.0 < share < 1.0]
    parts = [f"read off the last layer by attack.label_rule = {' or '.join(read)}"] if read else []
    parts += [f"of some random batches by {' or '.join(partly)}"] if partly else []
    if found.steps > 1 and found.examples <= found.most_examples:
        return "looked for with the inputs: an update of several steps does not tell of which step a label is"
    return "; ".join(parts) or "cannot be read off the last layer; use dlg, which looks for them with the inputs"


def _what_is_attacked(found: Preflight) -> str:
    spec, layers = found.capture.model.input, found.layers
    numbers = found.examples * max(1, spec.timesteps) * spec.channels * spec.height * spec.width
    behind = "a gradient" if found.capture.kind == "gradient" else _counted(found.steps, "local step")
    few = found.examples <= found.most_examples
    size = f"{found.examples * spec.height:,} tokens" if spec.vocabulary else f"{numbers:,} numbers"
    what = f"{_counted(found.examples, 'input')} ({size})" if few else "labels only"
    limit = "" if few else f" Inputs of more than {found.most_examples} examples: --set attack.most_examples=..."
    shared = f"{layers.numbers if layers else 0:,} numbers that the client trains and shares"
    return f"{what} behind {behind}, by the {shared}.{limit}"


def _what_is_not(found: Preflight) -> str:
    layers, unknown = found.layers, [key for key, value in found.capture.training if value is None]
    parts = ["the order of the examples in a batch"] if found.examples > 1 else []
    parts += ["what random numbers the client drew"] if found.choice and found.choice.draws else []
    parts += ["what only frozen or unshared parameters show"] if layers and (layers.frozen or layers.unshared) else []
    parts += [f"a client that does otherwise than it is taken to do ({len(unknown)} facts are unknown)"] * bool(unknown)
    parts += ["an update that a defence has changed"]
    return f"{'; '.join(parts)}."


def _named(names: Sequence[str], prefix: str = "") -> str:
    """Return names in a list, the first few of many."""
    if not names:
        return "none"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{prefix}{', '.join(names[:_MOST_NAMES])}{more}"


def _counted(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


def _plain(value: Scalar | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1e4 else f"{milliseconds / 1e3:.0f} s"
