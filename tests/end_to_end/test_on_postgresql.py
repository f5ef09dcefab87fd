"""The example with its registry on PostgreSQL: every command says the same as on SQLite, and so do the registries."""

import contextlib
from types import SimpleNamespace

import pytest

from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.testing.databases import NO_POSTGRES, available, fresh

pytestmark = pytest.mark.skipif(not available("postgresql"), reason=NO_POSTGRES)


@pytest.fixture(scope="module")
def both(tmp_path_factory, inside, small):
    """Give, by dialect, the example after all of its steps, and what the commands said."""
    made = {}
    with contextlib.ExitStack() as stack:
        for dialect in ("sqlite", "postgresql"):
            home = tmp_path_factory.mktemp(dialect)
            url = stack.enter_context(fresh(dialect, home))
            inside("init", "demo", cwd=home)
            root = small(home / "demo")
            settings = root / "prestow.yaml"
            settings.write_text(settings.read_text().replace("sqlite:///registry.db", url))
            said = {}

            def say(*words, root=root, said=said):
                said[" ".join(words)] = inside(*words, "--json", cwd=root).json

            say("ingest", "--raw", "raw", "--instrument", "simcam")
            say("check")
            say("plan", "--run", "one")
            say("run", "latest", "--engine", "local")
            say("ingest")
            say("status", "latest")
            say("find", "coadd")
            say("trace", "coadd", "band=r", "detector=0", "--run", "one")
            dump = dumped(url)
            say("remove", "--run", "one", "--yes")
            said["registry status"] = inside("registry", "status", "--json", cwd=root).json
            made[dialect] = SimpleNamespace(root=root, url=url, said=said, dump=dump, after=dumped(url))
        yield made


def dumped(url):
    with Registry.open(url, load_universe(), read_only=True) as registry:
        return registry.dump()


def comparable(dump):
    """Give a dump without what differs between any two projects: where the store is, and ids of attempts."""
    attempt = 9
    quanta = [[*row[:attempt], *row[attempt + 1 :]] for row in dump["quantum"]]
    return {**dump, "quantum": sorted(quanta, key=repr), "store": [row[0] for row in dump["store"]]}


@pytest.mark.parametrize("moment", ["dump", "after"])
def test_both_registries_hold_the_same(both, moment):
    mine, theirs = (comparable(getattr(both[dialect], moment)) for dialect in ("sqlite", "postgresql"))
    assert mine.keys() == theirs.keys()
    for table, rows in mine.items():
        assert rows == theirs[table], table
    assert len(mine["dataset"]) == (18 if moment == "dump" else 4)
    assert len(mine["deleted"]) == (0 if moment == "dump" else 14)


def test_both_say_which_they_are(both):
    here, there = (both[dialect].said["registry status"] for dialect in ("sqlite", "postgresql"))
    assert (here["dialect"], there["dialect"]) == ("sqlite", "postgresql")
    assert here["counts"] == there["counts"]
    assert here["counts"]["deleted"] > 0
    assert here["usable"] is there["usable"] is True


@pytest.mark.parametrize("words", ["find coadd", "status latest", "trace coadd band=r detector=0 --run one"])
def test_both_say_the_same(both, words):
    measured = ("attempt", "run_under_way", "forecast")

    def plain(said, root):
        if isinstance(said, dict):
            return {key: plain(value, root) for key, value in said.items() if key not in measured}
        if isinstance(said, list):
            return [plain(v, root) for v in said]
        return said.replace(str(root), "") if isinstance(said, str) else said

    mine, theirs = (plain(both[d].said[words], both[d].root) for d in ("sqlite", "postgresql"))
    assert mine == theirs


def test_doctor_says_that_it_answers_and_which_it_is(both, inside):
    for dialect, name in (("sqlite", "SQLite"), ("postgresql", "PostgreSQL")):
        checks = {c["name"]: c for c in inside("doctor", "--json", cwd=both[dialect].root).json["checks"]}
        assert checks["registry"]["state"] == "ok"
        assert checks["registry"]["detail"].startswith(name)
