"""Pieces around objects of the kernel: records of a ring buffer, locks, timers, maps in maps, packets."""

from __future__ import annotations

from pbt.isa import insn as make
from tests.property.structured.control import call, compare, leave
from tests.property.structured.maker import NUM, Held, Maker
from tests.property.structured.memory import STORAGE, access, direct, fill, key, look, spill, value
from tests.property.structured.numbers import NUMERIC, bound, helper
from tests.property.structured.world import LOCKED, MAPS, NETWORK, OUTER, PACKET, RING, TIMED


def ring(m: Maker) -> None:
    """Reserve a record, write into it on some ways, give it back on (mostly) all."""
    size = m.rng.choice((8, 16, 24))
    m.load_map(1, RING)
    m.emit(make.mov_imm(2, size), make.mov_imm(3, 0))
    m.helper("ringbuf_reserve")
    m.jump(make.branch("JEQ", 0, None, 0, 0), m.end)
    keep = m.keeper()
    m.emit(make.mov(keep, 0))
    m.held.pop(0)
    m.held.pop(keep, None)
    with m.keeping(keep), m.undoing(lambda m: _give_back(m, keep)):
        for _ in range(m.rng.randrange(0, 3)):
            width = m.rng.choice((8, 4, 1))
            off = m.rng.randrange(0, size - width + 1) // width * width
            access(m, keep, width, off if not m.slip() else size)
        m.some((*NUMERIC, *STORAGE, compare, leave, bound, helper, call), 0, 3)
    if not m.slip():
        _give_back(m, keep)


def _give_back(m: Maker, keep: int) -> None:
    m.emit(make.mov(1, keep), make.mov_imm(2, 0))
    m.helper(m.rng.choice(("ringbuf_submit", "ringbuf_discard")))
    m.held.pop(0)
    m.held.pop(keep, None)


def lock(m: Maker) -> None:
    """A value under its lock."""
    if m.prog_type not in NETWORK:
        return
    look(m, LOCKED)
    m.jump(make.branch("JEQ", 0, None, 0, 0), m.end)
    keep = m.keeper()
    m.emit(make.mov(keep, 0), make.mov(1, keep))
    m.helper("spin_lock")
    m.held.pop(0)
    m.held.pop(keep, None)
    with m.keeping(keep), m.undoing(lambda m: _unlock(m, keep)):
        for _ in range(m.rng.randrange(0, 3)):
            size = m.rng.choice((8, 4, 1))
            access(m, keep, size, 8 + m.rng.randrange(0, 24 // size) * size if not m.slip() else 0)
        m.some((*NUMERIC, spill, fill, leave, direct), 0, 3)
    if not m.slip():
        _unlock(m, keep)


def _unlock(m: Maker, keep: int) -> None:
    m.emit(make.mov(1, keep))
    m.helper("spin_unlock")
    m.held.pop(0)
    m.held.pop(keep, None)


def timer(m: Maker) -> None:
    """A timer in a map's value, and what it runs later."""
    if m.prog_type not in NETWORK or len(m.functions) > 4:
        return
    look(m, TIMED)
    m.jump(make.branch("JEQ", 0, None, 0, 0), m.end)
    keep = m.keeper()
    m.emit(make.mov(keep, 0))
    m.held.pop(keep, None)
    with m.keeping(keep):
        if m.chance(0.7):
            m.emit(make.mov(1, keep))
            m.load_map(2, TIMED)
            m.emit(make.mov_imm(3, 1))
            m.helper("timer_init")
        if m.chance(0.8):
            m.emit(make.mov(1, keep))
            takes = {3: Held("value", 0)}
            m.load_function(2, m.function((*NUMERIC, *STORAGE, compare, helper), takes, 0))
            m.helper("timer_set_callback")
        m.emit(make.mov(1, keep), make.mov_imm(2, m.rng.choice((0, 1000))), make.mov_imm(3, 0))
        m.helper("timer_start")
        access(m, keep, 8, 16 if not m.slip() else 8)


def inner(m: Maker) -> None:
    """A value of a map in a map."""
    look(m, OUTER)
    if not m.slip():
        m.jump(make.branch("JEQ", 0, None, 0, 0), m.end)
    m.held.pop(0)
    m.emit(make.mov(1, 0))
    with m.keeping(0, 1):
        key(m, 1)
    m.stack_pointer(2, -4)
    info = MAPS[OUTER].inner
    assert info is not None
    m.helper("map_lookup_elem", Held("maybe", info.value_size))
    keep = m.keeper()
    m.emit(make.mov(keep, 0))
    m.held[keep] = m.held[0]


def packet(m: Maker) -> None:
    """Compare with the end of the packet, then use it, at a constant or a variable offset."""
    base = m.having("ctx")
    if m.prog_type not in PACKET or base is None:
        return
    data, end = PACKET[m.prog_type]
    reg, last, limit = m.keeper(), 3, 4
    if reg == base:
        return
    m.emit(make.load(4, last, base, end), make.load(4, reg, base, data))
    for written in (reg, last, limit):
        m.held.pop(written, None)
    small = m.having("small")
    if small is not None and small not in (reg, last, limit) and m.chance(0.5):
        m.emit(make.alu("ADD", reg, small))
    size = m.rng.choice((1, 2, 4, 8, 14, 20))
    m.emit(make.mov(limit, reg), make.alu("ADD", limit, None, size))
    _compare_end(m, limit, last)
    m.held[reg] = Held("packet", size)
    width = m.rng.choice((1, 2, 4, 8))
    off = m.rng.randrange(0, max(size - width, 0) + 1)
    if off + width > size:
        width, off = 1, 0
    if m.slip():
        off += size
    with m.keeping(reg):
        dst = m.target()
        if m.prog_type != "CGROUP_SKB" and m.chance(0.3):
            m.emit(make.store(width, reg, off, m.a_number()))
        else:
            m.emit(make.load(width, dst, reg, off, sign=width < 8 and m.chance(0.15)))
            m.held[dst] = NUM


def _compare_end(m: Maker, limit: int, last: int) -> None:
    name = m.rng.choice(("JGT", "JGT", "JGE", "JLT", "JLE"))
    if name in ("JLT", "JLE"):
        good = m.label()
        m.jump(make.branch(name, limit, last, 0), good)
        m.jump(make.jump(0), m.end)
        m.place(good)
    elif m.chance(0.3):
        m.jump(make.branch({"JGT": "JLT", "JGE": "JLE"}[name], last, limit, 0), m.end)
    else:
        m.jump(make.branch(name, limit, last, 0), m.end)


def more_packet(m: Maker) -> None:
    """Another access of a packet that was compared before."""
    base = m.having("packet")
    if base is None:
        return packet(m)
    size = m.rng.choice((1, 1, 2, 4))
    off = m.rng.randrange(0, max(m.held[base].size - size, 0) + 1)
    if off + size > m.held[base].size and not m.chance(0.1):
        return
    with m.keeping(base):
        dst = m.target()
    m.emit(make.load(size, dst, base, off))
    m.held[dst] = NUM


def move_packet(m: Maker) -> None:
    """A helper that moves the packet's data: what was compared before counts no more."""
    context = m.having("ctx")
    if context is None or m.prog_type not in ("XDP", "SCHED_CLS"):
        return
    if context != 1:
        m.emit(make.mov(1, context))
    m.emit(make.mov_imm(2, m.rng.choice((0, 4, 64))))
    m.helper("xdp_adjust_head" if m.prog_type == "XDP" else "skb_pull_data")
    if not m.slip():
        m.held = {reg: held for reg, held in m.held.items() if held.kind != "packet"}
        m.slots = {at: held if held.kind != "packet" else NUM for at, held in m.slots.items()}


def bytes_of_packet(m: Maker) -> None:
    """skb_load_bytes onto the stack, as many as a number says."""
    context, small = m.having("ctx"), m.having("small")
    if context is None or m.prog_type not in ("SOCKET_FILTER", "SCHED_CLS", "CGROUP_SKB"):
        return
    size = m.rng.choice((1, 4, 8, 16))
    at = -8 * m.rng.randrange(2, 9)
    if small is not None and small not in (1, 2, 3) and m.chance(0.5):
        m.emit(make.mov(4, small))
        if not m.slip():
            m.emit(make.alu("AND", 4, None, 7), make.alu("ADD", 4, None, 1))
        size = 8
    else:
        m.emit(make.mov_imm(4, size))
    if context != 1:
        m.emit(make.mov(1, context))
    m.emit(make.mov_imm(2, m.rng.choice((0, 12))))
    m.stack_pointer(3, at)
    m.helper("skb_load_bytes")
    for slot in range(at, min(at + size, 0), 8):
        m.slots[slot] = NUM


__all__ = [
    "bytes_of_packet",
    "inner",
    "lock",
    "more_packet",
    "move_packet",
    "packet",
    "ring",
    "timer",
    "value",
]
