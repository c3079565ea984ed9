from __future__ import annotations

import base64
import io

import pytest
import torch
from PIL import Image

from judges.report.curves import Panel, Sweep, lines_figure
from judges.report.figures import Point
from judges.report.model_inversion.figures import MOST_TRACES, gif_uri, raster_figure
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


def rounds_figure(shown: list[Panel]) -> str:
    return lines_figure(shown, width=3.7, height=2.5)


def federation(attack: str, rounds: int = 2) -> Panel:
    """Return a panel of one attack against the rounds of a federation."""
    points = [Point(number, 10.0 * number, (0.0, 10.0 * number + 20)) for number in range(1, rounds + 1)]
    confidence = [Point(number, 30.0, None) for number in range(1, rounds + 1)]
    lines = [Sweep("attack accuracy", attack, points), Sweep("judge's confidence", attack, confidence)]
    return Panel("round", "%", lines, beneath=Sweep("target's test accuracy", "", confidence), title=f"on {attack}")


def test_rounds_show_every_line_and_intervals_where_there_are() -> None:
    first, second = federation("MI-Face $x$"), federation("BL")
    uri = rounds_figure([first, second])
    found = labels(uri)
    for name in ("on MI-Face $x$", "on BL", "attack accuracy, MI-Face $x$", "judge's confidence, MI-Face $x$",
                 "attack accuracy, BL", "target's test accuracy", "round"):  # fmt: skip
        assert name in found, name
    assert found.count("target's test accuracy") == 1
    assert svg_of(uri).count("FillBetween") == 2 * svg_of(rounds_figure([first])).count("FillBetween") > 0
    assert rounds_figure([first, second]) == uri
    assert "FillBetween" not in svg_of(rounds_figure([first._replace(lines=first.lines[1:])]))


def test_many_rounds_one_and_the_untrained_model_are_drawn() -> None:
    for rounds in (1, 40):
        assert rounds_figure([federation("BL", rounds)])
    start = Sweep("attack accuracy", "BL", [Point(0, 10.0, None), Point(1, 10.0, None), Point(2, 20.0, None)])
    assert {"0", "1", "2"} <= set(labels(rounds_figure([Panel("round", "%", [start])])))
