from __future__ import annotations

import os
from pathlib import Path

import pytest

from pbt import aot
from pbt.bundle import Bundle, Event, Map, Place
from pbt.data import replace
from pbt.host.target import Target
from pbt.isa.insn import decode
from pbt.layouts import layouts
from pbt.record import Record
from pbt.source import UsageError
from pbt.types import (
    BOOL,
    I32,
    U8,
    U32,
    U64,
    Array,
    Buffer,
    Enum,
    Function,
    Int,
    Member,
    Opaque,
    Pointer,
    Str,
    Struct,
    Tuple,
    Type,
)  # fmt: skip
from tests.unit.saved import machine, work

SCRIPT = """BEGIN { printf("start %s\\n", $1 > 1 ? "big" : "small"); }
tracepoint:sched:sched_switch /args.prev_pid > 1/ { @[args.prev_comm, cpu] = count(); @h = hist(nsecs); }
tracepoint:*:* { @all = sum(1); }
interval:s:1 { print((1, "x", $1)); print(@all); clear(@); exit(); }
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    made = work(SCRIPT, machine(tmp_path / "m"), "5").bundle
    assert made is not None
    return made


def holding(type_: Type) -> Bundle:
    """A bundle of one map whose value has the type."""
    return Bundle("n", "s", (), (Map("@x", "HASH", 8, 8, 1, value=type_),), (), "x86_64", "6.1")


def through(type_: Type) -> Type:
    found = aot.load(aot.save(holding(type_))).maps[0].value
    assert found is not None
    return found


def test_what_is_saved_is_loaded(bundle: Bundle) -> None:
    again = aot.load(aot.save(bundle))
    assert again == bundle
    assert aot.save(again) == aot.save(bundle)


def test_the_same_script_and_machine_make_the_same_bytes(tmp_path: Path, bundle: Bundle) -> None:
    again = work(SCRIPT, machine(tmp_path / "other"), "5").bundle
    assert again is not None and aot.save(again) == aot.save(bundle)


def test_a_file_runs_by_itself_and_is_small(bundle: Bundle) -> None:
    data = aot.save(bundle)
    assert data.startswith(b"#!/usr/bin/env -S pbt run\n") and aot.is_tool(data)
    assert len(data) < 4000


@pytest.mark.parametrize(
    "type_",
    [
        U64, BOOL, Str(64), Buffer(10), Opaque("inet", 20, 4, "x"), Array(Array(I32, 2), 3),
        Tuple((U8, Str(3)), ("a", "b")), Enum("e", 4, False), Pointer(Pointer(Function((("x", U32),), I32), "user")),
    ],
)  # fmt: skip
def test_types(type_: Type) -> None:
    assert through(type_) == type_


def test_a_struct_keeps_its_members_and_forgets_what_pointers_lead_to() -> None:
    def members() -> tuple[Member, ...]:
        return (
            Member("next", Pointer(node, "kernel"), 0, ctype="struct node *"),
            Member("bits", Int(4), 8, 3, 5),
            Member("color", Enum("color", 4, False, (("red", 1),)), 12),
        )

    node = Struct("struct node", 16, 8, members)
    found = through(node)
    assert isinstance(found, Struct) and found == node and found.members == node.members
    pointer, color = found.members[0].type, found.members[2].type
    assert isinstance(pointer, Pointer) and isinstance(pointer.target, Struct) and isinstance(color, Enum)
    assert pointer.target.members == () and str(pointer) == "struct node *"
    assert color.values == (("red", 1),)


def test_nameless_structs_of_one_size_stay_apart() -> None:
    one = Struct("struct (anon)", 4, 4, lambda: (Member("a", U32, 0),))
    two = Struct("struct (anon)", 4, 4, lambda: (Member("b", I32, 0),))
    found = through(Tuple((one, two)))
    assert isinstance(found, Tuple)
    assert [list(e.names()) for e in found.elements if isinstance(e, Struct)] == [["a"], ["b"]]


def test_literal_arguments_keep_their_kinds() -> None:
    event = Event(
        "x", Record.of([("id", U32)]), "%d\ud800", (1, "a", None, (True, b"\0\xff"), [2], {"k": (3,)})
    )
    made = replace(holding(U8), events=(event,), config={"a": 1, "b": True})
    assert aot.load(aot.save(made)) == made


def test_foreign_and_damaged_files_say_what_is_wrong(bundle: Bundle) -> None:
    data = aot.save(bundle)
    cases = {
        b"": "not a file made by pbt build",
        b"#!/bin/sh\nexit": "not a file made by pbt build",
        data[: len(aot.FIRST_LINE) + 11]: "ends within its first",
        data[:-1]: "checksum",
        data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]: "checksum",
        data.replace(aot.MAGIC + b"\x03", aot.MAGIC + b"\x02", 1): "has format 2, this pbt reads format 3",
    }
    for wrong, message in cases.items():
        with pytest.raises(UsageError, match=message):
            aot.load(wrong, "tool.pbt")


def test_no_change_of_a_byte_goes_unnoticed(bundle: Bundle) -> None:
    data = aot.save(bundle)
    for at in range(len(aot.FIRST_LINE), len(data), 7):
        with pytest.raises(UsageError):
            aot.load(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])


@pytest.mark.parametrize(
    "rows",
    ["[[2,8]]", "[[99]]", "[[2]]", "[5]", "{}", "[]", "[[4,[4,7],0,0]]", "[[2,8,false]]", "[[12,[3,0]]]"],
)
def test_what_only_looks_like_a_file_is_refused(rows: str) -> None:
    import struct
    import zlib

    body = zlib.compress(struct.pack("<I", len(rows)) + rows.encode())
    data = aot.MAGIC + struct.pack("<II", aot.FORMAT, zlib.crc32(body)) + body
    with pytest.raises(UsageError, match="damaged"):
        aot.load(data)


def test_files_are_executable_and_replaced_whole(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "tool.pbt"
    path.write_bytes(b"old")
    size = aot.write_file(str(path), aot.Tool(bundle))
    assert size == path.stat().st_size and os.access(path, os.X_OK)
    assert aot.read_file(str(path)).bundle == bundle and os.listdir(tmp_path) == ["m", "tool.pbt"]
    with pytest.raises(UsageError, match="cannot write"):
        aot.write_file(str(tmp_path / "no/such/folder"), aot.Tool(bundle))
    with pytest.raises(UsageError, match="cannot read"):
        aot.read_file(str(tmp_path / "nothing"))


def test_a_bundle_says_what_its_code_relies_on(tmp_path: Path, bundle: Bundle) -> None:
    assert bundle.features == ("cpu_v4", "ktime_get_boot_ns", "ringbuf")  # prev_pid: a load extends the sign
    plain = work("BEGIN { @ = count(); }", machine(tmp_path / "m")).bundle
    assert plain is not None and plain.features == ()


def test_a_file_fits_the_machine_it_was_built_for(tmp_path: Path, bundle: Bundle) -> None:
    tool = aot.Tool(bundle)
    aot.fit(tool, machine(tmp_path / "same"), "tool.pbt")
    old = machine(tmp_path / "old", release="5.4.0", features=[])
    with pytest.raises(UsageError, match=r"needs .*ringbuf.* this kernel \(5\.4\.0\) does not have"):
        aot.fit(tool, old, "tool.pbt")
    with pytest.raises(UsageError, match="built for x86_64, this machine is aarch64"):
        aot.fit(tool, machine(tmp_path / "arm", arch="aarch64"), "tool.pbt")


def test_fields_must_be_where_they_were(tmp_path: Path) -> None:
    made = work("t:sched:sched_switch { @ = args.prev_pid; }", machine(tmp_path / "m"))
    found = layouts(made)
    assert found == (aot.Layout("tracepoint:sched:sched_switch", "prev_pid", 24, 4),)
    assert made.bundle is not None
    newer = machine(tmp_path / "newer", release="6.19.0")
    aot.fit(aot.Tool(made.bundle, found), newer, "tool.pbt")
    form = tmp_path / "newer/tracefs/events/sched/sched_switch/format"
    form.write_text(form.read_text().replace("offset:24", "offset:28"))
    with pytest.raises(UsageError, match="prev_pid is 4 bytes at byte 28, not 4 bytes at byte 24"):
        aot.fit(aot.Tool(made.bundle, found), machine_again(newer), "tool.pbt")


def machine_again(target: Target) -> Target:

    return Target.load(target.folder)  # type: ignore[attr-defined]


def test_a_pid_goes_before_the_code_but_not_before_begin(tmp_path: Path, bundle: Bundle) -> None:
    made = aot.tied(bundle, machine(tmp_path / "m"), 42)
    by_name = {p.name: p for p in made.programs}
    before = {p.name: p for p in bundle.programs}
    assert by_name["begin"] == before["begin"]
    name = "tracepoint:sched:sched_switch"
    code, old = by_name[name].code, before[name].code
    assert code.insns.endswith(old.insns) and [r.insn - 7 for r in code.relocs] == [
        r.insn for r in old.relocs
    ]
    assert (
        len(code.spans) == len(old.spans) + 7
        and code.spans[7:] == old.spans
        and code.spans[0] == Place(-1, -1)
    )
    assert decode(code.insns)[3].imm == 42 and decode(code.insns)[4].imm == 1


@pytest.mark.live
def test_fields_that_builtins_read_themselves_are_among_them() -> None:
    made = work("BEGIN { print((leader_tid, leader_comm)); }", Target.live())
    names = {(row.struct, row.field) for row in layouts(made)}
    assert names == {("struct task_struct", name) for name in ("group_leader", "pid", "comm")}
