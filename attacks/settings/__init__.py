"""Settings of the gradient inversions, with the defaults of the published code. Nothing here imports torch."""

from attacks.settings.base import (
    IN,
    NO_AUXILIARY,
    OWN,
    POST,
    PUBLIC,
    STRAIGHT_THROUGH,
    UNTHRESHOLDED,
    AuxiliarySettings,
    FilmedSettings,
    InversionSettings,
    SnapshotSettings,
)
from attacks.settings.descent import DescentSettings, FrozenDeltaSettings, InvertingGradientsSettings
from attacks.settings.matching import LAST, SQUARE, DLGSettings, GRNNSettings, IDLGSettings, MatchingSettings
from attacks.settings.others import EnsembleSettings, ExactSettings, FeatureKalmanSettings, LearnedSettings

__all__ = [
    "IN",
    "LAST",
    "NO_AUXILIARY",
    "OWN",
    "POST",
    "PUBLIC",
    "SQUARE",
    "STRAIGHT_THROUGH",
    "UNTHRESHOLDED",
    "AuxiliarySettings",
    "DLGSettings",
    "DescentSettings",
    "EnsembleSettings",
    "ExactSettings",
    "FeatureKalmanSettings",
    "FilmedSettings",
    "FrozenDeltaSettings",
    "GRNNSettings",
    "IDLGSettings",
    "InversionSettings",
    "InvertingGradientsSettings",
    "LearnedSettings",
    "MatchingSettings",
    "SnapshotSettings",
]
