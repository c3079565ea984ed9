"""Validation of plain values as settings, with readable error messages. Nothing here imports torch."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import pydantic

from fl_sim.errors import ConfigError, nearest, unknown_name

Model = TypeVar("Model", bound=pydantic.BaseModel)


Owned = Mapping[str, Iterable[str]]
"""{table: further keys that it has}, for a table whose keys depend on the entry that it names."""


def validate(kind: type[Model], raw: Mapping[str, Any], owned: Owned = types.MappingProxyType({})) -> Model:
    """Return `raw` as settings of type `kind`.

    Args:
        kind: class of the settings.
        raw: plain values.
        owned: keys that messages shall know beside those of the class.

    Raises:
        ConfigError: a value is not valid; the message has the key's path, what was expected and what was got, and the
            nearest valid key.
    """
    try:
        return kind.model_validate(raw)
    except pydantic.ValidationError as error:
        raise ConfigError(explain(kind, error, owned)) from error


def explain(
    kind: type[pydantic.BaseModel], error: pydantic.ValidationError, owned: Owned = types.MappingProxyType({})
) -> str:
    """Return one paragraph about the first problem, with the number of further ones."""
    problems = error.errors()
    first = next((item for item in problems if item["type"] == "extra_forbidden"), problems[0])
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        keys = _keys_at(kind, first["loc"][:-1])
        inside = _tables_with(kind, path, owned)
        hint = f" Did you mean '{' or '.join(inside)}'?" if inside else nearest(str(first["loc"][-1]), keys)
        text = f"{path}: unknown key.{hint} Known: {', '.join(sorted(keys))}."
    elif first["type"] == "value_error":
        message = first["msg"].removeprefix("Value error, ")
        text = f"{path}: {message}" if path else message
    else:
        text = f"{path}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}."
        expected = first.get("ctx", {}).get("expected")
        if expected:
            names = [name.strip(" '") for name in expected.replace(" or ", ", ").split(",")]
            text += nearest(str(first["input"]), names)
    return text + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")


def _keys_at(kind: type[pydantic.BaseModel], location: Sequence[str | int]) -> list[str]:
    """Return the valid keys of the table at `location` inside `kind`."""
    for part in location:
        kind = kind.model_fields[str(part)].annotation  # type: ignore[assignment]
    return list(kind.model_fields)


def _tables_with(kind: type[pydantic.BaseModel], key: str, owned: Owned) -> list[str]:
    """Return the paths "table.key" of a key that stands at the top and belongs into a table."""
    tables = {name: {*owned.get(name, ()), *getattr(field.annotation, "model_fields", ())}
              for name, field in kind.model_fields.items()}  # fmt: skip
    return [f"{name}.{key}" for name, keys in tables.items() if key in keys]


def in_table(name: str, table: Iterable[str], *, addable: bool = True) -> str:
    """Return `name` if the table has it; otherwise raise ValueError, which pydantic reports with the key's path."""
    names = list(table)
    if name not in names:
        raise ValueError(str(unknown_name("", name, names, addable=addable)).removeprefix(": "))
    return name
