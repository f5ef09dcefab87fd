"""Text in a picture: letters of five by seven dots, as on character displays; no font, no library of images."""

from __future__ import annotations

from typing import Any, Final

WIDTH: Final = 6
"""Columns that a letter takes, the gap after it among them."""

HEIGHT: Final = 10
"""Rows that a line takes, the gap below it among them."""

_FIRST: Final = " "
_COLUMNS: Final = bytes.fromhex(
    "0000000000" "00005f0000" "0007000700" "147f147f14" "242a7f2a12" "2313086462" "3649552250" "0005030000"
    "001c224100" "0041221c00" "082a1c2a08" "08083e0808" "0050300000" "0808080808" "0060600000" "2010080402"
    "3e5149453e" "00427f4000" "4261514946" "2141454b31" "1814127f10" "2745454539" "3c4a494930" "0171090503"
    "3649494936" "064949291e" "0036360000" "0056360000" "0008142241" "1414141414" "4122140800" "0201510906"
    "324979413e" "7e1111117e" "7f49494936" "3e41414122" "7f4141221c" "7f49494941" "7f09090101" "3e41415132"
    "7f0808087f" "00417f4100" "2040413f01" "7f08142241" "7f40404040" "7f0204027f" "7f0408107f" "3e4141413e"
    "7f09090906" "3e4151215e" "7f09192946" "4649494931" "01017f0101" "3f4040403f" "1f2040201f" "7f2018207f"
    "6314081463" "0304780403" "6151494543" "00007f4141" "0204081020" "41417f0000" "0402010204" "4040404040"
    "0001020400" "2054545478" "7f48444438" "3844444420" "384444487f" "3854545418" "087e090102" "0c5252523e"
    "7f08040478" "00447d4000" "2040443d00" "007f102844" "00417f4000" "7c04180478" "7c08040478" "3844444438"
    "7c14141408" "081414187c" "7c08040408" "4854545420" "043f444020" "3c4040207c" "1c2040201c" "3c4030403c"
    "4428102844" "0c5050503c" "4464544c44" "0008364100" "00007f0000" "0041360800" "1008102010"
)  # fmt: skip
"""Of each letter from space to ``~`` five columns; the lowest bit is the upper dot."""


def write(canvas: Any, x: int, y: int, text: str, grey: int) -> None:  # Any: a uint8 array
    r"""Write a line into an array of rows and columns (or RGB); what does not fit is cut.

    Examples
    --------
    >>> import numpy as np
    >>> canvas = np.zeros((7, 12), np.uint8)
    >>> write(canvas, 0, 0, "1+", 1)
    >>> print("\n".join("".join(" #"[dot] for dot in row).rstrip() for row in canvas))
      #
     ##     #
      #     #
      #   #####
      #     #
      #     #
     ###
    """
    import numpy as np

    codes = [ord(c) - ord(_FIRST) if " " <= c <= "~" else ord("?") - ord(_FIRST) for c in text]
    columns = np.frombuffer(_COLUMNS, np.uint8).reshape(-1, 5)[codes]
    padded = np.pad(columns, ((0, 0), (0, WIDTH - 5))).reshape(-1)
    dots = (padded[None, :] >> np.arange(7, dtype=np.uint8)[:, None]) & 1 == 1
    place = canvas[y : y + 7, x : x + dots.shape[1]]
    place[dots[: place.shape[0], : place.shape[1]]] = grey


def wrapped(text: str, columns: int) -> list[str]:
    """Break a text into lines of so many letters, after a comma or a space where there is one.

    Examples
    --------
    >>> wrapped("coadd{band=r,tract=0}", 12)
    ['coadd{', 'band=r,', 'tract=0}']
    """
    lines = []
    while len(text) > columns:
        cut = max(text.rfind(mark, 0, columns) for mark in ", {") + 1
        cut = cut if cut > 0 else columns
        lines.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*lines, text]
