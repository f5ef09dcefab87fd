"""Tables of data IDs: whatever the kind of file, the same content is the same; mistakes have places."""

import polars as pl
import pytest
from astropy.table import Table

from prestow.errors import ConfigurationError
from prestow.naming.universe import load_universe
from prestow.query.data_ids import read_data_ids

UNIVERSE = load_universe()


def written(path, text):
    path.write_text(text)
    return path


def problems(path):
    with pytest.raises(ConfigurationError) as caught:
        read_data_ids(path, UNIVERSE)
    return [(p.code, p.where.removeprefix(f"{path.parent}/"), p.what, p.fix) for p in caught.value.problems]


def test_csv_ecsv_and_parquet_of_one_content_are_one(tmp_path):
    rows = {"visit": [12, 12, 3, 12], "filter": ["r", "g", "u", "r"]}
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame(rows, schema={"visit": pl.UInt16, "filter": pl.Categorical}).write_parquet(
        tmp_path / "b.parquet"
    )
    Table(rows).write(tmp_path / "c.ecsv")
    Table(rows).write(tmp_path / "d.ecsv", delimiter=",")
    written(tmp_path / "e.csv", '# chosen by eye\nBAND, visit\r\n"r", 0012\nu,3\n\ng,12\n')
    found = [read_data_ids(path, UNIVERSE) for path in sorted(tmp_path.iterdir())]
    assert len(found) == 5
    assert len({one.digest for one in found}) == 1
    for one in found:
        assert one.columns == ("band", "visit")
        assert one.frame.rows() == [("g", 12), ("r", 12), ("u", 3)]
    other = read_data_ids(written(tmp_path / "f.csv", "band,visit\ng,12\nr,12\nu,4\n"), UNIVERSE)
    assert other.digest != found[0].digest


def test_everything_that_is_wrong_is_told_at_once_at_its_place(tmp_path):
    path = written(tmp_path / "t.csv", "# mine\nvist,ccd,detector,visit\n1,x,3,4\n1,,3,5.0\n")
    assert problems(path) == [
        ("PST-C061", "t.csv:2:1", "'vist' is no dimension", "did you mean 'visit'?"),
        ("PST-C061", "t.csv:2:10", "detector has two columns", "leave 'detector' out"),
        ("PST-C061", "t.csv:3:3", "detector must be an integer, not 'x'", ""),
        ("PST-C061", "t.csv:4:3", "detector has no value", ""),
        ("PST-C061", "t.csv:4:6", "visit must be an integer, not '5.0'", ""),
    ]


@pytest.mark.parametrize(
    ("name", "text", "code", "where", "what"),
    [
        ("a.csv", "", "PST-C060", "a.csv", "the table is empty"),
        ("a.csv", "visit,ccd\n", "PST-C061", "a.csv", "the table has no rows"),
        ("a.csv", "visit,ccd\n1,2\n1\n", "PST-C061", "a.csv:3:1", "1 value, and there are 2 columns"),
        ("a.csv", 'band\n"r\ng"\n', "PST-C060", "a.csv", "a value goes over several lines"),
        ("a.txt", "visit\n1\n", "PST-C060", "a.txt", "a table of data IDs is .csv, .ecsv or .parquet"),
        ("a.parquet", "visit\n1\n", "PST-C060", "a.parquet", "the table cannot be read"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, name, text, code, where, what):
    (found,) = problems(written(tmp_path / name, text))
    assert found[:2] == (code, where)
    assert what in found[2]


def test_a_parquet_file_is_held_to_its_types(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"visit": [1.0, 2.0], "band": ["r", None]}).write_parquet(path)
    assert [(where, what) for _, where, what, _ in problems(path)] == [
        ("t.parquet, column 1", "visit must be an integer, and the column is Float64"),
        ("t.parquet, row 2, column 2", "band has no value"),
    ]


def test_of_many_wrong_values_the_first_are_named(tmp_path):
    path = written(tmp_path / "t.csv", "visit\n" + "x\n" * 40)
    found = problems(path)
    assert [where for _, where, _, _ in found] == [f"t.csv:{n}:1" for n in range(2, 7)]
    assert found[0][2].endswith("there are 40 such")
