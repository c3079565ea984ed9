"""The control of membership inferences that asks no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fl_sim.config import DatasetSettings
from fl_sim.datasets import load_dataset
from fl_sim.specs import InputSpec
from judges.runs.rows.membership import BLIND
from judges.scoring.membership.asked import Asked
from judges.scoring.membership.blind import blind_scores
from judges.scoring.membership.recorded import Members, Others, Recorded

CONTEXT: dict[str, Any] = {
    "experiment": "e", "cell": "c", "dataset": "digits", "model": "mlp", "source": "central", "round": 1,
    "target_seed": 0, "client": -1, "shadows": 0, "test_accuracy": None, "train_accuracy": None, "control": BLIND,
}  # fmt: skip
DIGITS = DatasetSettings(name="digits", size=8)
SPEC = InputSpec(1, 8, 8, 10)


@pytest.mark.parametrize("seed", range(3))
def test_members_of_one_source_are_not_told(seed: int) -> None:
    row = blind_scores(Asked(DIGITS, "central", 400, 100, seed, seed), CONTEXT)
    assert row is not None
    assert (row.members, row.non_members) == (200, 200)
    assert abs(row.auc - 0.5) < 3.5 * row.auc_error


@pytest.mark.parametrize("labels", [False, True])
def test_other_pictures_or_mixtures_of_labels_are_told(labels: bool, tmp_path: Path) -> None:
    images, numbers = load_dataset("digits", size=8).test.batch(slice(0, 200))
    for place, (one, number) in enumerate(zip(images, numbers.tolist(), strict=True)):
        if labels and place > 30 and number > 3:
            continue
        pixels = (255 * one[0].numpy()).round().astype(np.uint8)
        folder = tmp_path / str(number)
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels if labels else 255 - pixels).save(folder / f"{place}.png")
    asked = Recorded(Path(), (), Others(SPEC, None, str(tmp_path)), 400, 0, 0, Members(SPEC, DIGITS))
    row, again = blind_scores(asked, CONTEXT), blind_scores(asked, CONTEXT)
    assert row is not None
    assert row.auc - 3 * row.auc_error > 0.5
    assert row == again


def test_of_a_few_nothing_is_said() -> None:
    assert blind_scores(Asked(DIGITS, "central", 18, 100, 0, 0), CONTEXT) is None
