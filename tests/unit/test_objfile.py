from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pbt.bundle import Bundle, Program
from pbt.host.elf import Elf
from pbt.objfile import section_name, write
from tests.unit.saved import machine, work

SCRIPT = """tracepoint:sched:sched_switch { @[args.prev_comm] = count(); @last = nsecs; printf("%d\\n", @last); }
kprobe:vfs_* { @k = hist(arg0); }
profile:hz:99 { @p = count(); }
BEGIN { @n[1] = 2; for ($kv : @n) { print($kv); } }
"""


def bundle(folder: Path, **facts: object) -> Bundle:
    features = ["probe_read_kernel", "ringbuf", "for_each_map_elem", "ktime_get_boot_ns"]
    made = work(SCRIPT, machine(folder, features=features, **facts)).bundle
    assert made is not None
    return made


def written(made: Bundle, folder: Path) -> Elf:
    (folder / "object.o").write_bytes(write(made, 2))
    return Elf(str(folder / "object.o"))


def content(elf: Elf, name: str) -> bytes:
    section = elf.section(name)
    assert section is not None, name
    return elf.read(section)


def test_sections(tmp_path: Path) -> None:
    elf = written(bundle(tmp_path), tmp_path)
    assert {
        "tracepoint/sched/sched_switch", "kprobe/vfs_read", "kprobe/vfs_write", "perf_event", "raw_tp", ".text",
        ".maps", ".data.AT_last", ".data.lost", "license", ".BTF", ".BTF.ext", ".symtab", ".strtab",
        ".reltracepoint/sched/sched_switch",
    } <= {section.name for section in elf.sections}  # fmt: skip
    assert content(elf, "license") == b"GPL\0"


def test_code_is_what_was_compiled_but_for_relocations(tmp_path: Path) -> None:
    made = bundle(tmp_path)
    code = made.programs[0].code
    found = content(written(made, tmp_path), "tracepoint/sched/sched_switch")
    moved = {reloc.insn for reloc in code.relocs}
    slots = [i for i in range(len(found) // 8) if not {i, i - 1} & moved]
    assert moved and all(found[8 * i : 8 * i + 8] == code.insns[8 * i : 8 * i + 8] for i in slots)


@pytest.mark.parametrize(("arch", "order"), [("x86_64", "<"), ("s390x", ">")])
def test_relocations_lead_to_maps(tmp_path: Path, arch: str, order: str) -> None:
    made = bundle(tmp_path, arch=arch)
    elf = written(made, tmp_path)
    symbols, names = content(elf, ".symtab"), content(elf, ".strtab")
    rows = struct.iter_unpack(order + "QQ", content(elf, ".reltracepoint/sched/sched_switch"))
    found = []
    for offset, info in rows:
        (name,) = struct.unpack_from(order + "I", symbols, 24 * (info >> 32))
        found.append((offset // 8, names[name : names.index(b"\0", name)].decode()))
    assert found == [(r.insn, r.name.replace("@", "AT_")) for r in made.programs[0].code.relocs]
    assert {info & 0xFFFFFFFF for _, info in struct.iter_unpack(order + "QQ", content(elf, ".rel.text"))} <= {
        1
    }


@pytest.mark.parametrize(
    ("name", "provider", "kind", "attach", "section"),
    [
        ("kprobe:f", "kprobe", "KPROBE", "", "kprobe/f"),
        ("kretprobe:f", "kretprobe", "KPROBE", "TRACE_KPROBE_MULTI", "kretprobe.multi/f"),
        ("uprobe:/bin/x:f", "uprobe", "KPROBE", "TRACE_UPROBE_MULTI", "uprobe.multi//bin/x:f"),
        ("usdt:/bin/x:a:b", "usdt", "KPROBE", "", "usdt"),
        ("rawtracepoint:vmlinux:e", "rawtracepoint", "TRACING", "TRACE_RAW_TP", "tp_btf/e"),
        ("fentry:vmlinux:f", "fentry", "TRACING", "TRACE_FENTRY", "fentry/f"),
        ("iter:task", "iter", "TRACING", "TRACE_ITER", "iter/task"),
        ("BEGIN", "BEGIN", "RAW_TRACEPOINT", "", "raw_tp"),
        ("interval:s:1", "interval", "PERF_EVENT", "", "perf_event"),
    ],
)
def test_section_names(
    tmp_path: Path, name: str, provider: str, kind: str, attach: str, section: str
) -> None:
    code = bundle(tmp_path).programs[0].code
    assert section_name(Program(name, provider, kind, code, {}, attach)) == section
