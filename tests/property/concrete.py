"""Runs the programs of structured.py in the interpreter: maps, helpers, a packet and records for them."""

from __future__ import annotations

import random
from collections.abc import Callable

from pbt.isa.insn import EXIT, Insn, call_local
from pbt.isa.interp import Helper, Machine, steps
from pbt.uapi.helpers import HELPERS
from pbt.verifier_sim.state import State
from tests.property import structured

Watch = Callable[[int, tuple[int, ...]], None]
"""Told of every step: the slot of the instruction that is to run, and r0 to r10."""

LIMIT = 50_000  # instructions of one function
M32 = 0xFFFFFFFF
_DATA = {"XDP": (0, 4), "SCHED_CLS": (76, 80), "CGROUP_SKB": (76, 80)}  # data and data_end in the context
_CONTEXT = 256  # bytes


class World(Machine):
    """A machine whose context, maps and helpers are random, but as the kernel promises them."""

    def __init__(self, made: structured.Program, seed: int, watch: Watch) -> None:
        self.rng, self.watch = random.Random(seed), watch
        named = {HELPERS[name].id: helper for name, helper in self._helpers().items()}
        super().__init__(named)
        self.context = self.allocate(bytearray(self.rng.randbytes(_CONTEXT)))
        self.packet = self.allocate(bytearray(self.rng.randbytes(self.rng.choice((0, 1, 14, 20, 60)))))
        self.fields = dict(zip(_DATA.get(made.prog_type, ()), ("data", "end"), strict=False))
        self.maps = [self.allocate(1) for _ in structured.MAPS]
        self.values = [self.allocate(max(m.value_size, 1)) for m in structured.MAPS]
        self.inner = self.allocate(1)  # what a map of maps holds
        self.known = {**dict(zip(self.maps, structured.MAPS, strict=True)), self.inner: structured.INNER}
        self.insns = self._resolved(made)
        self.rounds = self.rng.choice((1, 3, 50))  # of may_goto
        self.later: list[tuple[int, int]] = []  # callbacks of timers, and their maps

    def run(self) -> None:
        """The main program, then what its timers run."""
        for pc in steps(self, self.insns, r1=self.context, r2=0, limit=LIMIT):
            self.watch(pc, tuple(self.registers))
        for function, map_ in self.later:
            self._call_back(function, map_, self.allocate(4), self._value(map_))

    def _call_back(self, function: int, *arguments: int) -> int:
        """Run a function for a helper: what it returns. The caller's registers are kept."""
        saved, pc = list(self.registers), self.pc
        code = [call_local(function + 1), EXIT, *self.insns]
        inside = steps(self, code, r1=arguments[0], r2=arguments[1], limit=LIMIT)
        next(inside)
        self.registers[3 : 1 + len(arguments)] = arguments[2:]
        for at in inside:
            if at > 1:
                self.watch(at - 2, tuple(self.registers))
        result, self.pc = self.registers[0], pc
        self.registers[:] = saved
        return result

    def _value(self, map_: int) -> int:
        return self.allocate(bytearray(self.rng.randbytes(self.known[map_].value_size)))

    def _resolved(self, made: structured.Program) -> list[Insn]:
        """The instructions with the addresses of maps and values."""
        insns = list(made.insns)
        for at, (index, kind, offset) in made.map_of.items():
            address = self.maps[index] if kind == "map_fd" else self.values[index] + offset
            low, high = ((part ^ 1 << 31) - (1 << 31) for part in (address & M32, address >> 32))
            insns[at] = insns[at]._replace(src_reg=0, imm=low)
            insns[at + 1] = insns[at + 1]._replace(imm=high)
        for at, insn in enumerate(insns):
            if insn.is_wide and insn.src_reg:  # a function: its slot
                insns[at] = insn._replace(src_reg=0, imm=at + 1 + insn.imm)
        return insns

    def load(self, address: int, size: int) -> int:
        where = self.fields.get(address - self.context)
        if where is not None and size == 4:
            return self.packet + (len(self.regions[(self.packet >> 32) - 1]) if where == "end" else 0)
        return super().load(address, size)

    def packet_load(self, offset: int, size: int) -> int:
        return self.rng.getrandbits(8 * size)

    def _helpers(self) -> dict[str, Helper]:
        rng = self.rng

        def number(below: int) -> Helper:
            return lambda *_: rng.choice((0, 1, below - 1, rng.randrange(below)))

        def fill(address: int, size: int) -> int:
            self.write(address, rng.randbytes(size & M32))
            return rng.choice((0, -14)) & (1 << 64) - 1

        def lookup(_: Machine, map_: int, key: int, *__: int) -> int:
            self.read(key, 4)
            info = self.known[map_]
            found = self.inner if info.inner else self._value(map_)
            if map_ in self.maps and not info.inner:
                found = self.values[self.maps.index(map_)]
            return found if self.sure(map_, key) or rng.random() < 0.7 else 0

        def update(_: Machine, map_: int, key: int, value: int, *__: int) -> int:
            self.read(key, 4)
            self.read(value, self.known[map_].value_size)
            return error()

        def delete(_: Machine, map_: int, key: int, *__: int) -> int:
            self.read(key, 4)
            return error()

        def error() -> int:
            return rng.choice((0, -7)) & (1 << 64) - 1

        def loop(_: Machine, rounds: int, function: int, shared: int, *__: int) -> int:
            done = 0
            while done < min(rounds & M32, 5):
                done += 1
                if self._call_back(function, done - 1, shared):
                    break
            return done

        def elements(_: Machine, map_: int, function: int, shared: int, *__: int) -> int:
            done = 0
            while done < min(self.known[map_].max_entries, 3):
                done += 1
                if self._call_back(function, map_, self.allocate(4), self._value(map_), shared):
                    break
            return done

        def timer(_: Machine, timer: int, function: int, *__: int) -> int:
            self.later.append((function, self.maps[structured.TIMED]))
            return error()

        def packet(_: Machine, context: int, offset: int, to: int, size: int, *__: int) -> int:
            return fill(to, size)

        return {
            "ktime_get_ns": number(1 << 64), "get_prandom_u32": number(1 << 32),
            "get_smp_processor_id": number(64), "get_current_pid_tgid": number(1 << 64),
            "ktime_get_boot_ns": number(1 << 64),
            "map_lookup_elem": lookup, "map_update_elem": update, "map_delete_elem": delete,
            "loop": loop, "for_each_map_elem": elements, "tail_call": lambda *_: error(),
            "timer_init": lambda *_: error(), "timer_set_callback": timer, "timer_start": lambda *_: error(),
            "spin_lock": lambda *_: 0, "spin_unlock": lambda *_: 0, "skb_load_bytes": packet,
            "skb_pull_data": lambda *_: error(), "xdp_adjust_head": lambda *_: error(),
            "probe_read_kernel": lambda _, to, size, *__: fill(to, size),
            "probe_read_kernel_str": lambda _, to, size, *__: self._text(to, size),
            "get_current_comm": lambda _, to, size, *__: fill(to, size),
            "ringbuf_reserve": lambda _, ring, size, *__: self.allocate(size) if rng.random() < 0.7 else 0,
            "ringbuf_submit": lambda *_: 0, "ringbuf_discard": lambda *_: 0,
        }  # fmt: skip

    def _text(self, to: int, size: int) -> int:
        """As a helper that copies a text: how many bytes, or an error."""
        size &= M32
        self.write(to, self.rng.randbytes(size))
        return self.rng.choice((self.rng.randrange(size + 1), -14 & (1 << 64) - 1))

    def sure(self, map_: int, key: int) -> bool:
        """Arrays have all their elements."""
        info = self.known[map_]
        return info.map_type in ("ARRAY", "PERCPU_ARRAY") and self.load(key, 4) < info.max_entries


_BASE: dict[str, Callable[[int], int]] = {  # kind of pointer → its offset from where it counts from
    "fp": lambda at: at - 512,
    "ctx": lambda at: at, "map_value": lambda at: at, "pkt": lambda at: at, "mem": lambda at: at,
}  # fmt: skip


def inside(state: State, registers: tuple[int, ...]) -> bool:
    """Whether numbers and pointers in r0 to r10 are as the state has them; an address tells its offset."""
    for reg, value in zip(state.frame.regs, registers, strict=True):
        if reg.kind == "scalar" and not reg.num.contains(value):
            return False
        if reg.kind in _BASE and not (reg.null and not value):
            at = _BASE[reg.kind](((value & M32) ^ 1 << 31) - (1 << 31)) - reg.off
            if not value or not reg.num.contains(at & (1 << 64) - 1):
                return False
    return True
