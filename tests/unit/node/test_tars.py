"""The tar of a job's inputs: the same bytes each time, what others' tars hold, and what is refused."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from prestow.errors import ObjectNotFoundError, TaskError
from prestow.node.tars import Members, write_tar
from prestow.stores import open_store

ODD = "inputs/raw/a b #1 100% [x] it's é/a.fits"
NAMES = ["inputs/raw/one/a.fits", "inputs/raw/two/a.fits", ODD, f"inputs/{'deep/' * 40}b"]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Give a file for each name: empty, of a block, and of more than is read at a time."""
    found = {}
    for number, (name, size) in enumerate(zip(NAMES, (0, 512, 700, (1 << 20) + 17), strict=True)):
        found[name] = tmp_path / f"file-{number}"
        found[name].write_bytes(bytes([number]) * size)
    return found


def made(path: Path, *infos: tuple[tarfile.TarInfo, bytes], **how: object) -> Path:
    with tarfile.open(path, "w", **how) as tar:  # type: ignore[call-overload]
        for info, data in infos:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    one = tarfile.TarInfo(name)
    one.type, one.linkname = kind, link
    return one


def test_the_same_files_give_the_same_tar_whoever_and_whenever(
    tmp_path: Path, files: dict[str, Path]
) -> None:
    one, other = tmp_path / "one.tar", tmp_path / "other.tar"
    told = write_tar(one, files.items())
    for path in files.values():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    assert write_tar(other, reversed(files.items())) == told
    assert one.read_bytes() == other.read_bytes()
    assert told == (one.stat().st_size, hashlib.sha256(one.read_bytes()).hexdigest())
    with tarfile.open(one) as tar:
        found = tar.getmembers()
        assert [m.name for m in found] == sorted(NAMES)
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in found} == {
            (0, 0, 0, "", "", 0o444)
        }
        for member in found:
            assert tar.extractfile(member).read() == files[member.name].read_bytes()  # type: ignore[union-attr]


def test_what_any_tar_unpacks_is_what_went_in(tmp_path: Path, files: dict[str, Path]) -> None:
    if shutil.which("tar") is None:
        pytest.skip("NOT TESTED: there is no tar here")
    write_tar(tmp_path / "some.tar", files.items())
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "xf", "../some.tar"], cwd=tmp_path / "out", check=True)
    assert {n: (tmp_path / "out" / n).read_bytes() for n in files} == {
        n: p.read_bytes() for n, p in files.items()
    }


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_others_are_read(tmp_path: Path, files: dict[str, Path], form: int) -> None:
    names = [n for n in files if form != tarfile.USTAR_FORMAT or len(n) < 200]
    path = made(
        tmp_path / "x.tar", (info("inputs", tarfile.DIRTYPE), b""),
        *((info(f"./{name}"), files[name].read_bytes()) for name in names), format=form,
    )  # fmt: skip
    members = Members.of_file(path)
    assert members.names() == names
    for number, name in enumerate(names):
        target = tmp_path / f"out-{number}"
        data = files[name].read_bytes()
        assert members.fetch(name, target) == (len(data), hashlib.sha256(data).hexdigest())
        assert target.read_bytes() == data


@pytest.mark.parametrize(
    ("infos", "says"),
    [
        ([info("inputs/../../x")], "leads elsewhere"),
        ([info("/etc/x")], "leads elsewhere"),
        ([info("inputs//x")], "leads elsewhere"),
        ([info("../up", tarfile.DIRTYPE)], "leads elsewhere"),
        ([info("inputs/x", tarfile.SYMTYPE, "/etc/passwd")], "a link"),
        ([info("inputs/x"), info("inputs/y", tarfile.LNKTYPE, "inputs/x")], "a hard link"),
        ([info("inputs/x", tarfile.CHRTYPE)], "a device"),
        ([info("inputs/x", tarfile.FIFOTYPE)], "a pipe"),
        ([info("inputs/x"), info("inputs/x")], "two members of one name"),
        ([info("inputs/x"), info("./inputs/x")], "two members of one name"),
    ],
)
def test_what_no_input_is_is_refused_before_a_byte_is_taken(
    tmp_path: Path, infos: list[tarfile.TarInfo], says: str
) -> None:
    path = made(tmp_path / "x.tar", (info("inputs/good"), b"good"), *((one, b"") for one in infos))
    with pytest.raises(TaskError, match=says) as told:
        Members.of_file(path).fetch("inputs/good", tmp_path / "out")
    assert told.value.problems[0].code == "PST-N071"
    assert not (tmp_path / "out").exists()


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    path = made(
        tmp_path / "x.tar", (info("/a"), b""), (info("b", tarfile.SYMTYPE, "c"), b""), (info("c/../d"), b"")
    )
    with pytest.raises(TaskError) as told:
        Members.of_file(path).names()
    for name in ("/a", "'b'", "c/../d"):
        assert name in str(told.value)


def test_a_tar_that_is_cut_off_or_damaged_or_none_is_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    path = tmp_path / "x.tar"
    write_tar(path, files.items())
    whole = path.read_bytes()
    for data in (
        whole[:700],
        whole[:-1024],
        whole[:-1500],
        b"no tar at all",
        b"",
        b"x" * 2048,
        whole[:512] + b"y" * 4096,
    ):
        path.write_bytes(data)
        with pytest.raises(TaskError, match="PST-N071"):
            Members.of_file(path).names()
    damaged = bytearray(whole)
    damaged[0] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(TaskError, match="PST-N071"):
        Members.of_file(path).names()


def test_names_that_no_tar_should_have_are_not_written(tmp_path: Path, files: dict[str, Path]) -> None:
    file = files[NAMES[0]]
    for names in (["a", "a"], ["../a"], ["/a"], ["a//b"]):
        with pytest.raises(TaskError, match="PST-N071"):
            write_tar(tmp_path / "x.tar", [(name, file) for name in names])
    with pytest.raises(FileNotFoundError):
        write_tar(tmp_path / "x.tar", [("a", file), ("b", tmp_path / "none")])
    assert [p.name for p in tmp_path.glob("x.tar*")] == []


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_tar_is_read_where_it_is_or_copied_once(tmp_path: Path, files: dict[str, Path], kind: str) -> None:
    store = open_store(f"file://{tmp_path}/store" if kind == "file" else f"memory://{tmp_path.name}")
    write_tar(tmp_path / "x.tar", files.items())
    store.put_if_absent("tars/x.tar", (tmp_path / "x.tar").read_bytes())
    members = Members(store, "tars/x.tar", str(tmp_path / "scratch"))
    for number, name in enumerate(members.names()):
        members.fetch(name, tmp_path / f"out-{number}")
        assert (tmp_path / f"out-{number}").read_bytes() == files[name].read_bytes()
    assert list((tmp_path / "scratch").glob("*")) == []
    with pytest.raises(ObjectNotFoundError, match="no member"):
        members.fetch("inputs/other", tmp_path / "out")
    with pytest.raises(ObjectNotFoundError):
        Members(store, "tars/none.tar", str(tmp_path)).names()
