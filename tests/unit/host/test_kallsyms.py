from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pbt.host.kallsyms import Kallsyms, Symbol
from pbt.source import KernelError

TEXT = """0000000000000000 A percpu_start
ffffffff81000000 T _stext
ffffffff81000000 t early
ffffffff81000040 T vfs_read
ffffffff81000100 t local.isra.0
ffffffff81000180 t vfs_read
ffffffff81000200 D data_word
ffffffffc0000010 t in_module\t[ext4]
ffffffffc0000000 t first\t[ext4]
"""


@pytest.fixture
def kallsyms(tmp_path: Path) -> Kallsyms:
    path = tmp_path / "kallsyms"
    path.write_text(TEXT)
    return Kallsyms(str(path))


def test_addresses(kallsyms: Kallsyms) -> None:
    assert kallsyms.address("vfs_read") == 0xFFFFFFFF81000040
    assert kallsyms.address("in_module") == 0xFFFFFFFFC0000010
    both = {"vfs_read": [0xFFFFFFFF81000040, 0xFFFFFFFF81000180]}
    assert kallsyms.addresses(["vfs_read"]) == both
    others = ["vfs_rea", "data_word", "in_module", "percpu_start"]
    assert [kallsyms.addresses([name]) for name in others] == [{}] * 4 and kallsyms.addresses([]) == {}
    assert kallsyms.addresses(["vfs_read", *others, "early"]) == {**both, "early": [0xFFFFFFFF81000000]}
    assert kallsyms.address("read") == kallsyms.address("") == kallsyms.address("vfs_rea") == 0


def test_has(kallsyms: Kallsyms) -> None:
    assert kallsyms.has("vfs_read") and kallsyms.has("in_module") and kallsyms.has("percpu_start")
    assert not kallsyms.has("vfs_rea") and not kallsyms.has("")
    assert Kallsyms("/no/such/file").has("vfs_read")  # there may be such a function


def test_symbols(kallsyms: Kallsyms) -> None:
    assert kallsyms.symbol(0xFFFFFFFF81000000) == Symbol("_stext", 0, "")
    assert kallsyms.symbol(0xFFFFFFFF81000045) == Symbol("vfs_read", 5, "")
    assert kallsyms.symbol(0xFFFFFFFF81000200) == Symbol("data_word", 0, "")
    assert kallsyms.symbol(0xFFFFFFFFC0000010) == Symbol("in_module", 0, "ext4")
    assert kallsyms.symbol(0xFFFFFFFFC000000F) == Symbol("first", 15, "ext4")
    assert kallsyms.symbol(0x1000) is None and kallsyms.symbol((1 << 64) - 1) is None


def test_the_kernel_names_addresses(tmp_path: Path) -> None:
    """The file is read for addresses alone that the kernel gives no name to."""
    said = {1: "vfs_read+0x1f/0x40", 2: "a.cold+0x0/0x12 [ext4]", 3: "0x3", 4: ""}
    path = tmp_path / "kallsyms"
    freed = []

    class Namer:
        def __call__(self, address: int) -> str:
            return said.get(address, f"{address:#x}")

        def close(self) -> None:
            freed.append(self)

    symbols = Kallsyms(str(path), namer=Namer)
    assert symbols.symbol(1) == Symbol("vfs_read", 31, "") and symbols.symbol(2) == Symbol(
        "a.cold", 0, "ext4"
    )
    symbols.close()
    symbols.close()
    assert len(freed) == 1
    path.write_text(TEXT)  # only now
    assert symbols.symbol(3) is None and symbols.symbol(4) is None
    assert symbols.symbol(0xFFFFFFFF81000200) == Symbol("data_word", 0, "")


def test_code_that_the_kernel_does_not_know_is_not_called_by_what_is_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text(TEXT)
    unknown = Kallsyms(str(path), namer=lambda: "{:#x}".format)
    assert unknown.symbol(0xFFFFFFFF81000045) == Symbol("vfs_read", 5, "")
    assert unknown.symbol(0xFFFFFFFF81000045, code=True) is None
    silent = Kallsyms(str(path), namer=lambda: lambda address: "")
    assert silent.symbol(0xFFFFFFFF81000045, code=True) == Symbol("vfs_read", 5, "")


def test_a_kernel_that_names_nothing(tmp_path: Path) -> None:
    def refused() -> Callable[[int], str]:
        raise KernelError("cannot load", 22)

    (tmp_path / "kallsyms").write_text(TEXT)
    assert Kallsyms(str(tmp_path / "kallsyms"), namer=refused).symbol(0xFFFFFFFF81000045) == Symbol(
        "vfs_read", 5, ""
    )


def test_sizes(kallsyms: Kallsyms) -> None:
    assert kallsyms.size(0xFFFFFFFF81000000) == 0x40 and kallsyms.size(0xFFFFFFFF81000180) == 0x80
    assert kallsyms.size(0xFFFFFFFFC0000000) == 0x10 and kallsyms.size(0xFFFFFFFFC0000010) == 0


def test_a_single_symbol(tmp_path: Path) -> None:
    (tmp_path / "kallsyms").write_text("ffffffff81000000 T vfs_read\n")
    alone = Kallsyms(str(tmp_path / "kallsyms"))
    assert alone.symbol(0xFFFFFFFF81000002) == Symbol("vfs_read", 2, "") and alone.has("vfs_read")


def test_names(kallsyms: Kallsyms) -> None:
    assert kallsyms.names() == ["_stext", "early", "first", "in_module", "local.isra.0", "vfs_read"]


def test_hidden_addresses(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text("0000000000000000 T vfs_read\n0000000000000000 T vfs_write\n")
    hidden = Kallsyms(str(path))
    assert hidden.address("vfs_read") == 0 and hidden.symbol(0xFFFFFFFF81000000) is None
    assert hidden.names() == ["vfs_read", "vfs_write"]
    nothing = Kallsyms(str(tmp_path / "none"))
    assert nothing.address("vfs_read") == 0 and nothing.symbol(1) is None and nothing.names() == []


def test_anonymous(kallsyms: Kallsyms, tmp_path: Path) -> None:
    """Made-up addresses keep names and order, and tell nothing else."""
    path = tmp_path / "made_up"
    path.write_bytes(kallsyms.anonymous())
    made_up = Kallsyms(str(path))
    assert made_up.names() == kallsyms.names()
    assert 0 < made_up.address("early") == made_up.address("_stext") < made_up.address("vfs_read")
    assert made_up.address("first") < made_up.address("in_module") != kallsyms.address("in_module")
