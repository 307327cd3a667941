"""The kernel's side of a program, modelled for the interpreter: maps, helpers, ring buffer."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from pbt.bundle import Bundle, Code, Map
from pbt.isa.insn import Insn, decode, imm64, wide
from pbt.isa.interp import Machine, run
from pbt.uapi.helpers import HELPERS

M64 = (1 << 64) - 1
_ERROR = -2 & M64  # -ENOENT
_EXIST = -17 & M64


class Kernel:
    """Maps that live from run to run, and the helpers that generated programs call."""

    def __init__(self, bundle: Bundle, inputs: Mapping[str, Any]) -> None:
        self.bundle, self.inputs = bundle, inputs
        self.machine = Machine({HELPERS[name].id: getattr(self, "_" + name) for name in _KNOWN})
        self.values: dict[str, dict[bytes, int]] = {m.name: {} for m in bundle.maps}
        self.handles: dict[int, Map] = {}
        self.records: list[bytes] = []
        self._reserved: dict[int, int] = {}
        for number, map_ in enumerate(bundle.maps, 1):
            self.handles[0x1000_0000 + number] = map_
            if map_.map_type in ("ARRAY", "PERCPU_ARRAY"):
                for index in range(map_.max_entries):
                    value = map_.data.ljust(map_.value_size, b"\0")
                    self.values[map_.name][struct.pack("<I", index)] = self.machine.allocate(value)

    def run(self, code: Code) -> int:
        return run(self.machine, self._linked(code), r1=self.machine.allocate(64))

    def _linked(self, code: Code) -> list[Insn]:
        insns = decode(code.insns)
        names = {map_.name: handle for handle, map_ in self.handles.items()}
        for reloc in code.relocs:
            if reloc.kind == "map_fd":
                value = names[reloc.name]
            else:
                assert reloc.kind == "map_value", reloc
                value = self.values[reloc.name][bytes(4)] + reloc.offset
            insns[reloc.insn : reloc.insn + 2] = wide(insns[reloc.insn].dst_reg, value)
            assert imm64(insns, reloc.insn) == value
        return insns

    def contents(self, name: str) -> dict[bytes, bytes]:
        size = self.bundle.map(name).value_size
        return {key: self.machine.read(address, size) for key, address in self.values[name].items()}

    # --- helpers

    def _map_lookup_elem(self, machine: Machine, map_: int, key: int, *_: int) -> int:
        found = self.handles[map_]
        return self.values[found.name].get(machine.read(key, found.key_size), 0)

    def _map_update_elem(self, machine: Machine, map_: int, key: int, value: int, flags: int, *_: int) -> int:
        found = self.handles[map_]
        raw, data = machine.read(key, found.key_size), machine.read(value, found.value_size)
        cells = self.values[found.name]
        if raw in cells:
            if flags == 1:
                return _EXIST
            machine.write(cells[raw], data)
        else:
            cells[raw] = machine.allocate(data)
        return 0

    def _map_delete_elem(self, machine: Machine, map_: int, key: int, *_: int) -> int:
        found = self.handles[map_]
        return 0 if self.values[found.name].pop(machine.read(key, found.key_size), 0) else _ERROR

    def _get_current_pid_tgid(self, machine: Machine, *_: int) -> int:
        return int(self.inputs["pid"]) << 32 | int(self.inputs["tid"])

    def _get_current_uid_gid(self, machine: Machine, *_: int) -> int:
        return int(self.inputs["gid"]) << 32 | int(self.inputs["uid"])

    def _get_smp_processor_id(self, machine: Machine, *_: int) -> int:
        return int(self.inputs["cpu"])

    def _ktime_get_boot_ns(self, machine: Machine, *_: int) -> int:
        return int(self.inputs["nsecs"])

    def _get_prandom_u32(self, machine: Machine, *_: int) -> int:
        return int(self.inputs["rand"])

    def _get_current_comm(self, machine: Machine, to: int, size: int, *_: int) -> int:
        machine.write(to, self.inputs["comm"].ljust(size, b"\0")[:size])
        return 0

    def _probe_read_kernel(self, machine: Machine, to: int, size: int, source: int, *_: int) -> int:
        machine.write(to, machine.read(source, size))
        return 0

    def _ringbuf_reserve(self, machine: Machine, map_: int, size: int, *_: int) -> int:
        address = machine.allocate(b"\xa5" * size)
        self._reserved[address] = size
        return address

    def _ringbuf_submit(self, machine: Machine, record: int, *_: int) -> int:
        self.records.append(machine.read(record, self._reserved.pop(record)))
        return 0


_KNOWN = tuple(n.removeprefix("_") for n in vars(Kernel) if n.removeprefix("_") in HELPERS)
