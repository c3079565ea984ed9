"""The configs that come with the project, by name: in the repository, or in the installed package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fl_sim.errors import ConfigError, nearest

_INSTALLED = Path(__file__).parents[1] / "configs"
_IN_THE_REPOSITORY = Path(__file__).parents[2] / "configs"


def shipped_configs() -> Mapping[str, Path]:
    """Return {name: path} of the configs that come with the project, in the order of their names."""
    folder = _INSTALLED if _INSTALLED.is_dir() else _IN_THE_REPOSITORY
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find_config(path: Path) -> Path:
    """Return the path of a config: of the file at `path`, or else of the config of the project with that name.

    Args:
        path: path of a file, or a name such as "demo" or "demo.toml".

    Raises:
        ConfigError: there is neither.
    """
    if len(path.parts) != 1 or _is_there(path):
        return path
    name, shipped = path.name.removesuffix(".toml"), shipped_configs()
    if name not in shipped:
        raise ConfigError(
            f"{path}: expected a file, or the name of a config of spikeleak, found neither.{nearest(name, shipped)} "
            f"Known: {', '.join(shipped)}."
        )
    return shipped[name]


def _is_there(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except OSError:  # a name that is too long
        return False
