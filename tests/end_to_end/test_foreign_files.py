"""``prestow ingest --as`` and the answer of ``ingest --raw``, as people type them."""

import json

import pytest

from prestow.errors import CODES


@pytest.fixture(scope="module")
def project(tmp_path_factory, inside, small):
    root = tmp_path_factory.mktemp("foreign") / "demo"
    inside("init", root, cwd=root.parent)
    small(root)
    (root / "stars.json").write_text(json.dumps({"stars": []}))
    return root


def test_a_file_is_taken_in_under_its_normal_data_id(project, inside):
    words = ("ingest", "--as", "stars", "stars.json", "ccd=003", "instrument=simcam")
    text = inside(*words, cwd=project).out
    assert "ingested stars{detector=3,instrument=simcam} (json) as external/stars/stars.json" in text
    assert text.endswith("next: prestow plan\n")
    answer = inside(*words, "--json", cwd=project).json
    assert (answer["schema"], answer["added"], answer["known"]) == ("prestow.ingest/1", 0, 1)
    assert answer["data_id"] == {"detector": 3, "instrument": "simcam"}
    assert answer["dimensions"] == ["detector", "instrument"]


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        (("--as", "stars", "stars.json", "cdd=3"), ["PST-C023"]),
        (("--as", "stars", "stars.json", "instrument=simcam"), ["PST-C035"]),
        (("--as", "stars", "no.json", "ccd=1", "instrument=simcam"), ["PST-I005"]),
        (("--as", "stars", "--raw", "stars.json"), ["PST-G005"]),
        (("--as", "stars"), ["PST-I008"]),
        (("--as", "stars", "stars.json", "ccd=1", "ccd=2"), ["PST-G008"]),
    ],
)
def test_what_cannot_be_has_one_clear_answer(project, inside, words, problems):
    answer = inside("ingest", *words, "--json", cwd=project, ok=False)
    assert answer.codes == problems
    assert answer.code == CODES[problems[0]][1] != 0


def test_what_rules_leave_out_is_told_and_no_error(project, inside):
    rules = project / "othercam.yaml"
    rules.write_text("""\
schema: prestow.instrument/1
name: othercam
match: {INSTRUME: SIMCAM}
values:
  observation_type: {constant: science}
  exposure: {keyword: OBSID, steps: [int]}
  detector: {keyword: DETECTOR, steps: [int]}
  day_obs: {keyword: DATE-OBS, steps: [day]}
  begin: {keyword: DATE-OBS, steps: [utc]}
filters: {}
visits: [science]
detectors: [{detector: 0}]
leave_out:
  - {match: {FILTER: .*-r}, reason: the red arm has rules of its own}
  - {file_name: 'notes.*', reason: notes of the observer}
""")
    (project / "raw" / "notes.txt").write_text("clouds")
    (project / "raw" / "other.txt").write_text("?")
    configuration = (project / "prestow.yaml").read_text()
    (project / "prestow.yaml").write_text(configuration + "instruments: [othercam.yaml]\n")
    words = ("ingest", "--raw", "raw", "--instrument", "othercam")
    answer = inside(*words, "--json", cwd=project).json
    kinds = {file["reason"] for file in answer["left_out"]}
    assert kinds == {"the red arm has rules of its own", "notes of the observer"}
    assert [path.rsplit("/", 1)[1] for path in answer["ignored"]] == ["other.txt"]
    assert answer["added"] + len(answer["left_out"]) + 1 == len(list((project / "raw").iterdir()))
    text = inside(*words, cwd=project).out
    assert "left out 1 file: notes of the observer" in text
    assert "ignored 1 file that is not FITS by name" in text
