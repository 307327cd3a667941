"""What stays the same while one program is judged, and the two ways judging can end early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.isa.insn import Insn
from pbt.source import PbtError
from pbt.uapi import progs
from pbt.uapi.helpers import Helper
from pbt.verifier_sim import kernels
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.reg import MapInfo, Reg, names
from pbt.verifier_sim.state import State

_PACKET_READ = names(
    "SCHED_CLS SCHED_ACT XDP LWT_XMIT SK_SKB SK_MSG LWT_IN LWT_OUT LWT_SEG6LOCAL SK_REUSEPORT "
    "FLOW_DISSECTOR CGROUP_SKB CGROUP_SOCKOPT"
)
_PACKET_WRITE = names("SCHED_CLS SCHED_ACT XDP LWT_XMIT SK_SKB SK_MSG CGROUP_SOCKOPT")
_OF_TASK = frozenset(  # in network programs since 6.18 ("comm_everywhere")
    [
        "get_current_comm",
        "get_current_pid_tgid",
        "get_current_uid_gid",
        "current_task_under_cgroup",
        "get_current_cgroup_id",
        "get_current_ancestor_cgroup_id",
        "get_cgroup_classid",
    ]
)
_PRIVATE = names("KPROBE TRACEPOINT PERF_EVENT RAW_TRACEPOINT")
_WITH_RESULT = names("CGROUP_DEVICE CGROUP_SYSCTL CGROUP_SOCK CGROUP_SOCK_ADDR CGROUP_SOCKOPT")
_TRACING = names("KPROBE TRACEPOINT PERF_EVENT RAW_TRACEPOINT RAW_TRACEPOINT_WRITABLE TRACING LSM")


class Refuse(PbtError):
    """The program breaks a rule: `reason` in the kernel's words, `hint` what would mend it."""

    def __init__(self, reason: str, hint: str = "", pc: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.hint, self.pc = reason, hint, pc


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
        privileged: bool = True,
        strict: bool = False,
        sleepable: bool = False,
        gpl: bool = True,
        arguments: Sequence[Reg] | None = None,
        missing: frozenset[str] = frozenset(),
        release: tuple[int, ...] = (),
    ) -> None:
        self.insns, self.prog, self.attach = insns, prog, attach
        self.maps, self.map_of, self.rules = maps, map_of, rules
        self.privileged, self.strict, self.sleepable, self.gpl = privileged, strict, sleepable, gpl
        self.arguments, self.missing, self.release = arguments, missing, release
        self.processed = 0
        self.jumps = 0
        self.last_id = 0
        self.pending: list[tuple[int, State]] = []
        self.pointer_at: dict[int, str] = {}  # what each load or store was used with
        self.depths: dict[int, int] = {}  # first slot of a function → bytes of stack
        self.callback_calls: set[int] = set()  # calls whose callbacks were entered
        self.context_access: dict[tuple[int, int, bool], bool] = {}
        self.packet_helpers = prog.name in _PACKET_READ
        self.packet_write = prog.name in _PACKET_WRITE
        self.private_stack = "private_stack" in rules and prog.name in _PRIVATE
        self.limits = progs.returns(prog.name, attach)

    def new_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def allows(self, helper: Helper) -> bool:
        """Whether programs of this type may call the helper on this kernel."""
        name = helper.name
        if name in ("get_retval", "set_retval") and self.prog.name in _WITH_RESULT:
            return True
        if name not in self.prog.helpers or name in self.missing:
            return False
        if name in _OF_TASK and self.prog.name not in _TRACING and "comm_everywhere" not in self.rules:
            return self.prog.name.startswith("CGROUP") or name == "get_cgroup_classid"
        return True

    def knows(self, helper: Helper) -> bool:
        """Whether the kernel has the helper at all (none came after 6.2)."""
        if not self.release or self.release >= (6, 2):
            return True
        from pbt.uapi.features import helper_release

        return kernels.release(helper_release(helper.id)) <= self.release

    def push(self, pc: int, state: State) -> None:
        """Remember a branch for later (the kernel keeps at most 8192 of them)."""
        if len(self.pending) >= 8192:
            raise Refuse("The sequence of 8193 jumps is too complex.")
        if state.node is not None:
            state.node.branches += 1
        self.pending.append((pc, state))

    def precise(self, reg: Reg) -> None:
        """The exact value of `reg` matters: no earlier state may stand for another value of it."""
        work = list(reg.deps)
        while work:
            node, place = work.pop()
            if place not in node.precise:
                node.precise.add(place)
                work.extend(node.origin(place))


def read_reg(state: State, regno: int) -> Reg:
    reg = state.frames[-1].regs[regno]
    if reg.kind == "uninit":
        raise Refuse(f"R{regno} !read_ok", "Nothing was put into this register on the way here.")
    return reg
