"""The numbers of BrainLeaks, which reports print next to ours.

Poursiami, Alouani and Parsa, "BrainLeaks: On the Privacy-Preserving Properties of Neuromorphic Architectures against
Model Inversion Attacks", 2024, Tables 1 to 4. One target each, one attack each; deviations are over 1000 Bernoulli
draws of the same answer. DVS Gesture without its class "other gestures".
"""

from __future__ import annotations

from dataclasses import dataclass

SHAPES: dict[str, tuple[int, int, int]] = {
    "mnist": (1, 28, 28),
    "att_faces_8_9": (1, 112, 92),
    "nmnist": (1, 34, 34),
    "dvs_gesture": (1, 128, 128),
}
"""{data set: (C, H, W)} of the paper's inputs. Ours are compared with the paper's only at this size."""

ARCHITECTURES = ("mlp", "spiking_mlp")
"""Architectures of the paper's targets."""

TARGETS: dict[tuple[str, str], float] = {
    ("mnist", "mlp"): 0.9796,
    ("mnist", "spiking_mlp"): 0.9662,
    ("att_faces_8_9", "mlp"): 0.95,
    ("att_faces_8_9", "spiking_mlp"): 0.90,
    ("nmnist", "spiking_mlp"): 0.9688,
    ("dvs_gesture", "spiking_mlp"): 0.7834,
}
"""(data set, model) -> accuracy on validation data, Table 1."""

JUDGES: dict[tuple[str, str], float] = {
    ("mnist", "brainleaks_cnn"): 0.9869,
    ("mnist", "brainleaks_snn"): 0.9843,
    ("att_faces_8_9", "brainleaks_cnn"): 0.95,
    ("att_faces_8_9", "brainleaks_snn"): 0.975,
    ("nmnist", "brainleaks_snn"): 0.9659,
    ("dvs_gesture", "brainleaks_snn"): 0.8792,
}
"""(data set, judge) -> accuracy on validation data, Table 2. Their code prints 96.25 % for the first on faces."""


@dataclass(frozen=True)
class PublishedInversion:
    """A column of Table 3 or 4. All in [0, 1].

    Attributes:
        attack_accuracy, top3, confidence, daa: see `judges.scoring.class_metrics.InversionScores`.
        accuracy_std, top3_std: deviations over 1000 draws; None if the paper has none.
    """

    attack_accuracy: float
    top3: float
    confidence: float
    daa: float
    accuracy_std: float | None = None
    top3_std: float | None = None


INVERSIONS: dict[tuple[str, str], PublishedInversion] = {
    ("mnist", "mi_face"): PublishedInversion(0.5, 0.9, 0.4538, 0.8),
    ("att_faces_8_9", "mi_face"): PublishedInversion(0.875, 0.975, 0.8551, 0.95),
    ("mnist", "brainleaks_v1"): PublishedInversion(1.0, 1.0, 0.9311, 1.0),
    ("mnist", "brainleaks_v2"): PublishedInversion(1.0, 1.0, 0.9459, 1.0),
    ("att_faces_8_9", "brainleaks_v1"): PublishedInversion(0.375, 0.625, 0.3409, 0.9),
    ("att_faces_8_9", "brainleaks_v2"): PublishedInversion(0.7127, 0.8928, 0.4204, 1.0, 0.0225, 0.0187),
    ("nmnist", "brainleaks_v1"): PublishedInversion(0.2, 0.3, 0.1629, 0.5),
    ("nmnist", "brainleaks_v2"): PublishedInversion(0.4612, 0.9112, 0.5, 1.0, 0.0656, 0.0543),
    ("dvs_gesture", "brainleaks_v1"): PublishedInversion(0.3, 0.5, 0.3119, 1.0),
    ("dvs_gesture", "brainleaks_v2"): PublishedInversion(0.5869, 0.8141, 0.5424, 1.0, 0.0337, 0.0359),
}
"""(data set, attack) -> Tables 3 and 4."""
