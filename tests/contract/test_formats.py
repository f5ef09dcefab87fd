"""Every format of the table keeps the contract."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.table import Table

from prestow import plugins
from prestow.formats import Format, open_format
from prestow.formats.png_chunks import encoded
from prestow.testing.formats import FormatContract


def document(number):
    return {
        "b": [1, 2.5, None, True],
        "a": {"é": "it's", "n": number},
        "z": np.arange(3),
        "x": np.float64(0.1),
    }


def image(number):
    ramp = np.arange(4000, dtype="f4").reshape(50, 80)
    ramp[7, 7] = number
    return ramp


def ccd(number):
    data = image(number)
    return CCDData(
        data, unit=u.adu, mask=data > 3000, uncertainty=StdDevUncertainty(data), meta={"OBJECT": "x"}
    )


def hdus(number):
    header = fits.Header([("OBJECT", "it's", "a name"), ("HISTORY", "made up"), ("NUMBER", number)])
    columns = Table({"x": [1, 2], "name": ["a", "é"[:0]], "v": np.ones((2, 3))})
    return fits.HDUList(
        [
            fits.PrimaryHDU(header=header),
            fits.ImageHDU(image(1), name="SCI"),
            fits.BinTableHDU(columns, name="CAT"),
            fits.CompImageHDU(image(2).astype("i4"), name="PACKED"),
        ]
    )


def columns(number):
    return {
        "id": [1, 2, None],
        "x": [0.5, float("nan"), number],
        "name": ["a", "é", None],
        "ok": [True, None, False],
    }


def record_array(number):
    result = np.zeros(5, [("id", ">i8"), ("flux", "f4"), ("name", "U3"), ("shape", "f8", (2,))])
    result["flux"] = number
    return result


def star_table(number):
    table = Table({"x": [1.0, number], "name": ["a", "b"], "s": np.array([b"x", b"y"])}, masked=True)
    table["x"].unit = u.Jy
    table["x"].mask = [True, False]
    table.meta["OBJECT"] = "M 31"
    return table


def grey(number):
    return (image(number) % 251).astype("u1")


def colours(number):
    return np.stack([grey(number), grey(7), grey(8), grey(9)], axis=-1)


def figure(number):
    from matplotlib.figure import Figure

    result = Figure(figsize=(1.5, 1))
    result.subplots().plot([1, 2, number])
    return result


VALUES = {
    "fits": {"hdus": hdus, "array": image, "ccd": ccd, "table": lambda n: Table({"x": [1, n]})},
    "json": {"document": document},
    "parquet": {
        "columns": columns,
        "arrow": lambda n: pa.table({"x": [1, n], "l": [[1], [n, 2]]}),
        "record_array": record_array,
        "table": star_table,
        "frame": lambda n: pl.DataFrame({"x": [1, n], "name": ["a", "b"]}),
    },
    "png": {
        "grey": grey,
        "colours": colours,
        "figure": figure,
        "bytes": lambda n: encoded((50, 80), grey(n).tobytes()),
    },
    "yaml": {"document": document},
}


CASES = [(name, kind) for name in plugins.names("formats") for kind in VALUES[name]]


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    return request.param


class TestFormatsOfTheTable(FormatContract):
    @pytest.fixture
    def format_(self, case) -> Format:
        return open_format(case[0])

    @pytest.fixture
    def values(self, case):
        make = VALUES[case[0]][case[1]]
        return make(1), make(2)

    @pytest.fixture
    def tells_a_cut(self, case) -> bool:
        return case[0] != "yaml"
