"""BTF bytes made by hand, and the running kernel's where there is one."""

from __future__ import annotations

import os
import struct

import pytest

from pbt.host.btf import Btf
from pbt.host.btfindex import BtfError
from pbt.types import BOOL, CHAR, I32, U16, U32, U64, Array, Enum, Function, Int, Pointer, Struct

LIVE = "/sys/kernel/btf/vmlinux"


class Maker:
    """Writes BTF type by type; ids count from `first`."""

    def __init__(self, first: int = 1, first_name: int = 0, order: str = "<") -> None:
        self.strings, self.types, self.next = b"\0", b"", first
        self.first_name, self.order = first_name, order

    def text(self, name: str) -> int:
        if not name:
            return 0
        self.strings += name.encode() + b"\0"
        return self.first_name + len(self.strings) - len(name) - 1

    def add(self, kind: int, name: str, last: int, *words: int, count: int = 0, flag: int = 0) -> int:
        info = flag << 31 | kind << 24 | count
        numbers = (self.text(name), info, last, *words)
        self.types += struct.pack(f"{self.order}{len(numbers)}I", *(n & 0xFFFFFFFF for n in numbers))
        self.next += 1
        return self.next - 1

    def bytes(self, header: int = 24, layout: bytes = b"") -> bytes:
        sizes = (0, len(self.types), len(self.types), len(self.strings))
        extra = struct.pack(f"{self.order}II", len(self.types) + len(self.strings), len(layout))
        head = struct.pack(f"{self.order}HBBI4I", 0xEB9F, 1, 0, header, *sizes)
        return head + (extra if header >= 32 else b"") + self.types + self.strings + layout


def sample(order: str = "<") -> Maker:
    m = Maker(order=order)
    m.add(1, "int", 4, 1 << 24 | 32)  # 1
    m.add(1, "char", 1, 8)  # 2
    m.add(1, "_Bool", 1, 4 << 24 | 8)  # 3
    m.add(1, "unsigned int", 4, 32)  # 4
    m.add(3, "", 0, 2, 4, 16)  # 5: char[16]
    m.add(2, "", 7)  # 6: struct node *
    m.add(
        4,
        "node",
        40,
        m.text("next"),
        6,
        0,
        m.text("name"),
        5,
        64,
        m.text("up"),
        3,
        192,
        m.text(""),
        8,
        224,
        count=4,
    )  # 7
    m.add(5, "", 4, m.text("a"), 4, 0, m.text("b"), 1, 0, count=2)  # 8
    m.add(8, "word_t", 4)  # 9
    m.add(10, "", 2)  # 10: const char
    m.add(18, "user", 10)  # 11
    m.add(2, "", 11)  # 12: const char __user *
    m.add(13, "", 1, m.text("fmt"), 12, m.text("n"), 9, 0, 0, count=3)  # 13
    m.add(12, "trace_me", 13, count=1)  # 14
    m.add(6, "color", 4, m.text("RED"), 0, m.text("DARK"), -1, count=2, flag=1)  # 15
    m.add(19, "wide", 8, m.text("HUGE"), 0, 1 << 31, count=1)  # 16
    m.add(7, "later", 0)  # 17
    m.add(2, "", 13)  # 18
    m.add(14, "counter", 9, 1)  # 19
    m.add(16, "double", 8)  # 20
    m.add(15, ".data", 4, 19, 0, 4, count=1)  # 21
    m.add(17, "tag", 7, 0)  # 22
    m.add(2, "", 0)  # 23
    m.add(13, "", 0, 0, 23, 0, 1, 0, 6, count=3)  # 24
    m.add(2, "", 24)  # 25
    m.add(8, "btf_trace_go", 25)  # 26
    m.add(13, "", 0, m.text("__data"), 23, m.text("n"), 1, m.text("p"), 6, count=3)  # 27
    m.add(12, "__traceiter_go", 27)  # 28
    return m  # fmt: skip


@pytest.fixture(params=["<", ">"], ids=["little", "big"])
def btf(request: pytest.FixtureRequest) -> Btf:
    return Btf(sample(request.param).bytes())


def test_types(btf: Btf) -> None:
    assert btf.count == 28
    assert btf.type(0).size == 0 and btf.type(1) == I32 and btf.type(2) == CHAR and btf.type(3) == BOOL
    assert btf.type(5) == Array(CHAR, 16) and btf.type(9) == U32 and btf.type(20) == Int(8)
    assert btf.type(17) == Struct("struct later", 0, 1)
    assert btf.type(8).size == 4 and str(btf.type(8)) == "union (anon)"
    assert btf.type(12) == Pointer(CHAR, "user")
    assert btf.type(18) == Pointer(Function((("fmt", Pointer(CHAR, "user")), ("n", U32)), I32), "kernel")


def test_members(btf: Btf) -> None:
    node = btf.struct("struct node")
    assert node and node.align == 8
    assert [(m.name, m.offset, m.ctype) for m in node.members] == [
        ("next", 0, "struct node *"), ("name", 8, "char[16]"), ("up", 24, "_Bool"), ("", 28, "union (anon)"),
    ]  # fmt: skip
    following = node.find("next")
    assert following and isinstance(following.type, Pointer) and following.type.target == node
    inner = node.find("b")
    assert inner and inner.offset == 28 and inner.type == I32


def test_names(btf: Btf) -> None:
    assert (
        btf.find("struct", "node") == 7
        and btf.find("struct", "nod") is None
        and btf.find("union", "") is None
    )
    assert btf.find("enum", "wide") == 16 and btf.names("enum") == ["color", "wide"]
    assert btf.functions() == ["__traceiter_go", "trace_me"]
    for _ in range(30):  # by search, later by table
        assert btf.find("typedef", "word_t") == 9 and btf.find("typedef", "node") is None
    assert btf.lookup("word_t") == U32 and btf.lookup("const struct node *") == Pointer(btf.type(7), "kernel")
    assert btf.lookup("char[2][3]") == Array(Array(CHAR, 3), 2) and btf.lookup("struct absent") is None
    assert btf.lookup("unsigned long") == U64 and btf.lookup("u16") == U16 and btf.lookup("x[y]") is None
    assert btf.kind(7) == "struct" and btf.name(7) == "node" and btf.name(0) == "" and btf.kind(0) == "void"


def test_functions_and_variables(btf: Btf) -> None:
    trace_me = btf.func("trace_me")
    assert trace_me == Function((("fmt", Pointer(CHAR, "user")), ("n", U32)), I32)
    assert btf.id_of_func("trace_me") == 14 and btf.func("absent") is None
    assert [p.ctype for p in btf.params(14)] == ["const char *", "word_t"] and btf.result(14).ctype == "int"
    assert btf.var("counter") == (19, U32) and btf.var("absent") is None


def test_enums(btf: Btf) -> None:
    dark, huge = btf.enum_constant("DARK"), btf.enum_constant("HUGE")
    assert dark and dark == (Enum("color", 4, True, (("RED", 0), ("DARK", -1))), -1)
    assert huge and huge == (Enum("wide", 8, False, (("HUGE", 1 << 63),)), 1 << 63)
    assert btf.enum_constant("color") is None and btf.enum_constant("") is None


def test_raw_tracepoint(btf: Btf) -> None:
    go = btf.raw_tracepoint("go")
    assert go and go.params == (("n", I32), ("p", Pointer(btf.type(7), "kernel")))
    assert btf.raw_tracepoint("stop") is None


def test_spelling(btf: Btf) -> None:
    spelled = [btf.ctype(id) for id in (0, 6, 8, 12, 15, 17, 18, 25)]
    assert spelled == [
        "void", "struct node *", "union (anon)", "const char *", "enum color", "struct later",
        "int (*)(const char *, word_t, ...)", "void (*)(void *, int, struct node *)",
    ]  # fmt: skip


def bitfields(flag: int, *members: tuple[int, int]) -> list[tuple[int, int, int]]:
    m = Maker()
    m.add(1, "unsigned int", 4, 32)
    m.add(1, "unsigned int", 4, 3 << 16 | 5)  # 5 bits, 3 from the start
    words = [word for id, place in members for word in (m.text("f"), id, place)]
    m.add(4, "bits", 8, *words, count=len(members), flag=flag)
    found = Btf(m.bytes()).struct("struct bits")
    assert found
    return [(f.offset, f.bit_offset, f.bit_size) for f in found.members]


def test_bitfields() -> None:
    flagged = bitfields(1, (1, 3 << 24 | 0), (1, 5 << 24 | 35), (1, 12 << 24 | 28), (1, 32))
    assert flagged == [(0, 0, 3), (4, 3, 5), (3, 4, 12), (4, 0, 0)]
    assert bitfields(0, (1, 0), (2, 32)) == [(0, 0, 0), (4, 3, 5)]


def test_split() -> None:
    base = Btf(sample().bytes())
    m = Maker(base.count + 1, len(sample().strings))
    m.add(2, "", 7)
    m.add(4, "mine", 16, m.text("node"), base.count + 1, 0, m.text("old"), 7, 64, count=2)
    name = sample().strings.index(b"\0word_t\0") + 1  # a name that stands in the base
    m.types += struct.pack("<III", name, 8 << 24, base.count + 2)
    split = Btf(m.bytes(), base)
    assert split.count == base.count + 3
    mine = split.struct("struct mine")
    assert mine and [member.ctype for member in mine.members] == ["struct node *", "struct node"]
    assert split.find("struct", "mine") == base.count + 2 and base.find("struct", "mine") is None
    assert split.find("struct", "node") == 7 and split.type(7) is base.type(7)
    assert split.lookup("word_t") == mine and base.lookup("word_t") == U32
    assert split.enum_constant("RED") == base.enum_constant("RED")
    assert split.func("trace_me") == base.func("trace_me") and split.raw_tracepoint(
        "go"
    ) == base.raw_tracepoint("go")


def test_damage() -> None:
    good = sample().bytes()
    for bad in (b"", b"\x7fELF" + bytes(60), good[:100], good[:2] + b"\x02" + good[3:]):
        with pytest.raises(BtfError):
            Btf(bad)
    m = Maker()
    m.add(2, "", 2)
    m.add(10, "", 1)
    with pytest.raises(BtfError, match="contains itself"):
        Btf(m.bytes()).type(1)
    with pytest.raises(BtfError, match="no type 9"):
        Btf(m.bytes()).type(9)
    m.add(4, "cut", 8, count=1)
    with pytest.raises(BtfError, match="within a type"):
        Btf(m.bytes()).find("struct", "cut")
    unknown = Maker()
    unknown.add(25, "new", 0)
    with pytest.raises(BtfError, match="kind 25"):
        _ = Btf(unknown.bytes()).count


def test_unknown_kinds_are_skipped_by_their_layout() -> None:
    m = Maker()
    m.add(25, "new", 0, 1, 2, 3, 4, 5, count=2)  # one word, then two words for each element
    m.add(1, "int", 4, 1 << 24 | 32)
    layout = bytes(4 * 25) + struct.pack("<BBH", 4, 8, 0)
    assert Btf(m.bytes(32, layout)).type(2) == I32


def test_names_that_are_ends_of_others() -> None:
    """Some strings stand in others, some hold odd bytes, and one name is that of two types."""
    for text in (b"\0int\0struct_of\0", b"\0int\0struct_\x01of\0"):
        end = text.rfind(b"of")
        rows = struct.pack("<4I", 1, 1 << 24, 4, 1 << 24 | 32)
        rows += struct.pack("<9I", 5, 12 << 24, 1, end, 12 << 24, 1, 5, 12 << 24, 1)
        header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(rows), len(rows), len(text))
        names = {text[5:-1].decode(), "of"}
        made = Btf(header + rows + text)
        assert made.function_names == names and made.functions() == made.names("func") == sorted(names)
        assert made.names_after("func", "str") == [text[8:-1].decode()]
        assert [made._table("func")[name] for name in (text[5:-1].decode(), "of")] == [2, 3]


@pytest.fixture(scope="module")
def vmlinux() -> Btf:
    return Btf.live(LIVE)


@pytest.mark.skipif(not os.access(LIVE, os.R_OK), reason="this kernel has no BTF")
class TestRunningKernel:
    def test_tasks(self, vmlinux: Btf) -> None:
        task = vmlinux.struct("struct task_struct")
        assert task and task.size > 1000
        parent, name = task.find("real_parent"), task.find("comm")
        assert parent and isinstance(parent.type, Pointer) and parent.type.target == task
        assert name and name.type == Array(CHAR, 16)
        assert {"pid", "tgid", "flags", "mm"} <= set(task.names())

    def test_names(self, vmlinux: Btf) -> None:
        assert vmlinux.lookup("pid_t") == I32 and vmlinux.lookup("size_t") == U64
        closed = vmlinux.enum_constant("TCP_CLOSE")
        assert closed and closed[1] == 7
        switch = vmlinux.raw_tracepoint("sched_switch")
        assert switch and [name for name, _ in switch.params][:3] == ["preempt", "prev", "next"]
        read = vmlinux.func("vfs_read")
        assert read and [name for name, _ in read.params] == ["file", "buf", "count", "pos"]

    def test_names_in_one_go_are_those_of_each_type(self, vmlinux: Btf) -> None:
        named: dict[str, dict[str, int]] = {}
        for id in range(1, vmlinux.count + 1):
            named.setdefault(vmlinux.kind(id), {}).setdefault(vmlinux.name(id), id)
        for kind in ("func", "struct", "typedef"):
            expected = {name: id for name, id in named[kind].items() if name}
            assert vmlinux.names(kind) == sorted(expected)
            assert all(vmlinux.find(kind, name) == id for name, id in expected.items())
        assert vmlinux.function_names == named["func"].keys()
        iterators = [name[10:] for name in named["struct"] if name.startswith("bpf_iter__")]
        assert iterators and vmlinux.names_after("struct", "bpf_iter__") == sorted(iterators)

    def test_members_lie_within_their_structs(self, vmlinux: Btf) -> None:
        for name in vmlinux.names("struct")[::40]:
            found = vmlinux.struct(f"struct {name}")
            assert found
            for m in found.members:
                bits = m.bit_offset + m.bit_size
                end = m.offset + ((bits + 7) // 8 if m.bit_size else m.type.size)
                assert m.offset >= 0 and end <= found.size, (name, m)
