"""When a frame's light came: its beginning and end, and no instant in between that would be false."""

from __future__ import annotations

from typing import Any

DAY = 86400.0


def interval(header: Any, exposure: float) -> tuple[float, float]:
    """Give the MJD (TAI) at which the first light of any pixel came, and the last.

    Where there is ``TAI``, it is when row 0 was read, in seconds since MJD 0; in a drift scan row n is read n
    clocks of ``C_OBS`` microseconds later, and every pixel has collected for the exposure time when it is
    read. Else ``DATE-OBS`` with its time is the beginning, in the scale of ``TIMESYS`` (UTC, if not given).
    """
    if "TAI" in header:
        read = float(header["TAI"])
        rows = int(header["NAXIS2"]) - 1 if str(header.get("CCDMODE", "")).strip() == "DRIFT" else 0
        return (read - exposure) / DAY, (read + rows * float(header.get("C_OBS", 0)) * 1e-6) / DAY
    from astropy.time import Time

    text = str(header.get("DATE-OBS", "")).strip()
    if "T" not in text:
        raise ValueError(f"no time in the header: there is no TAI, and DATE-OBS is {text!r}")
    scale = str(header.get("TIMESYS", "UTC")).strip().lower()
    begin = float(Time(text, format="isot", scale=scale).tai.mjd)
    return begin, begin + exposure / DAY


def write(header: Any, begin: float, end: float) -> None:
    """Write the cards of an interval, and none of a single time."""
    from astropy.time import Time

    header["TIMESYS"] = ("TAI", "of all times here")
    for name, mjd, what in (("BEG", begin, "first light"), ("END", end, "last light")):
        time = Time(mjd, format="mjd", scale="tai", precision=3)
        header[f"DATE-{name}"] = (str(time.isot), what)
        header[f"MJD-{name}"] = (round(mjd, 8), f"[d] {what}")
