"""How a report prints a number, a share, an interval or a count. Plain text: each format escapes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from judges.intervals import Rate

Item = TypeVar("Item")
Key = TypeVar("Key")

DASH = "\N{EN DASH}"
Bounds = tuple[float, float] | None
Form = Callable[[float | None], str]


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with so many decimals; an infinity sign where it is not finite."""
    return "\N{INFINITY}" if value is None else f"{value:z.{digits}f}".replace("-", "\N{MINUS SIGN}")


def tenths(value: float | None) -> str:
    """Return a number with one decimal."""
    return number(value, 1)


def error(value: float | None) -> str:
    """Return a mean squared error with four decimals, or as a power of ten where those would be 0."""
    if value is None or value == 0 or value >= 5e-5:
        return number(value, 4)
    mantissa, _, exponent = f"{value:.0e}".partition("e")
    return f"{mantissa}e\N{MINUS SIGN}{abs(int(exponent))}"


def mse(value: float | None) -> str:
    """Return a mean squared error with three decimals, or as a power of ten where those would be 0."""
    return error(value) if value is not None and 0 < value < 5e-4 else number(value, 3)


def digits(value: float | None) -> str:
    """Return a number with three significant digits; an infinity sign where it is not finite."""
    if value is None:
        return number(value)
    mantissa, _, exponent = f"{value:.3g}".partition("e")
    return (f"{mantissa}e{int(exponent)}" if exponent else mantissa).replace("-", "\N{MINUS SIGN}")


def two_digits(value: float) -> str:
    """Return a number with two significant digits, a final 0 among them: "0.30"."""
    return f"{value:#.2g}" if value else "0"


def percent(share: float | None) -> str:
    """Return a share in [0, 1] as whole per cent, "87 %"; a dash where there is none."""
    return DASH if share is None else f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def out_of_100(share: float | None) -> str:
    """Return a share in [0, 1] as a number out of 100, "87.4", for a column in per cent; a dash where there is none."""
    return DASH if share is None else number(100 * share, 1)


def spread(mean: float | None, deviation: float | None) -> str:
    """Return a share and its deviation, both out of 100: "71.3 +- 2.3"; a dash where there is no share."""
    beside = "" if mean is None or deviation is None else f" \N{PLUS-MINUS SIGN} {100 * deviation:.1f}"
    return out_of_100(mean) + beside


def named_shares(named: Mapping[str, float | None]) -> str:
    """Return the known shares out of 100 with their names: "truth 99, no-op 10"."""
    return ", ".join(f"{name} {100 * share:.3g}" for name, share in named.items() if share is not None)


def interval(bounds: Bounds, form: Callable[[float], str] = number) -> str:
    """Return an interval in brackets, or nothing."""
    return "" if bounds is None else f"[{form(bounds[0])}, {form(bounds[1])}]"


def percent_interval(bounds: Bounds) -> str:
    """Return an interval of shares in whole per cent, "[60, 100]", or nothing."""
    return interval(bounds, lambda share: f"{100 * share:.0f}")


def rate_interval(rate: Rate) -> str:
    """Return the interval of a rate in whole per cent."""
    return percent_interval((rate.low, rate.high))


def between(low: str, high: str) -> str:
    """Return "3 to 5", or "3" where both are the same."""
    return low if low == high else f"{low} to {high}"


def span(values: Mapping[str, float], form: Callable[[float], str] = two_digits) -> str:
    """Return the least and the greatest value as "0.05 to 0.31"; a dash where there is none."""
    return between(form(min(values.values())), form(max(values.values()))) if values else DASH


def percent_span(shares: Mapping[str, float]) -> str:
    """Return the least and the greatest share as numbers out of 100, "5 to 31"; a dash where there is none."""
    return span(shares, lambda share: f"{100 * share:.0f}")


def counted(count: int, noun: str) -> str:
    """Return "1 cell" or "3 cells"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def times(factors: Sequence[int]) -> str:
    """Return factors with the sign between them: "3 x 28 x 28"."""
    return " \N{MULTIPLICATION SIGN} ".join(map(str, factors))


def joined(*parts: str, by: str = ", ") -> str:
    """Return the parts that are not empty as one text."""
    return by.join(part for part in parts if part)


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Return items by a key, in the order in which each key comes first."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups
