"""The list of a run's files with their hashes, in the format of `sha256sum`, and its verification.

What a call has finished keeps its hash: a later call lists anew only what it has written itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fl_sim.contents import finished_federations
from fl_sim.errors import DataError
from fl_sim.files import atomic_write, sha256
from judges.runs.manifest import ANSWERS, GALLERY, TIMELINES, WRITTEN, threats_of
from judges.runs.manifest import FILE as MANIFEST

FILE, RESULTS = "files.sha256", "summary.json"
REPORT = ("report.html", "report.md", "report.tex", "figures")
STATEMENT = ("statement.html", "statement.md")
BASIS = ("config.toml", MANIFEST)
"""Files of which a call makes its plan, and which nothing can make again."""

DERIVED = (*BASIS, GALLERY, ANSWERS, TIMELINES, "scores.csv", RESULTS, *REPORT, *STATEMENT)
"""Files and folders that every call writes anew from the others; a statement, if there is one."""

_GIVEN = ("captures", "sealed", "reconstructions", "inversions", "inferences")
"""Folders of what only some calls write; what federations write is in their contents."""

Stamp = tuple[int, int, int]
"""Inode, time of the last change and size of a file; another one says that it was written since."""

_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


@dataclass(frozen=True)
class Verification:
    """How a run's files compare with its list.

    Attributes:
        sound: number of files that match the list.
        changed, missing: listed files with other content, and listed files that do not exist.
        unlisted: files that are not listed, since an unfinished call or somebody else wrote them.
    """

    sound: int
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    unlisted: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Return whether all files match the list, and there are no others."""
        return not (self.changed or self.missing or self.unlisted)


@dataclass(frozen=True)
class Finished:
    """What earlier calls have finished in a folder, as it is when another call begins.

    Attributes:
        listed: {path: SHA-256} of their files.
        flaws: {path: what is wrong with it} of those that are missing or have another content.
        stamps: {path: stamp} of those that are there.
    """

    listed: Mapping[str, str] = field(default_factory=dict)
    flaws: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[str, Stamp] = field(default_factory=dict)

    def check_basis(self, folder: Path) -> None:
        """Raise a DataError if a file has changed without which the folder's results cannot go on, or is missing.

        A config that is missing is written anew from the plan.
        """
        for path in BASIS:
            if path in self.flaws and (path == MANIFEST or (folder / path).is_file()):
                raise DataError(
                    f"{folder / path}: {self.flaws[path]}, and what it says cannot be computed again; put the file "
                    "back, begin anew with --fresh, or choose another folder."
                )

    def check_pictures(self, folder: Path) -> None:
        """Raise a DataError if a picture has changed which the call that is about to write its report did not make.

        Timelines count as pictures.
        """
        for path in self.flaws:
            is_picture = Path(path).parts[0] in (GALLERY, ANSWERS, TIMELINES)
            if is_picture and path in self.stamps and _stamp(folder / path) == self.stamps[path]:
                raise DataError(
                    f"{folder / path}: {self.flaws[path]}, and no report is written with it; put the file back, call "
                    "the command again that made it, or remove it, and the report goes without."
                )

    def only(self, paths: Iterable[str]) -> Finished:
        """Return what is known of some of the files, where the others are made anew."""
        own = set(paths)
        return Finished(
            {path: digest for path, digest in self.listed.items() if path in own},
            {path: flaw for path, flaw in self.flaws.items() if path in own},
            {path: stamp for path, stamp in self.stamps.items() if path in own},
        )


def finished_in(folder: Path) -> Finished:
    """Return what earlier calls have finished in a folder; a DataError if their list is malformed."""
    if not (folder / FILE).is_file():
        return Finished()
    listed, flaws = _listed(folder), {}
    stamps = {path: _stamp(folder / path) for path in listed if (folder / path).is_file()}
    for path, digest in listed.items():
        if path not in stamps:
            flaws[path] = "is missing"
        elif sha256(folder / path) != digest:
            flaws[path] = "has another content than when it was finished"
    return Finished(listed, flaws, stamps)


def unlist_derived(folder: Path) -> None:
    """Take the files that a call is about to write anew off the list, so that it stays true if the call is killed."""
    if (folder / FILE).is_file():
        listed = _listed(folder)
        kept = {path: digest for path, digest in listed.items() if Path(path).parts[0] not in DERIVED}
        if kept != listed:
            _write(folder, kept)


def write_hashes(
    folder: Path, finished: Finished | None = None, makes: Callable[[str], bool] = lambda _path: True
) -> Path:
    """Write the list of all files that a run has written, which `sha256sum -c` can read too.

    Args:
        folder: of the run.
        finished: what there was when this call began. Whatever has not been written since keeps the hash that it had,
            also if it is missing or damaged.
        makes: whether this call writes a path: an answer, capture or sealed batch that it does not write keeps its hash
            as well if somebody else has written it meanwhile.
    """
    finished = finished or Finished()
    digests = dict(finished.listed)
    for path in _files(folder):
        is_given = Path(path).parts[0] in _GIVEN and not makes(path)
        if path not in digests or (not is_given and _stamp(folder / path) != finished.stamps.get(path)):
            digests[path] = sha256(folder / path)
    return _write(folder, digests | _recorded(folder))


def _stamp(path: Path) -> Stamp:
    """Return what changes whenever a file is written."""
    now = path.stat()
    return now.st_ino, now.st_mtime_ns, now.st_size


def renew_hashes(folder: Path, paths: Iterable[str]) -> None:
    """Renew the lines of some files, and of all in some folders; an unfinished run, which has no list, gets none.

    Other lines stay, so that writing a report again does not hide changes of other files.
    """
    if (folder / FILE).is_file():
        names = set(paths)
        kept = {path: digest for path, digest in _listed(folder).items() if Path(path).parts[0] not in names}
        files = (path for path in _files(folder) if Path(path).parts[0] in names)
        _write(folder, kept | {path: sha256(folder / path) for path in files})


def check_sources(folder: Path) -> None:
    """Check the files from which a finished run's report and statement are written, as far as they are there.

    Raises:
        DataError: there are no results yet, or one has changed since the run was finished; a report of it would be
            listed as one of the run.
    """
    if not (folder / RESULTS).is_file():
        raise DataError(
            f"{folder}: expected a finished run, found no {RESULTS}: it was interrupted or still goes on. The command "
            "that began it goes on with it."
        )
    listed = _listed(folder) if (folder / FILE).is_file() else {}
    for path, digest in listed.items():
        is_source = Path(path).parts[0] in DERIVED and Path(path).parts[0] not in (*REPORT, *STATEMENT)
        if is_source and (folder / path).is_file() and sha256(folder / path) != digest:
            raise DataError(
                f"{folder / path}: expected the content that it had when the run was finished, found another, of which "
                "no page is written; put the file back, or call the command that made the run again, which writes "
                "it anew."
            )


def check_finished(folder: Path) -> None:
    """Check that a run is finished, and the files that pages and submissions are made from; see `check_sources`.

    Raises:
        DataError: it is not finished, or a file has changed since.
    """
    check_sources(folder)
    if not (folder / FILE).is_file():
        raise DataError(f"{folder}: expected a finished run, found no {FILE}; call the command that made it again.")


def verify(folder: Path) -> Verification:
    """Compare the files of a run with its list, and with what its federations must contain; and those of its threats.

    Raises:
        DataError: the list is missing or malformed.
    """
    found = [("", _verified(folder))]
    for threat in threats_of(folder):
        is_listed = (folder / threat / FILE).is_file()
        part = _verified(folder / threat) if is_listed else Verification(0, (), (FILE,), ())
        found.append((f"{threat}/", part))
    return Verification(
        sum(part.sound for _, part in found),
        *(
            tuple(f"{where}{path}" for where, part in found for path in getattr(part, name))
            for name in ("changed", "missing", "unlisted")
        ),
    )


def _verified(folder: Path) -> Verification:
    """Return how the files in one folder compare with its list."""
    listed, recorded = _listed(folder), _recorded(folder)
    expected = sorted({*listed, *recorded})
    digests = {path: sha256(folder / path) for path in expected if (folder / path).is_file()}
    changed = tuple(
        path
        for path, digest in digests.items()
        if listed.get(path, digest) != digest or recorded.get(path, digest) != digest
    )
    return Verification(
        sound=len(digests) - len(changed),
        changed=changed,
        missing=tuple(path for path in expected if path not in digests),
        unlisted=tuple(sorted(set(_files(folder)) - set(listed))),
    )


def _write(folder: Path, listed: Mapping[str, str]) -> Path:
    """Write a list of {path: hash}."""
    return atomic_write(folder / FILE, "".join(f"{digest}  {path}\n" for path, digest in sorted(listed.items())))


def _files(folder: Path) -> Iterator[str]:
    """Yield the files that a run has written, relative to its folder, without temporary files of interrupted writes."""
    for name in WRITTEN:
        path = folder / name
        files = [] if name == FILE else path.rglob("*") if path.is_dir() else [path]
        yield from (one.relative_to(folder).as_posix() for one in files if one.is_file() and one.suffix != ".tmp")


def _recorded(folder: Path) -> dict[str, str]:
    """Return {path: hash} of what the federations of a run must contain."""
    found = (
        contents.files
        for _, contents in finished_federations(folder)
        if contents is not None and not contents.unanswered
    )
    return {path: digest for files in found for path, digest in files.items()}


def _listed(folder: Path) -> dict[str, str]:
    """Return {path: hash} of the list; a DataError if a path leads out of the folder."""
    path = folder / FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected the list of files that a finished run leaves ({error}).") from error
    listed: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        entry = _LINE.fullmatch(line)
        if entry is None or entry[2].startswith("/") or ".." in Path(entry[2]).parts:
            raise DataError(
                f"{path}: line {number}: expected a SHA-256 and a file in this folder, found {line[:80]!r}."
            )
        listed[entry[2]] = entry[1]
    return listed
