"""The pages say what is true: what they name is there, and every wish has its row."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from prestow import plugins
from prestow.cli.group import COMMANDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WISHES = DOCS / "explanation" / "wishes.md"
PLUGGED = DOCS / "explanation" / "what-can-be-plugged-in.md"
NOT_DONE = DOCS / "explanation" / "what-it-does-not-do.md"
PAGES = sorted(DOCS.rglob("*.md"))
EVERYWHERE = [*PAGES, ROOT / "README.md"]
STATES = {"there", "in part", "not there", "left to others"}

PATH = re.compile(
    r"(?<![\w/.$])(?P<path>(?:src|tests|docs|benchmarks|workflows|site-configs)/[\w./-]*)(?:::(?P<name>\w+))?"
)
SOURCE = re.compile(
    r"`(?P<path>(?:formats|stores|engines|plan|instruments|naming|pipeline|cli|testing|node)/[\w./-]+\.(?:py|yaml))`"
)
FENCE = re.compile(r"^(`{3,}).*?^\1[ ]*$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
ABSOLUTE = re.compile(r"(?<![\w.$…\])>:/])/(?:work|home|tmp|root|usr|opt|var|Users|mnt|scratch)\b")

QUALIFIERS = {"type", "types", "id", "ids", "made", "planned", "raw", "foreign", "one", "absent", "composite"}

WISHED = [
    f"R{n:03d}"
    for first, last in [
        (1, 16), (20, 29), (30, 39), (40, 44), (45, 69), (70, 93), (100, 111), (120, 131), (140, 158), (160, 170),
    ]
    for n in range(first, last + 1)
]  # fmt: skip
MORE = [f"{letter}{n}" for letter, last in (("B", 20), ("L", 12), ("E", 16)) for n in range(1, last + 1)]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def functions_of(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_bytes())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def named_in(text: str) -> list[tuple[str, str | None]]:
    """Give what a text names in the repository: path, and function if it says one."""
    paths = [(m["path"].rstrip("."), m["name"]) for m in PATH.finditer(text)]
    return [*paths, *((f"src/prestow/{m['path']}", None) for m in SOURCE.finditer(text))]


def absent(path: str, name: str | None) -> str:
    """Say what of this is not there, or give an empty text."""
    there = ROOT / path
    if not there.exists():
        return f"there is no {path}"
    if name is not None and name not in functions_of(there):
        return f"{path} has no {name}"
    return ""


def rows(page: Path) -> list[list[str]]:
    """Give the rows of the tables of wishes, each of id, wish, state and text."""
    found = [line.strip("|").split(" | ") for line in text_of(page).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in found if re.fullmatch(r"[A-Z]\d+", row[0].strip())]


@pytest.mark.parametrize("page", EVERYWHERE, ids=name_of)
def test_what_a_page_names_is_there(page: Path) -> None:
    assert [line for line in (absent(*one) for one in named_in(text_of(page))) if line] == []


def test_the_pages_name_what_they_should() -> None:
    """What looks for names finds some, so the test above says something."""
    assert len([name for _, name in named_in(text_of(WISHES)) if name]) > 150
    assert len([name for _, name in named_in(text_of(PLUGGED)) if name]) > 25
    assert ("src/prestow/formats/whole.py", None) in named_in(text_of(DOCS / "architecture.md"))
    assert (
        absent("tests/unit/test_pages.py", "test_nothing") == "tests/unit/test_pages.py has no test_nothing"
    )
    assert absent("src/prestow/nowhere.py", None)


def test_every_wish_has_one_row_in_order() -> None:
    assert [row[0] for row in rows(WISHES)] == [*WISHED, *MORE]


def test_every_wish_has_a_state_and_what_shows_it() -> None:
    wrong = []
    for row in rows(WISHES):
        tests = [path for path, _ in named_in(row[-1]) if path.startswith("tests/")]
        if len(row) != 4 or row[2] not in STATES or not row[3]:
            wrong.append(f"{row[0]}: {row[2]}")
        elif row[2] in {"there", "in part"} and not tests:
            wrong.append(f"{row[0]}: {row[2]}, and no test")
    assert wrong == []


def test_every_way_to_plug_in_names_its_test() -> None:
    points = [line for line in text_of(PLUGGED).splitlines() if line.startswith("| ")]
    points = [line for line in points if not line.startswith("| what |")]
    assert len(points) > 20
    assert [line for line in points if "tests/" not in line.split(" | ")[-1]] == []
    assert [group for group in plugins.TABLE if f"prestow.{group}`" not in text_of(PLUGGED)] == []


def test_the_readme_names_every_command_once_or_where_it_is_for_two_things() -> None:
    table = text_of(ROOT / "README.md").partition("## The commands")[2].partition("\n## ")[0]
    told = [words.split()[0] for words in re.findall(r"`([^`]+)`", table) if not words.startswith("--")]
    assert sorted(set(told)) == sorted(COMMANDS)
    assert [name for name in set(told) if told.count(name) > 1] == ["ingest"]


@pytest.mark.parametrize(
    ("words", "there"),
    [
        ("HDF5", "hdf5" in plugins.names("formats")),
        ("S3", {"s3", "http", "https"} & set(plugins.names("stores"))),
    ],
)
def test_what_is_said_not_to_be_there_is_not(words: str, there: object) -> None:
    assert words in text_of(NOT_DONE)
    assert not there


def bare(heading: str) -> bool:
    """Say whether a heading has the word without saying which: of what type, made, planned, raw …"""
    words = re.findall(r"[a-z]+", heading.lower())
    return any(
        word in {"dataset", "datasets"} and not {before, after} & QUALIFIERS
        for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False)
    )


def test_no_heading_says_dataset_and_means_something_else() -> None:
    """*Dataset* is one product; a heading never has the bare word, of which nobody knows what it means."""
    assert bare("Datasets")
    assert bare("Where a dataset is")
    assert not bare("Dataset types where they are used")
    headings = [
        (name_of(page), heading)
        for page in PAGES
        for heading in re.findall(r"^#+ +(.+)$", FENCE.sub("", text_of(page)), re.MULTILINE)
    ]
    assert len(headings) > len(PAGES)
    assert [one for one in headings if bare(one[1])] == []


def entries(page: Path) -> list[Path]:
    """Give the pages of a page's toctrees, there or not."""
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)
    found: list[Path] = []
    for entry in re.findall(r"^[^:\s].*$", "\n".join(trees), re.MULTILINE):
        target = page.parent / f"{entry.strip()}.md"
        found += sorted(target.parent.resolve().glob(target.name)) if "*" in entry else [target.resolve()]
    return found


def test_every_page_is_reached_from_the_index() -> None:
    reached: set[Path] = set()
    todo = [DOCS / "index.md"]
    while todo:
        page = todo.pop()
        if page not in reached:
            reached.add(page)
            todo += entries(page) if page.exists() else []
    assert sorted(map(name_of, reached)) == [name_of(page) for page in PAGES]


@pytest.mark.parametrize("page", EVERYWHERE, ids=name_of)
def test_links_lead_to_files(page: Path) -> None:
    targets = [m["target"] for m in LINK.finditer(FENCE.sub("", text_of(page)))]
    files = [t.partition("#")[0] for t in targets if "://" not in t and not t.startswith("#")]
    assert [t for t in files if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", EVERYWHERE, ids=name_of)
def test_no_page_names_a_place_of_one_machine(page: Path) -> None:
    assert ABSOLUTE.search("see `/home/me/data`")
    assert [line for line in text_of(page).splitlines() if ABSOLUTE.search(line)] == []
