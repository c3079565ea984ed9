"""What a finished federation consists of: its clients, and its captures, sealed batches and models by hash.

    FOLDER/federations/FEDERATION.json     written last, so that it says that the federation is finished

Nothing here imports torch or Flower.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydantic
from pydantic import Field

from fl_sim.defences.claims import Claim
from fl_sim.files import atomic_write, sha256
from fl_sim.specs import Settings

FOLDER = "federations"
_SUFFIX = ".json"


class Contents(Settings):
    """What must be in a folder of records, now that a federation has run.

    Attributes:
        sampled: partition ids of the clients that were asked to train, round by round from round 1.
        unanswered: {capture id: why there is no update of that client in that round, or no sealed batch behind it}.
        files: {path below the folder: SHA-256} of its captures, the parameters that were sent, its sealed batches and
            its models.
        claims: what its defence and its strategy claim, see `fl_sim.defences.claims`; not written where there are none.
    """

    sampled: tuple[tuple[int, ...], ...]
    unanswered: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str]
    claims: tuple[Claim, ...] = ()

    @property
    def captures(self) -> frozenset[str]:
        """Return the ids of its captures."""
        paths = (Path(path) for path in self.files if path.startswith("captures/"))
        return frozenset(f"{path.parent.name}/{path.stem}" for path in paths if path.stem.startswith("r"))

    def silence(self) -> str:
        """Return which client did not answer, the first of several, and why; "" if all did."""
        if not self.unanswered:
            return ""
        (name, reason), *others = self.unanswered.items()
        more = f", and {len(others)} more" if others else ""
        return f"{name}: its client did not answer as it must ({reason}){more}"

    def flaw(self, folder: Path) -> str:
        """Return which file of the folder is missing or has another content, the first of several; "" if none."""
        for path, digest in self.files.items():
            if not (folder / path).is_file():
                return f"{path} is missing"
            if sha256(folder / path) != digest:
                return f"{path} has another content than when it was written"
        return ""


def contents_path(folder: Path, federation_id: str) -> Path:
    """Return the path of the contents of a federation, whose name has been checked, whether or not the file exists."""
    return folder / FOLDER / f"{federation_id}{_SUFFIX}"


def read_contents(folder: Path, federation_id: str) -> Contents | None:
    """Return the contents of a federation; None if it has not finished or the file is damaged: it must be run again."""
    try:
        return Contents.model_validate_json(contents_path(folder, federation_id).read_bytes())
    except (OSError, pydantic.ValidationError):
        return None


def write_contents(contents: Contents, folder: Path, federation_id: str) -> Path:
    """Write the contents of a federation, atomically."""
    told = contents.model_dump_json(indent=1, exclude=None if contents.claims else {"claims"})
    return atomic_write(contents_path(folder, federation_id), told + "\n")


def finished_federations(folder: Path) -> Iterator[tuple[str, Contents | None]]:
    """Yield the name and the contents of all finished federations; None in place of contents that are damaged."""
    for path in sorted((folder / FOLDER).glob(f"*{_SUFFIX}")):
        yield path.stem, read_contents(folder, path.stem)
