"""What is kept for later starts is believed only where nobody else can have written it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pbt.host import cache


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("PBT_NO_CACHE", raising=False)
    return tmp_path / "pbt"


def test_what_is_written_is_read(folder: Path) -> None:
    assert cache.read("script-1") is None
    assert cache.write("script-1", b"one") and cache.write("script-2", b"")
    assert (cache.read("script-1"), cache.read("script-2")) == (b"one", b"")
    assert cache.write("script-1", b"two") and cache.read("script-1") == b"two"
    cache.forget("script-1")
    cache.forget("script-1")
    assert cache.read("script-1") is None
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [p.stat().st_mode & 0o777 for p in folder.iterdir()] == [0o600]


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    cache.write("script-1", b"some bytes")
    (folder / "script-1").unlink()
    os.mkfifo(folder / "script-1", 0o600)
    assert cache.read("script-1") is None


@pytest.mark.parametrize("damage", [b"", b"x", b"\x7fpbt-c1\n", b"cut", b"flip"])
def test_damaged_files_count_as_none(folder: Path, damage: bytes) -> None:
    cache.write("script-1", b"some bytes")
    file = folder / "script-1"
    whole = file.read_bytes()
    known = {b"cut": whole[:-1], b"flip": whole[:-1] + bytes([whole[-1] ^ 1])}
    file.write_bytes(known.get(damage, damage))
    assert cache.read("script-1") is None
    assert cache.write("script-1", b"again") and cache.read("script-1") == b"again"


def test_what_others_may_write_is_not_believed(folder: Path) -> None:
    cache.write("script-1", b"one")
    (folder / "script-1").chmod(0o620)
    assert cache.read("script-1") is None
    (folder / "script-1").chmod(0o600)
    folder.chmod(0o707)
    assert cache.read("script-1") is None and not cache.write("script-1", b"two")


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    cache.write("script-1", b"one")
    (folder / "script-1").rename(tmp_path / "elsewhere")
    (folder / "script-1").symlink_to(tmp_path / "elsewhere")
    assert cache.read("script-1") is None
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    assert cache.read("script-1") is None and not cache.write("script-1", b"two")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_and_folders_of_others_are_not_believed(folder: Path) -> None:
    cache.write("script-1", b"one")
    os.chown(folder / "script-1", 12345, 12345)
    assert cache.read("script-1") is None
    os.chown(folder / "script-1", 0, 0)
    os.chown(folder, 12345, 12345)
    assert cache.read("script-1") is None and not cache.write("script-1", b"two")


def test_where_nothing_can_be_kept_nothing_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for base in (tmp_path / "file", Path("/proc/pbt"), Path("/sys")):
        monkeypatch.setenv("XDG_CACHE_HOME", str(base))
        assert not cache.write("script-1", b"one") and cache.read("script-1") is None
        cache.forget("script-1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_nothing_is_left_in_homes_of_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = folder.parent / "home"
    home.mkdir()
    os.chown(home, 12345, 12345)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    assert not cache.write("script-1", b"one") and not list(home.iterdir())
    os.chown(home, 0, 0)
    assert cache.write("script-1", b"one") and cache.read("script-1") == b"one"


def test_the_environment_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write("script-1", b"one")
    monkeypatch.setenv("PBT_NO_CACHE", "1")
    assert cache.read("script-1") is None and not cache.write("script-1", b"two")
    monkeypatch.delenv("PBT_NO_CACHE")
    assert cache.read("script-1") == b"one"


def test_the_oldest_make_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_FILES", 3)
    cache.write("verifier-1", b"stays")
    for number in range(5):
        cache.write(f"script-{number}", b"x")
        os.utime(folder / f"script-{number}", ns=(number, number))
    cache.write("script-5", b"x")
    assert sorted(p.name for p in folder.iterdir()) == ["script-3", "script-4", "script-5", "verifier-1"]
    monkeypatch.setattr(cache, "MOST_BYTES", 800)
    assert not cache.write("script-6", bytes(101)) and cache.write("script-6", bytes(100))


def test_many_writers(folder: Path) -> None:
    """Each reader finds one of the whole texts, whoever writes meanwhile (as processes do: by their numbers)."""
    texts = [bytes([n]) * 50_000 for n in range(8)]
    cache.write("script-1", texts[0])

    def work(n: int) -> set[bytes | None]:
        found = set()
        for _ in range(20):
            cache.write("script-1", texts[n])
            found.add(cache.read("script-1"))
        return found

    with ThreadPoolExecutor(8) as pool:
        found = set().union(*pool.map(work, range(8), timeout=60))
    assert found <= set(texts) and cache.read("script-1") in texts
    assert [p.name for p in folder.iterdir()] == ["script-1"]
