"""What is installed on request only: a package of each extra, and the one way to say that it is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from fl_sim.errors import ConfigError

DP, EVENTS, HUGGINGFACE, JUDGES, RAY = "dp", "events", "huggingface", "judges", "ray"
PACKAGES: Mapping[str, str] = {
    DP: "opacus",
    EVENTS: "tonic",
    HUGGINGFACE: "datasets",
    JUDGES: "pytorch_metric_learning",
    RAY: "ray",
    "tensorboard": "tensorboard",
    "mlflow": "mlflow",
}
"""{extra of the project: the package that it adds and that is imported}."""


def require(extra: str, what: str, package: str = "") -> None:
    """Refuse something that needs an extra which is not installed; nothing is imported.

    Args:
        extra: in `PACKAGES`, or "" for none.
        what: the key, option or file that needs it, for the error.
        package: that of the extra which is needed; "" for that in `PACKAGES`.

    Raises:
        ConfigError: its package is not installed.
    """
    wanted = package or PACKAGES.get(extra, "")
    if wanted and not _is_installed(wanted):
        raise ConfigError(
            f"{what}: needs the package {wanted}, which is not installed; pip install 'spikeleak[{extra}]' adds it."
        )


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False
