"""Reads what stands in a report, and in a section of one."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

POLICY = "default-src 'none'; img-src data:; style-src 'sha256-...'; base-uri 'none'; form-action 'none'"
"""What `policy_of` finds: a page may show pictures that stand in it, and nothing else."""

VOID = ("img", "meta", "br", "source")


class Tags(HTMLParser):
    """Collects every tag and attribute of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def policy_of(page: str) -> str:
    """Return the content security policy of a page; its only style must be the one that the policy allows."""
    (style,) = re.findall(r"<style>(.*?)</style>", page, flags=re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = Tags(page).attributes("content")[0]
    assert f"style-src 'sha256-{allowed}'" in policy
    assert not Tags(page).attributes("style")
    return policy.replace(allowed, "...")


class _Section(HTMLParser):
    """Collects the text of the section of one id or class, and the cells of its table rows."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.depth, self.in_cell = name, 0, False
        self.text: list[str] = []
        self.rows: list[list[list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        here = self.name in (dict(attrs).get("id"), dict(attrs).get("class")) and tag == "section"
        if tag in VOID or not (self.depth or here):
            return
        self.depth += 1
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append([])
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if self.depth and tag not in VOID:
            self.depth -= 1
        if tag in ("td", "th"):
            self.in_cell = False

    def handle_data(self, data: str) -> None:
        if self.depth:
            self.text.append(data)
            if self.in_cell:
                self.rows[-1][-1].append(data)


def text_of(page: str, name: str) -> str:
    """Return the text of a section, white space as single blanks."""
    return _plain(_parsed(page, name).text)


def cells_of(page: str, name: str) -> list[list[str]]:
    """Return the text of each cell of each table row of a section."""
    return [[_plain(cell) for cell in row] for row in _parsed(page, name).rows]


class _Outline(HTMLParser):
    """Collects the text of each heading, paragraph and table row of a page, the cells of a row apart."""

    ONE_LINE = ("h1", "h2", "h3", "h4", "p", "li", "summary", "tr", "dt", "dd", "figcaption")

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[list[str]] = []
        self.depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - as in the base class
        self.depth += tag in self.ONE_LINE
        if tag in self.ONE_LINE:
            self.lines.append([] if tag == "tr" else [""])
        elif tag in ("td", "th"):
            self.lines[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.depth -= tag in self.ONE_LINE

    def handle_data(self, data: str) -> None:
        if self.depth and self.lines[-1]:
            self.lines[-1][-1] += f" {data}"


def outline_of(page: str) -> str:
    """Return the text of a page, a line for each heading, paragraph and table row, "|" between the cells of a row."""
    outline = _Outline()
    outline.feed(page)
    return "".join(" | ".join(_plain([cell]) for cell in line) + "\n" for line in outline.lines)


def _parsed(page: str, name: str) -> _Section:
    section = _Section(name)
    section.feed(page)
    assert section.text, f"no section {name}"
    return section


def _plain(parts: list[str]) -> str:
    return " ".join(" ".join(parts).split())
