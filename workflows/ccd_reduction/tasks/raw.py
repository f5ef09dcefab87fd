"""A raw frame in electrons: overscan and amplifiers by its header, saturation in raw counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits


@dataclass(frozen=True)
class Amplifiers:
    """Where a camera's headers say what its amplifiers are.

    ``data_sections`` that the header lacks mean one amplifier that fills the file.
    ``read_noise`` and ``saturation`` override the header, which may be wrong.
    """

    data_sections: Sequence[str]
    bias_sections: Sequence[str]
    gains: Sequence[str]
    read_noises: Sequence[str]
    read_noise: float | None
    saturation_key: str
    saturation: float | None

    @classmethod
    def of(cls, config: Any) -> Amplifiers:  # a task's configuration, which has these fields among others
        """Take the fields from a configuration."""
        return cls(*(getattr(config, field.name) for field in fields(cls)))


@dataclass(frozen=True)
class RawFrame:
    """What came off the detector: electrons, where it was saturated, read noise, header."""

    electrons: Any
    saturated: Any
    read_noise: Any
    header: fits.Header


def read_raw(path: Path, amplifiers: Amplifiers) -> RawFrame:
    """Read a raw frame, trim it, subtract its overscan and apply each amplifier's gain."""
    import ccdproc
    from astropy import units
    from astropy.modeling.models import Chebyshev1D
    from astropy.nddata import CCDData

    with fits.open(path, memmap=False) as hdus:
        header = hdus[0].header.copy()
        counts = hdus[0].data
    limit = amplifiers.saturation if amplifiers.saturation is not None else header[amplifiers.saturation_key]
    # saturation is a fact about raw counts: marked before anything is subtracted or scaled
    saturated = CCDData((counts >= limit).astype(np.uint8), unit="adu")
    frame = CCDData(counts.astype(np.float64), unit="adu")
    sections = [name for name in amplifiers.data_sections if name in header]
    parts: list[tuple[int, Any, Any, float]] = []
    for k in range(max(1, len(sections))):
        gain = float(header[amplifiers.gains[k]]) * units.electron / units.adu
        noise = (
            amplifiers.read_noise
            if amplifiers.read_noise is not None
            else float(header[amplifiers.read_noises[k]])
        )
        part, marks, start = frame, saturated, 0
        if sections:
            section = header[sections[k]]
            if k < len(amplifiers.bias_sections) and amplifiers.bias_sections[k] in header:
                # a straight line along the rows: a median for each row would print its noise on all of it
                part = ccdproc.subtract_overscan(
                    frame,
                    fits_section=header[amplifiers.bias_sections[k]],
                    overscan_axis=1,
                    median=True,
                    model=Chebyshev1D(1),
                    add_keyword=None,
                )
            part = ccdproc.trim_image(part, fits_section=section, add_keyword=None)
            marks = ccdproc.trim_image(saturated, fits_section=section, add_keyword=None)
            start = int(section.strip("[ ").split(":", 1)[0])
        part = ccdproc.gain_correct(part, gain, add_keyword=None)
        parts.append((start, part.data, marks.data > 0, noise))
    parts.sort(key=lambda p: p[0])
    for name in (
        *amplifiers.data_sections,
        *amplifiers.bias_sections,
        *amplifiers.gains,
        amplifiers.saturation_key,
    ):
        if sections:
            header.remove(name, ignore_missing=True)
    return RawFrame(
        electrons=np.hstack([data for _, data, _, _ in parts]),
        saturated=np.hstack([marks for _, _, marks, _ in parts]),
        read_noise=np.hstack([np.full(data.shape, noise) for _, data, _, noise in parts]),
        header=header,
    )
