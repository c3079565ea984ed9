"""What candidates are kept to during a search: binary, positive, in range."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.matching.search import Project
from attacks.settings import IN, SQUARE, UNTHRESHOLDED, MatchingSettings
from attacks.thresholding import threshold
from fl_sim.errors import ConfigError
from fl_sim.records import CapturedUpdate


def projection(settings: MatchingSettings, input_size: int) -> Project | None:
    """Return what happens to points (V, unknowns) after each outer step; label logits are unchanged. None for nothing.

    Inputs are made positive first, then clamped, then binarised (arXiv 2511.21181, Algorithm 2: "x' <- (x' > tau)").
    If the inputs among the unknowns are roots, that is what happens to their squares.
    """
    is_root = settings.positive == SQUARE
    binarised, in_range = settings.thresholding == IN, settings.clamping == "loop"
    if not (binarised or in_range or settings.positive == "project"):
        return None

    def project(points: Tensor) -> Tensor:
        inputs = points[:, :input_size]
        inputs = inputs.abs() if is_root else inputs
        if settings.positive == "project":
            inputs = inputs.clamp(min=0.0)
        if in_range:
            inputs = inputs.clamp(0.0, 1.0)
        if binarised:
            inputs = threshold(inputs.square() if is_root else inputs, settings.tau)
        return torch.cat([inputs, points[:, input_size:]], 1)

    return project


def refuse_kinds(capture: CapturedUpdate, settings: MatchingSettings) -> None:
    """Raise a ConfigError if inputs are to be kept to what inputs of their kind are not."""
    spec = capture.model.input
    if not (spec.vocabulary or spec.timesteps):
        return
    of_images = {"range_weight": (0, "only images have a range"), "clamping": ("end", "only images are clamped")}
    of_numbers = {
        "thresholding": (UNTHRESHOLDED, "the answer holds the most probable token of each position"),
        "positive": ("none", "their candidates are logits"),
        "answer": ("best", "the search ends with steps from text to text"),
    }
    kind = "texts" if spec.vocabulary else "recordings of events"
    for key, (expected, why) in (of_images | of_numbers if spec.vocabulary else of_images).items():
        found = getattr(settings, key)
        if found != expected:
            raise ConfigError(
                f"attack.{key}: expected {expected!r} for {capture.id}, whose client reads {kind}: {why}; "
                f"found {found!r}."
            )
