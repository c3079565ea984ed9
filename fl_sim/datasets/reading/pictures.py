"""Decoding and resizing pictures."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from fl_sim.datasets.reading.integrity import corrupt, describe, read_bytes

Pixels = npt.NDArray[np.uint8]

# Exceptions of Pillow for damaged files; a picture whose damaged header requires gigabytes is a "bomb".
DAMAGED = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Return resized pictures, bilinear with anti-aliasing.

    Pillow computes in integers, so the result, and with it the digest of a data set, is the same on every machine.

    Args:
        pixels: uint8 (N, H, W) or (N, H, W, 3).
        height, width: size of the result in pixels.

    Returns:
        uint8 (N, height, width) or (N, height, width, 3).
    """
    if pixels.shape[1:3] == (height, width):
        return pixels
    size = (width, height)
    return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BILINEAR)) for one in pixels])


def read_picture(path: Path, *, file_format: str, mode: str, sizes: Collection[tuple[int, int]]) -> Pixels:
    """Return the pixels of one picture.

    Args:
        path: the file.
        file_format: Pillow's name of the only accepted format ("JPEG"; "PPM" for PGM files).
        mode: Pillow's name of the colours, "L" (grey) or "RGB"; a grey JPEG is accepted as RGB.
        sizes: the accepted (width, height).

    Returns:
        uint8 (H, W) or (H, W, 3).

    Raises:
        DataError: the file is missing, truncated, damaged, or another kind of picture.
    """
    shapes = " or ".join(f"{width}x{height}" for width, height in sizes)
    expected = f"a {'PGM' if file_format == 'PPM' else file_format} picture, {mode}, {shapes}"
    content = read_bytes(path, expected)
    try:
        with Image.open(io.BytesIO(content), formats=[file_format]) as picture:
            # The size is checked in the header, before anything of that size is allocated.
            if picture.size not in sizes or picture.mode not in (mode, "L"):
                width, height = picture.size
                raise corrupt(path, expected, f"a picture, {picture.mode}, {width}x{height}")
            return np.array(picture.convert(mode), dtype=np.uint8)
    except DAMAGED as error:
        raise corrupt(path, expected, f"{describe(content)} and cannot be decoded ({reason(error)})") from error


def reason(error: BaseException) -> str:
    """Return why Pillow cannot decode a file."""
    # Pillow's message for an unknown format names the buffer object, which does not help the user.
    return "not of that format" if isinstance(error, UnidentifiedImageError) else str(error)
