import io
import os
import zipfile

import pytest

from prestow.pipeline.code import bundle, collect


def write(root, files, umask=0o022):
    before = os.umask(umask)
    try:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    finally:
        os.umask(before)
    return root / "tasks"


FILES = {"tasks/a.py": "x = 1\n", "tasks/sub/b.py": "y = 2\n", "tasks/data/é.txt": "z"}


def test_the_same_files_give_the_same_bytes_wherever_and_whenever(tmp_path):
    one = write(tmp_path / "one", FILES)
    other = write(tmp_path / "o' [#] é", dict(reversed(FILES.items())), umask=0o077)
    os.utime(other / "a.py", (1, 1))
    (other / "a.py").chmod(0o755)
    write(tmp_path / "o' [#] é", {"tasks/__pycache__/a.pyc": "1", "tasks/.hidden": "2", "tasks/b.pyc": "3"})
    first, second = (bundle(collect(path)[0]) for path in (one, other))
    assert first == second
    assert zipfile.ZipFile(io.BytesIO(first.data)).namelist() == sorted(FILES)


def test_another_content_or_name_is_another_code(tmp_path):
    plain = bundle({"a.py": b"1"}).sha256
    assert len({plain, bundle({"a.py": b"2"}).sha256, bundle({"b.py": b"1"}).sha256}) == 3


def test_a_listed_file_lands_under_its_own_name(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one.py").write_text("1")
    assert collect(tmp_path / "deep" / "one.py") == ({"one.py": b"1"}, [])


def test_links_to_directories_and_missing_files_are_named(tmp_path):
    root = write(tmp_path, FILES)
    (root / "link").symlink_to(tmp_path)
    files, problems = collect(root)
    assert sorted(files) == sorted(FILES)
    assert [p.what for p in problems] == ["tasks/link is a link to a directory"]
    assert collect(tmp_path / "nowhere")[1][0].code == "PST-C025"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_named(tmp_path):
    root = write(tmp_path, FILES)
    (root / "a.py").chmod(0)
    assert "Permission denied" in collect(root)[1][0].what
