"""The READMEs as data: their code blocks by name, their links, and the names of files and modules in them.

A Python block begins with a comment whose first word is its name, "# server_app.py". Whatever runs a block asks for it
by its file and that name, so blocks may move without a change of the tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("attacks", "configs", "fl_sim", "judges", "tests")

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"# (\w+\.py)\b")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FILE = re.compile(rf"(?:{'|'.join(ROOMS)})/[\w/.-]+\.(?:py|toml|png|md)\b")
_FOLDER = re.compile(rf"`((?:{'|'.join(ROOMS)})/[\w/.-]+)`")
_DOTTED = re.compile(r"`((?:attacks|fl_sim|judges|tests)(?:\.\w+)+)\b")


def documents() -> dict[str, str]:
    """Return {path from the root: text} of all Markdown files of the repository."""
    paths = [ROOT / "README.md", *(path for room in ROOMS for path in sorted((ROOT / room).rglob("*.md")))]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return [code for told, code in _BLOCK.findall(text) if told == language]


def named_blocks(document: str) -> dict[str, str]:
    """Return {name: code} of the Python blocks of a document.

    Raises:
        ValueError: a block has no name, or that of another one.
    """
    found: dict[str, str] = {}
    for code in blocks(documents()[document], "python"):
        name = _NAME.match(code)
        if name is None or name[1] in found:
            raise ValueError(f"{document}: expected a name of its own in the first line of each block, found {code!r}")
        found[name[1]] = code
    return found


def block(document: str, name: str) -> str:
    """Return the Python block called `name`; `test_every_python_block_is_run` looks for calls of this function."""
    return named_blocks(document)[name]


def section(document: str, heading: str) -> str:
    """Return the text below a heading of the second level."""
    return documents()[document].partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def commands(text: str) -> Iterator[str]:
    """Yield the lines of the shell blocks."""
    for code in blocks(text, "sh"):
        yield from (line for line in code.splitlines() if line)


def links(text: str) -> list[str]:
    """Return the targets of all links and pictures outside of code."""
    return _LINK.findall(_BLOCK.sub("", text))


def anchors(text: str) -> set[str]:
    """Return the fragments that lead to a heading, by GitHub's rule."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named_paths(text: str) -> set[str]:
    """Return the files and folders of the packages that a text names."""
    return {*_FILE.findall(text), *_FOLDER.findall(text)}


def named_objects(text: str) -> set[str]:
    """Return the modules, classes and functions that a text names with their whole path."""
    return set(_DOTTED.findall(text))
