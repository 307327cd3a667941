"""Loads programs on the kernel it finds itself on, in one process, and prints what the verifier said.

    python -m tests.lab.loading FILE [--unprivileged]

FILE has a JSON object a line: {"id", "type", "attach", "insns": hex, "maps": [[type, key size, value size,
entries, flags] …], "refs": [[slot, position among the maps] …], "types": hex, "functions": hex}. For each, one
line: {"id", "ok", "walked", "log"}, `log` being its end; before them {"id": "cpus", "count": possible CPUs}.
Unprivileged programs are loaded as nobody.
"""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pbt.host.verifier import cpus
from pbt.source import KernelError
from pbt.sys import bpf

_ALLOWED = Path("/proc/sys/kernel/unprivileged_bpf_disabled")
_NOBODY = 65534


def load(line: dict[str, Any], maps: dict[str, int], stack: ExitStack) -> dict[str, Any]:
    """One program; maps that are the same are made once."""
    code = bytearray.fromhex(line["insns"])
    fds = []
    for row in line["maps"]:
        key = json.dumps(row)
        if key not in maps:
            maps[key] = stack.enter_context(bpf.map_create(*row)).fileno()
        fds.append(maps[key])
    for slot, index in line["refs"]:
        code[8 * slot + 4 : 8 * slot + 8] = fds[index].to_bytes(4, "little")
    said: list[str] = []
    with ExitStack() as until_loaded:
        types = bytes.fromhex(line["types"])
        described = until_loaded.enter_context(bpf.btf_load(types)).fileno() if types else 0
        try:
            bpf.prog_load(
                line["type"],
                bytes(code),
                expected_attach_type=line["attach"],
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


def main(argv: list[str]) -> None:
    lines = [json.loads(text) for text in Path(argv[0]).read_text().splitlines()]
    if "--unprivileged" in argv:
        _ALLOWED.write_text("0")
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    maps: dict[str, int] = {}
    print(json.dumps({"id": "cpus", "count": cpus()}))
    with ExitStack() as stack:
        for line in lines:
            print(json.dumps(load(line, maps, stack)))


if __name__ == "__main__":
    main(sys.argv[1:])
