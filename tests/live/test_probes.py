"""Every provider attaches a program to this machine's kernel, and the program runs."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from pbt.bundle import Code, Program
from pbt.feature import Provider
from pbt.host.target import Target
from pbt.isa.asm import assemble
from pbt.isa.insn import encode
from pbt.registry import collect
from pbt.source import NOWHERE, KernelError
from pbt.sys import bpf, objects

pytestmark = pytest.mark.live

PROVIDERS = collect("pbt.probes", Provider)
TARGET = Target.live()
EMPTY = encode(assemble("r0 = 0\nexit"))


class Host:
    def __init__(self, pid: int | None = None) -> None:
        self.pid, self.target, self.cpus = pid, TARGET, bpf.online_cpus()


@pytest.fixture(params=["uprobe_multi", "uprobe device"])
def uprobes(request, monkeypatch):
    """Both ways to attach a uprobe, where the kernel has both."""
    if request.param == "uprobe_multi" and not TARGET.has("uprobe_multi"):
        pytest.skip("no uprobe_multi here")
    has = TARGET.has
    multi = request.param == "uprobe_multi"
    monkeypatch.setattr(TARGET, "has", lambda name: multi if name == "uprobe_multi" else has(name))


def runs(name, *parts, load, pid=None):
    """How often an empty program ran while attached to the first match of an attach point."""
    provider = PROVIDERS[name]
    place = provider.expand(provider.parse(parts, NOWHERE), TARGET)[0]
    context = provider.describe(place, TARGET)
    program = Program(
        provider.label(place), name, context.prog_type, Code(EMPTY), place, context.expected_attach_type
    )
    with (
        objects.enable_stats(),
        bpf.prog_load(context.prog_type, EMPTY, expected_attach_type=context.expected_attach_type) as fd,
    ):
        closeables = provider.attach(Host(pid), fd.fileno(), program)
        try:
            load()
        finally:
            for closeable in closeables:
                closeable.close()
        count = objects.prog_info(fd.fileno()).run_cnt
        load()
        assert objects.prog_info(fd.fileno()).run_cnt == count, "still attached after close"
        return count


def calls():
    for _ in range(50):
        os.getppid()


def sleep():
    time.sleep(0.3)


def spin():
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass


def faults():
    subprocess.run(["/bin/true"], check=True)


def forks():
    subprocess.run(["/bin/sh", "-c", ":"], check=True)


CASES = (
    ("tracepoint", ("syscalls", "sys_enter_getppid"), calls, 50),
    ("rawtracepoint", ("sys_enter",), calls, 50),
    ("interval", ("ms", "50"), sleep, 4),
    ("interval", ("hz", "20"), sleep, 4),
    ("profile", ("hz", "99"), spin, 20),
    ("software", ("page-faults", "1"), faults, 20),
    ("software", ("cpu-clock", "10000000"), spin, 10),
)


@pytest.mark.parametrize(("name", "parts", "load", "least"), CASES)
def test_attached_programs_run(name, parts, load, least):
    assert runs(name, *parts, load=load) >= least


@pytest.mark.parametrize("name", ["uprobe", "uretprobe"])
def test_functions_of_libraries(name, uprobes):
    assert runs(name, "libc", "getppid", load=calls) == 50
    assert runs(name, "libc", "getppid", load=calls, pid=os.getpid()) == 50


def test_addresses_and_offsets(uprobes):
    from pbt.host.elf import Elf, find_library

    path = find_library("libc")
    address, _ = Elf(path).symbol("getppid")
    assert runs("uprobe", path, hex(address), load=calls) == 50


needs_kprobes = pytest.mark.skipif(
    not os.path.exists("/sys/bus/event_source/devices/kprobe"), reason="this kernel has no kprobes"
)


@needs_kprobes
@pytest.mark.parametrize("device", [True, False], ids=["device", "kprobe_events"])
@pytest.mark.parametrize("name", ["kprobe", "kretprobe"])
def test_functions_of_the_kernel(name, device, monkeypatch):
    """Through the perf device, and as kernels before 4.17 had it."""
    from pbt.sys import perf

    def missing(name):
        raise KernelError(name, 2)

    if not device:
        monkeypatch.setattr(perf, "pmu_type", missing)
    assert runs(name, "__x64_sys_getppid", load=calls) >= 50
    if not device:
        with open(TARGET.tracefs.path("kprobe_events")) as file:
            assert file.read() == ""


@needs_kprobes
def test_a_wildcard_passes_over_what_cannot_be_traced():
    provider = PROVIDERS["kprobe"]
    program = Program(
        "",
        "kprobe",
        "KPROBE",
        Code(EMPTY),
        {"module": "", "function": "nosuch", "offset": 0, "matched": True},
    )
    assert provider.attach(Host(), -1, program) == ()
    places = provider.expand(provider.parse(["vfs_*"], NOWHERE), TARGET)
    assert len(places) > 20
    with bpf.prog_load("KPROBE", EMPTY) as fd:
        for place in places:
            program = Program(provider.label(place), "kprobe", "KPROBE", Code(EMPTY), place)
            for closeable in provider.attach(Host(), fd.fileno(), program):
                closeable.close()


@pytest.fixture
def other():
    """A process that has started and now waits."""
    command, pipe = ["/bin/sh", "-c", "echo; read line"], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        process.stdout.readline()
        yield process.pid


def test_another_process_is_left_alone(other, uprobes):
    assert runs("uprobe", "libc", "getppid", load=calls, pid=other) == 0


def test_samples_of_one_process(other):
    assert runs("profile", "hz", "99", load=spin, pid=other) == 0
    assert runs("profile", "hz", "99", load=spin, pid=os.getpid()) >= 15


def test_a_refusal_has_a_hint_and_leaves_nothing_open():
    provider = PROVIDERS["tracepoint"]
    place = {"category": "nosuch", "event": "event"}
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KernelError) as caught:
        provider.attach(
            Host(), -1, Program("tracepoint:nosuch:event", "tracepoint", "TRACEPOINT", Code(b""), place)
        )
    assert "tracepoint:nosuch:event" in str(caught.value) and caught.value.hint
    with pytest.raises(KernelError):
        runs("uprobe", "libc", "getppid", load=calls, pid=2**22 - 3)
    assert len(os.listdir("/proc/self/fd")) == before


def test_everything_is_listed():
    for name in ("tracepoint", "rawtracepoint", "software", "hardware", "kprobe"):
        lines = list(PROVIDERS[name].list((), TARGET))
        assert lines == sorted(lines) and len(lines) > 5, name
    assert "skb:kfree_skb" in PROVIDERS["tracepoint"].list(("skb", "*"), TARGET)
    assert "vmlinux:sched_switch" in PROVIDERS["rawtracepoint"].list((), TARGET)


def test_fields_are_as_c_spells_them():
    fields = PROVIDERS["tracepoint"].fields({"category": "skb", "event": "kfree_skb"}, TARGET)
    assert {"void * skbaddr", "void * location", "unsigned short protocol"} <= set(fields)
    assert "struct task_struct * prev" in PROVIDERS["rawtracepoint"].fields(
        {"module": "", "event": "sched_switch"}, TARGET
    )
    assert (
        PROVIDERS["kprobe"].fields({"module": "", "function": "vfs_read"}, TARGET)[0] == "struct file * arg0"
    )
    assert (
        PROVIDERS["kretprobe"].fields({"module": "", "function": "vfs_read"}, TARGET)[-1] == "ssize_t retval"
    )
