"""The page in a real browser: nothing but tables, sheets of pictures and figures scrolls sideways."""

from __future__ import annotations

from pathlib import Path

import pytest

from judges.report.model_inversion.report import write_inversion_report
from tests.judges.browser import BROWSER, measured
from tests.judges.class_runs import Toy, central_run, federated_run

pytestmark = BROWSER


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(("run", "sections"), [(central_run, 10), (federated_run, 8)])
def test_only_the_tables_scroll_sideways(run: type[Toy], sections: int, tmp_path: Path, width: int) -> None:
    toy = run()
    toy.names = {"dvs_gesture": tuple(f"right hand counter clockwise {label}" for label in range(10))}
    for album in toy.albums:
        if album.dataset in toy.names:
            object.__setattr__(album, "subjects", toy.names[album.dataset])
    folder = toy.write(tmp_path, digest="0123456789abcdef" * 8)
    found = measured(write_inversion_report(folder, show_faces=True).read_text(), tmp_path, width)
    assert found["width"] <= width
    assert (found["broken"], found["images"] > 60, found["sections"] >= sections) == (0, True, True)
    if width == 1280:
        assert max(found["tables"]) <= 1280 - 2 * 32
