"""What stays the same while one program is judged, and the two ways judging can end early."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.source import PbtError
from pbt.typing import TYPE_CHECKING, Any, Final
from pbt.uapi import expected, progs
from pbt.uapi.helpers import BY_ID
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.reg import MapInfo, Reg, names
from pbt.verifier_sim.state import Later, State

if TYPE_CHECKING:
    from pbt.verifier_sim.attach import Attached
    from pbt.verifier_sim.functions import Declared
    from pbt.verifier_sim.kerneltypes import KernelTypes
    from pbt.verifier_sim.params import Param
    from pbt.verifier_sim.progbtf import Function, ProgramTypes

ALL: Final = names("BPF PERFMON NET_ADMIN")
"""The capabilities that programs are judged by, without CAP_."""
_PACKET_READ = names(
    "SCHED_CLS SCHED_ACT XDP LWT_XMIT SK_SKB SK_MSG LWT_IN LWT_OUT LWT_SEG6LOCAL SK_REUSEPORT "
    "FLOW_DISSECTOR CGROUP_SKB CGROUP_SOCKOPT"
)
_PACKET_WRITE = names("SCHED_CLS SCHED_ACT XDP LWT_XMIT SK_SKB SK_MSG CGROUP_SOCKOPT")
MOVES_PACKET = names(
    "skb_store_bytes skb_vlan_push skb_vlan_pop skb_change_proto skb_change_head skb_change_tail "
    "skb_pull_data skb_adjust_room clone_redirect l3_csum_replace l4_csum_replace xdp_adjust_head "
    "xdp_adjust_tail xdp_adjust_meta msg_pull_data msg_push_data msg_pop_data lwt_push_encap "
    "lwt_seg6_store_bytes lwt_seg6_adjust_srh lwt_seg6_action store_hdr_opt"
)
_MAY_SLEEP: Final = {
    "TRACING": (5, 10), "LSM": (5, 10), "KPROBE": (6, 0), "STRUCT_OPS": (6, 0), "TRACEPOINT": (7, 3),
    "RAW_TRACEPOINT": (7, 3),
}  # fmt: skip
_FAULTABLE: Final = names("sys_enter sys_exit")
"""Tracepoints that wait until the kernel lets them sleep."""
_PRIVATE = names("KPROBE TRACEPOINT PERF_EVENT RAW_TRACEPOINT")


class Refuse(PbtError):
    """The program breaks a rule: `reason` in the kernel's words, `hint` what would mend it.

    before, after: lines that the kernel's log has around the reason.
    """

    def __init__(
        self, reason: str, hint: str = "", pc: int | None = None, before: str = "", after: str = ""
    ) -> None:
        super().__init__(reason)
        self.reason, self.hint, self.pc = reason, hint, pc
        self.before, self.after = before, after


class Certain(Refuse):
    """A refusal that stands even on paths which only a processor running ahead goes: no barrier ends them before."""


class Unsupported(PbtError):
    """The program uses what this simulator does not judge; the message names it."""


class Env:
    """One program, the kernel's rules, and counters of the walk."""

    def __init__(
        self,
        insns: Sequence[Insn],
        prog: progs.ProgType,
        attach: str,
        maps: Sequence[MapInfo],
        map_of: Mapping[int, tuple[int, str, int]],
        rules: Features,
        *,
        capabilities: frozenset[str] = ALL,
        strict: bool = False,
        sleepable: bool = False,
        gpl: bool = True,
        arguments: Sequence[Reg] | None = None,
        missing: frozenset[str] = frozenset(),
        release: tuple[int, ...] = (),
        state_freq: bool = False,
        declared: Declared | None = None,
        described: bool = True,
        cpus: int = 0,
        structs: Mapping[str, int] | None = None,
        own_types: Sequence[ProgramTypes] = (),
        types: KernelTypes | None = None,
        attached: Attached | None = None,
        patience: int = 1_000_000,
        kfuncs: Mapping[int, str] | None = None,
    ) -> None:
        self.insns, self.prog, self.attach = insns, prog, attach
        self.maps, self.map_of = maps, map_of
        self.strict, self.sleepable, self.gpl = strict, sleepable, gpl
        self.capabilities = capabilities
        self.bpf, self.perfmon = "BPF" in capabilities, "PERFMON" in capabilities
        self.privileged = self.bpf and self.perfmon
        self.rules = rules if self.perfmon else rules - {"uninit_stack"}
        self.arguments, self.missing, self.release = arguments, missing, release
        self.declared, self.described = declared, described
        self.own_types = (*([declared.types] if declared else []), *own_types)
        self.types, self.attached = types, attached
        self.kfuncs = kfuncs or {}  # slot of a call → the kernel function
        if attached is not None:
            self.arguments = attached.slots
        self.patience = patience  # instructions to walk before giving up
        self.cpus = cpus or 8192  # CONFIG_NR_CPUS of x86-64 distributions
        self.structs = {**(structs or {}), **(declared.sizes if declared else {})}
        self.params: dict[int, tuple[Param, ...]] = {}  # of global functions, by first slot
        self.starts: tuple[int, ...] = (0,)  # first slots of all functions
        self.moving: dict[int, bool] = {}
        self.globals: dict[int, Function] = {}
        self.called: set[int] = set()  # global functions that something called
        self.called_back: set[int] = set()  # first slots of callbacks
        self.later: set[int] = set()  # those of them that run by themselves
        self.threw = False  # without a function of its own that handles it
        self.handler = 0  # first slot of the function that makes a result of exceptions, 0 if there is none
        self.entered: set[int] = set()  # first slots of functions that were walked
        self.passed: set[int] = set()  # first slots of functions whose address was taken
        self.void = False  # its result is not looked at
        self.subprogram = False  # a global function is judged by itself
        self.processed = 0
        self.jumps = 0
        self.last_id = 0
        self.pending: list[tuple[int, State]] = []
        self.masked: dict[int, tuple[str, int]] = {}  # additions without privileges: what they did
        self.limits_matter = False  # without privileges: whether only states with the same numbers are alike
        self.barriers: set[int] = set()  # slots that no processor reaches before it knows that it may
        self.pointer_at: dict[int, str] = {}  # what each load or store was used with
        self.depths: dict[int, int] = {}  # first slot of a function → bytes of stack
        self.callback_calls: set[int] = set()  # calls whose callbacks were entered
        self.context_access: dict[tuple[int, int, bool], bool] = {}
        self.packet_helpers = prog.name in _PACKET_READ
        self.packet_write = prog.name in _PACKET_WRITE
        self.private_stack = "private_stack" in rules and prog.name in _PRIVATE
        self.limits = attached.limits if attached is not None else expected.limits(prog.name, attach, release)
        self.state_freq = state_freq
        self.followed: Callable[[Reg], None] | None = None  # told of each number whose exact value matters

    def sleep_rule(self) -> str:
        """Why a program of this type may not sleep, or has to; "" if all is well."""
        name = self.prog.name
        if name == "SYSCALL":
            return "" if self.sleepable else "Syscall programs can only be sleepable"
        if not self.sleepable:
            return ""
        since = _MAY_SLEEP.get(name)
        if since is None or (self.release and self.release < since):
            return "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable"
        if self.attach == "LSM_CGROUP" and "cgroup_hooks_sleep" not in self.rules:
            return "Program of this type cannot be sleepable"
        if self.attach == "TRACE_RAW_TP":
            return self._raw_sleep_rule()
        return ""

    def _raw_sleep_rule(self) -> str:
        if self.release and self.release < (7, 3):
            return "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable"
        name = self.attached.name if self.attached is not None else ""
        return (
            ""
            if name in _FAULTABLE
            else f"Sleepable program cannot attach to non-faultable tracepoint {name}"
        )

    def struct_size(self, name: str) -> int:
        """Bytes of a struct of the program's own types."""
        if name not in self.structs:
            raise Unsupported(f"the size of struct {name}, which no type of the program tells")
        return self.structs[name]

    def moves_packet(self, start: int) -> bool:
        """Whether the function at a slot, or one that it calls, calls a helper that moves packet data."""
        known = self.moving.get(start)
        if known is None:
            self.moving[start] = False  # while recursion is followed
            known = self.moving[start] = any(self._moves(pc) for pc in range(start, self._end(start)))
        return known

    def loads_packet(self, start: int) -> bool:
        """Whether the function at a slot has one of the old packet loads, or calls one that has."""
        todo, seen = [start], set()
        while todo:
            at = todo.pop()
            if at in seen:
                continue
            seen.add(at)
            for pc in range(at, self._end(at)):
                insn = self.insns[pc]
                if insn.opcode & 7 == op.LD and insn.opcode & 0xE0 in (op.ABS, op.IND):
                    return True
                if insn.opcode == op.JMP | op.CALL and insn.src_reg == op.CALL_LOCAL:
                    todo.append(pc + 1 + insn.imm)
        return False

    def _end(self, start: int) -> int:
        return min((at for at in self.starts if at > start), default=len(self.insns))

    def _moves(self, pc: int) -> bool:
        insn = self.insns[pc]
        if insn.opcode != op.JMP | op.CALL:
            return False
        if insn.src_reg == op.CALL_LOCAL:
            return self.moves_packet(pc + 1 + insn.imm)
        helper = BY_ID.get(insn.imm) if insn.src_reg == op.CALL_HELPER else None
        return helper is not None and (helper.name in MOVES_PACKET or helper.name == "tail_call")

    def returns_void(self, start: int) -> bool:
        known = self.declared
        return known is not None and not known.types.is_scalar(self.globals[start].result)

    def wanted(self, start: int) -> tuple[Param, ...]:
        """What the global function at a slot takes; Refuse if the kernel does not support it."""
        found = self.params.get(start)
        if found is None:
            from pbt.verifier_sim.params import params

            assert self.declared is not None
            found = params(self.globals[start], self.declared.types, self)
            self.params[start] = found
        return found

    def new_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def push(self, pc: int, state: State) -> None:
        """Remember a branch for later (the kernel keeps at most 8192 of them)."""
        if len(self.pending) >= 8192:
            raise Certain("The sequence of 8193 jumps is too complex.")
        if state.node is not None:
            state.node.branches += 1
        self.pending.append((pc, state))

    def precise(self, reg: Reg, certain: bool = True, told: bool = False) -> None:
        """The exact value of `reg` matters: no earlier state may stand for another value of it.

        `certain`: it does; else it may turn out to. `told`: who follows it knows already.
        """
        if self.followed is not None and certain and not told:
            self.followed(reg)
        work = list(reg.deps)
        while work:
            node, place = work.pop()
            if node.lost:
                if certain:
                    raise Refuse("subprog exit from frame 0", "Compute the number after the call.")
            elif place not in node.precise:
                node.precise |= {place}
                work.extend(node.origin(place))


def sleeps(env: Env, state: State) -> bool:
    """Whether this code may sleep: as its program, but for callbacks that run later (since 6.18)."""
    for frame in state.frames:
        later = frame.callback
        if isinstance(later, Later) and (later.sleeps or "async_context" in env.rules):
            return later.sleeps
    return env.sleepable


Step = Callable[[Env, State, int, Any], int]
"""(program, state, slot, operands) → the next slot or DONE; the state is changed in place."""
Decoded = tuple[Step, Any]
"""An instruction taken apart: its step, and the operands as that step wants them."""


def read_reg(state: State, regno: int) -> Reg:
    reg = state.frames[-1].regs[regno]
    if reg.kind == "uninit":
        raise Refuse(f"R{regno} !read_ok")
    return reg


def target(state: State, regno: int) -> list[Reg]:
    """The registers to write into, unless the register may not be written."""
    if regno == 10:
        raise Refuse("frame pointer is read only")
    return state.frames[-1].regs
