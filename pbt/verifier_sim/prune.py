"""Remembered states, and when one of them makes walking on from another state unnecessary."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.typing import Final
from pbt.verifier_sim import scalar
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.reg import ANY, NULL, Deps, Reg
from pbt.verifier_sim.state import DYNPTR, INVALID, ITER, MISC, SPILL, ZEROED, Frame, Held, Slot, State

COVERS: Final = 0
EXACTLY: Final = 1
WITHIN: Final = 2
"""How states are compared. COVERS: what was not needed after the earlier state does not count. WITHIN:
all counts, the new numbers lie within the old. EXACTLY: all is the same."""
_SAVED = 0b1111000000  # r6 to r9, which survive calls


class Node:
    """A remembered state and what later steps needed of it."""

    __slots__ = ("branches", "hint", "hits", "misses", "parent", "pc", "precise", "reads", "state", "written")

    lost = False

    def __init__(self, pc: int, state: State, parent: Node | None, written: set[tuple[int, int]]) -> None:
        self.pc, self.state, self.parent, self.written = pc, state, parent, written
        self.branches = 1
        self.hits = self.misses = 0
        self.hint = 0  # the register that differed last time
        self.reads: frozenset[tuple[int, int]] = frozenset()  # few nodes need a set of their own
        self.precise: frozenset[tuple[int, int]] = frozenset()

    def origin(self, place: tuple[int, int]) -> Deps:
        """Where the number at `place` came from before this state."""
        reg = find(self.state, place)
        return reg.deps if reg is not None else ()


class _Lost:
    """In place of a checkpoint: on some kernels, what was so before this cannot be found to matter."""

    lost = True


def lose_precision(state: State) -> None:
    """Let it be an error that the exact value of a number matters that a path holds by now."""
    for level, frame in enumerate(state.frames):
        for regno, reg in enumerate(frame.regs):
            if reg.is_scalar:
                frame.regs[regno] = reg._replace(deps=((_Lost(), (level, regno)),))
        for index, slot in frame.stack.items():
            if slot.reg is not None and slot.reg.is_scalar:
                frame.stack[index] = Slot(
                    slot.types, slot.reg._replace(deps=((_Lost(), (level, -1 - index)),))
                )


def find(state: State, place: tuple[int, int]) -> Reg | None:
    """The register (level, n) or the spilled one (level, -1 - slot)."""
    level, at = place
    if level >= len(state.frames):
        return None
    if at >= 0:
        return state.frames[level].regs[at]
    slot = state.frames[level].stack.get(-1 - at)
    return slot.reg if slot is not None else None


class Match:
    """One comparison of an earlier state with the current one."""

    __slots__ = ("ids", "mode", "node", "rules", "temporary")

    def __init__(self, node: Node, mode: int, rules: Features) -> None:
        self.node, self.mode, self.rules = node, mode, rules
        self.ids: dict[int, int] = {}
        self.temporary = 0

    def same_id(self, old: int, new: int) -> bool:
        """Whether ids correspond, one to one over the whole state."""
        if not old and not new:
            return True
        if not old or not new:
            return False
        known = self.ids.get(old)
        if known is None:
            if new in self.ids.values():
                return False
            self.ids[old] = new
            return True
        return known == new

    def scalar_id(self, old: int, new: int) -> bool:
        """The same for linked numbers: a new number without an id is linked to nothing."""
        if not old:
            return True
        if not new:
            self.temporary -= 1
            new = self.temporary
        return self.same_id(old, new)

    def reg(self, old: Reg, new: Reg, place: tuple[int, int]) -> bool:
        if "ids_compared" not in self.rules and old[:-1] == new[:-1]:
            return True
        if old.kind == "uninit":
            return self.mode != EXACTLY or new.kind == "uninit"
        if old.kind != new.kind:
            return False
        if old.kind == "scalar":
            return self._scalar(old, new, place)
        ids = "ids_compared" in self.rules or old.null or old.kind not in ("map_value", "pkt", "pkt_meta")
        if (
            old.off != new.off
            or old.null != new.null
            or old.mods != new.mods
            or not (old.obj is new.obj or old.obj == new.obj)
            or (ids and not self.same_id(old.id, new.id))
            or not self.same_id(old.ref, new.ref)
        ):
            return False
        if self.mode == EXACTLY or old.kind == "fp":
            return old.size == new.size and old.num == new.num
        if old.kind in ("pkt", "pkt_meta"):
            beyond = old.size < 0 or new.size < 0  # the end of the packet
            if (old.size != new.size if beyond else old.size > new.size) or (
                not ids and old.id and not self.same_id(old.id, new.id)
            ):
                return False
        elif old.size != new.size:
            return False
        return scalar.includes(old.num, new.num)

    def _scalar(self, old: Reg, new: Reg, place: tuple[int, int]) -> bool:
        if old.mods != new.mods:
            return False
        if self.mode == EXACTLY:
            return (
                old.num == new.num
                and old.size == new.size
                and old.delta == new.delta
                and self.scalar_id(old.id, new.id)
            )
        if self.mode == COVERS and place not in self.node.precise:
            return True
        if not scalar.includes(old.num, new.num):
            return False
        if old.size != new.size or (old.size and old.delta != new.delta):
            return False
        return not old.id or self.scalar_id(old.id, new.id)

    def slot(self, old: Slot, new: Slot | None, place: tuple[int, int]) -> bool:
        types = new.types if new is not None else INVALID * 8
        if self.mode == EXACTLY:
            if old.types != types:
                return False
            if old.reg is None or new is None or new.reg is None:
                return (old.reg is None) == (new is None or new.reg is None)
            return self.reg(old.reg, new.reg, place)
        reg = new.reg if new is not None else None
        if DYNPTR in old.types or ITER in old.types:
            before = old.reg
            if before is None or reg is None or types != old.types:
                return False
            same = before.obj == reg.obj and before.size == reg.size and before.off == reg.off
            return same and self.same_id(before.ref, reg.ref)
        if old.reg is not None:
            if types != old.types or reg is None:
                reg = _as_number(types, old.types, reg)
            return reg is not None and self.reg(old.reg, reg, place)
        if types == old.types:
            return True
        loose = "uninit_stack" in self.rules
        for was, now in zip(old.types, types, strict=True):
            if was in (now, INVALID):
                continue
            if was == MISC and (
                now == ZEROED
                or (now == INVALID and loose)
                or (now == SPILL and reg is not None and reg.kind == "scalar")
            ):
                continue
            if (
                was == ZEROED
                and now == SPILL
                and reg is not None
                and reg.num.const == 0
                and reg.kind == "scalar"
            ):
                continue
            return False
        return True

    def _registers(self, level: int, old: Sequence[Reg], new: Sequence[Reg], live: int) -> bool:
        """COVERS: most registers are dead, were never set, or hold numbers that nothing depended on."""
        precise = self.node.precise
        for regno in range(10):
            if live >> regno & 1:
                was = old[regno]
                kind = was.kind
                if kind == "uninit":
                    continue
                now, place = new[regno], (level, regno)
                if (
                    kind == "scalar"
                    and now.kind == "scalar"
                    and place not in precise
                    and was.mods == now.mods
                ):
                    continue
                if not self.reg(was, now, place):
                    return False
        return True

    def _all_registers(self, level: int, old: Sequence[Reg], new: Sequence[Reg], live: int) -> bool:
        for regno in range(10):
            if live >> regno & 1:
                was, now = old[regno], new[regno]
                if not self.reg(was, now, (level, regno)):
                    if self.mode == EXACTLY and was.kind == now.kind and was.num != now.num:
                        self.node.hint = regno
                    return False
        return True

    def frame(self, level: int, old: Frame, new: Frame, live: int) -> bool:
        if old.callsite != new.callsite or (old.callback is None) != (new.callback is None):
            return False
        if old.rounds > new.rounds:
            return False
        if self.mode == COVERS:
            same = self._registers(level, old.regs, new.regs, live)
        else:
            same = self._all_registers(level, old.regs, new.regs, live)
        if not same:
            return False
        reads = self.node.reads
        for index, slot in old.stack.items():
            if self.mode == COVERS and (level, index) not in reads:
                continue
            if not self.slot(slot, new.stack.get(index), (level, -1 - index)):
                return False
        if self.mode == EXACTLY:
            return old.stack.keys() == new.stack.keys()
        return True


def _as_number(types: str, wanted: str, reg: Reg | None) -> Reg | None:
    """Eight unspilled bytes read as one number, to compare with a spilled one."""
    if wanted != SPILL * 8 or reg is not None:
        return None
    if types == ZEROED * 8:
        return NULL
    return ANY if INVALID not in types and set(types) <= {MISC, ZEROED} else None


def _same_locks(match: Match, old: Held | None, new: Held | None) -> bool:
    while old is not None and new is not None:
        if old.what != new.what or old.kind != new.kind or not match.same_id(old.id, new.id):
            return False
        old, new = old.outer, new.outer
    return old is new


def same_hint(node: Node, state: State) -> bool:
    """Whether the states may be the same: the number that differed last time does not."""
    hint = node.hint
    num: scalar.Scalar = state.frames[-1].regs[hint].num
    return node.state.frames[-1].regs[hint].num == num


def covers(node: Node, state: State, mode: int, live: Sequence[int], rules: Features) -> bool:
    """Whether what was found from `node` holds for `state` as well."""
    old = node.state
    if len(old.frames) != len(state.frames) or len(old.refs) != len(state.refs):
        return False
    if old.speculative and not state.speculative:
        return False
    if old.rcu != state.rcu or old.preempt != state.preempt:
        return False
    match = Match(node, mode, rules)
    last = len(old.frames) - 1
    for level, frame in enumerate(old.frames):
        new = state.frames[level]
        if level == last:
            mask = live[node.pc]
        else:
            inner = old.frames[level + 1]
            mask = live[inner.callsite] if inner.callback else live[inner.callsite + 1] & _SAVED
        if not match.frame(level, frame, new, mask):
            return False
    if not _same_locks(match, old.lock, state.lock):
        return False
    return all(match.same_id(a[0], b[0]) for a, b in zip(old.refs, state.refs, strict=True))
