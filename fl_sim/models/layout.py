"""Names and shapes of a model's parameters and buffers, and which of them other programs' names stand for."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from fl_sim.errors import DataError, SpikeleakError
from fl_sim.foreign_weights import strip_common_prefix
from fl_sim.models import MODELS
from fl_sim.plugins import located
from fl_sim.specs import ModelSpec

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """What a model's state looks like.

    Attributes:
        state: {name: shape} of parameters and buffers, in the order of the state dict.
        parameters: names of the parameters, in their order.
        trainable: those that require a gradient.
        normalisation: names of the parameters and buffers of layers whose class is called a norm.
    """

    state: Mapping[str, Shape]
    parameters: Sequence[str]
    trainable: Sequence[str]
    normalisation: frozenset[str]


def layout_of(spec: ModelSpec) -> Layout | None:
    """Return the layout of a model; None if its architecture is not in the table here, or if it cannot be built.

    Random generators are left as they were.
    """
    if spec.architecture not in MODELS:
        return None
    with _undisturbed():
        try:
            builder = located(MODELS[spec.architecture].builder, f"model '{spec.architecture}'")
            try:
                with torch.device("meta"):
                    return _layout(builder(spec))
            except SpikeleakError:
                raise
            except Exception:  # noqa: BLE001 - a builder that reads the values it draws cannot run on "meta"
                return _layout(builder(spec))
        except Exception:  # noqa: BLE001 - a builder may raise anything
            return None


def own_names(layout: Layout, shapes: Mapping[str, Shape]) -> dict[str, str]:
    """Return {name: the model's own name} of arrays as another program names them.

    Names that are positions, "0", "1", ..., as in a list of arrays, stand for the state dict in its order; or, if the
    shapes say so, for the parameters, the trainable parameters, the state without normalisation layers, or the only
    part of the state dict with these shapes in this order, neighbours first. More arrays than the model has get no
    name. A prefix that all names share, as wrappers leave it, is taken off if names and shapes then fit. Names of a
    submodule's own state dict get the submodule's name before them, if they fit only one. Other names stay as they are.

    Args:
        layout: of the model.
        shapes: {name: shape} of the arrays.

    Raises:
        DataError: the names are positions, and the shapes do not fit the model.
    """
    if shapes and set(shapes) == {str(position) for position in range(len(shapes))}:
        ordered = [shapes[str(position)] for position in range(len(shapes))]
        return {str(position): name for position, name in enumerate(_by_position(layout, ordered))}
    _, stripped = strip_common_prefix(shapes, layout.state)
    renamed = dict(zip(shapes, stripped, strict=True))
    if not misfit(layout, {renamed[name]: shape for name, shape in shapes.items()}):
        return renamed
    submodule = _only_submodule(layout, shapes)
    return {name: f"{submodule}{name}" for name in shapes}


def misfit(layout: Layout, shapes: Mapping[str, Shape]) -> str:
    """Return why arrays are not of a model, in a few words; "" if they are.

    They may be a part of its state, or have more than all of its parameters.
    """
    for name, shape in shapes.items():
        if name in layout.state and layout.state[name] != shape:
            return f"its {name} has shape {layout.state[name]}, not {shape}"
    unknown = next((name for name in shapes if name not in layout.state), None)
    return "" if unknown is None or shapes.keys() >= set(layout.parameters) else f"it has no {unknown}"


def _only_submodule(layout: Layout, shapes: Mapping[str, Shape]) -> str:
    """Return "heads." if arrays are those of the submodule `heads` and of no other; "" if there is none, or several."""
    first = next(iter(shapes), "")
    found = [name.removesuffix(first) for name in layout.state if name.endswith(f".{first}")]
    fitting = [
        prefix for prefix in found if all(layout.state.get(prefix + name) == shape for name, shape in shapes.items())
    ]
    return fitting[0] if len(fitting) == 1 else ""


def _by_position(layout: Layout, shapes: Sequence[Shape]) -> list[str]:
    """Return the names of arrays that come in the order of the state dict."""
    candidates = (
        list(layout.state),
        list(layout.parameters),
        list(layout.trainable),
        [name for name in layout.state if name not in layout.normalisation],
    )
    for names in candidates:
        wanted = [layout.state[name] for name in names]
        if wanted and list(shapes[: len(wanted)]) == wanted:
            return names
    state = list(layout.state.items())
    for part in (_only_block(state, shapes), _only_part(state, shapes)):
        if part is not None:
            return part
    raise DataError(
        f"{len(shapes)} arrays come as a list without names, and their shapes in this order are not those of the "
        f"model's {len(layout.state)} parameters and buffers, nor those of one part of them only: {_brief(shapes)}; "
        f"the model has {_brief(layout.state.values())}"
    )


def _only_block(state: Sequence[tuple[str, Shape]], shapes: Sequence[Shape]) -> list[str] | None:
    """Return the names of the only run of neighbours in the state with these shapes, such as a body or a head."""
    names, all_shapes, size = [name for name, _ in state], [shape for _, shape in state], len(shapes)
    found = [at for at in range(len(names) - size + 1) if all_shapes[at : at + size] == list(shapes)]
    return names[found[0] : found[0] + size] if len(found) == 1 else None


def _only_part(state: Sequence[tuple[str, Shape]], shapes: Sequence[Shape]) -> list[str] | None:
    """Return the names of the only subsequence of the state with these shapes; None if there is none, or several."""
    first = _subsequence(state, shapes)
    last = _subsequence(state[::-1], shapes[::-1])
    # The leftmost choice and the rightmost one agree only if there is no other.
    return first if first is not None and last is not None and first == last[::-1] else None


def _subsequence(state: Iterable[tuple[str, Shape]], shapes: Sequence[Shape]) -> list[str] | None:
    """Return the names of the leftmost subsequence with these shapes."""
    found: list[str] = []
    for name, shape in state:
        if len(found) < len(shapes) and shape == shapes[len(found)]:
            found.append(name)
    return found if len(found) == len(shapes) else None


def _brief(shapes: Iterable[Shape], most: int = 4) -> str:
    """Return the first few shapes as text."""
    listed = list(shapes)
    return ", ".join(map(str, listed[:most])) + (", ..." if len(listed) > most else "")


def _layout(model: nn.Module) -> Layout:
    norms = [prefix for prefix, module in model.named_modules() if "norm" in type(module).__name__.lower()]
    state = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if torch.is_tensor(tensor)}
    return Layout(
        state=state,
        parameters=[name for name, _ in model.named_parameters()],
        trainable=[name for name, parameter in model.named_parameters() if parameter.requires_grad],
        normalisation=frozenset(name for name in state if name.rpartition(".")[0] in norms),
    )


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Restore the global generators of torch, Python and NumPy on exit: a builder may draw from them."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - builders use this one
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002 - as above
