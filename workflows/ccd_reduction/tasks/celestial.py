"""The WCS of a header whose distortion has no name."""

from __future__ import annotations

import re
from typing import Any

_TERM = re.compile(r"(A|B|AP|BP)_(\d+)_(\d+)")


def wcs_of(header: Any) -> tuple[Any, bool]:
    """Give the WCS of a header, and whether it has SIP coefficients that its CTYPE does not name.

    Such headers come from tools that cut the ``-SIP`` off ``RA---TAN-SIP`` and left the polynomials in. They
    are what the solution was fitted with, so they are applied, and the WCS names them.
    """
    import numpy as np
    from astropy.wcs import Sip

    from measuring import coordinates

    plain = header.copy()
    types = [str(plain[f"CTYPE{axis}"]).strip() for axis in (1, 2)]
    for axis, name in enumerate(types, 1):
        plain[f"CTYPE{axis}"] = name.removesuffix("-SIP")
    wcs = coordinates.wcs_of(plain)
    if "A_ORDER" not in header or "B_ORDER" not in header:
        return wcs, False
    terms: dict[str, Any] = {
        name: np.zeros((header[f"{name}_ORDER"] + 1,) * 2)
        for name in ("A", "B", "AP", "BP")
        if f"{name}_ORDER" in header
    }
    for keyword, value in header.items():
        if (match := _TERM.fullmatch(keyword)) and match[1] in terms:
            terms[match[1]][int(match[2]), int(match[3])] = value
    wcs.sip = Sip(terms["A"], terms["B"], terms.get("AP"), terms.get("BP"), wcs.wcs.crpix)
    wcs.wcs.ctype = [f"{name.removesuffix('-SIP')}-SIP" for name in types]
    wcs.wcs.set()
    return wcs, not all(name.endswith("-SIP") for name in types)
