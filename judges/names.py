"""Names of federations and attacks in tables and folders: what they are, and what sets them apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from fl_sim.config import Raw, SimulationConfig
from fl_sim.defences import NO_DEFENCE
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS
from fl_sim.specs import Scalar

LONGEST = 90


def axes(raw: Raw, tables: Iterable[str]) -> list[str]:
    """Return the paths of the lists in a config."""
    paths = []
    for key, value in raw.items():
        inner = value if isinstance(value, dict) else {"name" if key in tables else "": value}
        paths += [f"{key}.{name}".rstrip(".") for name, item in inner.items() if isinstance(item, list)]
    return paths


def variant(config: SimulationConfig, varying: Iterable[str]) -> str:
    """Return what a federation varies besides data set, model, initialisation and defence: "timesteps=5", or ""."""
    parts = []
    for path in varying:
        table, _, key = path.rpartition(".")
        if path in ("dataset.name", "model.name", "model.init") or "attack" in (table, path) or table == "defence":
            continue
        if table == "model" and not MODELS[config.model.name].spiking:
            continue
        parts.append(f"{key}={getattr(getattr(config, table) if table else config, key)}")
    return " ".join(parts)


def defence_told(config: SimulationConfig, varying: Iterable[str]) -> str:
    """Return a federation's defence with those of its settings that vary: "none", "clip", "quantise bits=4"."""
    settings = config.defence.settings
    keys = [path.removeprefix("defence.") for path in varying if path.startswith("defence.")]
    return " ".join(
        [config.defence.name, *(f"{key}={settings[key]}" for key in dict.fromkeys(keys) if key in settings)]
    )


def told_parts(config: SimulationConfig, varying: Iterable[str]) -> list[str]:
    """Return the words that tell a federation's defence, where it has one or others have, and what else it varies."""
    paths = list(varying)
    is_told = config.defence.name != NO_DEFENCE or "defence.name" in paths
    return [*(defence_told(config, paths).split() if is_told else []), *variant(config, paths).split()]


def federation_label(config: SimulationConfig, varying: Iterable[str]) -> str:
    """Return the name of a federation.

    Raises:
        ConfigError: it is too long for a folder.
    """
    parts = [config.dataset.name, config.model.name, config.model.init, *told_parts(config, varying)]
    label = file_name("-".join(parts))
    if len(label) > LONGEST:
        raise ConfigError(f"the grid gives a federation the name '{label}', which is too long for a folder.")
    return label


def attack_label(name: str, settings: Mapping[str, Scalar], varying: Iterable[str]) -> str:
    """Return the name of an attack with those of its settings that vary.

    Raises:
        ConfigError: it is too long for a folder.
    """
    keys = [path.removeprefix("attack.") for path in varying if path.startswith("attack.") and path != "attack.name"]
    label = file_name("-".join([name, *(f"{key}={settings[key]}" for key in dict.fromkeys(keys) if key in settings)]))
    if len(label) > LONGEST:
        raise ConfigError(f"attack: the grid gives it the name '{label}', which is too long for a folder.")
    return label


def file_name(text: str) -> str:
    """Return `text` with every sign that a file name should not have replaced by _."""
    return re.sub(r"[^A-Za-z0-9._=-]", "_", text)
