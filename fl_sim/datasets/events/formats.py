"""Files of events as cameras and libraries write them, as columns of numbers: AEDAT 2 to 4, Prophesee's .dat, .npz."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from fl_sim.datasets.events.checking import FIELDS, Columns
from fl_sim.datasets.reading.integrity import DAMAGED_ZIP, corrupt, describe, read_array, read_member
from fl_sim.extras import EVENTS, require

AEDAT_2 = "an AEDAT 2 recording"
AEDAT_3 = "an AEDAT 3 recording"
AEDAT_4 = "an AEDAT 4 recording"
DAT = "a recording in Prophesee's .dat format"
NPZ = "an .npz recording with the arrays x, y, t and p"

_PACKET = struct.Struct(
    "<HHIIIIII"
)  # type, source, size of an event, offset of its time, overflow, capacity, number, valid
_POLARITY = 1  # the type of packets of polarity events
_EVENT_BYTES = 8


def npz_columns(content: bytes, path: Path) -> Columns:
    """Return the arrays x, y, t and p of an .npz file, as SpikingJelly converts recordings.

    Raises:
        DataError: it is damaged, or lacks one of them.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            missing = [field for field in FIELDS if f"{field}.npy" not in archive.namelist()]
            if missing:
                raise corrupt(path, NPZ, f"only {', '.join(archive.namelist())}")
            return {field: read_array(read_member(archive, f"{field}.npy")) for field in FIELDS}
    except DAMAGED_ZIP as error:
        reason = " ".join(str(error).split())
        raise corrupt(path, NPZ, f"{describe(content)} and cannot be read ({reason})") from error


def aedat2_columns(content: bytes, path: Path) -> Columns:
    """Return the addresses and times of an AEDAT 2 file: `address` and `t`, whole numbers (N,).

    After the lines of the header, which begin with "#", an event is two numbers of four bytes, high byte first.

    Raises:
        DataError: it is not of that version, or ends within an event.
    """
    start = _after_header(content, b"#")
    if not content.startswith((b"#!AER-DAT2", b"#!AER-DAT1")) or (len(content) - start) % _EVENT_BYTES:
        raise corrupt(path, f"{AEDAT_2}, {_EVENT_BYTES} bytes per event", describe(content))
    words = np.frombuffer(content, dtype=">u4", offset=start).astype(np.int64)
    return {"address": words[::2], "t": words[1::2]}


def aedat3_columns(content: bytes, path: Path) -> Columns:
    """Return the valid polarity events of an AEDAT 3 file, whose times are in microseconds.

    Raises:
        DataError: it is not of that version, or ends within a packet.

    Source: inivation's specification of AEDAT 3.1.
    """
    at = _after_header(content, b"#")
    if not content.startswith(b"#!AER-DAT3"):
        raise corrupt(path, AEDAT_3, describe(content))
    parts = [np.zeros((0, 3), dtype=np.int64)]
    while at < len(content):
        if at + _PACKET.size > len(content):
            raise corrupt(path, AEDAT_3, f"{describe(content)}, which end within the header of a packet")
        kind, _, size, _, overflow, capacity, number, _ = _PACKET.unpack_from(content, at)
        at += _PACKET.size
        if at + capacity * size > len(content) or number > capacity or (kind == _POLARITY and size != _EVENT_BYTES):
            raise corrupt(path, AEDAT_3, f"{describe(content)}, which end within a packet of {capacity:,} events")
        if kind == _POLARITY:
            words = np.frombuffer(content, dtype="<u4", offset=at, count=2 * number).astype(np.int64).reshape(-1, 2)
            parts.append(np.column_stack([words, np.full(number, overflow << 31)]))
        at += capacity * size
    data, low, high = np.concatenate(parts).T
    valid = data & 1 == 1
    data, times = data[valid], (low | high)[valid]
    return {"x": data >> 17 & 0x7FFF, "y": data >> 2 & 0x7FFF, "p": data >> 1 & 1, "t": times}


def is_aedat4(content: bytes) -> bool:
    """Return whether a file says that it is of AEDAT 4."""
    return content.startswith(b"#!AER-DAT4")


def aedat4_columns(content: bytes, path: Path) -> Columns:
    """Return the events of the first stream of events in an AEDAT 4 file, whose times are in microseconds.

    Raises:
        ConfigError: the package that reads it is not installed.
        DataError: it is not of that version, or damaged, or holds no stream of events.
    """
    require(EVENTS, str(path), "aedat")
    import aedat

    with tempfile.NamedTemporaryFile(suffix=".aedat4") as file:  # the reader takes files only
        file.write(content)
        file.flush()
        try:
            decoder = aedat.Decoder(file.name)
            streams = sorted(key for key, stream in decoder.id_to_stream().items() if stream["type"] == "events")
            packets = [packet["events"] for packet in decoder if packet["stream_id"] in streams[:1]]
        except BaseException as error:
            # The reader is written in Rust, whose panics are no exceptions of the usual kind.
            if not (isinstance(error, RuntimeError) or type(error).__name__ == "PanicException"):
                raise
            raise corrupt(path, AEDAT_4, f"{describe(content)} and cannot be read ({error})") from error
    if not packets:
        raise corrupt(path, f"{AEDAT_4} with events", describe(content))
    return {column: np.concatenate([packet[name] for packet in packets]).astype(np.int64)
            for column, name in (("x", "x"), ("y", "y"), ("p", "on"), ("t", "t"))}  # fmt: skip


def dat_columns(content: bytes, path: Path) -> Columns:
    """Return the events of a file in Prophesee's .dat format, of an ATIS or a newer sensor.

    After the lines of the header, which begin with "%", come type and size of an event, a byte each, and the events:
    the time in microseconds and 14 bits of x, 14 of y and 4 of polarity, each four bytes, low byte first. Version 1
    has 9 bits of x, 8 of y and 1 of polarity.

    Raises:
        DataError: it has no such header, or ends within an event.
    """
    start = _after_header(content, b"%")
    sized = content[start + 1 : start + 2] == bytes([_EVENT_BYTES])
    if not content.startswith(b"%") or not sized or (len(content) - start - 2) % _EVENT_BYTES:
        raise corrupt(path, f"{DAT}, {_EVENT_BYTES} bytes per event", describe(content))
    words = np.frombuffer(content, dtype="<u4", offset=start + 2).astype(np.int64)
    times, data = words[::2], words[1::2]
    version = next((line.split()[-1] for line in content[:start].splitlines() if b"ersion" in line), b"1")
    if version == b"1":
        return {"x": data & 0x1FF, "y": data >> 9 & 0xFF, "p": data >> 17 & 1, "t": times}
    return {"x": data & 0x3FFF, "y": data >> 14 & 0x3FFF, "p": data >> 28 & 1, "t": times}


def _after_header(content: bytes, mark: bytes) -> int:
    """Return where the lines end that begin with a mark."""
    at = 0
    while content[at : at + 1] == mark:
        end = content.find(b"\n", at)
        if end < 0:
            return len(content)
        at = end + 1
        if content[:at].endswith(b"#!END-HEADER\r\n"):
            break
    return at
