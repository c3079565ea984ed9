"""Opens a page in headless Chromium and measures it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MEASURE = """
const frame = document.querySelector("iframe"), page = frame.contentDocument, root = page.documentElement;
const inside = name => [...page.querySelectorAll(name)].map(table => table.scrollWidth);
page.querySelectorAll("details").forEach(part => part.open = true);
document.body.textContent = "found: " + JSON.stringify({
  width: root.scrollWidth, tables: inside(".results"), sections: page.querySelectorAll("section").length,
  broken: [...page.images].filter(image => !image.naturalWidth).length, images: page.images.length,
});
"""

BROWSER = [
    pytest.mark.browser,
    pytest.mark.slow,
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
    assert CHROMIUM is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    size = [f"--window-size={max(width, 800)},1000", "--virtual-time-budget=20000", "--dump-dom"]
    command = [CHROMIUM, *options, *size, (folder / "frame.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    told = re.search(r"found: (\{.*\})", done.stdout)
    assert told is not None, done.stdout[-500:]
    found: dict[str, Any] = json.loads(html.unescape(told[1]))
    return found
