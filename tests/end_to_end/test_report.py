"""``prestow report`` on the example: of failures, while nothing was run, again over itself, and in a real browser."""

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest


def beside(name: str) -> ModuleType:
    """Import a helper of all tests."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


chromium = beside("chromium")

TROUBLE = """
    if quantum.data_id["visit"] % 100 == 2:
        raise ValueError(f"no sky fit: rms {sky:.3f} of {len(pixels)} rows </script><script>document.title = 'mine'</script>")
    noise = 1.4826"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory, inside, small) -> Path:
    """An example that ran: one visit fails in calibrate, so its coadd waits."""
    root = tmp_path_factory.mktemp("report") / "demo"
    inside("init", root, cwd=root.parent)
    small(root)
    task = root / "tasks" / "calibrate.py"
    task.write_text(task.read_text().replace("\n    noise = 1.4826", TROUBLE))
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    inside("run", "--engine", "local", cwd=root, ok=False)
    return root


@pytest.fixture
def project(ran: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(ran, tmp_path / "demo"))


def test_a_report_says_what_became_of_a_run(project: Path, inside) -> None:
    said = inside("report", cwd=project)
    status = inside("status", "--json", cwd=project).json
    lines = said.out.splitlines()
    assert re.match(r"plan [0-9a-f]{8}  run demo: \d+ of \d+ made; ", lines[0])
    assert "  1  ValueError: no sky fit: rms <n> of <n> rows" in said.out
    assert lines[-2] == "page: report.html"
    assert lines[-1].startswith("next: prestow ")
    page = (project / "report.html").read_text()
    assert "</script><script>document" not in page
    told = inside("report", "--json", "--pictures", "2", cwd=project).json
    assert told["schema"] == "prestow.run-report/1"
    assert {state: n for state, n in told["counts"].items() if n} == {
        state: n for state, n in status["counts"].items() if n
    }
    assert told["causes"][0]["now"] == {"failed": 1}
    assert told["account"]["closes"] in (True, False)
    kept = json.loads((project / "report.json").read_text())
    assert {**kept, "facts": 0, "page": 0, "schema": 0} == {**told, "facts": 0, "page": 0, "schema": 0}
    assert [one["title"].split()[0] for one in told["pictures"]] == ["coadd"]  # the one that is made
    assert (project / "report.html").read_text().count("data:image/png;base64,") == 1


def test_what_it_says_to_type_next_is_a_command(project: Path, inside) -> None:
    causes = inside("report", "--json", cwd=project).json["causes"]
    for command in causes[0]["commands"]:
        words = command.split()
        assert inside(*words[1:2], "--help", cwd=project).code == 0
    why = next(command for command in causes[0]["commands"] if command.startswith("prestow why"))
    assert "no sky fit" in inside(*why.split()[1:], cwd=project).out


def test_nothing_is_written_where_something_else_is_nor_in_a_dry_run(project: Path, inside) -> None:
    inside("report", "-n", cwd=project)
    assert not (project / "report.html").exists()
    mine = project / "mine.html"
    mine.write_text("<p>mine</p>")
    refused = inside("report", "--into", mine, "--json", cwd=project, ok=False)
    assert (refused.code, refused.codes, mine.read_text()) == (2, ["PST-W001"], "<p>mine</p>")
    nowhere = inside("report", "--into", project / "no" / "such.html", "--json", cwd=project, ok=False)
    assert nowhere.codes == ["PST-W002"]
    inside("report", "--into", project / "other.html", cwd=project)
    inside("report", "--into", project / "other.html", cwd=project)
    assert not [path for path in project.iterdir() if path.name.startswith(".other")]


def test_a_plan_that_was_not_run_has_one_and_a_second_plan_is_compared(project: Path, inside) -> None:
    inside("plan", "--run", "second", "--set", "isr.gain=1.5", cwd=project)
    told = inside("report", "--json", cwd=project).json
    assert told["counts"]["pending"] == told["total"] > 0
    assert told["difference"]["run"] == "demo"
    assert {
        row["task"]: row["changed"] + row["downstream"] + row["added"] for row in told["difference"]["tasks"]
    }["isr"] > 0
    assert "--set isr.gain=1.5" in told["facts"]["repeat"][0]
    first = inside("report", "demo", cwd=project, ok=False)
    assert first.code != 0  # a run is no plan; the error names its plans
    assert "its plan is" in first.err


def test_a_run_that_goes_on_has_a_report_too(project: Path, inside) -> None:
    from prestow.engines.journal import run_lock

    (plan,) = (path for path in (project / "plans").iterdir() if path.is_dir())
    with run_lock(plan):
        told = inside("report", "--json", cwd=project).json
    assert told["verdict"].startswith("under way: ")
    assert (told["mood"], told["account"]) == ("busy", None)
    assert "not looked at" in (project / "report.html").read_text()
    assert told["total"] == sum(told["counts"].values())


CONTRAST = """(() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return [...n.slice(0, 3), n.length > 3 ? n[3] : 1]; };
  const light = (rgb) => { const [r, g, b] = rgb.slice(0, 3).map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
  const under = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0) return c; } return [255, 255, 255, 1]; };
  let worst = [99, ""];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, s = getComputedStyle(e);
    if (!walk.currentNode.textContent.trim() || !e.getClientRects().length || e.closest("svg, script, style, .skip")) continue;
    const [a, b] = [light(parse(s.color)), light(under(e))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < worst[0]) worst = [ratio, e.outerHTML.slice(0, 120)];
  }
  return worst;
})()"""

COLUMN = "[...document.querySelectorAll('#{0} tbody tr')].filter((r) => !r.hidden).map((r) => r.cells[{1}].dataset.v ?? r.cells[{1}].textContent)"


def test_in_a_real_browser(project: Path, inside, tmp_path: Path) -> None:
    inside("report", "--pictures", "1", cwd=project)
    simulated = beside("report_campaign").simulate(12, 9)
    from prestow.results.report import gather, page
    from prestow.results.report.gathering import Around

    large = tmp_path / "large.html"
    large.write_text(page(gather(simulated.plan, simulated.store, around=Around(journal=simulated.journal))))
    with chromium.browser() as tab:
        for path in (project / "report.html", large):
            tab.open(path)
            title = tab.js("document.title")
            assert title.startswith("demo: ")
            assert tab.complaints() == []
            assert [url for url in tab.fetched() if not url.startswith("data:")] == [path.as_uri()]
            assert (
                tab.js("JSON.parse(document.getElementById('data').textContent).schema")
                == "prestow.run-report/1"
            )
            assert tab.js("document.documentElement.scrollWidth <= innerWidth")

        # sorted by mouse, and by keyboard
        taken = COLUMN.format("slowest-table", 3)
        tab.click("#slowest-table thead th:nth-child(4)")
        assert tab.js("document.querySelector('#slowest-table th:nth-child(4)').ariaSort") == "descending"
        tab.click("#slowest-table thead th:nth-child(4)")
        times = [float(value) for value in tab.js(taken)]
        assert times == sorted(times)
        assert len(set(times)) > 1
        tab.js("document.querySelector('#slowest-table th:nth-child(1) button').focus()")
        tab.key("Enter", code=13)
        names = tab.js(COLUMN.format("slowest-table", 0))
        assert tab.js("document.querySelector('#slowest-table th:nth-child(1)').ariaSort") == "ascending"
        assert names == tab.js(
            f"[...{COLUMN.format('slowest-table', 0)}].sort((a, b) => a.localeCompare(b, 'en', {{numeric: true}}))"
        )

        # filtered by the keyboard alone
        tab.js("scrollTo(0, 0); document.activeElement.blur()")
        tab.key("/", "/", 191)
        assert tab.js("document.activeElement.dataset.for") == "cause-list"
        tab.type("amplifier dead")
        shown = "[...document.querySelectorAll('#cause-list details')].filter((d) => !d.hidden).length"
        total = tab.js("document.querySelectorAll('#cause-list details').length")
        assert tab.js(shown) == 1 < total
        assert (
            tab.js("document.activeElement.parentElement.querySelector('output').textContent")
            == f"1 of {total}"
        )
        tab.key("Escape", code=27)
        assert tab.js(shown) == total
        tab.js("document.querySelector('input[data-for=unmade-table]').focus()")
        tab.type("measure")
        assert set(tab.js(COLUMN.format("unmade-table", 0))) == {"measure"}

        # a cell of the map, by mouse and by arrow
        tab.js("document.querySelector('.map').focus()")
        tab.key("ArrowDown", code=40)
        tab.key("ArrowRight", code=39)
        assert re.fullmatch(
            r"visit 1, detector 1: \w+", tab.js("document.getElementById('map-0-at').textContent")
        )

        # dark, and still readable
        for path in (project / "report.html", large):
            tab.open(path)
            ground = {}
            for scheme in ("light", "dark"):
                tab.media(prefers_color_scheme=scheme)
                tab.js("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
                ground[scheme] = tab.js("getComputedStyle(document.body).backgroundColor")
                worst, where = tab.js(CONTRAST)
                assert worst >= 4.5, (scheme, where)
            assert ground["light"] != ground["dark"]

        # narrow, and on paper
        tab.call(
            "Emulation.setDeviceMetricsOverride", width=380, height=800, deviceScaleFactor=1, mobile=False
        )
        assert tab.js("document.documentElement.scrollWidth <= innerWidth")
        paper = tab.pdf()
        assert paper.startswith(b"%PDF-")
        assert len(re.findall(rb"/Type\s*/Page\b", paper)) >= 2
        assert tab.complaints() == []
