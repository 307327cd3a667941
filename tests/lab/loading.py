"""Loads programs on the kernel it finds itself on, in one process, and prints what the verifier said.

    python -m tests.lab.loading FILE [--unprivileged | --capabilities BPF,NET_ADMIN]

FILE has a JSON object a line: {"id", "type", "attach", "insns": hex, "maps": [[type, key size, value size,
entries, flags, fields, map inside or null] …], "refs": [[slot, position among the maps] …], "types": hex,
"functions": hex}; a field of the kernel's in a map's value is [kind, offset, size]. For each, one line:
{"id", "ok", "walked", "log"}, `log` being its end and `ok` null where a map cannot be made; before them {"id": "cpus", "count": possible CPUs}.
Unprivileged programs are loaded as nobody; with --capabilities by root who has these alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import struct
import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from pbt.host.verifier import cpus
from pbt.source import KernelError
from pbt.sys import bpf
from pbt.uapi import btf

_ALLOWED = Path("/proc/sys/kernel/unprivileged_bpf_disabled")
_NOBODY = 65534
_CAPABILITIES = {"NET_ADMIN": 12, "PERFMON": 38, "BPF": 39}  # linux/capability.h
_VERSION_3 = 0x20080522
_OWNED = ("PROG_ARRAY", "DEVMAP", "CPUMAP")  # they belong to the first type of program that refers to them
_ADDRESS = 1 << 44  # of arenas
_IDS = {"btf_key_type_id": 1, "btf_value_type_id": 2}  # of a map with fields, see _described


def load(line: dict[str, Any], maps: dict[str, int], stack: ExitStack) -> dict[str, Any]:
    """One program; maps that are the same are made once."""
    code = bytearray.fromhex(line["insns"])
    said: list[str] = []
    with ExitStack() as until_loaded:
        try:
            for slot, index in line["refs"]:
                fd = _map(line["maps"][index], line["type"] + line["attach"], maps, stack)
                code[8 * slot + 4 : 8 * slot + 8] = fd.to_bytes(4, "little")
        except KernelError as error:
            return {"id": line["id"], "ok": None, "walked": 0, "log": str(error)}
        types = bytes.fromhex(line["types"])
        described = until_loaded.enter_context(bpf.btf_load(types)).fileno() if types else 0
        try:
            bpf.prog_load(
                line["type"],
                bytes(code),
                expected_attach_type=line["attach"],
                attach_btf_id=line.get("btf_id", 0),
                flags=line.get("flags", 0),
                prog_btf_fd=described,
                func_info=bytes.fromhex(line["functions"]),
                log_level=line.get("level", 4),
                log=said.append,
            ).close()
            ok = True
        except KernelError as error:
            said.append(error.log or str(error))
            ok = False
    log = "".join(said)
    walked = re.search(r"processed (\d+) insns", log)
    return {"id": line["id"], "ok": ok, "walked": int(walked[1]) if walked else 0, "log": log[-600:]}


def _map(row: list[Any], owner: str, maps: dict[str, int], stack: ExitStack) -> int:
    """The map of a row, made when first asked for; some belong to one type of programs."""
    key = json.dumps([row, owner if row[0] in _OWNED else ""])
    if key not in maps:
        fields, inner = row[5] if len(row) > 5 else [], row[6] if len(row) > 6 else None
        inside: dict[str, Any] = {"inner_map_fd": _map(inner, owner, maps, stack)} if inner else {}
        if row[0] == "ARENA":
            inside["map_extra"] = _ADDRESS
        described = _described(row[2], fields) if fields else b""
        with bpf.btf_load(described) if fields else nullcontext() as types:
            more: dict[str, Any] = {"btf_fd": types.fileno(), **_IDS} if types else {}
            maps[key] = stack.enter_context(bpf.map_create(*row[:5], **more, **inside)).fileno()
    return maps[key]


def _described(size: int, fields: list[tuple[str, int, int]]) -> bytes:
    """BTF of a map: type 1 is the key, a number, type 2 the value with its fields, each one number long."""
    types = btf.Types()
    number = types.integer("unsigned int", 4)
    rows = [(kind, number + 2 + at, off) for at, (kind, off, _) in enumerate(fields)]
    types.struct("value", size, rows)
    for kind, _, length in fields:
        types.struct(f"bpf_{kind}", length, [("inside", number, 0)])
    return types.data()


def keep(names: list[str]) -> None:
    """Drop all capabilities but these."""
    low, high = divmod(sum(1 << _CAPABILITIES[name] for name in names), 1 << 32)[::-1]
    data = struct.pack("<6I", low, low, 0, high, high, 0)  # effective, permitted, inheritable; twice
    if ctypes.CDLL(None, use_errno=True).capset(struct.pack("<Ii", _VERSION_3, 0), data):
        raise OSError(ctypes.get_errno(), "capset")


def main(argv: list[str]) -> None:
    lines = [json.loads(text) for text in Path(argv[0]).read_text().splitlines()]
    if "--unprivileged" in argv:
        _ALLOWED.write_text("0")
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    elif "--capabilities" in argv:
        keep(argv[2].split(","))
    maps: dict[str, int] = {}
    print(json.dumps({"id": "cpus", "count": cpus()}))
    with ExitStack() as stack:
        for line in lines:
            print(json.dumps(load(line, maps, stack)))


if __name__ == "__main__":
    main(sys.argv[1:])
