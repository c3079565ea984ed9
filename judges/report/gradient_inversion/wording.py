"""How a report says a number, and what its words mean. Plain text: the templates escape it."""

from __future__ import annotations

from collections.abc import Mapping

from fl_sim.records import Scalar
from judges.intervals import Rate
from judges.summaries.gradient_inversion import CellSummary
from judges.summaries.verdicts import CONTROL, PARTLY, RECOVERED, TRACES

THREAT_MODEL = (
    "An honest-but-curious server runs federated learning as agreed. It knows the model and the parameters that it "
    "sent out, and it keeps what each client sends back. Afterwards it searches for the private inputs from which "
    "that update was computed. It never sees those inputs; only the judge, who compares, does."
)

DEFINITIONS: tuple[tuple[str, str], ...] = (
    (
        "Row",
        "One attacked example. An attack whose answer comes from an attempt that ran away is called diverged: it is a "
        "row and never a success, whatever it answered; its answer counts in means and comparisons. No row is left "
        "out.",
    ),
    (
        "Answer",
        "The candidate with the smallest matching loss, chosen without the truth, clamped once to the value range.",
    ),
    (
        "Pairing",
        "In a batch, reconstructions are assigned to originals once, by the least total MSE (Hungarian method); every "
        "number is of that pair.",
    ),
    (
        "Data range",
        "high minus low of the inputs (1 for images in [0, 1]); stated, never taken from the data. Every metric is "
        "computed for each image, never pooled over a batch.",
    ),
    (
        "SSIM",
        "Structural similarity (Wang et al. 2004) as scikit-image computes it: uniform 7x7 window, mean over the image "
        "and its channels. 1 is identity; an answer that is not finite scores 0.",
    ),
    (
        "PSNR",
        "10 log10(range^2 / MSE) in dB, for each image, held to 0 to 100 dB; an answer that is not finite scores 0.",
    ),
    ("MSE", "Mean squared error over the pixels; infinite (\N{INFINITY}) for an answer that is not finite."),
    ("Solved", "MSE below 0.001 of the squared data range, and not diverged."),
    ("Recognisable", "SSIM above 0.5, and not diverged."),
    ("Label", "Share of labels that the attack itself found; an attack may find the label and not the picture."),
    (
        "ASR",
        "Share of answers, diverged ones counted as failures, in which a separate classifier (the judge) sees the true "
        "label. Ceiling: the same for the true inputs of the same victims. Chance: 1 / classes. Victims may be "
        "among the judge's own training data, which raises the ceiling above its held-out accuracy.",
    ),
    (
        "Intervals",
        "95 %, percentile bootstrap over whole federations, whose victims share a model (over batches where there is "
        "one federation), 2000 resamples, seeded. Where every victim has the same outcome the exact Clopper-Pearson "
        "interval is given.",
    ),
    (
        "Controls",
        "Answers that need no gradient, scored on the same victims: a black picture (of events the empty recording), a "
        "grey one (the middle of the value range), the mean image of the train split, the mean of the true class, for "
        "an adversary who knows the label, and the attack's own starting point with no step taken (no-op), for each "
        "kind of starting point and, of events, thresholded at each tau.",
    ),
    (
        "l2",
        "Euclidean distance to the truth over all voxels, frame by frame, never summed over time. For sparse binary "
        "recordings it says more than SSIM, which is high for an empty answer.",
    ),
    (
        "Thresholding",
        "How real numbers become spikes: 1 above tau, else 0. Post-optimisation: the answer of a finished attack. "
        "In-optimisation: the candidate after every step of the optimiser. Straight-through: a real-valued latent "
        "inside the loss, with the derivative of the identity.",
    ),
    (
        "Zero-step guess",
        'The attack\'s initial guess, thresholded, no step taken. "Equals" means mean l2 within 1 % of it, or of the '
        'empty recording\'s, which is the norm of the truth; "closer" means less than both by more than 1 %, "no '
        'closer" that it is neither.',
    ),
    (
        "Verdict",
        "Of attacks without thresholding. Recovered: at least half of the victims are recognisable and above the best "
        "control of the same victim, by SSIM. Partly recovered: some are. Traces only: none is, but SSIM tends to be "
        "above the best control's (one-sided Wilcoxon signed-rank over federations, p < 0.05). Where none of these "
        "holds, the first of: dead network, at least half of the updates are exactly 0 outside the output layer, or no "
        "neuron spiked on the clients' inputs; diverged, at least half of the attacks did; stuck at the guess, the "
        "median answer is within 0.01 of the data range of the attack's own starting point, or the matching loss of at "
        "least half did not fall by 1 %; wrong label, at least half of the labels named are not the victims'; trivial, "
        "no better than the controls. The first four of these are failures, no defence. A verdict "
        "describes this attack at this budget; it is not evidence that another attack would fail.",
    ),
)


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with so many decimals; the sign for infinity where it is not finite."""
    return "\N{INFINITY}" if value is None else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def error(value: float | None) -> str:
    """Return a mean squared error with four decimals, or in powers of ten where those would be 0."""
    if value is None or value == 0 or value >= 5e-5:
        return number(value, 4)
    mantissa, _, exponent = f"{value:.0e}".partition("e")
    return f"{mantissa}e\N{MINUS SIGN}{abs(int(exponent))}"


def percent(share: float | None) -> str:
    """Return a share in [0, 1] as whole per cent; a dash where there is none."""
    return "\N{EN DASH}" if share is None else f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def interval(bounds: tuple[float, float] | None, digits: int = 2) -> str:
    """Return an interval in brackets, or nothing."""
    return "" if bounds is None else f"[{number(bounds[0], digits)}, {number(bounds[1], digits)}]"


def rate_interval(rate: Rate) -> str:
    """Return the interval of a rate in per cent."""
    return f"[{100 * rate.low:.0f}, {100 * rate.high:.0f}]"


def success_rate(cell: CellSummary, judges: Mapping[str, Mapping[str, Scalar]]) -> tuple[str, str]:
    """Return the judge's verdict on a cell: "87 %" and "(ceiling 99, chance 10)"; a dash without a judge."""
    if cell.asr is None:
        return "\N{EN DASH}", ""
    parts = [f"ceiling {100 * cell.ceiling:.0f}"] if cell.ceiling is not None else []
    chance = judges.get(cell.dataset, {}).get("chance")
    if isinstance(chance, float):
        parts.append(f"chance {100 * chance:.2g}")
    return percent(cell.asr), f"({', '.join(parts)})" if parts else ""


def tone(verdict: str) -> str:
    """Return how loudly a verdict is printed: "yes" for a leak, "some" for part of one, "no" or "control"."""
    if verdict == RECOVERED:
        return "yes"
    if verdict in (PARTLY, TRACES):
        return "some"
    return "control" if verdict == CONTROL else "no"


def per_cent(share: float | None, bounds: tuple[float, float] | None = None) -> str:
    """Return a share as a number out of 100, with its interval where there is one; a dash where there is none."""
    if share is None:
        return "\N{EN DASH}"
    beside = "" if bounds is None else f" [{100 * bounds[0]:.0f}, {100 * bounds[1]:.0f}]"
    return f"{100 * share:.1f}{beside}"


def beside(named: Mapping[str, float | None]) -> str:
    """Return shares out of 100 with their names, those that are known: "truth 99, no-op 10"."""
    return ", ".join(f"{name} {100 * share:.3g}" for name, share in named.items() if share is not None)
