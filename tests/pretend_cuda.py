"""A CUDA device for machines without one: tensors stay on the CPU, but know the device on which they would lie.

Between them, `PretendedCuda` refuses what CUDA refuses: an operation over tensors of two devices, and NumPy's view of a
tensor of the GPU. What it cannot show is another order of rounding, memory, and speed; `tests/gpu_smoke.py` does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda", 0)

_ACROSS = {
    "aten::copy_",
    "aten::_to_copy",
    "aten::index",
    "aten::index_put_",
    "aten::index_put",
    "aten::_index_put_impl_",
}
"""Operations that take tensors of two devices: copies, and places on the CPU in a tensor of the GPU."""


class _Placement:
    """The storages that lie on the device. A weak reference keeps an address from being used again."""

    def __init__(self) -> None:
        self._there: dict[int, StorageWeakRef] = {}

    def put(self, tensor: Tensor) -> None:
        """Say that a tensor lies on the device."""
        reference = _storage(tensor)
        self._there[reference.cdata] = reference

    def take(self, tensor: Tensor) -> None:
        """Say that a tensor lies on the CPU."""
        self._there.pop(_storage(tensor).cdata, None)

    def holds(self, tensor: Tensor) -> bool:
        """Return whether a tensor lies on the device."""
        return _storage(tensor).cdata in self._there

    def device_of(self, tensor: Tensor) -> torch.device:
        """Return the device on which a tensor lies."""
        return CUDA if self.holds(tensor) else torch.device("cpu")


def _storage(tensor: Tensor) -> StorageWeakRef:
    """Return the storage of a tensor, also of one in `torch.func`."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the device through every operation, those of the backward pass included."""

    def __init__(self, placement: _Placement) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._placement = placement
        self.inherits = False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        device = kwargs.get("device")
        if device is not None and torch.device(device).type == "cuda":
            kwargs["device"] = torch.device("cpu")
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [self._placement.holds(one) for one in tensors]
        name = func._schema.name
        here = [one for one, is_there in zip(tensors, there, strict=True) if one.dim() and not is_there]
        if any(there) and here and name not in _ACROSS:
            shapes = [(tuple(one.shape), "cuda" if at else "cpu") for one, at in zip(tensors, there, strict=True)]
            raise RuntimeError(
                f"{name}: expected all tensors to be on the same device, but found at least two: {shapes}"
            )
        found = func(*args, **kwargs)
        if name in _ACROSS and device is None:
            on_device = there[0]
        else:
            on_device = any(there) if device is None else self.inherits or torch.device(device).type == "cuda"
        for leaf in tree_leaves(found) if on_device else ():
            if isinstance(leaf, Tensor):
                self._placement.put(leaf)
        return found


class PretendedCuda(TorchFunctionMode):
    """Answers for the device in Python: `Tensor.device`, `.to("cpu")`, `.numpy()`."""

    def __init__(self) -> None:
        super().__init__()
        self._placement = _Placement()
        self.operations = _Operations(self._placement)

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:
            return self._placement.device_of(args[0])
        if func == Tensor.is_cuda.__get__:  # type: ignore[attr-defined]
            return self._placement.holds(args[0])
        if func in (torch.tensor, torch.as_tensor, Tensor.new_tensor) and kwargs.get("device") is not None:
            return self._moved(func(*args, **{**kwargs, "device": "cpu"}), torch.device(kwargs["device"]))
        if func in (Tensor.numpy, Tensor.__array__) and self._placement.holds(args[0]):
            raise TypeError(f"can't convert {CUDA} device type tensor to numpy; use Tensor.cpu() first")
        if func is Tensor.cpu:
            return self._moved(args[0], torch.device("cpu"))
        if func is Tensor.to:
            return self._to(*args, **kwargs)
        return self._called(func, args, kwargs)

    def _called(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Return what a function returns; inside torch's own code, a device of "cpu" is that of the tensors given."""
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        before = self.operations.inherits
        self.operations.inherits = kwargs.get("device") is None and any(map(self._placement.holds, given))
        try:
            return func(*args, **kwargs)
        finally:
            self.operations.inherits = before

    def _to(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return what `Tensor.to` would."""
        asked = [*args, *kwargs.values()]
        devices = [torch.device(one) for one in asked if isinstance(one, (str, torch.device))]
        devices += [self._placement.device_of(one) for one in asked if isinstance(one, Tensor)]
        dtypes = [
            one if isinstance(one, torch.dtype) else one.dtype
            for one in asked
            if isinstance(one, (torch.dtype, Tensor))
        ]
        moved = self._moved(tensor, devices[0]) if devices else tensor
        with torch._C.DisableTorchFunctionSubclass():
            return moved.to(dtypes[0]) if dtypes else moved

    def _moved(self, tensor: Tensor, device: torch.device) -> Tensor:
        """Return a tensor of another device, or the tensor if it lies there."""
        if (device.type == "cuda") == self._placement.holds(tensor):
            return tensor
        copy = tensor.clone()
        (self._placement.put if device.type == "cuda" else self._placement.take)(copy)
        return copy


@contextlib.contextmanager
def pretended_cuda() -> Iterator[torch.device]:
    """Yield a device that behaves like a GPU where devices are mixed."""
    mode = PretendedCuda()
    answers = {"_lazy_init": None, "device_count": 1, "current_device": 0, "get_device_name": "pretended"}
    places = [(torch.cuda, name, answer) for name, answer in answers.items()]
    places.append((torch.backends.cudnn, "is_acceptable", False))  # the kernels that run are those of the CPU
    with contextlib.ExitStack() as stack:
        for place, name, answer in places:
            stack.enter_context(mock.patch.object(place, name, return_value=answer))
        stack.enter_context(mode)
        stack.enter_context(mode.operations)
        yield CUDA
