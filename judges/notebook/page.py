"""Results as HTML that loads nothing: verdicts in words, and the truth beside each answer with what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from torch import Tensor

from judges.notebook.pictures import Pair
from judges.report.figures import picture_uri
from judges.report.words import Verdict

MOST = 24
"""Answers that are shown at most."""

_SIDE, _SMALL = 84, 48
_CELL = 'style="text-align:center;vertical-align:top;padding:2px 8px"'


def html_of(verdicts: Sequence[Verdict], pairs: Sequence[Pair], notes: Iterable[str], *, hidden: str = "") -> str:
    """Return results as HTML.

    Args:
        verdicts: on each attack.
        pairs: the answers to show.
        notes: further sentences.
        hidden: why there are no pictures; "" if there are.
    """
    lines = [
        f"<p><b>{escape(one.attack)}</b> on {escape(one.victims)}: "
        f"<b>{escape(one.verdict)}</b>. {escape(one.reason)}.</p>"
        for one in verdicts
    ]
    more = [f"{len(pairs) - MOST} more answers are in the report."] if len(pairs) > MOST else []
    lines += [_table(pairs[:MOST])] if pairs and not hidden else []
    lines += [f"<p><small>{escape(note)}</small></p>" for note in (*filter(None, [hidden]), *more, *notes)]
    return f"<div>{''.join(lines)}</div>"


def _table(pairs: Sequence[Pair]) -> str:
    """Return a row for each answer; a column that no answer has is left out."""
    known = any(pair.truth is not None for pair in pairs)
    filmed = any(len(pair.snapshots) for pair in pairs)
    heads = ["answer of", "to", *([pairs[0].beside] if known else []), "answer", "measured"]
    heads += ["search"] if filmed else []
    rows = ["".join(f"<th {_CELL}>{head}</th>" for head in heads)]
    for pair in pairs:
        label = "" if pair.label is None else f", label {pair.label}"
        cells = [escape(pair.attack), escape(f"{pair.subject}{label}")]
        cells += [_image(pair.truth, pair.beside)] if known else []
        cells += [_image(pair.answer, f"answer of {pair.attack}"), escape(pair.measured)]
        shots = zip(pair.snapshots, pair.steps, strict=True)
        cells += ["".join(_image(shot, f"step {step}", _SMALL) for shot, step in shots)] if filmed else []
        rows.append("".join(f"<td {_CELL}>{cell}</td>" for cell in cells))
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _image(picture: Tensor | None, what: str, side: int = _SIDE) -> str:
    if picture is None:
        return ""
    uri = picture_uri(picture, low=0.0, high=1.0, side=side)
    return f'<img src="{uri}" alt="{escape(what)}" title="{escape(what)}" style="margin:1px;display:inline">'
