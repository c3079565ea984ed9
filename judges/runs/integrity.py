"""The list of a run's files with their hashes, in the form of `sha256sum`, and the check against it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fl_sim.errors import DataError
from fl_sim.files import atomic_write, sha256
from judges.runs.manifest import WRITTEN

FILE = "files.sha256"
REPORT = ("report.html", "report.md", "report.tex")
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


@dataclass(frozen=True)
class Verification:
    """How a run's files compare with its list.

    Attributes:
        sound: how many are as listed.
        changed, missing: listed, but of other content, or not there.
        unlisted: there, but not listed: written by a call that has not come to its end, or by someone else.
    """

    sound: int
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    unlisted: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Return whether all files are as listed, and no other is there."""
        return not (self.changed or self.missing or self.unlisted)


def write_hashes(folder: Path) -> Path:
    """Write the list of all files that a run has written; `sha256sum -c` reads it too."""
    return _write(folder, {path: sha256(folder / path) for path in _files(folder)})


def renew_hashes(folder: Path, paths: Iterable[str]) -> None:
    """Renew the lines of some files; a run without a list has not come to its end and gets none.

    A report that is written anew must not make good what was changed beside it.
    """
    if (folder / FILE).is_file():
        _write(folder, {**_listed(folder), **{path: sha256(folder / path) for path in paths}})


def verify(folder: Path) -> Verification:
    """Compare the files of a run with its list.

    Raises:
        DataError: there is no list, or it is none.
    """
    listed, found = _listed(folder), set(_files(folder))
    there = {path: digest for path, digest in listed.items() if (folder / path).is_file()}
    changed = tuple(path for path, digest in there.items() if sha256(folder / path) != digest)
    return Verification(
        sound=len(there) - len(changed),
        changed=changed,
        missing=tuple(path for path in listed if path not in there),
        unlisted=tuple(sorted(found - set(listed))),
    )


def _write(folder: Path, listed: Mapping[str, str]) -> Path:
    """Write a list of {path: hash}."""
    return atomic_write(folder / FILE, "".join(f"{digest}  {path}\n" for path, digest in sorted(listed.items())))


def _files(folder: Path) -> Iterator[str]:
    """Yield the files that a run has written, as paths from its folder; temporary ones of an interrupted write not."""
    for name in (known for known in WRITTEN if known != FILE):
        path = folder / name
        found = path.rglob("*") if path.is_dir() else [path]
        yield from (one.relative_to(folder).as_posix() for one in found if one.is_file() and one.suffix != ".tmp")


def _listed(folder: Path) -> dict[str, str]:
    """Return {path: hash} of the list; a path that leads out of the folder is refused."""
    path = folder / FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected the list of files that a finished run leaves ({error}).") from error
    listed: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        told = _LINE.fullmatch(line)
        if told is None or told[2].startswith("/") or ".." in Path(told[2]).parts:
            raise DataError(
                f"{path}: line {number}: expected a SHA-256 and a file in this folder, found {line[:80]!r}."
            )
        listed[told[2]] = told[1]
    return listed
