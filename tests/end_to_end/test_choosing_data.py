"""Choosing what is planned, as people do it: selections, exclusions with a reason, tables of data IDs."""

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

FIRST = 202611010001


@pytest.fixture(scope="module")
def root(tmp_path_factory, inside, small) -> Path:
    base = tmp_path_factory.mktemp("choosing data")
    inside("init", "demo", cwd=base)
    root = small(base / "demo")
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    return root


def visits(root: Path, answer) -> list[int]:
    directory = next((root / "plans").glob(f"{answer['plan']}*"))
    quanta = pl.read_parquet(directory / "quanta.parquet")
    return quanta.filter(pl.col("task").cast(pl.String) == "isr")["visit"].sort().to_list()


def test_a_date_and_a_range_choose_visits(root: Path, inside) -> None:
    where = f"visit in ({FIRST}..{FIRST + 9}:2) and day_obs >= '2026-01-01' and exposure.exposure_time > 0"
    answer = inside("plan", "--where", where, "--json", cwd=root).json
    assert visits(root, answer) == [FIRST, FIRST + 2]


def test_an_exclusion_is_on_record_with_its_reason(root: Path, inside) -> None:
    words = ("--exclude", f"visit = {FIRST}", "--because", "the moon, a day from full")
    answer = inside("plan", *words, "--json", cwd=root).json
    assert visits(root, answer) == [FIRST + 1, FIRST + 2, FIRST + 3]
    record = {"where": f"visit = {FIRST}", "because": "the moon, a day from full", "count": 1}
    assert answer["excluded"] == [record]
    directory = next((root / "plans").glob(f"{answer['plan']}*"))
    document = yaml.safe_load((directory / "plan.yaml").read_text())
    assert document["request"]["excluded"] == [record]
    line = f'excluded: 1 dataset by "visit = {FIRST}", because: the moon, a day from full'
    assert line in inside("plan", *words, cwd=root).out
    assert line in inside("show", answer["plan"], cwd=root).out
    assert inside("show", answer["plan"], "--json", cwd=root).json["excluded"] == [record]
    other = inside("plan", *words[:-1], "clouds", "-n", "--json", cwd=root).json
    assert other["plan"] == answer["plan"]


def test_a_table_of_data_ids_is_part_of_the_plan(root: Path, inside) -> None:
    (root / "mine.csv").write_text(f"visit,ccd\n{FIRST},0\n{FIRST + 1},0\n{FIRST + 2},7\n")
    answer = inside("plan", "--data-ids", "mine.csv", "--json", cwd=root).json
    assert visits(root, answer) == [FIRST, FIRST + 1]
    assert answer["data_ids"] == {"file": "mine.csv", "columns": ["detector", "visit"], "rows": 3}
    assert any("1 of 3 data IDs of mine.csv" in line for line in answer["warnings"])
    pl.read_csv(root / "mine.csv").reverse().write_parquet(root / "mine.parquet")
    again = inside(
        "plan", "--data-ids", "mine.parquet", "--where", "detector < 9", "-n", "--json", cwd=root
    ).json
    same = inside("plan", "--data-ids", "mine.parquet", "-n", "--json", cwd=root).json
    assert same["plan"] == answer["plan"] != again["plan"]


@pytest.mark.parametrize(
    ("words", "exit_code", "codes", "says"),
    [
        (["--where", "visit > 3 and band = 'q'"], 4, ["PST-P001"], "(band here: g, r)"),
        (["--where", "vist = 3 and bnad = 'r'"], 3, ["PST-C027", "PST-C027"], "did you mean visit"),
        (["--exclude", "visit = 9", "--because", "x"], 4, ["PST-C062"], "visit here:"),
        (["--exclude", "visit = 9"], 2, ["PST-C063"], "--because"),
        (["--exclude", "visit = 9", "--because", ""], 2, ["PST-C063"], "--because"),
        (["--data-ids", "absent.csv"], 3, ["PST-C060"], "No such file"),
        (["--data-ids", "wrong.csv"], 3, ["PST-C061", "PST-C061"], "wrong.csv:3:3"),
        (["--data-ids", "other.csv"], 4, ["PST-C064"], "nothing that is read or made here has a tract"),
    ],
)
def test_bad_input_has_one_answer_and_nothing_is_written(
    root: Path, inside, words, exit_code: int, codes: list[str], says: str
) -> None:
    (root / "wrong.csv").write_text("vist,ccd\n1,2\n1,x\n")
    (root / "other.csv").write_text(f"visit,tract\n{FIRST},2\n")
    plans = sorted((root / "plans").iterdir()) if (root / "plans").is_dir() else []
    answer = inside("plan", "--run", "another", *words, "--json", cwd=root, ok=False)
    assert (answer.code, answer.codes) == (exit_code, codes)
    assert says in json.dumps(answer.json["problems"], ensure_ascii=False).replace('\\"', '"')
    assert (sorted((root / "plans").iterdir()) if (root / "plans").is_dir() else []) == plans
