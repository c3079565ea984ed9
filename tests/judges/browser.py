"""Opens a page in headless Chromium and measures it."""

from __future__ import annotations

import html
import json
import re
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MEASURE = """
const frame = document.querySelector("iframe"), page = frame.contentDocument, root = page.documentElement;
const seen = [...page.images].map(image => image.getBoundingClientRect().bottom);
const inside = name => [...page.querySelectorAll(name)].map(table => table.scrollWidth);
page.querySelectorAll("details").forEach(part => part.open = true);
const texts = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT), sizes = {};
while (texts.nextNode()) {
  const holder = texts.currentNode.parentElement;
  if (texts.currentNode.data.trim() && holder.getClientRects().length)
    sizes[parseFloat(frame.contentWindow.getComputedStyle(holder).fontSize)] = texts.currentNode.data.trim();
}
const shown = [...page.images].map((image, place) => ({
  bottom: seen[place], width: image.getBoundingClientRect().width, natural: image.naturalWidth, alt: image.alt,
  left: image.x,
}));
document.body.textContent = "found: " + JSON.stringify({
  width: root.scrollWidth, tables: inside(".results"), sections: page.querySelectorAll("section").length,
  broken: [...page.images].filter(image => !image.naturalWidth).length, images: page.images.length,
  shown: shown, sizes: sizes, inner: frame.contentWindow.innerWidth,
});
"""

BROWSER = [
    pytest.mark.browser,
    pytest.mark.endurance,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
"""Marks of a module whose tests need a browser."""


def measured(page: str, folder: Path, width: int) -> dict[str, Any]:
    """Return how wide a page and its tables are in a frame of a width, with every fold-out open, and what it holds.

    Args:
        page: HTML.
        folder: for the browser's files.
        width: in pixels.
    """
    frame = f'<iframe srcdoc="{html.escape(page)}" width="{width}" height="900" style="border:0"></iframe>'
    (folder / "frame.html").write_text(
        f"<!DOCTYPE html><meta charset=utf-8>{frame}<script>window.onload = () => {{{MEASURE}}}</script>"
    )
    size = [f"--window-size={max(width, 800)},1000", "--virtual-time-budget=20000", "--dump-dom"]
    dumped = browse((folder / "frame.html").as_uri(), folder, *size)
    told = re.search(r"found: (\{.*\})", dumped)
    assert told is not None, dumped[-500:]
    found: dict[str, Any] = json.loads(html.unescape(told[1]))
    return found


def browse(address: str, folder: Path, *options: str) -> str:
    """Open an address in headless Chromium, which can reach this machine only, and return what it printed.

    Args:
        address: of the page.
        folder: for the browser's files.
        options: what it does with the page, as --dump-dom.
    """
    assert CHROMIUM is not None
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    alone = [f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
    command = [CHROMIUM, *quiet, *alone, *options, address]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def screenshot(page: Path, folder: Path, width: int, height: int) -> Image.Image:
    """Return a picture of a page in a window of a width and a height, in pixels, at least 500 wide."""
    told = folder / "screen.png"
    browse(page.as_uri(), folder, "--hide-scrollbars", f"--screenshot={told}", f"--window-size={width},{height}")
    with Image.open(told) as picture:
        return picture.convert("RGB")


def seconds_to_open(page: Path, folder: Path) -> float:
    """Return how much more CPU time Chromium takes to show a page than to show an empty one.

    CPU time of all its processes, in seconds, does not depend on what else the machine does.

    Args:
        page: HTML.
        folder: for the browser's files.
    """
    empty = folder / "empty.html"
    empty.write_text("<!DOCTYPE html><title>empty</title>")

    def taken(shown: Path) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        screenshot(shown, folder, 1280, 1000)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    taken(empty)  # makes the browser's files
    nothing = taken(empty)
    return taken(page) - nothing
