"""Times of headers: UTC or TAI to nanoseconds of TAI, and the observing day."""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import UTC, datetime, timedelta

_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d):(\d\d)(\.\d+)?)?Z?")
_BILLION = 1_000_000_000

# TAI - UTC from that day on, in seconds (IERS Bulletin C; none has been announced after the last).
_LEAPS: tuple[tuple[str, int], ...] = (
    ("1972-01-01", 10), ("1972-07-01", 11), ("1973-01-01", 12), ("1974-01-01", 13), ("1975-01-01", 14),
    ("1976-01-01", 15), ("1977-01-01", 16), ("1978-01-01", 17), ("1979-01-01", 18), ("1980-01-01", 19),
    ("1981-07-01", 20), ("1982-07-01", 21), ("1983-07-01", 22), ("1985-07-01", 23), ("1988-01-01", 24),
    ("1990-01-01", 25), ("1991-01-01", 26), ("1992-07-01", 27), ("1993-07-01", 28), ("1994-07-01", 29),
    ("1996-01-01", 30), ("1997-07-01", 31), ("1999-01-01", 32), ("2006-01-01", 33), ("2009-01-01", 34),
    ("2012-07-01", 35), ("2015-07-01", 36), ("2017-01-01", 37),
)  # fmt: skip
_DAYS = [day for day, _ in _LEAPS]


def tai_from_utc(text: str) -> int:
    """Give nanoseconds of TAI since 1970-01-01 00:00:00 TAI, from an ISO date and time in UTC.

    A leap second (``:60``) is a second like any other.

    Examples
    --------
    >>> tai_from_utc("2017-01-01T00:00:00") - tai_from_utc("2016-12-31T23:59:60")
    1000000000

    Raises
    ------
    ValueError
        If the text is no ISO date with a time, or before 1972, when UTC was another thing.
    """
    day, hour, minute, second, nanoseconds = _parts(text)
    position = bisect_right(_DAYS, day.strftime("%Y-%m-%d"))
    if position == 0:
        raise ValueError("a time before 1972")
    seconds = int(day.timestamp()) + hour * 3600 + minute * 60 + second + _LEAPS[position - 1][1]
    return seconds * _BILLION + nanoseconds


def tai(text: str) -> int:
    """Give nanoseconds of TAI since 1970-01-01 00:00:00 TAI, from an ISO date and time in TAI.

    Examples
    --------
    >>> tai("2003-10-19T04:48:53.31") - tai_from_utc("2003-10-19T04:48:21.31")
    0

    Raises
    ------
    ValueError
        If the text is no ISO date with a time. TAI has no leap second.
    """
    day, hour, minute, second, nanoseconds = _parts(text)
    if second > 59:  # noqa: PLR2004 - a clock
        raise ValueError("no such time of day in TAI")
    return (int(day.timestamp()) + hour * 3600 + minute * 60 + second) * _BILLION + nanoseconds


def observing_day(text: str, begins: float) -> int:
    """Give the observing day as YYYYMMDD, from a UTC time and the UTC hour at which a day begins.

    Examples
    --------
    >>> observing_day("2021-03-29T03:00:00", 12), observing_day("2021-03-29T12:00:00", 12)
    (20210328, 20210329)
    """
    day, hour, minute, second, _ = _parts(text)
    # a leap second belongs to the day that it ends
    moment = day + timedelta(hours=hour, minutes=minute, seconds=min(second, 59)) - timedelta(hours=begins)
    return int(moment.strftime("%Y%m%d"))


def _parts(text: str) -> tuple[datetime, int, int, int, int]:
    match = _ISO.fullmatch(text.strip())
    if match is None:
        raise ValueError("not an ISO date (YYYY-MM-DDThh:mm:ss)")
    if match[4] is None:
        raise ValueError("a date without a time")
    day = datetime(int(match[1]), int(match[2]), int(match[3]), tzinfo=UTC)
    hour, minute, second = int(match[4]), int(match[5]), int(match[6])
    if hour > 23 or minute > 59 or second > (60 if (hour, minute) == (23, 59) else 59):  # noqa: PLR2004 - a clock
        raise ValueError("no such time of day")
    return day, hour, minute, second, int(((match[7] or ".")[1:] + "0" * 9)[:9])
