"""Captures and the sealed truth on disk: one file per update, named by federation, round and client.

    FOLDER/FEDERATION/r001-c003.safetensors      the capture (or the sealed truth) of client 3 in round 1
    FOLDER/FEDERATION/model-<hash>.safetensors   the parameters that the server sent, shared by all clients of a round
    FOLDER/FEDERATION/refused.json               how many replies were not recorded, and why

Folders and files are made for their owner alone (modes 0700 and 0600), since they hold what an audit keeps from others.
Nothing here imports Flower: attacks and judges read the records of a federation without loading it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pydantic
from torch import Tensor

from fl_sim.accounts import Account
from fl_sim.errors import ConfigError, DataError
from fl_sim.files import atomic_write, sha256
from fl_sim.records import CapturedUpdate, SealedBatch, load_record, record_bytes, save_record

_SUFFIX = ".safetensors"
_REFUSED = "refused.json"
_LONGEST_NAME = 100
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]*")
_LEAF = re.compile(r"r(\d{3,})-c(\d{3,})")
_HASH_LENGTH = 16
_PRIVATE = 2
"""The folders of a store above a record: that of its federation, and the store's own."""


def check_federation_id(name: str) -> str:
    """Return `name` if it is valid as the name of a folder.

    Raises:
        ConfigError: `name` is empty, longer than 100 characters, or could lead out of the folder of records.
    """
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise ConfigError(
            f"federation_id: expected at most {_LONGEST_NAME} of the characters A-Z a-z 0-9 _ . + = -, the first of "
            f"them a letter, a digit or _, got {name[: _LONGEST_NAME + 1]!r}."
        )
    return name


def capture_id(federation_id: str, round: int, client: int) -> str:  # noqa: A002 - the name of the record's field
    """Return FEDERATION/rRRR-cCCC.

    Args:
        federation_id: name of the federation.
        round: server round, from 1.
        client: partition id of the client, from 0.

    Raises:
        ConfigError: the name could lead out of the folder of records, or a number is negative.
    """
    if round < 0 or client < 0:
        raise ConfigError(f"capture id: expected a round and a client of at least 0, got {round} and {client}.")
    return f"{check_federation_id(federation_id)}/r{round:03d}-c{client:03d}"


def sealed_behind(capture: CapturedUpdate) -> tuple[str, ...]:
    """Return the ids of the sealed batches behind a captured update: its own, or those of the clients in a sum."""
    if capture.members is None:
        return (capture.id,)
    federation = capture.id.partition("/")[0]
    return tuple(capture_id(federation, capture.round, client) for client in capture.members)


class CaptureKey(NamedTuple):
    """What a capture id is formatted from: the federation's name, the server round, and the client's partition id."""

    federation: str
    round: int
    client: int

    @property
    def id(self) -> str:
        """Return the capture id."""
        return capture_id(*self)


class _Store:
    """A folder of records with one file per capture id."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def path(self, record_id: str) -> Path:
        """Return the path of the record with this capture id, whether or not the file exists.

        Raises:
            DataError: `record_id` is not a capture id, so a path outside the folder is never returned.
        """
        federation, _, leaf = record_id.partition("/")
        numbers = _LEAF.fullmatch(leaf)
        well_formed = len(federation) <= _LONGEST_NAME and _NAME.fullmatch(federation) is not None
        if not well_formed or numbers is None or len(leaf) > _LONGEST_NAME:
            raise DataError(f"{record_id[:_LONGEST_NAME]!r}: expected a capture id such as FEDERATION/r001-c003.")
        return self.folder / federation / f"{leaf}{_SUFFIX}"

    def listed(self, federation: str = "") -> list[CaptureKey]:
        """Return the keys of all records, or of those of one federation, sorted by federation, round and client."""
        found = []
        for path in self.folder.glob(f"{federation or '*'}/r*-c*{_SUFFIX}"):
            numbers = _LEAF.fullmatch(path.stem)
            if numbers is not None and _NAME.fullmatch(path.parent.name):
                found.append(CaptureKey(path.parent.name, int(numbers[1]), int(numbers[2])))
        return sorted(found)

    def ids(self) -> list[str]:
        """Return the ids of all records, sorted by federation, round and client."""
        return [key.id for key in self.listed()]

    def __len__(self) -> int:
        return len(self.ids())


@dataclasses.dataclass(frozen=True)
class SentModel:
    """The parameters that a server sent, stored once for all clients of a round."""

    parameters: Mapping[str, Tensor]


@dataclasses.dataclass(frozen=True)
class StoredUpdate(CapturedUpdate):
    """A captured update as stored: the hash of the file of its parameters takes their place.

    Attributes:
        parameters_hash: first 16 hexadecimal digits of the SHA-256 of the file that holds the parameters.
    """

    parameters_hash: str = ""


class CaptureStore(_Store):
    """A folder of captured updates. Calling the store writes one, so it can be the sink of a `CuriousGrid`.

    Storing an id again replaces its record. A record that is read back is byte-for-byte the one that was stored.

    Attributes:
        written: {path below the folder: SHA-256} of the files that this object has written, or found written.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.written: dict[str, str] = {}
        self._last_sent: tuple[Path, SentModel] | None = None

    def __call__(self, capture: CapturedUpdate) -> Path:
        """Write one capture and, unless they are already stored, the parameters that the server sent.

        Raises:
            DataError: the id of the capture is malformed.
            WriteError: the folder cannot be written.
        """
        path = self.path(capture.id)
        sent = record_bytes(SentModel(capture.parameters))
        whole = hashlib.sha256(sent).hexdigest()
        digest = whole[:_HASH_LENGTH]
        shared = self._sent_path(path, digest)
        if self._below(shared) not in self.written and not (shared.is_file() and sha256(shared) == whole):
            atomic_write(shared, sent, private=_PRIVATE)
        values = {field.name: getattr(capture, field.name) for field in dataclasses.fields(CapturedUpdate)}
        content = record_bytes(StoredUpdate(**values | {"parameters": {}, "parameters_hash": digest}))
        self.written |= {self._below(shared): whole, self._below(path): hashlib.sha256(content).hexdigest()}
        return atomic_write(path, content, private=_PRIVATE)

    def load(self, record_id: str) -> CapturedUpdate:
        """Return the capture of this id.

        Raises:
            DataError: the capture or its parameters are missing, corrupt, or belong to another capture.
        """
        path, stored = self.path(record_id), self.stored(record_id)
        values = {field.name: getattr(stored, field.name) for field in dataclasses.fields(CapturedUpdate)}
        sent = self._load_sent(self._sent_path(path, stored.parameters_hash), stored.parameters_hash)
        return CapturedUpdate(**values | {"parameters": sent.parameters})

    def stored(self, record_id: str) -> StoredUpdate:
        """Return the capture of this id without the parameters that were sent, as it is stored.

        Raises:
            DataError: it is missing, corrupt or another capture's.
        """
        path = self.path(record_id)
        stored = load_record(StoredUpdate, path)
        if stored.id != record_id:
            raise DataError(f"{path}: expected the capture {record_id}, found {stored.id}.")
        return stored

    def note(self, federation_id: str, account: Account) -> None:
        """Keep the account of a federation beside its captures, if replies were refused or there are remarks.

        Raises:
            ConfigError: `federation_id` is not valid as the name of a folder.
            WriteError: the folder cannot be written.
        """
        path = self.folder / check_federation_id(federation_id) / _REFUSED
        if not account.is_plain:
            atomic_write(path, account.model_dump_json(indent=1) + "\n", private=_PRIVATE)
        else:
            path.unlink(missing_ok=True)

    def accounts(self) -> dict[str, Account]:
        """Return {federation: its account} of the federations of which an account was kept.

        Raises:
            DataError: a file is not an account.
        """
        found = {}
        for path in sorted(self.folder.glob(f"*/{_REFUSED}")):
            try:
                found[path.parent.name] = Account.model_validate_json(path.read_bytes())
            except (pydantic.ValidationError, OSError) as error:
                raise DataError(f"{path}: expected an account of refused replies, found something else.") from error
        return found

    def __iter__(self) -> Iterator[CapturedUpdate]:
        return (self.load(record_id) for record_id in self.ids())

    def _below(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    @staticmethod
    def _sent_path(path: Path, digest: str) -> Path:
        if not re.fullmatch(rf"[0-9a-f]{{{_HASH_LENGTH}}}", digest):
            raise DataError(
                f"{path}: expected the first {_HASH_LENGTH} hexadecimal digits of the hash of the sent parameters, "
                f"found {digest[: _HASH_LENGTH + 1]!r}."
            )
        return path.parent / f"model-{digest}{_SUFFIX}"

    def _load_sent(self, path: Path, digest: str) -> SentModel:
        """Return the parameters that the server sent; the last are cached, since the clients of a round share them."""
        if self._last_sent is None or self._last_sent[0] != path:
            sent = load_record(SentModel, path)
            if not sha256(path).startswith(digest):
                raise DataError(f"{path}: its content does not match the hash in its name; capture it again.")
            self._last_sent = path, sent
        return SentModel({name: tensor.clone() for name, tensor in self._last_sent[1].parameters.items()})


class SealedStore(_Store):
    """A folder of sealed batches: the truth behind the captures, stored under the same ids.

    Clients write it and judges open it. Attack code must not import this class; a test checks the imports. A batch is
    stored as it is given; see `fl_sim.sealed_forms` for the forms that judges convert.
    """

    def __call__(self, batch: SealedBatch) -> Path:
        """Write one sealed batch atomically.

        Raises:
            DataError: the capture id of the batch is malformed.
            WriteError: the folder cannot be written.
        """
        return save_record(batch, self.path(batch.capture_id), private=_PRIVATE)

    def load(self, record_id: str) -> SealedBatch:
        """Return the truth behind the capture of this id.

        Raises:
            DataError: the file is missing, corrupt, or belongs to another capture.
        """
        path = self.path(record_id)
        batch = load_record(SealedBatch, path)
        if batch.capture_id != record_id:
            raise DataError(f"{path}: expected the truth behind {record_id}, found that behind {batch.capture_id}.")
        return batch

    def __iter__(self) -> Iterator[SealedBatch]:
        return (self.load(record_id) for record_id in self.ids())
