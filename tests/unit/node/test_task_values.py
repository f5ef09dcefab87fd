"""What a task gives: put or returned, of the right type and with the declared columns, or one clear error."""

import io
import json
from dataclasses import replace

import pyarrow.parquet
import pytest

from prestow.manifest import Manifest
from prestow.model import State
from prestow.node import run_manifest
from prestow.testing.jobs import Jobs

CODE = """
import numpy as np
from prestow.tasks import NothingToDo, Quantum, task

@task(dimensions=["visit"], outputs={"y": "y"})
def giving(quantum: Quantum):
    return {"y": {"v": quantum.data_id["visit"]}}

def both(quantum):
    quantum.put("y", {"v": 1})
    return {"y": {"v": 2}}

def other(quantum):
    return {"z": {"v": 1}}

def array(quantum):
    return np.zeros((2, 3), dtype="float32")

def path(quantum):
    return quantum.put("y", {})

def numbers(quantum):
    return {1: {}}

def lazy(quantum):
    yield "y"

def text(quantum):
    quantum.put("y", "12")

def some(quantum):
    return {"y": [1, 2]}

def nan(quantum):
    return {"y": {"v": float("nan")}}

def table(quantum):
    return {"t": {"x": np.arange(3.0), "id": np.arange(3)}}

def narrow(quantum):
    return {"t": {"x": np.arange(3, dtype="float32"), "flux": np.arange(3.0)}}

def no_table(quantum):
    return {"t": 3}

def none(quantum):
    raise NothingToDo()
"""

COLUMNS = (("x", "float64"), ("id", "int64"))


@pytest.fixture
def jobs(tmp_path):
    found = Jobs(tmp_path)
    found.code(tasks=CODE)
    return found


def run(jobs, entry, outputs=None, columns=(), **more):
    jobs.quantum("t", {"visit": 7}, entry=f"tasks:{entry}", outputs=outputs or {"y": "json"}, **more)
    manifest = jobs.manifest()
    told = replace(manifest, outputs=tuple(replace(o, columns=columns) for o in manifest.outputs))
    return run_manifest(Manifest.from_json(told.to_json()), scratch=jobs.scratch)


def test_a_returned_mapping_is_put(jobs):
    outcome = run(jobs, "giving")
    assert list(outcome.states.values()) == [State.MADE]
    [receipt] = outcome.receipts.values()
    document = json.loads(jobs.store.read(receipt.outputs[0].path))
    assert document["v"] == 7


@pytest.mark.parametrize(
    ("entry", "code", "said"),
    [
        ("both", "PST-N002", "put already"),
        ("other", "PST-N002", "the output z was not planned"),
        ("array", "PST-N012", "array (tasks.py:16) returned a numpy.ndarray of float32, shape (2, 3)"),
        ("path", "PST-N012", "returned a pathlib.PosixPath"),
        ("numbers", "PST-N012", "returned a dict of 1"),
        ("lazy", "PST-N012", "returned a generator"),
        ("text", "PST-N012", "t_y as 'y' (json) cannot be a str of 2: a JSON document must be a mapping, not str"),
        ("some", "PST-N012", "cannot be a list of 2"),
        ("nan", "PST-N012", "cannot be a dict of 1: cannot be written as JSON: 'v' is nan"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_says_what_where_and_what_to_do(jobs, entry, code, said):
    outcome = run(jobs, entry)
    [failure] = outcome.failures
    assert (failure.code, list(outcome.states.values())) == (code, [State.FAILED])
    assert said in failure.message
    assert failure.data_id == {"visit": 7}
    assert outcome.receipts == {}
    # what to do stands in the log, too
    assert any("= help: " in line for line in failure.log_tail)


def test_a_table_with_the_declared_columns_is_made(jobs):
    outcome = run(jobs, "table", {"t": "parquet"}, COLUMNS)
    assert list(outcome.states.values()) == [State.MADE]
    [receipt] = outcome.receipts.values()
    table = pyarrow.parquet.read_table(io.BytesIO(jobs.store.read(receipt.outputs[0].path)))
    assert [(f.name, str(f.type)) for f in table.schema] == [("x", "double"), ("id", "int64")]


def test_other_columns_than_declared_are_one_error_that_lists_them_and_nothing_is_committed(jobs):
    outcome = run(jobs, "narrow", {"t": "parquet"}, COLUMNS)
    [failure] = outcome.failures
    assert failure.code == "PST-N008"
    for said in (
        "the output 't'",
        "'id' (int64) is missing",
        "'flux' (float64) is not declared",
        "'x' is float32",
    ):
        assert said in failure.message
    assert outcome.receipts == {}
    assert not list((jobs.directory / "store").rglob("*.parquet"))
    assert not list((jobs.directory / "store").rglob("_aside/*/*"))


def test_a_value_that_is_no_table_names_output_and_types(jobs):
    [failure] = run(jobs, "no_table", {"t": "parquet"}, COLUMNS).failures
    assert failure.code == "PST-N012"
    assert "t_t as 't' (parquet) cannot be an int" in failure.message


def test_a_declined_quantum_has_no_columns_to_check(jobs):
    outcome = run(jobs, "none", {"t": "parquet"}, COLUMNS)
    assert list(outcome.states.values()) == [State.DECLINED]


def test_manifests_without_columns_are_as_they_were(jobs):
    jobs.quantum("t", {"visit": 7}, entry="tasks:table", outputs={"t": "parquet"})
    manifest = jobs.manifest()
    assert '"columns"' not in manifest.to_json()
    told = replace(manifest, outputs=(replace(manifest.outputs[0], columns=COLUMNS),))
    assert Manifest.from_json(told.to_json()) == told
