"""A small machine made of files, and scripts compiled for it and run on a model of its kernel."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pbt.backend.proof import check as prove
from pbt.bundle import Bundle, Code, Map
from pbt.host.target import Target
from pbt.ir.verify import verify
from pbt.isa.insn import Insn
from pbt.isa.interp import Fault, Machine, call_back, run
from pbt.lang.check import aggregations
from pbt.pipeline import Options, Work
from pbt.pipeline import run as compile_until
from pbt.record import reader
from pbt.source import Source
from pbt.uapi.helpers import HELPERS
from tests.property.model import Kernel
from tests.unit.host.test_btf import Maker

M64 = (1 << 64) - 1
MODERN = (
    "ringbuf", "probe_read_kernel", "probe_read_kernel_str", "ktime_get_boot_ns", "ktime_get_tai_ns",
    "map_lookup_percpu_elem", "get_func_ip",
    "for_each_map_elem", "cpu_v4", "jiffies64", "get_ns_current_pid_tgid",
)  # fmt: skip
SYMBOLS = (
    "ffffffff81000000 T _stext\nffffffff81000100 T do_it\nffffffff81000200 T "
    "do_more\nffffffff81000300 D jiffies\n"
)
FORMAT = """name: go
ID: 77
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:short prio;\toffset:24;\tsize:2;\tsigned:1;
\tfield:u64 when;\toffset:32;\tsize:8;\tsigned:0;
\tfield:const char * path;\toffset:40;\tsize:8;\tsigned:0;
\tfield:u8 mac[6];\toffset:48;\tsize:6;\tsigned:0;
\tfield:__data_loc char[] name;\toffset:56;\tsize:4;\tsigned:0;

print fmt: ""
"""
_REGIONS = (
    4096  # memory regions before those that a test asks for, so that their addresses are known beforehand
)
INPUTS: Mapping[str, Any] = {
    "pid": 11, "tid": 12, "uid": 1000, "gid": 100, "cpu": 0, "rand": 7, "nsecs": 5_000_000_000,
    "comm": b"bash",
}  # fmt: skip


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def _types() -> bytes:
    """struct thing { int id; char name[8]; struct thing *next; enum color c; unsigned low:3; unsigned high:29; }"""
    m = Maker()
    m.add(1, "int", 4, 1 << 24 | 32)  # 1
    m.add(1, "char", 1, 1 << 24 | 8)  # 2
    m.add(1, "unsigned int", 4, 32)  # 3
    m.add(3, "", 0, 2, 3, 8)  # 4: char[8]
    m.add(2, "", 6)  # 5: struct thing *
    members = [
        ("id", 1, 0),
        ("name", 4, 32),
        ("next", 5, 128),
        ("c", 7, 192),
        ("low", 3, 3 << 24 | 224),
        ("high", 3, 29 << 24 | 227),
    ]
    words = [word for name, kind, at in members for word in (m.text(name), kind, at)]
    m.add(4, "thing", 32, *words, count=len(members), flag=1)  # 6
    m.add(6, "color", 4, m.text("RED"), 0, m.text("BLUE"), 5, count=2)  # 7
    m.add(13, "", 1, m.text("t"), 5, m.text("n"), 3, count=2)  # 8: int (struct thing *t, unsigned n)
    m.add(12, "do_it", 8, count=1)  # 9
    m.add(12, "bpf_session_is_return", 8, count=1)  # 10
    _task(m)
    return m.bytes()  # fmt: skip


def _task(m: Maker) -> None:
    """struct task_struct { int pid, tgid; char comm[16]; struct task_struct *real_parent; int bits:3; short arr[4];
    union { struct task_struct *there; u64 word; }; struct task_struct *marked (rcu), *cpus (percpu); }"""
    number, char, short, word = (
        m.add(1, name, size, 1 << 24 | 8 * size)
        for name, size in (("int", 4), ("char", 1), ("short", 2), ("s64", 8))
    )
    comm, numbers = m.add(3, "", 0, char, number, 16), m.add(3, "", 0, short, number, 4)
    task = number + 12
    there, rcu, percpu = m.add(2, "", task), m.add(18, "rcu", task), m.add(18, "percpu", task)
    marked, cpus = m.add(2, "", rcu), m.add(2, "", percpu)
    union = m.add(5, "", 8, m.text("there"), there, 0, m.text("word"), word, 0, count=2)
    members = [
        ("pid", number, 0), ("tgid", number, 32), ("comm", comm, 64), ("real_parent", there, 192),
        ("bits", number, 3 << 24 | 256), ("arr", numbers, 320), ("", union, 384), ("marked", marked, 448),
        ("cpus", cpus, 512),
    ]  # fmt: skip
    words = [part for name, kind, at in members for part in (m.text(name) if name else 0, kind, at)]
    assert m.add(4, "task_struct", 72, *words, count=len(members), flag=1) == task


@cache
def machine(features: tuple[str, ...] = MODERN, types: bool = True) -> Target:
    """x86-64 with functions do_it and do_more, tracepoint test:go and struct thing."""
    folder = Path(_folder().name) / str(abs(hash((features, types))))
    facts = {
        "layout": 1,
        "arch": "x86_64",
        "release": "6.1.0",
        "page_size": 4096,
        "cpus": [0],
        "features": list(features),
    }
    files = {
        "target.json": json.dumps(facts),
        "kallsyms": SYMBOLS,
        "tracefs/available_filter_functions": "do_it\ndo_more\n",
        "tracefs/events/test/go/format": FORMAT,
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if types:
        (folder / "btf").mkdir(exist_ok=True)
        (folder / "btf/vmlinux").write_bytes(_types())
    return Target.load(str(folder))


def compiled(
    script: str,
    *params: str,
    target: Target | None = None,
    until: str = "link",
    unsafe: bool = False,
    pid: int | None = None,
) -> Work:
    """All stages; the IR is verified after lowering and after the passes, allocations are proved."""
    options = Options(params, unsafe, pid, {})
    work = compile_until(Source("test", script), target or machine(), options, until)
    for program in (*(work.lowered.programs if work.lowered else ()), *work.passed):
        assert verify(program) == [], script
    for made in work.compiled:
        assert prove(made.machine, made.allocation) == [], script
    return work


class Dirty(Machine):
    """Fresh memory is not clear, as stacks of the kernel are not."""

    def allocate(self, content: bytes | bytearray | int) -> int:
        return super().allocate(b"\xa5" * content if isinstance(content, int) else content)

    def load(self, address: int, size: int) -> int:
        """Through null, 0 comes: loads of the kernel's structures are not to fail."""
        return 0 if address < 4096 else super().load(address, size)


class Ran(Kernel):
    """A script that ran, once for each of `inputs`; its records and maps as Python values."""

    def __init__(self, script: str, *params: str, times: Sequence[Mapping[str, Any]] = ({},), ctx: bytes = b"",
                 memory: Mapping[str, bytes] | None = None, **options: Any) -> None:  # fmt: skip
        """`memory`: name → bytes; `{name}` in the script becomes their address, in ctx a u64 of it too."""
        self.linked: list[Insn] = []
        self.signals: list[int] = []
        self.at = {name: _REGIONS + 1 + number << 32 for number, name in enumerate(memory or {})}
        for name, address in self.at.items():
            script = script.replace("{" + name + "}", f"{address:#x}")
        self.work = compiled(script, *params, **options)
        bundle = self.work.bundle
        assert bundle is not None
        super().__init__(bundle, {})
        self.machine.__class__ = Dirty
        self.machine.regions += [bytearray() for _ in range(_REGIONS - len(self.machine.regions))]
        assert {name: self.machine.allocate(data) for name, data in (memory or {}).items()} == self.at
        self.machine.helpers = {
            **self.machine.helpers,
            **{HELPERS[n].id: getattr(self, "_" + n) for n in _MORE},
        }
        self.results = []
        for given in times:
            self.inputs = {**INPUTS, **given}
            for program in bundle.programs:
                self.results.append(self.go(program.code, ctx or bytes(256)))

    @property
    def made(self) -> Bundle:
        assert self.work.bundle is not None
        return self.work.bundle

    def go(self, code: Code, ctx: bytes) -> int:
        self.linked = self._linked(code)
        return run(self.machine, self.linked, r1=self.machine.allocate(ctx))

    def _linked(self, code: Code) -> list[Insn]:
        functions = dict(code.functions)
        others = tuple(r for r in code.relocs if r.kind != "func")
        insns = super()._linked(Code(code.insns, others, code.spans, code.functions))
        for reloc in code.relocs:
            if reloc.kind == "func":
                insns[reloc.insn] = insns[reloc.insn]._replace(imm=functions[reloc.name])
        return insns

    # --- what it left

    @property
    def sent(self) -> list[tuple[Any, ...]]:
        """(action, *values) of each record."""
        made = []
        for record in self.records:
            event = self.made.events[struct.unpack_from("<I", record)[0]]
            assert len(record) == event.record.size
            made.append((event.action, *event.record.decode(record)[2:]))
        return made

    @property
    def printed(self) -> list[Any]:
        """The values of print()."""
        return [record[1] for record in self.sent if record[0] == "print"]

    @property
    def maps(self) -> dict[str, Any]:
        """Name → {key: value}, a single value without keys; empty maps are left out."""
        every = {m.name: self._shown(m) for m in self.made.maps if m.name.startswith("@")}
        return {name: value for name, value in every.items() if value not in ({}, None)}

    def _shown(self, map_: Map) -> Any:
        assert map_.key is not None
        record = aggregations().get(map_.aggregation)
        if record is None:
            assert map_.value is not None
            read, size = reader(map_.value), map_.value.size
            cells = self.contents(map_.name)
            if not map_.key.fields:
                data = cells[bytes(4)]
                return read(data[:size]) if data[-8:] != bytes(8) else None
            return {self._key(map_, key): read(data[:size]) for key, data in cells.items()}
        signed = map_.value is not None and str(map_.value) == "int64"
        if record.bucket:
            found: dict[Any, dict[int, int]] = {}
            for key, data in self.contents(map_.name).items():
                if count := struct.unpack("<Q", data)[0]:
                    parts = self._parts(map_, key) if map_.key.fields else struct.unpack("<I", key)
                    found.setdefault(_single(parts[:-1]), {})[parts[-1]] = count
            return found if map_.key.fields else found.get(())
        code = "q" if signed else "Q"
        merged = {}
        for key, data in self.contents(map_.name).items():
            if not map_.key.fields and data[-8:] == bytes(8):
                return None
            words = len(data) // 8 - (
                not map_.key.fields
            )  # without keys, the last word says whether there is one
            cell = struct.unpack_from(f"<{code}{words - 1}Q", data)
            merged[self._key(map_, key) if map_.key.fields else ()] = record.merge([cell], map_.args, signed)
        return merged if map_.key.fields else merged.get(())

    def _parts(self, map_: Map, key: bytes) -> tuple[Any, ...]:
        assert map_.key is not None
        return map_.key.decode(key)

    def _key(self, map_: Map, key: bytes) -> Any:
        return _single(self._parts(map_, key))

    # --- helpers beyond those of the model

    def _read(self, to: int, size: int, source: int, text: bool) -> int:
        """The whole destination is cleared when the source cannot be read."""
        try:
            data = self.machine.text(source)[: size - 1] + b"\0" if text else self.machine.read(source, size)
        except Fault:
            self.machine.write(to, bytes(size))
            return -14 & M64
        self.machine.write(to, data)
        return len(data) if text else 0

    def _probe_read_kernel(self, machine: Machine, to: int, size: int, source: int, *_: int) -> int:
        return self._read(to, size, source, False)

    def _probe_read_kernel_str(self, machine: Machine, to: int, size: int, source: int, *_: int) -> int:
        return self._read(to, size, source, True)

    _probe_read_user, _probe_read = _probe_read_kernel, _probe_read_kernel
    _probe_read_user_str, _probe_read_str = _probe_read_kernel_str, _probe_read_kernel_str

    def _ktime_get_ns(self, machine: Machine, *_: int) -> int:
        return int(self.inputs["nsecs"]) - 1

    def _ktime_get_tai_ns(self, machine: Machine, *_: int) -> int:
        return int(self.inputs["nsecs"]) + 1

    def _jiffies64(self, machine: Machine, *_: int) -> int:
        return 4242

    def _get_numa_node_id(self, machine: Machine, *_: int) -> int:
        return 3

    def _get_current_cgroup_id(self, machine: Machine, *_: int) -> int:
        return 1 << 33

    def _get_current_task(self, machine: Machine, *_: int) -> int:
        return self.at.get("task", 0)

    _get_current_task_btf = _get_current_task

    def _get_func_ip(self, machine: Machine, *_: int) -> int:
        return 0xFFFFFFFF81000100

    def _get_stackid(self, machine: Machine, ctx: int, map_: int, flags: int, *_: int) -> int:
        return int(self.inputs.get("stackid", 500 if flags & 1 << 8 else 400)) & M64

    def _send_signal(self, machine: Machine, number: int, *_: int) -> int:
        self.signals.append(number)
        return 0

    def _perf_event_output(
        self, machine: Machine, ctx: int, map_: int, flags: int, data: int, size: int
    ) -> int:
        self.records.append(machine.read(data, size))
        return 0

    def _map_lookup_percpu_elem(self, machine: Machine, map_: int, key: int, cpu: int, *_: int) -> int:
        return 0 if cpu else self._map_lookup_elem(machine, map_, key)

    def _get_stack(self, machine: Machine, ctx: int, to: int, size: int, flags: int, *_: int) -> int:
        if "stack" in self.inputs:
            frames = struct.pack(f"<{len(self.inputs['stack'])}Q", *self.inputs["stack"])[:size]
            machine.write(to, frames.ljust(size, b"\0"))
            return len(frames)
        return 8 * (3 if flags & 1 << 8 else 5)

    def _get_ns_current_pid_tgid(
        self, machine: Machine, dev: int, inode: int, to: int, size: int, *_: int
    ) -> int:
        assert (dev, inode, size) == (4, 4026532000, 8)
        machine.write(to, struct.pack("<II", 2, 1))
        return 0

    def _trace_printk(self, machine: Machine, form: int, size: int, *values: int) -> int:
        self.traced = (machine.read(form, size), *values)
        return size

    def _loop(self, machine: Machine, times: int, entry: int, ctx: int, *_: int) -> int:
        for turn in range(times):
            if call_back(machine, self.linked, entry, turn, ctx):
                return turn + 1
        return times

    def _for_each_map_elem(self, machine: Machine, map_: int, entry: int, ctx: int, *_: int) -> int:
        cells = list(self.values[self.handles[map_].name].items())
        for key, address in cells:
            if call_back(machine, self.linked, entry, map_, machine.allocate(key), address, ctx):
                break
        return len(cells)


def _single(parts: Sequence[Any]) -> Any:
    return parts[0] if len(parts) == 1 else tuple(parts)


_MORE = tuple(n.removeprefix("_") for n in vars(Ran) if n.removeprefix("_") in HELPERS and n.startswith("_"))
