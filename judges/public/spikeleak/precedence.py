"""Which packages `fl_sim`, `attacks` and `judges` are, where a user has a folder or a file of such a name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

PACKAGES = ("fl_sim", "attacks", "judges")


class _Together:
    """Finds the three packages in the one folder that holds them all, before `sys.path` is searched."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the signature of importlib
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return the spec of one of the packages; None for any other module."""
        return PathFinder.find_spec(fullname, [str(self._folder)]) if fullname in PACKAGES else None


def prefer_ours() -> None:
    """Let the three packages come from the first folder of `sys.path` that holds all of them.

    Python searches the folder of the script first, or the current one, so that a folder `attacks/` there would be taken
    for ours. It can no longer be imported by that name.

    Raises:
        ImportError: a module of the user's own with one of these names has been imported already.
    """
    folder = next((place for place in map(Path, sys.path) if _holds_all(place)), None)
    if folder is None:  # installed in some other way than as files on the path
        return
    for name in PACKAGES:
        module = sys.modules.get(name)
        if module is not None and not _is_in(module, folder):
            where = module.__file__ or next(iter(module.__path__), "")
            raise ImportError(
                f"spikeleak: it has a package '{name}', but {where} was imported under this name before; give yours "
                "another name."
            )
    sys.meta_path.insert(0, _Together(folder))


def _holds_all(folder: Path) -> bool:
    return all((folder / name / "__init__.py").is_file() for name in PACKAGES)


def _is_in(module: ModuleType, folder: Path) -> bool:
    """Return whether a module is one of the packages in a folder."""
    return bool(module.__file__) and Path(str(module.__file__)).resolve().parents[1] == folder.resolve()
