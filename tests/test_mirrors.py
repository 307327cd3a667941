"""The tables of pbt.uapi against the running kernel: its BTF, and the answers of its verifier."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

import pytest

from pbt import arch
from pbt.host.btf import Btf
from pbt.source import KernelError
from pbt.sys import bpf
from pbt.types import Struct
from pbt.uapi import consts, structs
from pbt.uapi.features import FEATURES
from pbt.uapi.helpers import HELPERS, Helper, named
from pbt.uapi.maps import MAP_TYPES
from pbt.uapi.progs import PROG_TYPES, may_access, returns

BTF = "/sys/kernel/btf/vmlinux"
with_btf = pytest.mark.skipif(not os.access(BTF, os.R_OK), reason="the kernel has no BTF")
with_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
MEASURED = os.uname().release.startswith("6.18.")
on_618 = pytest.mark.skipif(not MEASURED, reason="the tables are those of 6.18")


@pytest.fixture(scope="module")
def btf() -> Btf:
    return Btf.live(BTF)


# --- structs ---------------------------------------------------------------------------------

Place = tuple[str, int, int]  # name, offset, size
OWN_NAMES = {"bits", "multi_flags", "reserved", "reserved_1", "reserved_2", "rest0", "rest1", "rest2",
             "rest3", "rest4", "rest5"}  # fmt: skip


def places(of: Struct, base: int = 0) -> Iterator[Place]:
    """Fields of a struct and of its anonymous members; bit fields by the word they are in."""
    for member in of.members:
        if member.name:
            yield member.name, base + member.offset, member.type.size
        elif isinstance(member.type, Struct):
            yield from places(member.type, base + member.offset)


def step(of: Struct, name: str) -> tuple[Struct, int]:
    """The struct called `name` in another, or the anonymous one that has a field of that name."""
    for member in of.members:
        if isinstance(member.type, Struct):
            if member.name == name:
                return member.type, member.offset
            if not member.name and any(place[0] == name for place in places(member.type)):
                inside = next((m for m in member.type.members if m.name == name), None)
                if inside is not None and isinstance(inside.type, Struct):
                    return inside.type, member.offset + inside.offset
                return member.type, member.offset
    raise AssertionError(f"{of}: no {name}")


@with_btf
@pytest.mark.parametrize("name", structs.MIRRORS)
def test_a_mirror_has_the_kernels_names_offsets_and_sizes(btf: Btf, name: str) -> None:
    where, path = structs.MIRRORS[name]
    root = btf.struct(f"union {where}") if where == "bpf_attr" else btf.struct(f"struct {where}")
    assert root is not None
    known, at, size = set(places(root)) if not path else set(), 0, root.size
    for part in path:
        root, offset = step(root, part)
        at += offset
        known |= set(places(root, at))
    cls = getattr(structs, name)
    spans = {(offset, length) for _, offset, length in known}
    for field, *_ in cls._fields_:
        place = getattr(cls, field)
        if place.offset < size and field not in OWN_NAMES and (field, name) != ("flags", "PerfEventAttr"):
            assert (field, place.offset, place.size) in known
        elif field == "multi_flags":
            assert (place.offset, place.size) in spans
    if not path:
        assert ctypes.sizeof(cls) <= size or not MEASURED


@with_btf
def test_bits_of_perf_event_attr(btf: Btf) -> None:
    attr = btf.struct("struct perf_event_attr")
    assert attr is not None
    bits = {m.name: m.offset * 8 + m.bit_offset - 320 for m in attr.members if m.bit_size}
    assert {n: b for n, b in bits.items() if n in structs.PERF_ATTR_FLAGS} == {
        n: b for n, b in structs.PERF_ATTR_FLAGS.items() if n in bits
    }
    assert len(bits) >= 30


@with_btf
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="this machine's registers are not x86-64's")
def test_registers_of_this_machine(btf: Btf) -> None:
    regs = btf.struct("struct pt_regs")
    table = arch.get("x86_64")
    assert regs is not None and regs.size == table.regs_size
    for name, offset, _ in places(regs):
        assert table.regs.get(name, offset) == offset
    assert all(regs.find(name) for name in ("r15", "di", "orig_ax", "ip", "sp", "ss"))


# --- numbers ---------------------------------------------------------------------------------


@with_btf
@pytest.mark.parametrize(
    ("table", "prefix"),
    [
        (consts.CMD, "BPF_"),
        (consts.MAP_TYPE, "BPF_MAP_TYPE_"),
        (consts.PROG_TYPE, "BPF_PROG_TYPE_"),
        (consts.ATTACH_TYPE, "BPF_"),
        (consts.PERF_COUNT_HW, "PERF_COUNT_HW_"),
        (consts.PERF_COUNT_SW, "PERF_COUNT_SW_"),
        ({h.name: h.id for h in HELPERS.values()}, "BPF_FUNC_"),
        ({k: v for k, v in vars(consts).items() if k.startswith(("PERF_SAMPLE_", "PERF_RECORD_"))}, ""),
    ],
    ids=["CMD", "MAP_TYPE", "PROG_TYPE", "ATTACH_TYPE", "HW", "SW", "HELPERS", "PERF"],
)
def test_numbers_are_the_kernels(btf: Btf, table: dict[str, int], prefix: str) -> None:
    found = {name: btf.enum_constant(prefix + name) for name in table}
    missing = [name for name, answer in found.items() if answer is None]
    assert not missing or not MEASURED
    assert {n: a[1] for n, a in found.items() if a is not None} == {
        n: v for n, v in table.items() if n not in missing
    }


# --- programs --------------------------------------------------------------------------------

MOV, EXIT, LOADS, STORES = (
    0xB7,
    0x95,
    {1: 0x71, 2: 0x69, 4: 0x61, 8: 0x79},
    {1: 0x73, 2: 0x6B, 4: 0x63, 8: 0x7B},
)
LOADABLE = {
    **{name: "" for name in ("SOCKET_FILTER", "KPROBE", "SCHED_CLS", "SCHED_ACT", "TRACEPOINT", "XDP",
                             "PERF_EVENT", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB",
                             "CGROUP_DEVICE", "SK_MSG", "RAW_TRACEPOINT", "LWT_SEG6LOCAL", "SK_REUSEPORT",
                             "FLOW_DISSECTOR", "CGROUP_SYSCTL", "RAW_TRACEPOINT_WRITABLE")},
    "CGROUP_SKB": "CGROUP_INET_INGRESS", "CGROUP_SOCK": "CGROUP_INET_SOCK_CREATE",
    "CGROUP_SOCK_ADDR": "CGROUP_INET4_CONNECT", "CGROUP_SOCKOPT": "CGROUP_SETSOCKOPT",
    "SK_LOOKUP": "SK_LOOKUP", "SYSCALL": "", "NETFILTER": "NETFILTER",
}  # fmt: skip
ABSENT = {"probe_write_user", "override_return"}  # by lockdown and by configuration


def insn(opcode: int, dst: int = 0, src: int = 0, offset: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", opcode, dst | src << 4, offset, imm)


def log_of(prog_type: str, code: bytes, license: str = "GPL", attach: str | None = None) -> str | None:
    """The verifier's objection to a program, None if it has none."""
    flags = consts.BPF_F_SLEEPABLE if prog_type == "SYSCALL" else 0
    expected = LOADABLE[prog_type] if attach is None else attach
    try:
        bpf.prog_load(prog_type, code, license=license, expected_attach_type=expected, flags=flags).close()
    except KernelError as error:
        return error.log or error.name
    return None


def ends(prog_type: str, value: int = 0) -> bytes:
    return insn(MOV, imm=value) + insn(EXIT)


@with_root
@on_618
@pytest.mark.live
@pytest.mark.parametrize("name", LOADABLE)
def test_helpers_allowed(name: str) -> None:
    forbidden = (
        "cannot use helper",
        "unknown func",
        "invalid func",
        "supported only for",
        "not supported for",
        "not allowed in probe",
    )
    allowed = set()
    for helper in HELPERS.values():
        log = log_of(name, insn(0x85, imm=helper.id) + ends(name))
        if log is None or not any(words in log for words in forbidden):
            allowed.add(helper.name)
    table = PROG_TYPES[name].helpers
    assert allowed - table == set()
    assert table - allowed <= ABSENT


WIDER = {
    "CGROUP_SOCK",
    "CGROUP_SOCK_ADDR",
    "CGROUP_SOCKOPT",
    "XDP",
}  # what is allowed depends on the attach type


@with_root
@on_618
@pytest.mark.live
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="measured on x86-64")
@pytest.mark.parametrize("name", LOADABLE)
def test_context_accesses_allowed(name: str) -> None:
    prog = PROG_TYPES[name]
    for offset in range(232):
        for size in (1, 2, 4, 8):
            read = insn(LOADS[size], 2, 1, offset) + ends(name)
            write = insn(MOV, 2) + insn(STORES[size], 1, 2, offset) + ends(name)
            for rules, code in ((prog.reads, read), (prog.writes, write)):
                accepted, stated = log_of(name, code) is None, may_access(rules, offset, size)
                assert accepted == stated or (stated and name in WIDER), (offset, size)


@with_root
@on_618
@pytest.mark.live
@pytest.mark.parametrize(
    ("name", "attach"),
    [
        *LOADABLE.items(),
        ("CGROUP_SKB", "CGROUP_INET_EGRESS"),
        ("CGROUP_SOCK_ADDR", "CGROUP_INET4_BIND"),
        ("CGROUP_SOCK_ADDR", "CGROUP_INET6_GETPEERNAME"),
        ("CGROUP_SOCK_ADDR", "CGROUP_UDP4_RECVMSG"),
        ("KPROBE", "TRACE_UPROBE_SESSION"),
    ],
)
def test_return_values_allowed(name: str, attach: str) -> None:
    accepted = [
        value for value in (-1, 0, 1, 2, 3, 4) if log_of(name, ends(name, value), attach=attach) is None
    ]
    low, high = returns(name, attach) or (-1, 4)
    assert accepted == list(range(low, high + 1))


# --- helpers ---------------------------------------------------------------------------------

UNREADY = {
    "PTR_TO_FUNC",
    "SPIN_LOCK",
    "TIMER",
    "KPTR",
    "PTR_TO_PERCPU_BTF_ID",
    "DYNPTR",
    "CONST_ALLOC_SIZE_OR_ZERO",
}
KEYED = {"none": 0, "u32": 4, "any": 4, "lpm": 8, "cgroup": 8}
VALUED = {"none": 0, "u32": 4, "any": 8, "u32/u64": 4, "stack": 80, "btf": 8}


class Maps:
    """One small map of each type that can be had, and a read-only one."""

    def __init__(self) -> None:
        self.fds: dict[str, bpf.Fd] = {}
        for row in MAP_TYPES.values():
            entries = {"any": 8, "page": 4096, "zero": 0}[row.entries]
            key, value = KEYED[row.key], VALUED[row.value]
            flags = consts.BPF_F_NO_PREALLOC if row.name == "LPM_TRIE" else 0
            try:
                self.fds[row.name] = bpf.map_create(row.name, key, value, entries, flags)
            except KernelError as error:
                assert error.name in ("EINVAL", "524", "EPERM", "EBADF", "ENODEV"), row.name
        self.text = bpf.map_create("ARRAY", 4, 64, 1, consts.BPF_F_RDONLY_PROG)
        bpf.map_update(self.text.fileno(), bytes(4), b"%d".ljust(64, b"\0"))
        bpf.map_freeze(self.text.fileno())

    def of(self, helper: Helper) -> bpf.Fd | None:
        return next(
            (self.fds[m.name] for m in MAP_TYPES.values() if helper.name in m.helpers and m.name in self.fds),
            None,
        )


@pytest.fixture(scope="module")
def maps() -> Maps:
    return Maps()


def wide(register: int, fd: int, pseudo: int) -> bytes:
    return insn(0x18, register, pseudo, 0, fd) + insn(0)


class Call:
    """A program that calls one helper with arguments of the kinds it asks for."""

    def __init__(self, helper: Helper, prog_type: str, maps: Maps) -> None:
        self.helper, self.prog_type, self.maps = helper, prog_type, maps
        map_ = maps.of(helper)
        self.map = map_.fileno() if map_ is not None else -1
        self.before = insn(0xBF, 6, 1) + b"".join(insn(0x7A, 10, 0, -8 * n) for n in range(1, 17))
        if any("SOCK_COMMON" in arg for arg in helper.args):
            assert 168 in PROG_TYPES[prog_type].pointers
            self.before += insn(0x79, 7, 6, 168) + insn(0x55, 7, 0, 2) + insn(MOV) + insn(EXIT)
        if any(arg.endswith(":task_struct") for arg in helper.args):
            self.before += insn(0x85, imm=HELPERS["get_current_task_btf"].id) + insn(0xBF, 7, 0)
        if "PTR_TO_ALLOC_MEM" in helper.args:
            self.before += wide(1, maps.fds["RINGBUF"].fileno(), 1) + insn(MOV, 2, imm=8) + insn(MOV, 3)
            self.before += insn(0x85, imm=HELPERS["ringbuf_reserve"].id)
            self.before += insn(0xBF, 7, 0) + insn(0x55, 7, 0, 2) + insn(MOV) + insn(EXIT)
        self.before += insn(0x85, imm=HELPERS["get_prandom_u32"].id)  # from here on r1 to r5 are unset

    def argument(self, index: int) -> bytes:
        register, (name, parameter) = index + 1, named(self.helper.args[index])
        if name == "CONST_MAP_PTR":
            return wide(register, self.map, consts.BPF_PSEUDO_MAP_FD)
        if name == "CONST_STR":
            return wide(register, self.maps.text.fileno(), consts.BPF_PSEUDO_MAP_VALUE)
        if "SIZE" in name:
            return insn(MOV, register, imm=self.size())
        if name.startswith("PTR_TO_CTX"):
            return insn(0xBF, register, 6)
        if "SOCK_COMMON" in name or parameter == "task_struct" or name == "PTR_TO_ALLOC_MEM":
            return insn(0xBF, register, 7)
        if name == "ANYTHING":
            return insn(MOV, register)
        if name.endswith("_OR_NULL") and "MEM" not in name:
            return insn(MOV, register)
        return insn(0xBF, register, 10) + insn(0x07, register, imm=-128)

    def size(self) -> int:
        return {"check_mtu": 4, "get_ns_current_pid_tgid": 8}.get(self.helper.name, 8)

    def code(self, change: dict[int, bytes] | None = None) -> bytes:
        parts = [(change or {}).get(i, self.argument(i)) for i in range(len(self.helper.args))]
        return self.before + b"".join(parts) + insn(0x85, imm=self.helper.id) + ends(self.prog_type)

    def objection(self, change: dict[int, bytes] | None = None, license: str = "GPL") -> str | None:
        log = log_of(self.prog_type, self.code(change), license)
        return None if log is not None and "reference" in log else log


def place_to_test(helper: Helper) -> str:
    """A program type in which the call can be tried; "" if there is none."""
    kinds = {named(arg) for arg in helper.args}
    names = {name for name, _ in kinds}
    if names & UNREADY or any("BTF_ID" in n and p not in ("", "task_struct") for n, p in kinds):
        return ""
    if any("RINGBUF" in p for _, p in kinds) or helper.name in (
        "spin_lock",
        "spin_unlock",
        "sk_release",
        "dynptr_from_mem",
    ):
        return ""
    types = [n for n in LOADABLE if helper.name in PROG_TYPES[n].helpers and n != "RAW_TRACEPOINT_WRITABLE"]
    if any("SOCK_COMMON" in n for n in names):
        types = [n for n in types if 168 in PROG_TYPES[n].pointers]
    if helper.name in ("copy_from_user", "copy_from_user_task", "sys_bpf"):
        types = [n for n in types if n == "SYSCALL"]
    return types[0] if types and helper.name not in ABSENT else ""


TESTED = [helper for helper in HELPERS.values() if place_to_test(helper)]


@with_root
@on_618
@pytest.mark.live
@pytest.mark.parametrize("helper", TESTED, ids=lambda helper: helper.name)
def test_a_helper_takes_what_its_row_says(maps: Maps, helper: Helper) -> None:
    prog_type = place_to_test(helper)
    if "CONST_MAP_PTR" in helper.args and maps.of(helper) is None:
        pytest.skip("no such map here")
    call = Call(helper, prog_type, maps)
    assert call.objection() is None
    for index, (name, _) in enumerate(map(named, helper.args)):
        register = index + 1
        assert "!read_ok" in (call.objection({index: b""}) or "") or helper.name == "get_cgroup_classid"
        if "CONST_SIZE" in name and (helper.name, index) != ("snprintf", 4):  # tied to the format
            zero = call.objection({index: insn(MOV, register)})
            assert (zero is None) == name.endswith("OR_ZERO"), zero
        if name not in ("ANYTHING",) and "SIZE" not in name:
            known = call.objection({index: insn(MOV, register, imm=1)}) is not None
            assert known or helper.name == "get_cgroup_classid"
        if "MEM" in name and name != "PTR_TO_ALLOC_MEM" and helper.name != "snprintf":
            frozen = wide(register, maps.text.fileno(), consts.BPF_PSEUDO_MAP_VALUE)
            refusal = call.objection({index: frozen})
            assert (refusal is None) == ("RDONLY" in name or name == "MEM_FIXED"), refusal
        if name.endswith("_OR_NULL") or "_OR_NULL_" in name:
            assert call.objection({index: insn(MOV, register)}) is None or "SIZE" in helper.args[index + 1]
    log = call.objection(license="Proprietary")
    needs_gpl = helper.gpl or any("task_struct" in arg for arg in helper.args)  # get_current_task_btf is
    assert (log is not None and "GPL" in log) == needs_gpl


def test_most_helpers_are_tested() -> None:
    assert len(TESTED) >= 140


# --- features --------------------------------------------------------------------------------


@with_root
@on_618
@pytest.mark.live
def test_this_kernel_has_the_features_of_its_release(btf: Btf) -> None:
    from pbt.sys.attempt import attempt

    def btf_id(kind: str, name: str) -> int:
        return btf.find(kind, name) or 0

    missing = {f.name for f in FEATURES.values() if not attempt(f, btf_id)}
    # what configuration or a policy may take away
    assert missing <= {
        "fentry",
        "fexit",
        "lsm",
        "kprobe",
        "kprobe_multi",
        "kprobe_session",
        "netfilter",
        *ABSENT,
    }


def test_every_row_names_rows_that_exist() -> None:
    for helper in HELPERS.values():
        assert helper.feature in ("", *FEATURES), helper
    for map_ in MAP_TYPES.values():
        assert map_.helpers <= HELPERS.keys()
        assert consts.MAP_TYPE[map_.name] == map_.id
    for prog in PROG_TYPES.values():
        assert prog.helpers <= HELPERS.keys()
        assert consts.PROG_TYPE[prog.name] == prog.id
        assert set(prog.attach_types) <= consts.ATTACH_TYPE.keys()
