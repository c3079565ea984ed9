"""Recordings in AEDAT 4, as tonic's copy of CIFAR10-DVS has them."""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path

import pytest

from fl_sim.datasets import load_dataset
from fl_sim.datasets.events.formats import aedat4_columns
from fl_sim.datasets.recordings import cifar10_dvs
from fl_sim.errors import ConfigError, DataError
from tests.fl_sim.test_events_files import some_events, zipped
from tests.fl_sim.test_events_formats import aedat2
from tests.fl_sim.test_events_sources import columns_of, inside, write

pytestmark = pytest.mark.usefixtures("home")

ROWS = some_events(4, 128)
RECORDING = base64.b64decode(
    "IyFBRVItREFUNC4wDQosAwAAGAAAAElPSEUAAAAAAAAKABgABAAMAAgACgAAAAEAAAAQAAAAZwQAAAAAAAAAAAAA9gIAADxkdiB2ZXJzaW9uPS"
    "IyLjAiPgogICAgPG5vZGUgbmFtZT0ib3V0SW5mbyIgcGF0aD0iL291dEluZm8vIj4KICAgICAgICA8bm9kZSBuYW1lPSIwIiBwYXRoPSIvb3V0"
    "SW5mby8wLyI+CiAgICAgICAgICAgIDxhdHRyIGtleT0iY29tcHJlc3Npb24iIHR5cGU9InN0cmluZyI+TFo0PC9hdHRyPgogICAgICAgICAgIC"
    "A8YXR0ciBrZXk9Im9yaWdpbmFsTW9kdWxlTmFtZSIgdHlwZT0ic3RyaW5nIj5Nb25vQ2FtZXJhV3JpdGVyPC9hdHRyPgogICAgICAgICAgICA8"
    "YXR0ciBrZXk9Im9yaWdpbmFsT3V0cHV0TmFtZSIgdHlwZT0ic3RyaW5nIj5ldmVudHM8L2F0dHI+CiAgICAgICAgICAgIDxhdHRyIGtleT0idH"
    "lwZURlc2NyaXB0aW9uIiB0eXBlPSJzdHJpbmciPkN1c3RvbSBkYXRhIHR5cGUgb3V0cHV0LjwvYXR0cj4KICAgICAgICAgICAgPGF0dHIga2V5"
    "PSJ0eXBlSWRlbnRpZmllciIgdHlwZT0ic3RyaW5nIj5FVlRTPC9hdHRyPgogICAgICAgICAgICA8bm9kZSBuYW1lPSJpbmZvIiBwYXRoPSIvb3"
    "V0SW5mby8wL2luZm8vIj4KICAgICAgICAgICAgICAgIDxhdHRyIGtleT0ic2l6ZVgiIHR5cGU9ImludCI+MTI4PC9hdHRyPgogICAgICAgICAg"
    "ICAgICAgPGF0dHIga2V5PSJzaXplWSIgdHlwZT0iaW50Ij4xMjg8L2F0dHI+CiAgICAgICAgICAgICAgICA8YXR0ciBrZXk9InNvdXJjZSIgdH"
    "lwZT0ic3RyaW5nIj5EVlMxMjhfdGVzdDwvYXR0cj4KICAgICAgICAgICAgPC9ub2RlPgogICAgICAgIDwvbm9kZT4KICAgIDwvbm9kZT4KPC9k"
    "dj4KAAAAAAAAIQEAAAQiTRhAQMASAQAA8RRsAQAAEAAAAEVWVFMAAAYACAAEAAYAAAAEAAAAFQAAAH8fAAEAMVwAcwgAIchcBwCyAHgABwABAA"
    "AAJYcQADFwAD0JACGc0gcAQQBBAHIgACJG/hAAMXgANwkAMd45AQgAMXwAEQgAJOGuEAARZDAAMdstAhgAMQoAewgAIj1AEAAxOgB9EAAimkcQ"
    "ADFNAHcQACInchAAMSQAL0AAIgyqEAAxMABdEAAiX+8QADFQAHwwADH0FwMIADFmAEkgACKVKxAAMUoAdhAAIhWHEAAxFgBLKAAi+LQQADFWAB"
    "YQADGQHQQIADFvADsIACKUQRAAMRwATRAAIoRMEAAxRQAmUAAiyY8QAIArAFoAAQAAAAAAAAAEIk0YQEDAVwAAAPEmXAAAABAAAABGVEFCAAAG"
    "AAgABAAGAAAABAAAAAEAAAAUAAAAAAAOACwADAAEABQAHAAkAA4UAIIAACEBAABGAw0AEhUHADIAfx8JAIDJjwQAAAAAAAAAAAA="
)
"""`ROWS` as dv-processing 2.0.4, the library of the makers of the format, writes them (`MonoCameraWriter`)."""


def test_the_events_are_those_that_the_makers_library_wrote(tmp_path: Path) -> None:
    columns = aedat4_columns(RECORDING, tmp_path / "a.aedat4")
    assert {field: columns[field].tolist() for field in columns} == columns_of(ROWS)


def test_tonics_copy_is_the_same_data_as_the_authors(tmp_path: Path) -> None:
    names = [f"{kind}/cifar10_{kind}_{number}.aedat" for kind in cifar10_dvs.CLASS_NAMES for number in range(3)]
    theirs = {f"{name}4": RECORDING for name in names}
    packed = {
        f"{kind}.zip": zipped({name: theirs[name] for name in theirs if name.startswith(f"{kind}/")})
        for kind in cifar10_dvs.CLASS_NAMES
    }
    forms = {
        "authors": inside("CIFAR10DVS", {name: aedat2(ROWS) for name in names}),
        "tonic": inside("CIFAR10DVS", theirs),
        "packed": inside("CIFAR10DVS", packed),
    }
    found = {form: load_dataset("cifar10_dvs", root=str(write(tmp_path / form, forms[form]))) for form in forms}
    assert len({data.digest for data in found.values()}) == 1
    assert len(found["tonic"].train) == 20


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (RECORDING[:600], "expected an AEDAT 4 recording, found .* and cannot be read"),
        (RECORDING[:14], "expected an AEDAT 4 recording, found .* and cannot be read"),
        (RECORDING[:14] + bytes(40), "expected an AEDAT 4 recording, found .* and cannot be read"),
    ],
)
def test_a_damaged_recording_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        cifar10_dvs.LAYOUTS[0].events(content, tmp_path / "cifar10_cat_1.aedat4")
    assert "cifar10_cat_1.aedat4" in str(caught.value)


def test_the_extra_that_reads_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"needs the package aedat, .* pip install 'spikeleak\[events\]'"):
        aedat4_columns(RECORDING, tmp_path / "a.aedat4")
