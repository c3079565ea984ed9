"""The federations of a run: which are whole, and what becomes of one that is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pydantic

from fl_sim.config import SimulationConfig
from fl_sim.contents import FOLDER, Contents, contents_path, finished_federations, read_contents
from fl_sim.errors import DataError, IncompleteError
from fl_sim.files import sha256
from fl_sim.global_models import trained_model_path
from fl_sim.simulation import run_federation
from judges.progress import Watch


def federate(config: SimulationConfig, folder: Path, name: str, *, observe: bool = True) -> None:
    """Run a federation, whose captures, sealed batches and models go to a run's folder.

    Raises:
        IncompleteError: a client did not answer. The federation is run again by the next call.
    """
    run_federation(config, output=folder, federation_id=name, observe=observe)
    contents = read_contents(folder, name)
    if contents is None or contents.unanswered:
        raise IncompleteError(f"federation {name}: {contents.silence() if contents else 'its contents are lost'}")


class Federations:
    """The federations of one run.

    Args:
        folder: folder of the run.
        recorded: the entry of the manifest that an earlier call left, {name: what the federation must contain}.
        listed: {path: SHA-256} of the files that earlier calls have finished.
    """

    def __init__(self, folder: Path, recorded: object, listed: Mapping[str, str]) -> None:
        self._folder, self._listed = folder, listed
        self._recorded = _contents_in(recorded)
        known = [*self._recorded.items(), *finished_federations(folder)]
        self._incomplete = {name for name, contents in known if contents is not None and contents.unanswered}
        self._flaws: dict[str, str] = {}

    def flaw(self, name: str) -> str:
        """Return why a federation must be run, or run again; "" if all that it must contain is there, unchanged."""
        if name not in self._flaws:
            self._flaws[name] = self._flaw(name)
        return self._flaws[name]

    def captures(self, name: str) -> frozenset[str]:
        """Return the ids of the captures that belong to a federation."""
        contents = read_contents(self._folder, name)
        return contents.captures if contents else frozenset()

    def files(self) -> set[str]:
        """Return the paths of all that the federations must contain."""
        known = [*self._recorded.values(), *(contents for _, contents in finished_federations(self._folder))]
        own = {contents_path(self._folder, name).relative_to(self._folder).as_posix() for name in self._recorded}
        return own.union(*(contents.files for contents in known if contents is not None))

    def tell(self, name: str, watch: Watch) -> None:
        """Say why a federation is run again, if it has run before."""
        if self.has_finished(name):
            watch.say(f"note: federation {name} is run again: {self.flaw(name)}.")

    def has_finished(self, name: str) -> bool:
        """Return whether a federation has ended with the answers of all clients, now or in an earlier call."""
        known = self._recorded.get(name), read_contents(self._folder, name)
        if any(contents is not None for contents in known):
            return any(contents is not None and not contents.unanswered for contents in known)
        return trained_model_path(self._folder / "models", name).is_file()

    def check(self, name: str) -> None:
        """Check that a federation which was run again came out as before.

        Raises:
            DataError: a file is another one, so that the answers that exist are not those to its captures.
        """
        contents = read_contents(self._folder, name)
        files = contents.files if contents else {}
        before = self._recorded.get(name)
        expected = {**self._listed, **(before.files if before is not None else {})}
        if name in self._incomplete:  # what it wrote came of too few clients
            expected = {}
        other = [path for path, digest in files.items() if expected.get(path, digest) != digest]
        if other:
            raise DataError(
                f"{self._folder / other[0]}: came out otherwise than the first time, although the federation was run "
                "again with the same config, so the attacks that are done would not be on its captures. Other versions "
                "or another machine may be why. Choose another folder, or begin anew with --fresh."
            )
        self._flaws.pop(name, None)

    def facts(self) -> dict[str, object]:
        """Return the entry of the manifest: what each finished federation must contain."""
        now = {name: contents for name, contents in finished_federations(self._folder) if contents is not None}
        lasting = {name: contents for name, contents in self._recorded.items() if not contents.unanswered}
        found = {**self._recorded, **now, **lasting}
        return {name: contents.model_dump() for name, contents in sorted(found.items())}

    def _flaw(self, name: str) -> str:
        contents, before = read_contents(self._folder, name), self._recorded.get(name)
        if contents is None:
            return f"{FOLDER}/{name}.json, which says what it must contain, is missing or damaged"
        if contents.unanswered:
            return contents.silence()
        path = contents_path(self._folder, name)
        digest = self._listed.get(path.relative_to(self._folder).as_posix())
        if (before is not None and not before.unanswered and before != contents) or digest not in (None, sha256(path)):
            return f"{FOLDER}/{name}.json has another content than when the federation ended"
        return contents.flaw(self._folder)


def _contents_in(recorded: object) -> dict[str, Contents]:
    """Return {federation: contents} of an entry of a manifest; what is not of that form is left out."""
    found = {}
    for name, value in recorded.items() if isinstance(recorded, dict) else ():
        try:
            found[str(name)] = Contents.model_validate(value, strict=False)
        except pydantic.ValidationError:
            continue
    return found
