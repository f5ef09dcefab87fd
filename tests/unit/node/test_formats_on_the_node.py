"""Tables, plots and metrics through the node: committed with their story, or refused with what is wrong."""

import io

import numpy as np
import pytest
from PIL import Image

from prestow.formats import open_format
from prestow.node import run_manifest
from prestow.testing.jobs import Jobs

CODE = """
import numpy as np

def make(quantum):
    quantum.put("table", {"id": np.arange(3), "flux": np.ones(3, "f4")})
    quantum.put("plot", np.full((4, 5, 3), 7, "u1"))
    quantum.put("quality", {"metrics": {"seeing": 1.5}})

def own_file(quantum):
    quantum.path("plot").write_bytes(b"no picture")

def listed(quantum):
    quantum.path("quality").write_text('{"metrics": [1.5, 2.5]}')
"""


@pytest.fixture
def jobs(tmp_path):
    jobs = Jobs(tmp_path)
    jobs.code(t=CODE)
    return jobs


def failure(outcome):
    (found,) = [f for f in outcome.failures]
    return found


def test_tables_and_plots_are_committed_with_their_story(jobs):
    formats = {"table": "parquet", "plot": "png", "quality": "yaml"}
    made = jobs.quantum("make", {"visit": 1}, entry="t:make", outputs=formats)
    outcome = run_manifest(jobs.manifest(), scratch=jobs.scratch)
    assert [str(state) for state in outcome.states.values()] == ["made"]
    paths = {name: jobs.store.local_path(piece.path) for name, piece in made.items()}
    for name, path in paths.items():
        story = open_format(formats[name]).read_story(path)
        assert (story.type, story.id) == (made[name].type, made[name].id)
    assert open_format("parquet").read(paths["table"])["id"].to_pylist() == [0, 1, 2]
    assert (np.array(Image.open(io.BytesIO(paths["plot"].read_bytes()))) == 7).all()


@pytest.mark.parametrize(
    ("entry", "outputs", "code", "words"),
    [
        ("listed", {"quality": "json"}, "PST-N011", "a list"),
        ("listed", {"quality": "yaml"}, "PST-N011", "mapping of names to numbers"),
        ("own_file", {"plot": "png"}, "PST-N008", "not a PNG"),
        ("own_file", {"plot": "parquet"}, "PST-N008", "not a whole Parquet file"),
    ],
)
def test_what_is_not_of_its_format_fails_the_quantum_with_its_code(jobs, entry, outputs, code, words):
    made = jobs.quantum("make", {"visit": 1}, entry=f"t:{entry}", outputs=outputs)
    outcome = run_manifest(jobs.manifest(), scratch=jobs.scratch)
    assert [str(state) for state in outcome.states.values()] == ["failed"]
    found = failure(outcome)
    assert found.code == code
    assert words in found.message
    assert f"the output '{next(iter(outputs))}': " in found.message
    (piece,) = made.values()
    assert jobs.store.size(piece.path) is None
