"""How a report names what was inverted, by what, and what its words mean. Plain text: the templates escape it."""

from __future__ import annotations

from judges.summaries.class_verdicts import CONTROL, PARTLY, RECOVERED, TRACES
from judges.summaries.model_inversion import InversionSummary

THREAT_MODEL = (
    "An adversary holds the trained model, all of it (white box), and knows what its labels stand for, and nothing "
    "else: no example, no update of a client. In the federation this is the honest-but-curious server, or any client, "
    "for each gets the global model. The adversary computes gradients through the model and looks, for each class, for "
    "an input that the model takes for the class. Whether it shows the class is told by a judge: another network, "
    "trained on the same private data, which the adversary never sees."
)

DEFINITIONS: tuple[tuple[str, str], ...] = (
    (
        "Answer",
        "What an attack returns for one class of one model: an image of an ANN, spikes over T steps of an SNN. A "
        "diverged answer counts like any other; no row is left out. n is targets \N{MULTIPLICATION SIGN} attacks on "
        "each \N{MULTIPLICATION SIGN} classes.",
    ),
    (
        "Attack accuracy",
        "Share of answers in which the judge's first class is the attacked one. A tie counts against the attack. The "
        "judge sees images scaled by their own least and largest value, and spikes as they are.",
    ),
    ("Top-3", "Share of answers with the attacked class among the judge's first three."),
    ("Average confidence", "The judge's mean probability of the attacked class."),
    (
        "DAA",
        "Distinctive attack accuracy: share of attacked classes for which the judge believes in the answer made for "
        "them more than in all other answers of the same attack. It asks whether answers differ as the classes do, not "
        "whether they show them: answers that all look alike can have a high DAA. So it stands beside the accuracy, "
        "never in its place.",
    ),
    (
        "\N{PLUS-MINUS SIGN} over attacks",
        "Standard deviation (ddof 1) over attacks with other seeds, on targets trained with other seeds where there "
        "are several: what changes if everything is done again.",
    ),
    (
        "\N{PLUS-MINUS SIGN} over draws",
        "BrainLeaks-v2 finds Bernoulli parameters. This is the standard deviation (ddof 0) over draws of spikes from "
        "the same parameters: what changes if one answer is drawn again. The paper's \N{PLUS-MINUS SIGN} are of this "
        "kind. The two are never mixed.",
    ),
    (
        "Intervals",
        "95 %, percentile bootstrap over whole classes, whose answers resemble each other, 2000 resamples, seeded. "
        "Where every answer has the same outcome the exact Clopper-Pearson interval over the classes is given.",
    ),
    (
        "Controls",
        "Shown to the same judge. Shuffled: the attack's own values in random order, which show nothing. Class mean: "
        "the mean training example of the class, which needs the data but no model. Real examples: of the test split, "
        "the ceiling. Chance: 1 / classes. For spiking targets images are rate-coded first.",
    ),
    ("Target's confidence", "The attacked model's own belief in the class for this answer, which the attack raises."),
    ("Convinced", "Share of answers in which the target believes by more than a half: the attack's own aim."),
    (
        "Memorisation",
        "Euclidean distance from what the judge is shown of an answer, averaged over time, to the nearest example. "
        "Nearer to train: share of answers nearer to one of as many training examples as there are test examples; "
        "50 % is chance, and the share of class means, which remember no example, the other yardstick.",
    ),
    ("Density, zeros", "Share of voxels that spike; share of exact zeros among the values that the attack changes."),
    (
        "Verdict",
        "Classes recovered: the interval of the accuracy lies above that of the shuffled values and above chance, and "
        "at least half of the answers are recognised. Some classes recovered: fewer are. Traces of the classes: not "
        "so, but DAA lies above them. Attack failed: the target believes in less than half of the answers, so nothing "
        "follows about the model. The judge cannot tell: it hardly knows real examples either. Fools the target only: "
        "the target believes, the judge sees nothing of the class; another attack might find more. Diverged: at least "
        "half of the answers did.",
    ),
)


def tone(verdict: str) -> str:
    """Return how loudly a verdict is printed: "yes" for a leak, "some" for part of one, "no" or "control"."""
    if verdict == RECOVERED:
        return "yes"
    if verdict in (PARTLY, TRACES):
        return "some"
    return "control" if verdict == CONTROL else "no"


def spread(mean: float | None, deviation: float | None) -> str:
    """Return a share and its deviation, both out of 100: "71.3 +- 2.3"; a dash where there is no share."""
    if mean is None:
        return "\N{EN DASH}"
    return f"{100 * mean:.1f}" + ("" if deviation is None else f" \N{PLUS-MINUS SIGN} {100 * deviation:.1f}")


def count_of(cell: InversionSummary) -> str:
    """Return targets x attacks on each x classes."""
    return " \N{MULTIPLICATION SIGN} ".join(str(part) for part in (cell.targets, cell.repeats, cell.classes))


def over(cell: InversionSummary) -> str:
    """Return what a cell's means and deviations are over."""
    count = cell.scores.count
    return "one attack" if count == 1 else f"mean \N{PLUS-MINUS SIGN} over {count} attacks"


def over_draws(cell: InversionSummary) -> str:
    """Return what the deviations over draws are over."""
    return "" if cell.draws is None else f"mean \N{PLUS-MINUS SIGN} over {cell.draws.count} draws of one answer"
