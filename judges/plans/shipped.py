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
    found = sorted(folder.rglob("*.toml"), key=lambda path: (len(path.parts), path))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in found}


def board_victims() -> Path:
    """Return the path of what is known of the victims of the configs board/NAME, see `judges.board.fixed`."""
    return (_INSTALLED if _INSTALLED.is_dir() else _IN_THE_REPOSITORY) / "board" / "victims.json"


def find_config(path: Path) -> Path:
    """Return the path of a config: of the file at `path`, or else of the config of the project with that name.

    Args:
        path: path of a file, or a name such as "demo", "demo.toml" or "board/digits_lenet".

    Raises:
        ConfigError: there is neither.
    """
    if _is_there(path):
        return path
    name, shipped = path.as_posix().removesuffix(".toml"), shipped_configs()
    if name in shipped:
        return shipped[name]
    if len(path.parts) != 1 and not name.startswith("board/"):
        return path
    raise ConfigError(
        f"{path}: expected a file, or the name of a config of spikeleak, found neither.{nearest(name, shipped)} "
        f"Known: {', '.join(shipped)}."
    )


def _is_there(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except OSError:  # a name that is too long
        return False
