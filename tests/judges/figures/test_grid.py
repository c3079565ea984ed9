from __future__ import annotations

import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from judges.figures.drawing import pixels
from judges.figures.grid import picture_grid

BLACK, WHITE = torch.zeros(1, 4, 4), torch.ones(1, 4, 4)


def drawn(figure: Figure) -> np.ndarray:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return np.asarray(Image.open(content).convert("L"))


def test_pixels_are_scaled_from_the_stated_range() -> None:
    picture = torch.tensor([[[-1.0, 0.0, 1.0, 9.0]]])
    assert pixels(picture, low=-1.0, high=1.0).tolist() == [[0, 128, 255, 255]]
    assert pixels(torch.full((1, 1, 1), torch.nan), low=0.0, high=1.0).item() == 0
    assert pixels(torch.zeros(3, 2, 5), low=0.0, high=1.0).shape == (2, 5, 3)
    off, on = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert pixels(torch.stack([off, on]), low=0.0, high=1.0).tolist() == [[[0, 128, 255], [255, 128, 0]]]


def test_a_grid_shows_each_picture_under_its_heading_beside_its_name() -> None:
    figure = picture_grid(
        [[BLACK, WHITE], [None, BLACK]], names=["truth", "dlg $"], columns=["0", "300"], width_inches=3.0
    )
    assert figure.get_size_inches()[0] == pytest.approx(3.0)
    assert [text.get_text() for text in figure.texts] == ["truth", r"dlg \$"]
    assert [axes.get_title() for axes in figure.axes] == ["0", "300", "", ""]
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 0, 1]
    places = [axes.get_position() for axes in figure.axes]
    assert places[0].x0 == pytest.approx(places[2].x0)
    assert places[0].y0 == pytest.approx(places[1].y0)
    assert places[0].y0 > places[2].y1
    width, height = figure.get_size_inches()
    assert places[0].width * width == pytest.approx(places[0].height * height)  # square pictures stay square
    grey = drawn(figure)
    centre = [(1 - (place.y0 + place.y1) / 2, (place.x0 + place.x1) / 2) for place in places]
    assert [int(grey[int(y * grey.shape[0]), int(x * grey.shape[1])]) for y, x in centre] == [0, 255, 255, 0]


def test_nothing_is_smoothed_and_rows_may_end_early() -> None:
    half = torch.cat([torch.zeros(1, 2, 1), torch.ones(1, 2, 1)], dim=2)
    figure = picture_grid(
        [[half, half], [half]], names=["", ""], columns=(), width_inches=2.0, captions=[["a", "b"], ["c"]]
    )
    assert len(figure.axes) == 3
    assert [axes.get_xlabel() for axes in figure.axes] == ["a", "b", "c"]
    place = figure.axes[0].get_position()
    grey = drawn(figure)
    row = grey[int((1 - (place.y0 + place.y1) / 2) * len(grey)), : int(place.x1 * grey.shape[1]) - 1]
    assert set(row[int(place.x0 * grey.shape[1]) + 2 :].tolist()) == {0, 255}


def test_a_grid_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        picture_grid([[None]], names=["a"], columns=(), width_inches=2.0)
    with pytest.raises(ValueError, match="name for each row"):
        picture_grid([[BLACK]], names=[], columns=(), width_inches=2.0)
    with pytest.raises(ValueError, match="2 headings"):
        picture_grid([[BLACK, WHITE]], names=["a"], columns=["0"], width_inches=2.0)
    with pytest.raises(ValueError, match="caption"):
        picture_grid([[BLACK, WHITE]], names=["a"], columns=(), width_inches=2.0, captions=[["x"]])


def test_pyplot_is_not_loaded_by_the_room() -> None:
    code = "import sys, judges.figures.grid; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_long_names_and_captions_leave_the_pictures_room() -> None:
    long = "Inverting Gradients (steps=100, weight of the total variation=0.01)\nspiking LeNet"
    figure = picture_grid(
        [[BLACK] * 8, [WHITE] * 8],
        names=["truth", long],
        columns=(),
        width_inches=3.5,
        captions=[["label 7"] * 8, ["step 1000"] * 8],
    )
    width, _ = figure.get_size_inches()
    texts = [*figure.texts, *(axes.xaxis.label for axes in figure.axes)]
    figure.canvas.draw()
    boxes = [text.get_window_extent().transformed(figure.transFigure.inverted()) for text in texts]
    assert all(box.x0 >= -0.001 and box.x1 <= 1.001 and box.y0 >= -0.001 and box.y1 <= 1.001 for box in boxes)
    captions = boxes[2:10]
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(captions))
    assert all(axes.get_position().width * width > 0.2 for axes in figure.axes)
    assert figure.texts[1].get_text().count("\n") > 1
