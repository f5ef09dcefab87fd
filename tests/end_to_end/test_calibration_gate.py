"""What a campaign made is certified for others by its measures: a gate whose values stay on record."""

import pytest

from prestow.project import Project
from prestow.registry.certifying import read_certifications


@pytest.fixture(scope="module")
def made(tmp_path_factory, inside, small):
    """Run a campaign that makes a background and its noise for each visit; the noise is in a product beside it."""
    root = tmp_path_factory.mktemp("gate") / "demo"
    inside("init", root, cwd=root.parent)
    small(root)
    code = root / "tasks" / "calibrate.py"
    text = code.read_text()
    plain = '{"sky": round(sky, 3), "noise": round(noise, 3)}'
    assert plain in text
    code.write_text(
        text.replace(
            plain, '{"metrics": {"noise": round(noise, 3), "visit": quantum.data_id["visit"] % 100}}'
        )
    )
    steps = (
        ("ingest", "--raw", "raw", "--instrument", "simcam"),
        ("plan",),
        ("run", "--engine", "local"),
        ("ingest",),
    )
    for words in steps:
        inside(*words, cwd=root)
    return root


def test_only_what_its_measures_allow_is_certified_and_the_record_says_so(made, inside):
    visits = [d["data_id"]["visit"] for d in inside("find", "calexp", "--json", cwd=made).json["datasets"]]
    assert len(visits) == 4

    def certify(visit, condition, ok=True):
        words = (
            "calexp",
            f"visit={visit}",
            "--begin",
            "2026-11-01",
            "--known-from",
            "2026-11-10",
            "--if",
            condition,
        )
        return inside("calib", "certify", "good", *words, "--json", cwd=made, ok=ok)

    refused = certify(visits[0], "noise < 0", ok=False)
    assert (refused.code, refused.codes) == (4, ["PST-K004"])
    unknown = certify(visits[0], "nois < 3", ok=False)
    assert unknown.codes == ["PST-C027"]
    assert "noise" in unknown.json["problems"][0]["fix"]
    with Project.open(made) as project:
        assert list(read_certifications(project.store, "good", "calexp")) == []
    # of all visits one is allowed: so there is one for the data ID, and that is no contradiction
    condition = f"noise > 0 and visit = {visits[1]}"
    answer = inside("calib", "certify", "good", "calexp", "--if", condition, "--json", cwd=made).json
    assert (answer["certified"], answer["refused"]) == (1, 3)
    with Project.open(made) as project:
        [act] = read_certifications(project.store, "good", "calexp")
    assert act.gate["if"] == condition
    assert list(act.gate["values"]) == ["noise"]
    assert act.gate["values"]["noise"][0] > 0
    assert len(act.datasets) == 1
