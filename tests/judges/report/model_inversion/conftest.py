"""Two run folders with their reports, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from judges.report.model_inversion.report import write_inversion_report
from tests.judges.class_runs import central_run, federated_run


@pytest.fixture(scope="session")
def central(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the central run, with its report."""
    folder = central_run().write(tmp_path_factory.mktemp("central"))
    write_inversion_report(folder)
    return folder


@pytest.fixture(scope="session")
def federated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the federated run, with its report."""
    folder = federated_run().write(tmp_path_factory.mktemp("federated"))
    write_inversion_report(folder)
    return folder
