"""Settings of the attacks that descend along the signs of first-order slopes."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from attacks.settings.base import SnapshotSettings


class DescentSettings(SnapshotSettings):
    """Settings of every attack that descends along the signs of first-order slopes, inside the range of the inputs.

    Attributes:
        steps: number of steps of Adam.
        learning_rate: of the first step, in units of the range of the inputs.
        tv_weight: weight of the total variation, the sum of the mean absolute differences of neighbours.
        start: the initial candidate: "black", "grey", or "normal", N(0.5, 0.25) clamped to the range.
        restarts: number of further initial candidates, drawn as "normal"; the answer has the smallest loss of all.
        dark_background: margin of a prior of black backgrounds and white strokes: the answer x becomes
            (x - margin) / (1 - 2 margin), clamped to the range. 0 for no such prior.
        most_examples: largest number of examples behind an update for which inputs are searched.
        victims_per_batch: maximum number of victims attacked in parallel.
        memory_mb: memory limit of a batch; the number of its victims is reduced accordingly.
        precision: "float32" or "float64".
    """

    steps: int = Field(default=300, ge=0)
    learning_rate: float = Field(default=0.05, gt=0)
    tv_weight: float | Literal["auto"] = "auto"
    start: Literal["auto", "black", "grey", "normal"] = "auto"
    restarts: int = Field(default=0, ge=0)
    dark_background: float = Field(default=0.0, ge=0, lt=0.5)
    most_examples: int = Field(default=64, ge=1)
    victims_per_batch: int = Field(default=32, ge=1)
    memory_mb: int = Field(default=4096, ge=16)
    precision: Literal["float32", "float64"] = "float32"

    def untouched(self) -> Self:
        """Return these settings with no steps, so that the attack returns its initial candidate."""
        return self.model_copy(update={"steps": 0, "restarts": 0, "dark_background": 0.0, "snapshots": 0})


class InvertingGradientsSettings(DescentSettings):
    """Settings of Inverting Gradients (Geiping et al. 2020).

    Attributes:
        steps: number of steps (1,000; the published code has 4,800 to 24,000).
        learning_rate: of the first step (0.1, as published), divided by ten after 3/8, 5/8 and 7/8 of the steps.
        tv_weight: "auto" is 10 if it is relative, and 0.1, as in the published code, if it is absolute.
        tv_scale: "relative" multiplies the weight by the current matching loss; "absolute", as published, does not.
        start: "auto" is "normal", as in the published code.
        cosine: "whole" compares whole updates, as published; "layers" takes the mean over the tensors.
    """

    steps: int = Field(default=1000, ge=0)
    learning_rate: float = Field(default=0.1, gt=0)
    tv_scale: Literal["relative", "absolute"] = "relative"
    cosine: Literal["whole", "layers"] = "whole"


class FrozenDeltaSettings(DescentSettings):
    """Settings of frozen-delta matching.

    Attributes:
        tv_weight, start, measure, blur: "auto" depends on the inputs: 0.1, "black", "cosine" and 0.7 for grey images;
            0.8, "grey", "relative" and 0 for colour, since the cosine does not tell the contrast; 2, "black", "cosine"
            and 0 for events.
        measure: of a layer's distance: "cosine", or "relative", the squared difference relative to the captured square.
        layers: the layers whose gradients are matched: "early", the first (weight 0.3) and the second (1) that have
            weights; "late", all but the first, with the last layer's features; or names of weights with factors, such
            as "body.2.weight=1 body.0.weight=0.3". "auto" is "early" if the last hidden layer is all but silent
            for this example, or nothing is known of it, else "late".
        blur: standard deviation, in pixels, of a Gaussian blur of the slopes, which falls to 0.4 at the last step; 0
            for none.
    """

    measure: Literal["auto", "cosine", "relative"] = "auto"
    layers: str = "auto"
    blur: float | Literal["auto"] = "auto"
