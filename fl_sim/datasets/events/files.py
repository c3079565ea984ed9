"""The files of event recordings, in a folder, in a zip, or in the zips in which they are downloaded."""

from __future__ import annotations

import contextlib
import hashlib
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fl_sim.datasets.events import Events, FramePlan, Recording
from fl_sim.datasets.events.cache import Splits, cached_splits
from fl_sim.datasets.reading.files import is_junk
from fl_sim.datasets.reading.integrity import DAMAGED_ZIP, corrupt, describe_file, read_bytes, read_member, subfolders
from fl_sim.errors import ConfigError
from fl_sim.files import sha256

_DEEPEST = 2
"""Number of folders of any name around the recordings in a zip."""


class Layout(NamedTuple):
    """How the recordings of a data set are arranged in its folder, and what they are.

    Attributes:
        folders: the folders that are read, or zips called like them; all others are ignored.
        name: pattern of the path of a recording, relative to the folder of the data set.
        example: an example of such a path, for error messages.
        label: returns the class of a recording by its path.
        events: returns what the bytes of a recording hold; its path is for an error.
    """

    folders: tuple[str, ...]
    name: re.Pattern[str]
    example: str
    label: Callable[[str], int]
    events: Callable[[bytes, Path], Events]


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


class _Found(NamedTuple):
    """Recordings by name: their paths and how to read them; and the facts that tell them from others."""

    paths: Mapping[str, Path]
    read: Callable[[str], bytes]
    facts: str


@contextlib.contextmanager
def event_files(where: Path, layouts: Sequence[Layout]) -> Iterator[EventFiles]:
    """Open the recordings in a folder or a zip; hidden files and those of desktops are ignored.

    Args:
        where: the folder or the zip ("NMNIST" or "NMNIST.zip"); a folder may hold a zip for each of its folders.
        layouts: the possible layouts, the preferred one first.

    Raises:
        DataError: it cannot be read, contains no recording, or contains a file with any other name.
    """
    with contextlib.ExitStack() as stack:
        if where.suffix == ".zip":
            archive = stack.enter_context(_opened(where, layouts[0]))
            layout = _layout_in(where, archive, layouts)
            found = [_in_zip(where, archive, layout)]
            content = sha256(where)
        else:
            base, layout = _base(where, layouts)
            found = [_of_folder(stack, base, folder, layout) for folder in layout.folders]
            content = hashlib.sha256("".join(one.facts for one in found).encode()).hexdigest()
        paths = {name: path for one in found for name, path in one.paths.items()}
        readers = {name: one.read for one in found for name in one.paths}
        names = _in_order([*paths], where, layout)
        yield EventFiles(names, content, paths.__getitem__, lambda name: readers[name](name), where, layout)


def splits_of_files(name: str, files: EventFiles, parts: Sequence[Sequence[str]], plan: FramePlan) -> Splits:
    """Return the frames of both splits of a data set whose recordings are files; see `cached_splits`.

    Args:
        name: of the data set.
        files: its recordings.
        parts: names of those for training and of those for test; the first `plan.classes` classes are taken.
        plan: how their events become frames.

    Raises:
        ConfigError: a split has no recording of these classes, or none that is long enough.
        DataError: a split has no recording at all, or a file is damaged.
    """
    label, layout = files.layout.label, files.layout

    def recordings(names: Sequence[str]) -> Iterator[Recording]:
        for one in names:
            yield Recording.of(label(one), layout.events(files.read(one), files.path(one)))

    for which, names in enumerate(parts):
        if not names:
            of_both = len(layout.folders) == len(parts)
            needed = f"in the folder {layout.folders[which]}" if of_both else ("for training", "for test")[which]
            raise corrupt(files.where, f"recordings {needed}", "none")
    chosen = [[one for one in names if label(one) < plan.classes] for names in parts]
    for names, found in zip(parts, chosen, strict=True):
        if not found:
            raise ConfigError(
                f"dataset.classes: expected recordings of the first {plan.classes} classes in both splits of "
                f"{files.where}, found none among the {len(names):,} of one split, such as {names[0]}."
            )
    return cached_splits(name, plan, files.content, chosen, recordings)


def _base(where: Path, layouts: Sequence[Layout]) -> tuple[Path, Layout]:
    """Return the folder that holds the recordings, which is `where` or lies in it, and their layout."""
    inner = [entry for entry in subfolders(where, _such_as(layouts[0])) if not is_junk(entry.name)]
    for base in (where, *inner):
        for layout in layouts:
            if any((base / folder).is_dir() or _zip_of(base, folder) for folder in layout.folders):
                return base, layout
    raise corrupt(where, f"recordings such as {layouts[0].example}", "none")


def _zip_of(base: Path, folder: str) -> Path | None:
    """Return the zip that is called like a folder, in any case, if there is one."""
    wanted = f"{folder}.zip".lower()
    return next((entry for entry in sorted(base.iterdir()) if entry.name.lower() == wanted and entry.is_file()), None)


def _of_folder(stack: contextlib.ExitStack, base: Path, folder: str, layout: Layout) -> _Found:
    """Return the recordings of one folder of a layout, or of the zip called like it; none if there is neither."""
    packed = None if (base / folder).is_dir() else _zip_of(base, folder)
    if packed is None:
        return _in_folder(base, folder)
    return _in_zip(packed, stack.enter_context(_opened(packed, layout)), layout._replace(folders=(folder,)))


def _in_folder(base: Path, folder: str) -> _Found:
    files = [path for path in (base / folder).rglob("*") if path.is_file()]
    paths = {path.relative_to(base).as_posix(): path for path in sorted(files)}
    paths = {name: path for name, path in paths.items() if not any(map(is_junk, name.split("/")))}

    def read(name: str) -> bytes:
        return read_bytes(paths[name], "an event recording")

    facts = "".join(f"{name}\0{hashlib.sha256(read(name)).hexdigest()}\n" for name in paths)
    return _Found(paths, read, facts)


def _in_zip(path: Path, archive: zipfile.ZipFile, layout: Layout) -> _Found:
    members = _members(path, archive, layout)

    def read(name: str) -> bytes:
        try:
            return read_member(archive, members[name])
        except DAMAGED_ZIP as error:
            raise _not_a_zip(path, layout, f"'{name}': {error}") from error

    return _Found({name: path / members[name] for name in members}, read, f"{path.name}\0{sha256(path)}\n")


def _members(path: Path, archive: zipfile.ZipFile, layout: Layout) -> dict[str, str]:
    """Return {name of a recording: its name in a zip}, without the folders around those of the layout.

    Nothing is unpacked, so that a name cannot write outside; one with ".." matches no layout and is refused.
    """
    found: dict[str, str] = {}
    for member in archive.infolist():
        parts = member.filename.replace("\\", "/").split("/")  # some programs for Windows write backslashes
        if not parts[-1] or any(is_junk(part) for part in parts if part != ".."):
            continue
        tails = ["/".join(parts[depth:]) for depth in range(min(_DEEPEST, len(parts) - 1) + 1)]
        name = next((tail for tail in tails if tail.startswith(_tops(layout))), tails[0])
        if name in found:
            raise corrupt(path, "one recording of a name", f"'{found[name]}' and '{member.filename}'")
        found[name] = member.filename
    return found


def _layout_in(path: Path, archive: zipfile.ZipFile, layouts: Sequence[Layout]) -> Layout:
    """Return the first layout of which a zip holds anything, or else the preferred one."""
    held = (one for one in layouts if any(name.startswith(_tops(one)) for name in _members(path, archive, one)))
    return next(held, layouts[0])


def _tops(layout: Layout) -> tuple[str, ...]:
    """Return how the names of all recordings of a layout begin."""
    return tuple(f"{folder}/" for folder in layout.folders)


def _opened(path: Path, layout: Layout) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except DAMAGED_ZIP as error:
        raise _not_a_zip(path, layout, str(error)) from error


def _such_as(layout: Layout) -> str:
    return f"a folder with recordings such as {layout.example}"


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
