"""Wildcards, existence, listings and contexts against a small machine made of files."""

from __future__ import annotations

import pytest

from pbt.feature import Provider
from pbt.host.kallsyms import Kallsyms
from pbt.host.tracefs import Tracefs
from pbt.registry import collect
from pbt.source import NOWHERE
from pbt.types import I64, U64, Pointer

PROVIDERS = collect("pbt.probes", Provider)

FORMAT = """name: {name}
ID: {id}
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;
\tfield:{field};\toffset:16;\tsize:8;\tsigned:1;

print fmt: ""
"""
EVENTS = {
    ("syscalls", "sys_enter_open"): "const char * filename",
    ("syscalls", "sys_exit_open"): "long ret",
    ("sched", "sched_switch"): "long prev_state",
    ("sched", "sched_wakeup"): "long pid",
}
SYMBOLS = (
    "ffffffff81000000 T _stext",
    "ffffffff81000100 T vfs_read",
    "ffffffff81000200 T vfs_readv",
    "ffffffff81000300 t vfs_write.part.0",
    "ffffffff81000400 t vfs_write.cold",
    "ffffffff81000500 T vfs_write",
    "ffffffff81000600 D vfs_data",
    "ffffffffc0000000 t mod_fn\t[mod]",
)


class Machine:
    """As much of a Target as providers ask for, without BTF."""

    types = None

    def __init__(self, folder) -> None:
        for number, ((category, event), field) in enumerate(EVENTS.items()):
            path = folder / "events" / category / event
            path.mkdir(parents=True)
            (path / "format").write_text(FORMAT.format(name=event, id=100 + number, field=field))
        (folder / "kallsyms").write_text("\n".join(SYMBOLS) + "\n")
        self.tracefs, self.kallsyms = Tracefs(str(folder)), Kallsyms(str(folder / "kallsyms"))

    def has(self, feature: str) -> bool:
        return feature in self.features

    features = frozenset({"get_func_ip"})

    def modules(self) -> tuple[str, ...]:
        return ()

    def module_types(self, name: str) -> None:
        return None


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def expand(machine, name, *parts):
    provider = PROVIDERS[name]
    places = provider.expand(provider.parse(parts, NOWHERE), machine)
    return [provider.label(place).partition(":")[2] for place in places]


CASES = (
    ("tracepoint", ("sched", "*"), ["sched:sched_switch", "sched:sched_wakeup"]),
    ("tracepoint", ("s*", "*_open"), ["syscalls:sys_enter_open", "syscalls:sys_exit_open"]),
    ("tracepoint", ("sched", "sched_s?itch"), ["sched:sched_switch"]),
    ("tracepoint", ("sched", "sched_[a-t]*"), ["sched:sched_switch"]),
    ("tracepoint", ("*wake*",), ["sched:sched_wakeup"]),
    ("tracepoint", ("sched", "nosuch"), []),
    ("kprobe", ("vfs_read",), ["vfs_read"]),
    ("kprobe", ("vfs_*",), ["vfs_read", "vfs_readv", "vfs_write"]),
    ("kprobe", ("vfs_rea?",), ["vfs_read"]),
    ("kprobe", ("nosuch",), []),
    ("kprobe", ("vfs_read+4",), ["vfs_read+4"]),
    ("kprobe", ("mod", "mod_fn"), ["mod:mod_fn"]),
    ("kprobe", ("mod", "*"), ["mod:mod_fn"]),
    ("kprobe", ("mod", "vfs_read"), []),
    ("kprobe", ("vmlinux", "vfs_read"), ["vmlinux:vfs_read"]),
    ("kprobe", ("m*", "*"), ["mod_fn"]),
    ("kprobe", ("0xffffffff81000100",), ["0xffffffff81000100"]),
    ("kretprobe", ("*",), ["_stext", "mod_fn", "vfs_read", "vfs_readv", "vfs_write"]),
    ("fentry", ("vfs_read",), []),
    ("iter", ("task",), []),
    ("self", ("signal", "SIGUSR1"), ["signal:SIGUSR1"]),
    ("interval", ("s", "1"), ["s:1"]),
    ("rawtracepoint", ("sched_*",), ["sched_switch", "sched_wakeup"]),
    ("rawtracepoint", ("vmlinux", "sched_*"), ["vmlinux:sched_switch", "vmlinux:sched_wakeup"]),
    ("rawtracepoint", ("nosuch", "sched_*"), []),
)


@pytest.mark.parametrize(("name", "parts", "found"), CASES)
def test_expand(machine, name, parts, found):
    assert expand(machine, name, *parts) == found


def test_functions_of_tracefs_come_first(machine, tmp_path):
    (tmp_path / "available_filter_functions").write_text("vfs_read\nvfs_readv [mod]\nvfs_write.part.0\n")
    assert expand(machine, "kprobe", "vfs_*") == ["vfs_read", "vfs_readv"]


def test_kprobes_stay_off_forbidden_functions(machine, tmp_path):
    (tmp_path / "kprobes").mkdir()
    (tmp_path / "tracing").mkdir()
    (tmp_path / "kprobes/blacklist").write_text("0xffffffff81000200-0xffffffff81000210\tvfs_readv\n")
    machine.tracefs = Tracefs(str(tmp_path / "tracing"))
    assert expand(machine, "kprobe", "vfs_*") == ["vfs_read", "vfs_write"]
    assert expand(machine, "kprobe", "vfs_readv") == ["vfs_readv"]  # the kernel says why not


def test_functions_of_modules(machine, tmp_path):
    (tmp_path / "available_filter_functions").write_text("vfs_read\nmod_fn [mod]\nmod_other [mod]\n")
    assert expand(machine, "kprobe", "mod", "*") == ["mod:mod_fn", "mod:mod_other"]
    assert list(PROVIDERS["kprobe"].list(("mod", "mod_o*"), machine)) == ["mod:mod_other"]
    assert list(PROVIDERS["kprobe"].list(("*_fn",), machine)) == ["mod_fn"]


def test_many_functions_share_one_link_where_the_kernel_can(machine):
    machine.features = frozenset({"get_func_ip", "kprobe_multi"})
    provider = PROVIDERS["kprobe"]
    wild, plain = (
        provider.expand(provider.parse([n], NOWHERE), machine)[0] for n in ("vfs_rea?", "vfs_read")
    )
    assert provider.describe(wild, machine).expected_attach_type == "TRACE_KPROBE_MULTI"
    assert provider.describe(plain, machine).expected_attach_type == ""


def test_unreadable_symbols_mean_yes(machine, tmp_path):
    machine.kallsyms = Kallsyms(str(tmp_path / "none"))
    assert expand(machine, "kprobe", "anything") == ["anything"]


def test_hidden_addresses_leave_the_names(machine, tmp_path):
    (tmp_path / "hidden").write_text("0000000000000000 T vfs_read\n")
    machine.kallsyms = Kallsyms(str(tmp_path / "hidden"))
    assert expand(machine, "kprobe", "vfs_read") == ["vfs_read"] and not expand(machine, "kprobe", "nosuch")


LISTS = (
    ("tracepoint", ("sched", "*"), ["sched:sched_switch", "sched:sched_wakeup"]),
    ("tracepoint", ("*open",), ["syscalls:sys_enter_open", "syscalls:sys_exit_open"]),
    ("software", ("cpu*",), ["cpu-clock:", "cpu-migrations:", "cpu:"]),
    ("hardware", ("cycles",), ["cycles:"]),
    ("interval", (), ["hz:", "ms:", "s:", "us:"]),
    ("kprobe", ("vfs_rea*",), ["vfs_read", "vfs_readv"]),
    ("BEGIN", (), []),
    ("uprobe", (), []),
)


@pytest.mark.parametrize(("name", "parts", "lines"), LISTS)
def test_list(machine, name, parts, lines):
    assert list(PROVIDERS[name].list(parts, machine)) == lines


def context(machine, name, *parts):
    provider = PROVIDERS[name]
    return provider.describe(provider.parse(parts, NOWHERE), machine)


def test_tracepoint_fields_lie_at_their_offsets(machine):
    found = context(machine, "tracepoint", "syscalls", "sys_exit_open")
    member = found.args.find("ret")
    assert (member.offset, member.type) == (16, I64) and found.args.find("common_pid") is None
    assert (found.prog_type, found.result) == ("TRACEPOINT", 1)


def test_pointers_of_system_calls_are_the_users(machine):
    member = context(machine, "tracepoint", "syscalls", "sys_enter_open").args.find("filename")
    assert isinstance(member.type, Pointer) and member.type.space == "user"
    lines = PROVIDERS["tracepoint"].fields({"category": "syscalls", "event": "sys_enter_open"}, machine)
    assert list(lines) == ["int __syscall_nr", "const char * filename"]


def test_contexts_differ_only_in_the_label(machine):
    from pbt.data import replace

    one, two = context(machine, "kprobe", "vfs_read"), context(machine, "kprobe", "vfs_write")
    assert one != two and replace(one, label=two.label) == two


def test_what_functions_offer(machine):
    entry, leave = context(machine, "kprobe", "vfs_read"), context(machine, "kretprobe", "vfs_read")
    assert entry.arg and entry.func and entry.retval is None and entry.regs
    assert leave.arg is None and leave.func and leave.retval == U64
    user = context(machine, "uprobe", "/bin/sh", "main")
    assert user.user and user.expected_attach_type == ""


def test_uprobes_find_libraries_and_symbols():
    from pbt.host.elf import find_library
    from pbt.host.target import Target

    libc, target = find_library("libc"), Target.live()
    assert expand(target, "uprobe", "libc", "malloc") == [f"{libc}:malloc"]
    assert expand(target, "uprobe", "libc", "no_such_function") == []
    assert expand(target, "uprobe", "/no/such/file", "main") == []
    assert f"{libc}:malloc" in expand(target, "uprobe", libc, "mallo*")
    assert f"{libc}:malloc" in PROVIDERS["uprobe"].list(("libc", "mall*"), target)
