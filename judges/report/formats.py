"""Numbers of few digits, as a report tells them. Plain text: the templates escape it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from judges.report.gradient_inversion.wording import error, number

LEAST_MSE = 5e-4
"""Below it three decimals would tell an error as 0."""


def digits(value: float | None) -> str:
    """Return a number with three significant digits; the sign for infinity where it is not finite."""
    if value is None:
        return number(value)
    mantissa, _, exponent = f"{value:.3g}".replace("-", "\N{MINUS SIGN}").partition("e")
    sign = "\N{MINUS SIGN}" if exponent.startswith("\N{MINUS SIGN}") else ""
    return f"{mantissa}e{sign}{int(exponent[1:])}" if exponent else mantissa


def two_digits(value: float) -> str:
    """Return a number with two significant digits, a last 0 among them: "0.30"."""
    return f"{value:#.2g}" if value else "0"


def span(values: Mapping[str, float]) -> str:
    """Return the least and the greatest of some values as "0.05 to 0.31"; a dash where there is none."""
    return _span(values, two_digits)


def percent_span(shares: Mapping[str, float]) -> str:
    """Return the least and the greatest of some shares as numbers out of 100, "5 to 31"; a dash where there is none."""
    return _span(shares, lambda share: f"{100 * share:.0f}")


def _span(values: Mapping[str, float], told: Callable[[float], str]) -> str:
    if not values:
        return "\N{EN DASH}"
    low, high = (told(extreme(values.values())) for extreme in (min, max))
    return low if low == high else f"{low} to {high}"


def mse(value: float | None) -> str:
    """Return a mean squared error with three decimals, or as a power of ten where those would say 0."""
    return error(value) if value is not None and 0 < value < LEAST_MSE else number(value, 3)


def mse_interval(bounds: tuple[float, float] | None) -> str:
    """Return an interval of mean squared errors in brackets, or nothing."""
    return "" if bounds is None else f"[{mse(bounds[0])}, {mse(bounds[1])}]"


FILTERS: Mapping[str, Callable[..., str]] = {
    "digits": digits,
    "span": span,
    "percent_span": percent_span,
    "mse": mse,
    "mse_interval": mse_interval,
}
"""What templates call them."""
