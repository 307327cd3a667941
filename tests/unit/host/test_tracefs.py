"""Format files as kernels write them, and the running kernel's where they can be read."""

from __future__ import annotations

import os
from errno import EACCES, EMFILE
from pathlib import Path

import pytest

from pbt.host.btf import Btf
from pbt.host.tracefs import Format, FormatError, Tracefs, _unreadable, parse_format
from pbt.types import BOOL, CHAR, I32, I64, U8, U16, U32, U64, VOID, Array, Enum, Pointer, Struct, Type

HEAD = """name: {name}
ID: 42
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

"""
TAIL = '\nprint fmt: "field:not a field", REC->x\n'


def make(*fields: str, name: str = "event", **rest: object) -> Format:
    lines = "".join(f"\tfield:{field}\n" for field in fields)
    return parse_format(HEAD.format(name=name) + lines + TAIL, **rest)  # type: ignore[arg-type]


def only(field: str, **rest: object) -> Type:
    return make(field, **rest).struct.members[0].type


class Known:
    def lookup(self, spelling: str) -> Type | None:
        known: dict[str, Type] = {
            "struct sockaddr": Struct("struct sockaddr", 16),
            "enum reason": Enum("reason", 4, False, (("NONE", 0),)),
            "kernel_ulong_t": U64,
        }
        return known.get(spelling)


def test_a_whole_file() -> None:
    form = make(
        "char comm[16];	offset:8;	size:16;	signed:0;",
        "pid_t pid;	offset:24;	size:4;	signed:1;",
    )
    assert (form.name, form.id) == ("event", 42)
    assert form.declarations == ("char comm[16]", "pid_t pid")
    assert [f.name for f in form.common] == ["common_type", "common_pid"]
    assert form.struct.size == 28
    assert [(m.name, m.type, m.offset, m.ctype) for m in form.struct.members] == [
        ("comm", Array(CHAR, 16), 8, "char[16]"), ("pid", I32, 24, "pid_t"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "type_"),
    [
        ("unsigned long a; offset:8; size:8; signed:0;", U64),
        ("unsigned long a; offset:8; size:4; signed:0;", U32),  # a 32-bit kernel's
        ("dev_t a; offset:8; size:4; signed:0;", U32),
        ("loff_t a; offset:8; size:8; signed:1;", I64),
        ("bool a; offset:8; size:1; signed:0;", BOOL),
        ("char a; offset:8; size:1; signed:0;", U8),
        ("void * a; offset:8; size:8; signed:0;", Pointer(VOID, "kernel")),
        ("const char *a; offset:8; size:8; signed:0;", Pointer(CHAR, "kernel")),
        ("struct page * a; offset:8; size:8; signed:0;", Pointer(Struct("struct page", 0, 1), "kernel")),
        ("u8 a[TASK_SIZE]; offset:8; size:6; signed:0;", Array(U8, 6)),
        ("unsigned long a[3]; offset:8; size:24; signed:0;", Array(U64, 3)),
        ("char a[2][8]; offset:8; size:16; signed:0;", Array(Array(CHAR, 8), 2)),
        ("uuid_t a; offset:8; size:16; signed:0;", Array(U8, 16)),
        ("struct in6_addr a; offset:8; size:16; signed:0;", Struct("struct in6_addr", 16)),
        ("enum reason a; offset:8; size:4; signed:0;", U32),
    ],
)
def test_types(field: str, type_: Type) -> None:
    assert only(field) == type_


def test_types_from_elsewhere() -> None:
    known = Known()
    address = only("struct sockaddr * a; offset:8; size:8; signed:0;", types=known)
    assert address == Pointer(Struct("struct sockaddr", 16), "kernel")
    reason = only("enum reason a; offset:8; size:4; signed:0;", types=known)
    assert isinstance(reason, Enum) and reason.values == (("NONE", 0),)
    assert only("enum reason a; offset:8; size:8; signed:0;", types=known) == U64  # the column wins


def test_data_loc() -> None:
    form = make(
        "__data_loc char[] name;	offset:8;	size:4;	signed:0;",
        "__rel_loc u64[] addresses;	offset:12;	size:4;	signed:0;",
    )
    name, addresses = form.struct.members
    assert (name.name, name.type, name.data_loc, name.ctype) == (
        "name",
        Array(CHAR, 0),
        "abs",
        "__data_loc char[]",
    )
    assert (addresses.name, addresses.type, addresses.data_loc) == ("addresses", Array(U64, 0), "rel")
    assert form.declarations[0] == "__data_loc char[] name"


def test_system_calls() -> None:
    form = make(
        "int __syscall_nr;	offset:8;	size:4;	signed:1;",
        "int dfd;	offset:16;	size:8;	signed:0;",
        "const char * filename;	offset:24;	size:8;	signed:0;",
        "umode_t mode;	offset:32;	size:8;	signed:0;",
        "const char *const * argv;	offset:40;	size:8;	signed:0;",
        "size_t count;	offset:48;	size:8;	signed:0;",
        name="sys_enter_openat",
        category="syscalls",
    )
    text = Pointer(CHAR, "user")
    assert [m.type for m in form.struct.members] == [I32, I32, text, U16, Pointer(text, "user"), U64]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1"),
        ("name: x\nID: many\n", "line 2: the ID"),
        ("name: x\nID: 1\nformat:\n\tfield:int a;\toffset:8;\n", "line 4: no offset and size"),
        ("name: x\nID: 1\nformat:\n\tfield:a;\toffset:8;\tsize:4;\n", "line 4: no type and name"),
        ("name: x\n\tfield:int a;\toffset:8;\tsize:four;\n", "line 2: no offset and size"),
    ],
)
def test_errors_name_the_line(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        parse_format(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place in ("sched/sched_switch", "sched/sched_wakeup", "skb/kfree_skb", "ftrace/print"):
        (tmp_path / "events" / place).mkdir(parents=True)
        text = HEAD.format(name=place.split("/")[1]) + TAIL
        (tmp_path / "events" / place / "format").write_text(text)
    (tmp_path / "events/sched/enable").write_text("0")
    (tmp_path / "available_filter_functions").write_text("b_func [mod]\na_func\na_func\n")
    return tmp_path


def test_folder(folder: Path) -> None:
    fs = Tracefs(str(folder))
    assert fs.events() == [("sched", "sched_switch"), ("sched", "sched_wakeup"), ("skb", "kfree_skb")]
    assert fs.events("s*", "*_s[vw]*") == [("sched", "sched_switch")]
    assert fs.events("skb", "kfree_skb") == [("skb", "kfree_skb")]
    assert fs.events("skb", "nothing") == fs.events("nothing", "*") == fs.events("..", "events") == []
    assert fs.functions() == ["a_func", "b_func"]
    form = fs.format("skb", "kfree_skb")
    assert form and form.name == "kfree_skb" and fs.id("skb", "kfree_skb") == 42
    assert fs.format("skb", "nothing") is None and fs.id("../..", "x") is None
    assert Tracefs(str(folder / "nowhere")).functions() == []


LIVE = "/sys/kernel/tracing"


@pytest.mark.skipif(not os.access(f"{LIVE}/events/sched", os.R_OK), reason="tracefs is not readable")
def test_every_format_of_the_running_kernel() -> None:
    fs = Tracefs(LIVE)
    vmlinux = "/sys/kernel/btf/vmlinux"
    types = Btf.live(vmlinux) if os.access(vmlinux, os.R_OK) else None
    events = fs.events()
    assert ("sched", "sched_switch") in events
    for category, event in events:
        form = fs.format(category, event, types)
        assert form and form.id == fs.id(category, event)
        for field, member in zip(form.fields, form.struct.members, strict=True):
            assert member.name == field.name
            assert member.data_loc or member.type.size <= field.size


@pytest.mark.parametrize(("number", "helps"), [(EACCES, "CAP_DAC_READ_SEARCH"), (EMFILE, "`ulimit -n`")])
def test_what_helps_depends_on_why_a_file_cannot_be_read(number: int, helps: str) -> None:
    assert helps in _unreadable("/x", OSError(number, os.strerror(number))).hint
