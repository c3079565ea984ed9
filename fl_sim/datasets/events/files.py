"""The files of event recordings, in a folder or in a zip."""

from __future__ import annotations

import contextlib
import hashlib
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fl_sim.datasets.events import Events, FramePlan, Recording
from fl_sim.datasets.events.cache import Splits, cached_splits
from fl_sim.datasets.reading.integrity import DAMAGED_ZIP, corrupt, describe_file, read_bytes, read_member, subfolders
from fl_sim.errors import ConfigError
from fl_sim.files import sha256


class EventFiles(NamedTuple):
    """The recordings of a data set.

    Attributes:
        names: names of the recordings, such as "Train/5/00001.bin", sorted by the numbers in them.
        content: SHA-256 over all recordings found.
        path: returns the path of a recording, for error messages.
        read: returns the bytes of a recording; raises DataError.
        where: the folder or the zip that holds them.
        layout: how they lie in it.
    """

    names: tuple[str, ...]
    content: str
    path: Callable[[str], Path]
    read: Callable[[str], bytes]
    where: Path
    layout: Layout


class Layout(NamedTuple):
    """How the recordings of a data set are arranged in its folder.

    Attributes:
        folders: the folders that are read; all others are ignored.
        name: pattern of the path of a recording, relative to the folder of the data set.
        example: an example of such a path, for error messages.
    """

    folders: tuple[str, ...]
    name: re.Pattern[str]
    example: str


@contextlib.contextmanager
def event_files(where: Path, layout: Layout) -> Iterator[EventFiles]:
    """Open the recordings in a folder, or in a zip of a folder with the name of the zip.

    Args:
        where: the folder or the zip ("NMNIST" or "NMNIST.zip").
        layout: the expected layout.

    Raises:
        DataError: it cannot be read, contains no recording, or contains a file with any other name.
    """
    if where.suffix == ".zip":
        with _opened(where, layout) as archive:
            yield _in_zip(where, archive, layout)
    else:
        yield _in_folder(where, layout)


def splits_of_files(
    name: str,
    files: EventFiles,
    parts: Sequence[Sequence[str]],
    plan: FramePlan,
    *,
    label: Callable[[str], int],
    events: Callable[[bytes, Path], Events],
) -> Splits:
    """Return the frames of both splits of a data set whose recordings are files; see `cached_splits`.

    Args:
        name: of the data set.
        files: its recordings.
        parts: names of those for training and of those for test; the first `plan.classes` classes are taken.
        plan: how their events become frames.
        label: returns the class of a recording by its name.
        events: returns what the bytes of a recording hold; its path is for an error.

    Raises:
        ConfigError: a split has no recording of these classes, or none that is long enough.
        DataError: a split has no recording at all, or a file is damaged.
    """

    def recordings(names: Sequence[str]) -> Iterator[Recording]:
        for name in names:
            yield Recording.of(label(name), events(files.read(name), files.path(name)))

    for folder, names in zip(files.layout.folders, parts, strict=True):
        if not names:
            raise corrupt(files.where, f"recordings in the folder {folder}", "none")
    chosen = [[name for name in names if label(name) < plan.classes] for names in parts]
    for names, found in zip(parts, chosen, strict=True):
        if not found:
            raise ConfigError(
                f"dataset.classes: expected recordings of the first {plan.classes} classes in both splits of "
                f"{files.where}, found none among the {len(names):,} of one split, such as {names[0]}."
            )
    return cached_splits(name, plan, files.content, chosen, recordings)


def _in_folder(folder: Path, layout: Layout) -> EventFiles:
    expected = f"a folder with recordings such as {layout.example}"
    present = [entry for entry in subfolders(folder, expected) if entry.name in layout.folders]
    # Hidden files are created by desktops and ignored.
    paths = [path for entry in present for path in entry.rglob("[!.]*") if path.is_file()]
    names = _in_order([path.relative_to(folder).as_posix() for path in paths], folder, layout)

    def read(name: str) -> bytes:
        return read_bytes(folder / name, "an event recording")

    content = hashlib.sha256()
    for name in names:
        content.update(f"{name}\0{hashlib.sha256(read(name)).hexdigest()}\n".encode())
    return EventFiles(names, content.hexdigest(), lambda name: folder / name, read, folder, layout)


def _in_zip(path: Path, archive: zipfile.ZipFile, layout: Layout) -> EventFiles:
    top = f"{path.stem}/"
    # Nothing is unpacked, so a name cannot write outside; names with ".." or another folder do not match the layout.
    members = {member.filename.removeprefix(top): member for member in archive.infolist() if not member.is_dir()}
    names = _in_order(list(members), path, layout)

    def read(name: str) -> bytes:
        try:
            return read_member(archive, members[name].filename)
        except DAMAGED_ZIP as error:
            raise _not_a_zip(path, layout, f"'{name}': {error}") from error

    return EventFiles(names, sha256(path), lambda name: path / members[name].filename, read, path, layout)


def _opened(path: Path, layout: Layout) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except DAMAGED_ZIP as error:
        raise _not_a_zip(path, layout, str(error)) from error


def _not_a_zip(path: Path, layout: Layout, reason: str) -> Exception:
    expected = f"a zip with recordings such as {path.stem}/{layout.example}"
    found = "a folder" if path.is_dir() else describe_file(path)
    return corrupt(path, expected, f"{found} and cannot be read ({' '.join(reason.split())})")


def _in_order(names: list[str], where: Path, layout: Layout) -> tuple[str, ...]:
    for name in names:
        if not layout.name.fullmatch(name):
            raise corrupt(where, f"only recordings such as {layout.example}", f"an additional file '{name}'")
    if not names:
        raise corrupt(where, f"recordings such as {layout.example}", "none")
    return tuple(sorted(names, key=lambda name: [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", name)]))
