"""Site files: read, and refused with every fault at its place."""

from pathlib import Path

import pytest

from prestow.errors import ConfigurationError
from prestow.site import read_site

SHIPPED = sorted((Path(__file__).parents[2] / "site-configs").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_site_can_be_read(path: Path) -> None:
    assert read_site(path).name == path.stem


def test_all_faults_are_told_at_once_each_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("schema: prestow.site/2\nname: x\nengine: condor\nworkers: 0\nscrach: /x\n")
    with pytest.raises(ConfigurationError) as caught:
        read_site(path)
    places = {(p.code, p.where.rpartition("site.yaml:")[2]) for p in caught.value.problems}
    assert places == {("PST-C014", "1:9"), ("PST-C013", "3:9"), ("PST-C013", "4:10"), ("PST-C010", "5:1")}


def test_an_existing_scheduler_brings_its_own_workers(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("schema: prestow.site/1\nname: x\nscheduler: tcp://127.0.0.1:8786\nworkers: 2\n")
    with pytest.raises(ConfigurationError, match="leave out 'workers'"):
        read_site(path)
