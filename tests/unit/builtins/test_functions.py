"""Functions on the model of a kernel: texts, bytes, ids, maps; and what the checker refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbt.source import ScriptErrors
from pbt.types import Opaque
from pbt.uapi.syscalls import MACHINES, name, names
from tests.unit.lower.machine import INPUTS, MODERN, Ran, compiled, machine

CALLS_BACK = machine((*MODERN, "bpf_loop"))
texts = st.text("ab", max_size=6)


def values(*expressions: str, before: str = "", **options: Any) -> list[Any]:
    """What each expression is in BEGIN."""
    prints = " ".join(f"print({expression});" for expression in expressions)
    return Ran(f"BEGIN {{ {before} {prints} }}", **options).printed


# --- texts and bytes --------------------------------------------------------------------------


@pytest.mark.parametrize("target", [machine(), CALLS_BACK], ids=["bounded loop", "bpf_loop"])
@given(hay=texts, part=texts)
@settings(max_examples=60, deadline=None)
def test_a_text_in_another(target: Any, hay: str, part: str) -> None:
    at, inside = values(f'strstr("{hay}", "{part}")', f'strcontains("{hay}", "{part}")', target=target)
    assert at == hay.find(part) and bool(inside) == (part in hay)


def test_texts_of_the_machine_are_searched() -> None:
    memory = {"hay": b"/usr/lib/x86_64/libc.so\0", "part": b"lib\0rest"}
    found = values("strstr(str({hay}), str({part}))", "strlen(str({hay}))", "strstr(comm, \"sh\")",
                   memory=memory, target=CALLS_BACK)  # fmt: skip
    assert found == [memory["hay"].find(b"lib"), 23, 2]


def test_long_texts_need_a_kernel_that_calls_back() -> None:
    script = "BEGIN { print(strstr(str(1), str(2))); }"
    with pytest.raises(ScriptErrors, match="too long for this kernel"):
        compiled(script)
    compiled(script, target=CALLS_BACK)


@given(left=texts, right=texts)
@settings(max_examples=30, deadline=None)
def test_texts_behind_one_another(left: str, right: str) -> None:
    found = values(f'str_concat("{left}", "{right}")', f'strlen("{left}")', f'strcap("{right}")')
    assert found == [(left + right).encode(), len(left), len(right) + 1]


def test_a_text_behind_another_is_cut_to_the_longest() -> None:
    script = f'config = {{ max_strlen = 10 }} BEGIN {{ print(str_concat("{"a" * 8}", "{"b" * 8}")); }}'
    assert Ran(script).printed == [b"aaaaaaaab"]


def test_the_joined_text_is_a_key_without_a_tail() -> None:
    ran = Ran(
        'BEGIN { @[str_concat("abcdefgh", "i")] = 1; @[str_concat("abc", "d")] = 2; @[str_concat("abc", "d")]++; }'
    )
    assert ran.maps == {"@": {b"abcdefghi": 1, b"abcd": 3}}


def test_the_length_of_text_at_an_address() -> None:
    memory = {"p": b"hello\0", "long": b"x" * 300 + b"\0"}
    prints = " ".join(f"print(strlen((int8 *){where}));" for where in ("{p}", "{long}", "1"))
    script = f"config = {{ max_strlen = 100 }} BEGIN {{ {prints} }}"
    assert Ran(script, memory=memory).printed == [5, 99, 0]


@given(a=st.binary(min_size=11, max_size=11), b=st.binary(min_size=11, max_size=11), size=st.integers(0, 11))
@settings(max_examples=60, deadline=None)
def test_bytes_compared(a: bytes, b: bytes, size: int) -> None:
    x, y = a[:size], b[:size]
    assert values(f"memcmp({{a}}, {{b}}, {size})", memory={"a": a, "b": b}) == [(x > y) - (x < y)]


def test_bytes_of_arrays_and_texts_compared() -> None:
    found = values('memcmp(pton("10.0.0.1"), pton("10.0.0.2"), 4)', 'memcmp(comm, "bash", 5)')
    assert found == [-1, 0]


# --- ids --------------------------------------------------------------------------------------


def test_ids_outside_and_inside_a_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [INPUTS["pid"], INPUTS["tid"]]
    assert values("pid", "tid", "pid()", "tid(curr_ns)", "pid(init)") == [*whole, *whole, whole[0]]
    target = machine()
    monkeypatch.setattr(type(target), "pid_namespace", (4, 4026532000))
    assert values("pid", "tid", "pid(curr_ns)", "pid(init)", "tid(init)", target=target) == [1, 2, 1, *whole]
    with pytest.raises(ScriptErrors, match="cannot be translated"):
        compiled("BEGIN { print(pid); }", target=machine(("ringbuf",)))


def test_the_child() -> None:
    assert values("cpid", "has_cpid") == [0, 0]


# --- numbers as names -------------------------------------------------------------------------


def test_numbers_keep_what_draws_them() -> None:
    work = compiled("BEGIN { @a = strerror(-2); @b = signal_name(9); @c = syscall_name(0); @d = comm(1); }")
    assert work.typed is not None
    kinds = [known.value for known in work.typed.maps.values()]
    assert kinds == [
        Opaque("errno", 8, 8),
        Opaque("signal", 8, 8),
        Opaque("syscall", 8, 8, "x86_64"),
        Opaque("comm_of", 8),
    ]


def test_system_calls() -> None:
    some = {("x86_64", 0): "read", ("x86_64", 59): "execve", ("x86_64", 257): "openat", ("aarch64", 56): "openat",
            ("i386", 11): "execve", ("riscv64", 221): "execve"}  # fmt: skip
    assert all(name(*key) == wanted for key, wanted in some.items())
    assert {name(machine, 435) for machine in (*MACHINES, "unheard of")} == {"clone3"}
    assert name("x86_64", 9999) == ""
    for known in MACHINES:
        assert len(set(names(known).values())) == len(names(known)) > 300


# --- maps -------------------------------------------------------------------------------------


def test_how_many() -> None:
    before = "@a[1] = 1; @a[2] = 1; @c[1, 2] = count();"
    assert values("len(@a)", "len(@c)", "len(kstack)", "len(ustack(raw, 9))", before=before) == [2, 1, 5, 3]


def test_find_sets_its_variable() -> None:
    script = 'BEGIN { @a[2] = 7; @t["x"] = comm; let $v; let $t; ' \
             'print(find(@a, 2, $v)); print($v); print(find(@a, 3, $v)); ' \
             'print($v); print(find(@t, "x", $t)); print($t); }'  # fmt: skip
    assert Ran(script).printed == [1, 7, 0, 7, 1, b"bash"]


def test_an_element_of_a_histogram_is_sent_by_its_key() -> None:
    ran = Ran('BEGIN { @h["a", 1] = hist(5); print(@h["a", 1]); @n[1] = count(); print(@n[1]); }')
    assert ran.sent == [("print", b"a", 1), ("print", 1)]
    assert ran.made.events[0].args == ("@h",)


# --- messages ---------------------------------------------------------------------------------


def test_the_kernels_trace_gets_numbers_whole() -> None:
    ran = Ran('BEGIN { debugf("%d%% %x %p\\n", 5, 255, pid); }')
    assert ran.traced == (b"%lld%% %llx %p\n\0", 5, 255, INPUTS["pid"])


def test_what_does_not_hold_ends_the_probe() -> None:
    assert Ran('BEGIN { assert(pid == 11, "a"); print(1); assert(0, "b"); print(2); }').sent == [
        ("print", 1),
        ("assert",),
    ]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("print(pid(other));", "Invalid PID namespace mode: other"),
        ("print(strlen(1));", "expects a string"),
        ('print(memcmp("a", "b", 9));', "between 0 and 2"),
        ("print(memcmp(1, 2, pid));", "integer literal"),
        ('debugf("%d %d %d %d", 1, 2, 3, 4);', "at most 3 values"),
        ('debugf("%c", 1);', "does not know the conversion %c"),
        ('static_assert(1 == 2, "never");', "never"),
        ('static_assert(pid, "x");', "integer literal"),
        ('fail("no %d", 3);', "no 3"),
        ("print(ustack(3, raw));", "mode first"),
        ("print(kstack(build_id));", "mode of ustack only"),
        ("print(kstack(-1));", "must not be negative"),
        ('print(reg("ip"));', "can not be used with"),
        ('print(uaddr("x"));', "uprobe and uretprobe"),
        ('print(kaddr("nowhere"));', "Failed to resolve kernel symbol: nowhere"),
        ("print(stack);", "stack was removed"),
        ("print(sym(1));", "sym was removed"),
        ("@ = 1; print(len(@a));", "Undefined map"),
        ("print(len(1));", "expects a map or a stack"),
        ("@h[1] = hist(1); print(len(@h));", "which has several elements for each"),
        ("@c[1] = count(); let $v; find(@c, 1, $v);", "plain values"),
        ("@c[1] = 1; find(@c, 1, 2);", "a variable is needed"),
        ("print(socket_cookie(1));", "struct sock"),
        ("print(path(1));", "struct path"),
        ('print(cgroupid("/nowhere"));', "is no cgroup"),
        ('print(strerror("x"));', "expects an integer"),
    ],
)  # fmt: skip
def test_refusals(statement: str, message: str) -> None:
    with pytest.raises(ScriptErrors) as raised:
        compiled(f"BEGIN {{ {statement} }}")
    assert message in str(raised.value)


@pytest.mark.parametrize("call", ["signal_thread(9)", "override(1)", 'write_user(uptr(1), "a", 1)'])
def test_what_needs_permission(call: str) -> None:
    with pytest.raises(ScriptErrors, match="unsafe function"):
        compiled(f"kprobe:do_it {{ {call}; }}")
    compiled(f"kprobe:do_it {{ {call}; }}", unsafe=True)


def test_registers_are_those_of_the_machine() -> None:
    regs = machine().arch.regs
    ctx = b"".join(n.to_bytes(8, "little") for n in range(21))
    script = 'kprobe:do_it { print(reg("ip")); print(reg("pc")); print(usermode); print(reg("di")); }'
    found = Ran(script, ctx=ctx).printed
    assert found == [regs["ip"] // 8, regs["ip"] // 8, int(regs["cs"] // 8 & 3 != 0), regs["di"] // 8]
