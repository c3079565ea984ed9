"""What every membership inference in the table promises, by the checks that a plugin's author has too."""

from __future__ import annotations

import pytest

from attacks import MEMBERSHIP_INFERENCES, build_membership
from attacks.testing import MEMBERSHIP_PROMISES, check_membership
from fl_sim.errors import ConfigError

CASES = [(name, mode) for name, entry in MEMBERSHIP_INFERENCES.items()
         for mode in (("offline", "online") if entry.shadows else ("",))]  # fmt: skip


@pytest.mark.parametrize(("name", "mode"), CASES)
@pytest.mark.parametrize("promise", MEMBERSHIP_PROMISES)
def test_it_keeps_its_promise(name: str, mode: str, promise: str) -> None:
    check_membership(name, settings={"mode": mode} if mode else {}, only=[promise])


def test_a_wrong_name_or_setting_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'lira'"):
        build_membership("lirra")
    with pytest.raises(ConfigError, match=r"(?s)attack 'rmia'.*shadows"):
        build_membership("rmia", {"shadows": 5})
