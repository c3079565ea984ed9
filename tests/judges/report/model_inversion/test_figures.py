from __future__ import annotations

import base64
import io

import pytest
import torch
from PIL import Image

from judges.report.figures import Point
from judges.report.model_inversion.figures import MOST_TRACES, Rounds, gif_uri, raster_figure, rounds_figure
from tests.judges.report.test_figures import labels, svg_of


def film_of(uri: str) -> Image.Image:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/gif;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize("width", [8, 28, 34, 92, 112, 128])
def test_a_film_has_every_step_even_where_nothing_changes(width: int) -> None:
    spikes = torch.zeros(25, 1, 5, width, dtype=torch.uint8)
    spikes[3, 0, 2, 4] = 1
    film = film_of(gif_uri(spikes))
    assert film.n_frames == 25  # type: ignore[attr-defined]  # of GIF files only
    assert film.width >= 112
    assert film.width % width == 0
    assert film.info["duration"] == 120  # GIFs count hundredths of a second: 125 ms are cut to that
    assert film.info["loop"] == 0
    factor = film.width // width
    place = (4 * factor + factor // 2, 2 * factor + factor // 2)
    seen = []
    for step in range(25):
        film.seek(step)
        seen.append(film.convert("RGB").getpixel(place))
    assert seen[3] == (255, 255, 255)
    assert {colour for step, colour in enumerate(seen) if step != 3} == {(0, 0, 0)}


def test_two_polarities_have_two_colours() -> None:
    spikes = torch.zeros(2, 2, 4, 4, dtype=torch.uint8)
    spikes[0, 0, 0, 0] = spikes[0, 1, 3, 3] = 1
    film = film_of(gif_uri(spikes)).convert("RGB")
    assert film.getpixel((5, 5)) == (0, 128, 255)
    assert film.getpixel((107, 107)) == (255, 128, 0)


def test_a_raster_has_a_stroke_for_each_spike() -> None:
    spikes = torch.zeros(4, 1, 3, 5, dtype=torch.uint8)
    empty = svg_of(raster_figure(spikes)).count("L ")
    spikes[1, 0, 2, 2] = spikes[3, 0, 0, 0] = 1
    uri = raster_figure(spikes)
    assert svg_of(uri).count("L ") == empty + 2
    assert {"time step", "pixel index"} <= set(labels(uri))
    assert raster_figure(spikes) == uri


def test_a_raster_of_many_pixels_stays_small() -> None:
    spikes = torch.ones(100, 1, 128, 128, dtype=torch.uint8)
    assert svg_of(raster_figure(spikes)).count("L ") < 100 * MOST_TRACES + 200
    assert len(raster_figure(spikes)) < 2_000_000


def test_rounds_show_every_line_and_intervals_where_there_are() -> None:
    accuracy = {"MI-Face $x$": [Point(1, 0.1, (0.0, 0.3)), Point(2, 0.5, (0.3, 0.7))]}
    confidence = {"MI-Face $x$": [Point(1, 0.2, None), Point(2, 0.4, None)]}
    tested = [Point(1, 0.3, None), Point(2, 0.8, None)]
    ann, snn = (
        Rounds("ANN mlp", tested, accuracy, confidence),
        Rounds("SNN", tested, {"BL": accuracy["MI-Face $x$"]}, {}),
    )
    uri = rounds_figure([ann, snn])
    found = labels(uri)
    for name in ("ANN mlp", "SNN", "MI-Face $x$, attack accuracy", "MI-Face $x$, judge's confidence",
                 "BL, attack accuracy", "target's test accuracy", "round"):  # fmt: skip
        assert name in found, name
    assert found.count("target's test accuracy") == 1
    assert svg_of(uri).count("FillBetween") == 2 * svg_of(rounds_figure([ann])).count("FillBetween")
    assert rounds_figure([ann, snn]) == uri
    bare = Rounds("ANN", tested, {"BL": [point._replace(interval=None) for point in accuracy["MI-Face $x$"]]}, {})
    assert "FillBetween" not in svg_of(rounds_figure([bare]))


def test_many_rounds_and_one_are_drawn() -> None:
    for rounds in (1, 40):
        points = [Point(number, 0.5, (0.4, 0.6)) for number in range(1, rounds + 1)]
        assert rounds_figure([Rounds("ANN", points, {"BL": points}, {"BL": points})])
