"""Distances between recordings: in blocks as at once, and on real recordings beside the numbers of the paper."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from fl_sim.config import DatasetSettings
from judges.kinds import read_plan
from judges.plans.gradient_inversion import Plan
from judges.report.gradient_inversion.events import PAPER_NORM, PAPER_SHAPE
from judges.runs.measures import ClassDistances
from judges.scoring import controls
from judges.scoring.controls import class_distances
from judges.summaries.published import PUBLISHED_DISTANCES
from tests.judges.toys import gestures

CONFIGS = Path(__file__).parents[3] / "configs"
REAL = os.environ.get("SPIKELEAK_DATA", "")
real_data = pytest.mark.skipif(not REAL, reason="SPIKELEAK_DATA is not set: no real recordings to measure")
MOST = 48


def test_distances_in_blocks_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = gestures().train
    monkeypatch.setattr(controls, "_ROWS", 32)  # 90 examples: two whole blocks and a part of one
    found = class_distances(data, 5000, seed=0)
    frames, labels = data.batch()
    flat = frames.movedim(1, 0).flatten(1).double()
    first, second = torch.triu_indices(len(flat), len(flat), 1)
    apart = (flat[first] - flat[second]).square().sum(1).sqrt()
    same = labels[first] == labels[second]
    for spread, own in ((found.intra, apart[same]), (found.inter, apart[~same])):
        assert spread.pairs == len(own)
        measured = (spread.mean, spread.std, spread.low, spread.high)
        assert measured == pytest.approx((own.mean().item(), own.std().item(), own.min().item(), own.max().item()))
    assert found.norm == pytest.approx(flat.norm(dim=1).mean().item())


def paper_scale(name: str) -> DatasetSettings:
    """Return DVS Gesture as a table reads it at the scale of the paper."""
    plan = read_plan(CONFIGS / f"{name}.toml", ["scale=paper", "dataset=dvs_gesture"])
    assert isinstance(plan, Plan)
    return plan.federations[0].config.dataset


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClassDistances, ClassDistances]:
    """Return distances of two gestures at the scale of the paper: of its windows, and of whole recordings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKELEAK_CACHE", str(tmp_path_factory.mktemp("cache")))
        windows = paper_scale("table6")
        whole = windows.model_copy(update={"window_ms": 0.0})
        found = [class_distances(one.load().test, MOST, seed=0) for one in (windows, whole)]
        return found[0], found[1]


def test_the_tables_read_the_same_recordings_at_the_scale_of_the_paper() -> None:
    ways = [paper_scale(name) for name in ("table5", "table6", "figure5")]
    assert {(one.time_bins, one.window_ms, one.voxels, one.size or 128) for one in ways} == {(20, 30.0, "binary", 128)}
    nmnist = read_plan(CONFIGS / "table6.toml", ["scale=paper", "dataset=nmnist"])
    assert isinstance(nmnist, Plan)
    assert nmnist.federations[0].config.dataset.size in range(35)  # its sensor has no more pixels


@real_data
def test_windows_of_real_recordings_have_the_distances_of_the_paper(
    measured: tuple[ClassDistances, ClassDistances],
) -> None:
    windows, _ = measured
    assert windows.norm == pytest.approx(PAPER_NORM, rel=0.05)
    for kind, spread in (("intra-class", windows.intra), ("inter-class", windows.inter)):
        mean, std, low, high = PUBLISHED_DISTANCES[kind]
        assert spread.mean == pytest.approx(mean, rel=0.05), kind
        assert spread.std == pytest.approx(std, rel=0.4), kind
        assert low <= (spread.low or 0.0) <= (spread.high or 0.0) <= high, kind
    assert (windows.intra.mean or 0.0) == pytest.approx(windows.inter.mean, rel=0.05)


@real_data
def test_whole_recordings_do_not(measured: tuple[ClassDistances, ClassDistances]) -> None:
    _, whole = measured
    assert whole.norm > 4 * PAPER_NORM
    assert whole.inter.mean is not None
    assert whole.inter.mean > 3 * PUBLISHED_DISTANCES["inter-class"][0]


@real_data
def test_real_recordings_have_the_shape_of_the_paper() -> None:
    spec = paper_scale("table5").load().spec
    assert (spec.timesteps, spec.channels, spec.height, spec.width) == PAPER_SHAPE
