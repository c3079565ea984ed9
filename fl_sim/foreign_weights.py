"""Weights as other programs name and store them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

WRAPPERS = ("module", "_module", "_orig_mod")
"""What wrappers put before the names of a model: DataParallel and DistributedDataParallel, Opacus, torch.compile."""


def strip_common_prefix(names: Iterable[str], expected: Collection[str] = ()) -> tuple[str, list[str]]:
    """Return the prefix that a wrapper has put before all names, and the names without it, in their order.

    A prefix is whole parts of a name with their dots, such as "module." or "module._orig_mod.". It is "" if the names
    are as they should be.

    Args:
        names: names of parameters.
        expected: names that the model has. Any common prefix is then considered, and the shortest is taken of those
            with which most of the expected names are there. Without them only the names in `WRAPPERS` are taken off,
            because the parameters of a model with one submodule also share a prefix.
    """
    found = list(names)
    parts = [name.split(".")[:-1] for name in found]
    prefixes = [""]
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1 or not (expected or level[0] in WRAPPERS):
            break
        prefixes.append(f"{prefixes[-1]}{level[0]}.")
    known = set(expected)
    # The first of several that are equally good is the shortest.
    best = max(prefixes, key=lambda prefix: len(known & set(_without(found, prefix)))) if known else prefixes[-1]
    return best, _without(found, best)


def _without(names: Iterable[str], prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in names]
