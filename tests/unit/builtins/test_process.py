"""Who runs, what the probe knows, the clocks: each builtin variable on the model of the kernel."""

from __future__ import annotations

from typing import Any

import pytest

from pbt.source import ScriptErrors
from tests.unit.lower.machine import MODERN, Ran, compiled, machine

REGS = {"r15": 0, "rbx": 5, "rax": 10, "rcx": 11, "rdx": 12, "rsi": 13, "rdi": 14, "ip": 16, "sp": 19}


def registers(**values: int) -> bytes:
    """struct pt_regs of x86-64, 21 u64, followed by room."""
    words = [0] * 21
    for name, value in values.items():
        words[REGS[name]] = value
    return b"".join(w.to_bytes(8, "little") for w in words) + bytes(88)


def one(expression: str, probe: str = "BEGIN", **options: Any) -> Any:
    return Ran(f"{probe} {{ print({expression}); }}", **options).printed[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pid", 11), ("tid", 12), ("uid", 1000), ("gid", 100), ("comm", b"bash"), ("cpu", 0), ("rand", 7),
        ("nsecs", 5_000_000_000),
        ("nsecs()", 5_000_000_000), ("nsecs(boot)", 5_000_000_000), ("nsecs(monotonic)", 4_999_999_999),
        ("nsecs(tai)", 5_000_000_001), ("jiffies", 4242), ("numaid", 3), ("cgroup", 1 << 33), ("ncpus", 1),
        ("elapsed", 5_000_000_000),
        ("probe", b"begin"), ("probetype", b"special"), ("username", (1000).to_bytes(8, "little")),
    ],
)  # fmt: skip
def test_variables(name: str, expected: object) -> None:
    assert one(name) == expected


def test_elapsed_counts_from_the_start_of_the_session() -> None:
    ran = Ran("BEGIN { @ = elapsed; }")
    assert ran.made.map("start").map_type == "ARRAY"
    ran.machine.store(ran.values["start"][bytes(4)], 8, 4_000_000_000)
    ran.go(ran.made.programs[0].code, bytes(64))
    assert ran.maps == {"@": 1_000_000_000}


def test_without_the_boot_clock() -> None:
    target = machine(tuple(f for f in MODERN if f != "ktime_get_boot_ns"))
    assert one("nsecs", target=target) == 4_999_999_999


def test_arguments_of_a_function() -> None:
    ctx = registers(rdi=100, rsi=1 << 63, rdx=102, rcx=103, ip=0xFFFFFFFF81000100)
    ran = Ran(
        "kprobe:do_it { print(arg0); print(arg1); print(arg2); print(arg3); "
        'print(reg("di")); print(probe); print(func); }',
        ctx=ctx,
    )
    assert ran.printed[:6] == [100, 1 << 63, 102, 103, 100, b"kprobe:do_it"]
    assert int.from_bytes(ran.printed[6], "little") == 0xFFFFFFFF81000100


def test_the_result_of_a_function() -> None:
    assert one("retval", "kretprobe:do_it", ctx=registers(rax=(1 << 64) - 5)) in (-5, (1 << 64) - 5)


def test_fields_of_a_tracepoint() -> None:
    fields = (
        b"\0" * 8
        + b"cat\0".ljust(16, b"\0")
        + (-3 & 0xFFFF).to_bytes(2, "little")
        + bytes(6)
        + (99).to_bytes(8, "little")
    )
    fields += (4097 << 32).to_bytes(8, "little") + bytes(range(6)) + bytes(2)
    fields += (64 | 5 << 16).to_bytes(4, "little") + bytes(4) + b"late\0"
    ran = Ran(
        "tracepoint:test:go { print(args.comm); print(args.prio); print(args.when); "
        "print(str(args.path)); print(args.name); print(args.mac[3]); "
        "print(args.comm == \"cat\"); @[args.comm] = count(); }"
    ,
              ctx=fields.ljust(256, b"\0"), memory={"p": b"/etc\0"})  # fmt: skip
    assert ran.printed == [b"cat", -3, 99, b"/etc", b"late", 3, True] and ran.maps == {"@": {b"cat": 1}}
    assert ran.results == [1]


def test_an_address_of_a_symbol() -> None:
    assert one('kaddr("do_it")') == 0xFFFFFFFF81000100
    with pytest.raises(ScriptErrors, match="Failed to resolve kernel symbol: nothing"):
        compiled('BEGIN { print(kaddr("nothing")); }')


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("BEGIN { print(arg0); }", "arg0 builtin can only be used"),
        ("BEGIN { print(retval); }", "retval builtin can only be used"),
        ("BEGIN { print(args.x); }", "args builtin can only be used"),
        ("kprobe:do_it { print(args.x); }", "retval; fentry:do_it has them by name"),
        ("BEGIN { print(func); }", "func builtin can not be used"),
        ("kprobe:do_it { print(retval); }", "retval builtin can only be used"),
        ("tracepoint:test:go { print(args.cmm); }", "Can't find a field 'cmm'"),
        ("BEGIN { print(nsecs(atomic)); }", "Invalid timestamp mode: atomic"),
        ("BEGIN { print(pid(1, 2, 3)); }", "takes up to"),
    ],
)
def test_errors(script: str, message: str) -> None:
    with pytest.raises(ScriptErrors, match=message):
        compiled(script)


def test_tai_needs_its_helper() -> None:
    with pytest.raises(ScriptErrors, match="does not support tai"):
        compiled("BEGIN { print(nsecs(tai)); }", target=machine(("ringbuf",)))
