"""A grey picture of an image as PNG, with the standard library and numpy."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np


def write_png(path: Path, pixels: Any, *, low: float, high: float) -> None:
    """Write pixels as grey values, the first row at the bottom, faint things made visible."""
    share = np.arcsinh(np.clip((pixels - low) / (high - low), 0, 1) * 10) / np.arcsinh(10)
    grey = (255 * share).astype(np.uint8)[::-1]
    rows = b"".join(b"\0" + row.tobytes() for row in grey)
    head = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks))


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
