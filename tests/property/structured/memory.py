"""Pieces that use memory: stack slots of every kind, values of maps, what helpers read and fill."""

from __future__ import annotations

from pbt.isa import insn as make
from tests.property.structured.maker import NUM, SAFE, Held, Maker
from tests.property.structured.world import ARRAY, HASH, MAPS, ONE, PERCPU, TRACING

_ATOMICS = ("ADD", "OR", "AND", "XOR", "FETCH_ADD", "FETCH_OR", "FETCH_AND", "FETCH_XOR", "XCHG", "CMPXCHG")
_ORDERED = ("LOAD_ACQ", "STORE_REL")


def place(m: Maker, size: int = 8) -> int:
    """The offset of a few bytes of stack, mostly in a slot that was written."""
    if m.slots and m.chance(0.7):
        base = m.rng.choice(sorted(m.slots))
    else:
        base = -8 * m.rng.randrange(1, 9)
    return base + (m.rng.randrange(0, 8 // size) * size if size < 8 else 0)


def spill(m: Maker) -> None:
    size = m.rng.choice((8, 8, 8, 4, 4, 2, 1))
    at = place(m, size)
    whole = at & ~7
    if m.chance(0.3):
        m.emit(make.store_imm(size, 10, at, m.number()))
        m.slots[whole] = NUM
        return
    any_ = sorted(reg for reg in m.held if m.held[reg].kind != "map" or m.chance(0.3))
    reg = m.rng.choice(any_) if size == 8 and any_ and m.chance(0.5) else m.a_number()
    m.emit(make.store(size, 10, at, reg))
    m.slots[whole] = m.held[reg] if size == 8 else NUM


def fill(m: Maker) -> None:
    size = m.rng.choice((8, 8, 8, 8, 4, 4, 2, 1))
    at, dst = place(m, size), m.target()
    held = m.slots.get(at & ~7)
    if held is not None and held.kind not in SAFE and not m.slip():
        size, at = 8, at & ~7
    m.emit(make.load(size, dst, 10, at, sign=size < 8 and m.chance(0.2)))
    m.held[dst] = held if size == 8 and held is not None else NUM


def variable_stack(m: Maker) -> None:
    """An access of the stack at an offset that varies."""
    index, base = m.having("small"), m.target()
    if index is None or base == index:
        return
    low = -8 * m.rng.randrange(1, 10)
    m.stack_pointer(base, low)
    m.emit(make.alu("ADD", base, index))
    m.held.pop(base, None)
    if low + m.held[index].size >= 0 and not m.slip():
        return
    access(m, base, 1, 0)
    for at in range(low & ~7, min(low + m.held.get(index, NUM).size + 8, 0), 8):
        if at in m.slots and m.slots[at].kind not in SAFE:
            del m.slots[at]


def access(m: Maker, base: int, size: int, off: int) -> None:
    """A load, a store or an atomic operation."""
    kind = m.rng.randrange(11)
    if kind < 4:
        dst = m.target()
        m.emit(make.load(size, dst, base, off, sign=size < 8 and m.chance(0.2)))
        m.held[dst] = NUM
    elif kind < 6:
        m.emit(make.store(size, base, off, m.a_number()))
    elif kind < 8 or size < 4:
        m.emit(make.store_imm(size, base, off, m.number()))
    else:
        _atomic(m, base, size, off)


def _atomic(m: Maker, base: int, size: int, off: int) -> None:
    if m.chance(0.15):
        name = m.rng.choice(_ORDERED)
        if name == "LOAD_ACQ":
            dst = m.target()
            insn = make.atomic(name, size, dst, off, base)
            m.held[dst] = NUM
        else:
            insn = make.atomic(name, size, base, off, m.a_number())
        m.emit(insn)
        return
    name, src = m.rng.choice(_ATOMICS), m.a_number()
    if src in m.busy:
        name = "ADD"
    if name == "CMPXCHG" and m.held.get(0, Held("?")).kind not in SAFE:
        name = "XCHG"
    m.emit(make.atomic(name, size, base, off, src))
    if name == "CMPXCHG":
        m.held[0] = NUM
    elif name.startswith("FETCH") or name == "XCHG":
        m.held[src] = NUM


def key(m: Maker, most: int, at: int = -4) -> None:
    """A key on the stack, which is -4 below the frame pointer."""
    if m.chance(0.7):
        m.emit(make.store_imm(4, 10, at, m.rng.choice((0, 0, 1, most, 9))))
    else:
        m.emit(make.store(4, 10, at, m.a_number()))
    m.slots[at & ~7] = NUM


def look(m: Maker, index: int) -> None:
    """r0: the value of a map at some key, or null."""
    key(m, MAPS[index].max_entries - 1)
    m.load_map(1, index)
    m.stack_pointer(2, -4)
    m.helper("map_lookup_elem", Held("maybe", MAPS[index].value_size))


def lookup(m: Maker) -> None:
    look(m, m.rng.choice((HASH, ARRAY, ONE, PERCPU)))
    size = m.held[0].size
    if m.chance(0.2):  # compared later
        keep = m.keeper()
        m.emit(make.mov(keep, 0))
        m.held[keep] = Held("maybe", size)
        m.held[0] = Held("maybe", size)
        return
    if not m.slip():
        m.jump(make.branch("JEQ", 0, None, 0, 0), m.end)
    m.held[0] = Held("value", size)
    if m.chance(0.8):
        keep = m.keeper()
        m.emit(make.mov(keep, 0))
        m.held[keep] = m.held[0]


def compare_null(m: Maker) -> None:
    """A pointer that may be null is compared at last, and its copies with it."""
    reg = m.having("maybe")
    if reg is None:
        return lookup(m)
    if m.chance(0.5):
        m.jump(make.branch("JEQ", reg, None, 0, 0), m.end)
    else:
        good = m.label()
        m.jump(make.branch("JNE", reg, None, 0, 0), good)
        m.jump(make.jump(0), m.end)
        m.place(good)
    m.held[reg] = Held("value", m.held[reg].size)


def direct(m: Maker) -> None:
    dst, off = m.target(), m.rng.choice((0, 8, 16, 60))
    m.map_of[len(m.out)] = (ONE, "map_value", off)
    m.emit(*make.wide(dst, off << 32, "map_value"))
    m.held[dst] = Held("value", 64 - off)


def value(m: Maker) -> None:
    """An access of a map's value, at a constant or a variable offset."""
    base = m.having("value")
    if base is None:
        return m.rng.choice((lookup, direct, compare_null))(m)
    limit, size = m.held[base].size, m.rng.choice((8, 4, 2, 1))
    index = m.having("small")
    if index is not None and m.chance(0.5) and base not in m.busy:
        less = limit - m.held[index].size
        if less >= size or m.chance(0.1):
            with m.keeping(base):
                copy_ = m.target(1)
            m.emit(make.mov(copy_, base), make.alu("ADD" if not m.slip() else "SUB", copy_, index))
            base, limit = copy_, less
            m.held.pop(copy_, None)
    if limit < size and not m.slip():
        size = 1
    off = m.rng.randrange(0, max(limit - size, 0) + 1) // size * size
    if m.slip():
        off += m.rng.choice((size, -size, 1))
    with m.keeping(base):
        access(m, base, size, off)


def through_stack(m: Maker) -> None:
    """An access through a pointer to the stack, perhaps that of a caller."""
    base = m.having("stack")
    if base is None:
        reg, at = m.target(1), -8 * m.rng.randrange(1, 9)
        m.emit(make.store_imm(8, 10, at, m.number()))
        m.slots[at] = NUM
        m.stack_pointer(reg, at)
        m.held[reg] = Held("stack", 8)
        return
    size = m.rng.choice((8, 8, 4, 2, 1))
    off = m.rng.randrange(0, max(m.held[base].size - size, 0) + 1) // size * size
    with m.keeping(base):
        access(m, base, size, off)


def update(m: Maker) -> None:
    """map_update_elem with a key and a value from the stack, or map_delete_elem."""
    index = m.rng.choice((HASH, ARRAY, HASH, PERCPU))
    size = MAPS[index].value_size
    m.emit(make.store_imm(4, 10, -4, 1))
    m.slots[-8] = NUM
    if index == HASH and m.chance(0.3):
        m.load_map(1, index)
        m.stack_pointer(2, -4)
        return m.helper("map_delete_elem")
    value_ = m.having("value", "packet")
    if value_ is not None and value_ > 3 and m.held[value_].size >= size and m.chance(0.4):
        m.emit(make.mov(3, value_))
    else:
        for at in range(-8 - size, -8, 8):
            if not m.slip():
                m.emit(make.store_imm(8, 10, at, at))
            m.slots[at] = NUM
        m.stack_pointer(3, -8 - size)
    m.stack_pointer(2, -4)
    m.load_map(1, index)
    m.emit(make.mov_imm(4, 0))
    m.helper("map_update_elem")


def probe_read(m: Maker) -> None:
    """A helper that fills memory of a size that may vary."""
    if m.prog_type not in TRACING:
        return
    small, at = m.having("small"), -8 * m.rng.randrange(1, 9)
    name = m.rng.choice(("probe_read_kernel", "probe_read_kernel_str", "get_current_comm"))
    most = 8 * m.rng.randrange(1, -at // 8 + 1)
    if small is not None and small > 2 and m.chance(0.5):
        m.emit(make.mov(2, small))
        most = m.held[small].size
        at = max(min(at, -(most + 7) // 8 * 8), -72)
        if name == "get_current_comm" and not m.slip():
            m.emit(make.alu("OR", 2, None, 1))
    else:
        m.emit(make.mov_imm(2, most if not m.slip() else m.rng.choice((0, 80))))
    m.stack_pointer(1, at)
    m.emit(make.mov_imm(3, 0))
    m.helper(name)
    for slot in range(at, 0, 8):
        if slot in m.slots or slot < at + most:
            m.slots[slot] = NUM


STORAGE = (spill, spill, fill, fill, value, value, compare_null, through_stack)
