"""The kernel's own symbols, kept from one start to the next."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pbt.host import cache, keptsyms
from pbt.host.kallsyms import Kallsyms, Symbol

START = 0xFFFF_FFFF_8100_0000
OWN = "".join(f"{START + 16 * n:016x} t f{n}\n" for n in range(6000))
MODULE = f"{START + 0x1000000:016x} t in_module\t[ext4]\n"


class Counted(Kallsyms):
    """How much of the file was read, in pieces."""

    @property
    def read(self) -> int:
        return len(self._file.texts)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    monkeypatch.delenv("PBT_NO_CACHE", raising=False)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kallsyms").write_text(OWN + MODULE)
    return tmp_path / "kallsyms"


def started(path: Path) -> Counted:
    return Counted(str(path), keeps=True)


def first(path: Path, number: int) -> None:
    """A start that asks for one symbol."""
    symbols = started(path)
    assert symbols.symbol(START + 16 * number + 3) == Symbol(f"f{number}", 3, "")
    symbols.keep()


def test_what_was_read_is_not_read_again(path: Path) -> None:
    first(path, 3000)
    again = started(path)
    assert all(again.symbol(START + 16 * n) == Symbol(f"f{n}", 0, "") for n in range(3000))
    assert again.has("f2999") and again.address("f7") == START + 16 * 7 and again.read == 0


def test_what_lies_behind_it_is(path: Path) -> None:
    first(path, 10)
    again = started(path)
    assert again.symbol(START + 16 * 5999) == Symbol("f5999", 0, "") and again.read
    assert again.symbol(START + 0x1000001) == Symbol("in_module", 1, "ext4")
    again.keep()
    third = started(path)
    assert third.symbol(START + 16 * 5998) == Symbol("f5998", 0, "") and third.read == 0
    assert third.addresses(["f5999", "f3", "in_module"]) == {"f3": [START + 48], "f5999": [START + 16 * 5999]}
    assert third.addresses(["f5999"]) == {"f5999": [START + 16 * 5999]} and third.read == 0
    path.write_text(OWN + MODULE.replace("in_module", "other"))  # modules come and go
    assert (
        third.has("other") and not third.has("in_module") and third.symbol(START + 0x1000001).name == "other"
    )


def test_less_does_not_replace_more(path: Path) -> None:
    first(path, 5000)
    size = {p.name: p.stat().st_size for p in path.parent.glob("kept/pbt/*")}
    first(path, 10)
    assert size == {p.name: p.stat().st_size for p in path.parent.glob("kept/pbt/*")} and len(size) == 1


@pytest.mark.parametrize("fact", ["boot", "kernel", "addresses", "hidden", "damaged"])
def test_what_makes_it_wrong(path: Path, monkeypatch: pytest.MonkeyPatch, fact: str) -> None:
    first(path, 3000)
    (kept,) = path.parent.glob("kept/pbt/kallsyms-*")
    if fact == "boot":
        (path.parent / "boot").write_text("another\n")
        monkeypatch.setattr(keptsyms, "BOOT_ID", str(path.parent / "boot"))
    elif fact == "kernel":  # one folder in two machines, with names that come to the same
        about = kept.read_bytes()
        monkeypatch.setattr(keptsyms, "_head", lambda: b"elsewhere")
        (kept.parent / keptsyms._name()).write_bytes(about)
    elif fact == "addresses":
        path.write_text(OWN.replace("ffffffff81", "ffffffff92"))
    elif fact == "hidden":
        path.write_text(re.sub("^.{16}", "0" * 16, OWN, flags=re.MULTILINE))
    else:
        kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    assert keptsyms.find(str(path)) == b""


def test_hidden_addresses_are_not_kept(path: Path) -> None:
    path.write_text("".join(f"{0:016x} t f{n}\n" for n in range(6000)))
    symbols = started(path)
    assert symbols.has("f7") and symbols.symbol(START) is None
    symbols.keep()
    assert not list(path.parent.glob("kept/pbt/*"))


def test_other_files_and_unused_ones_are_not_kept(path: Path) -> None:
    saved = Kallsyms(str(path))
    assert saved.symbol(START) is not None
    saved.keep()
    started(path).keep()
    assert not list(path.parent.glob("kept/pbt/*"))


def test_it_may_be_larger_than_other_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_BYTES", len(OWN) + 4096)
    symbols = started(path)
    assert symbols.has("in_module")
    symbols.keep()
    assert keptsyms.is_whole(keptsyms.find(str(path)))


@pytest.mark.live
def test_the_running_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of addresses all over the kernel, with and without what is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("PBT_NO_CACHE", raising=False)
    plain = Kallsyms()
    starts = [int(line[:16], 16) for line in plain._data.splitlines()]
    if not any(starts):
        pytest.skip("addresses are hidden")
    asked = [start + offset for start in starts[:: len(starts) // 500] for offset in (0, 1, 40)]
    symbols = Kallsyms(keeps=True)
    found = [symbols.symbol(address) for address in asked]
    symbols.keep()
    again = Counted(keeps=True)
    assert found == [plain.symbol(address) for address in asked]
    own = [a for a in asked if (s := plain.symbol(a)) and not s.module and a < plain.address("_etext")]
    assert (
        len(own) > 300
        and [again.symbol(a) for a in own] == [plain.symbol(a) for a in own]
        and again.read == 0
    )
    monkeypatch.setenv("PBT_NO_CACHE", "1")
    assert keptsyms.find("/proc/kallsyms") == b""
