"""Run every command that the pages show, and compare what they print; ``--write`` puts what they print into the pages.

A page is a session. Its console blocks are typed from top to bottom in a directory of its own; a
``cd`` stays. A code block with a ``:caption:`` is a file to write first (``NAME, added at the end``
appends). A command may end in ``# exit N``; without it, it must exit with 0. What varies from
machine to machine (times, sizes of disks, ids that depend on the code) is not compared.

A page that begins with ``<!-- needs: NAME -->`` uses the real data ``NAME`` below
``$PRESTOW_TEST_DATA`` as ``$DATA``; where there are none it is skipped, aloud.
"""

from __future__ import annotations

import argparse
import difflib
import itertools
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
BLOCK = re.compile(
    r"^(?P<fence>```+)(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=fence)[ ]*$", re.DOTALL | re.MULTILINE
)
ADDED = ", added at the end"
VARIES = [
    (r"recorded over forecast: .*", "RECORDED"),
    (r"\b\d+(\.\d+)?:?\d* (s|ms|min|h)\b", "T"),
    (r"\b\d+\.\d+s\b", "T"),
    (r"\d+(\.\d+)? jobs/s", "RATE"),
    (r"\d+(\.\d+)? [kMGT]?B\b", "SIZE"),
    (r"\d{4}-\d\d-\d\dT[\d:]+", "WHEN"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "ID"),
    (r"(?<=\bplan )[0-9a-f]{8}\b|(?<= @ )[0-9a-f]{7}\b|\b(?=[0-9a-f]*[0-9])[0-9a-f]{7,64}\b", "ID"),
    (r"\b\d+\.\d{3,}(e-?\d+)?\b", "NUMBER"),
    (r"[-─]{4,}", "LINE"),
    (r" +", " "),
]


def plain(text: str, scratch: Path) -> list[str]:
    """Give the lines that ought to be the same everywhere."""
    text = text.replace(str(scratch), "SCRATCH")
    for pattern, word in VARIES:
        text = re.sub(pattern, word, text)
    return [line.strip() for line in text.strip().splitlines()]


def typed(command: str, here: Path, environment: dict[str, str]) -> tuple[int, str, Path]:
    """Type a command in bash; give its exit code, what it printed, and where we are then."""
    script = f"{command}\ncode=$?\npwd > {environment['PAGE_PWD']}\nexit $code\n"
    done = subprocess.run(
        ["bash", "-c", script], cwd=here, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=900, check=False,
    )  # fmt: skip
    pwd = Path(environment["PAGE_PWD"])
    return done.returncode, done.stdout, Path(pwd.read_text().strip()) if pwd.exists() else here


def run_page(page: Path, scratch: Path, *, write: bool) -> list[str]:
    """Run one page; give what is wrong with it."""
    text = page.read_text(encoding="utf-8")
    environment = {
        **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1", "COLUMNS": "120",
        "PRESTOW": str(ROOT), "PAGE_PWD": str(scratch / ".pwd"), "PRESTOW_SCRATCH": str(scratch / ".scratch"),
    }  # fmt: skip
    needs = re.match(r"<!-- needs: (\S+) -->", text)
    if needs:
        data = Path(os.environ.get("PRESTOW_TEST_DATA") or ROOT.parent / "shared" / "data") / needs[1]
        if not data.is_dir():
            print(f"SKIPPED {page.relative_to(ROOT)}: there are no data {needs[1]}; set PRESTOW_TEST_DATA")
            return []
        environment["DATA"] = str(data.resolve())
    here, wrong, pieces, end = scratch, [], [], 0
    for block in BLOCK.finditer(text):
        info, body = block["info"].strip(), block["body"]
        pieces.append(text[end : block.start("body")])
        end = block.end("body")
        caption = re.match(r"\s*:caption: (.+)\n+", body)
        if info.startswith("{code-block}") and caption:
            name, added = caption[1].removesuffix(ADDED), caption[1].endswith(ADDED)
            target = here / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("a" if added else "w", encoding="utf-8") as file:
                file.write(body[caption.end() :])
        elif info == "console":
            fresh = []
            for step in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, _, shown = step.partition("\n")
                while command.endswith("\\"):
                    more, _, shown = shown.partition("\n")
                    command += "\n" + more
                expected = re.search(r"# exit (\d+)\s*$", command)
                code, printed, here = typed(command, here, environment)
                printed = "".join(line.rstrip() + "\n" for line in printed.strip("\n").splitlines())
                printed = printed.replace(str(scratch), "…").replace(str(ROOT), "$PRESTOW")
                place = f"{page.relative_to(ROOT)}: {command}"
                if code != int(expected[1] if expected else 0):
                    wrong.append(f"{place}\n  exited with {code}\n{printed[-2000:]}")
                elif "…\n" in shown and not write:
                    wrong += _parts(shown, printed, scratch, place)
                elif plain(printed, scratch) != plain(shown, scratch) and not write:
                    wrong.append(f"{place}\n  printed\n{printed}  the page shows\n{shown}")
                fit = _merged(shown, printed, scratch)
                keep = shown if "\n…\n" in f"\n{shown}" else fit + ("\n" if shown.endswith("\n\n") else "")
                fresh.append(f"$ {command}\n{keep}")
            body = "".join(fresh) if fresh else body
        pieces.append(body)
    pieces.append(text[end:])
    if write and not wrong:
        page.write_text("".join(pieces), encoding="utf-8")
    return wrong


def _merged(shown: str, printed: str, scratch: Path) -> str:
    """Give what was printed, with lines of the page where nothing but what varies is different; a table is kept as a whole."""
    old, new = shown.splitlines(), printed.splitlines()
    alike = difflib.SequenceMatcher(None, *([_key(line, scratch) for line in lines] for lines in (old, new)), autojunk=False)
    kept = {b + i: old[a + i] for a, b, size in alike.get_matching_blocks() for i in range(size)}
    lines = []
    for indented, numbers in itertools.groupby(range(len(new)), lambda n: new[n].startswith(" ")):
        some = list(numbers)
        fresh = indented and not all(n in kept for n in some)
        lines += [new[n] if fresh else kept.get(n, new[n]) for n in some]
    return "".join(f"{line}\n" for line in lines)


def _key(line: str, scratch: Path) -> tuple[str, ...]:
    return (*plain(line, scratch), *re.findall(r"\b\d{7,}\b", line))


def _parts(shown: str, printed: str, scratch: Path, place: str) -> list[str]:
    """Compare a shortened answer: each part between two lines of ``…`` must stand in what was printed."""
    whole = "\n".join(plain(printed, scratch))
    return [
        f"{place}\n  printed\n{printed}  and nowhere\n{part}"
        for part in re.split(r"^…\n", shown, flags=re.MULTILINE)
        if "\n".join(plain(part, scratch)) not in whole
    ]


def main() -> int:
    """Run the pages named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--write", action="store_true", help="put what was printed into the pages")
    given = parser.parse_args()
    failed = 0
    for page in [p.resolve() for p in given.pages] or sorted(DOCS.rglob("*.md")):
        if "```console" not in page.read_text(encoding="utf-8"):
            continue
        with tempfile.TemporaryDirectory(prefix="prestow-docs-") as scratch:
            here = Path(scratch).resolve() / "page"  # so that what a page puts beside it is gone with it, too
            here.mkdir()
            wrong = run_page(page, here, write=given.write)
        print(f"{'FAIL' if wrong else 'ok  '} {page.relative_to(ROOT)}", flush=True)
        for text in wrong:
            print(text)
        failed += bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
