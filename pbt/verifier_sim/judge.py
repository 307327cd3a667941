"""A program, judged: its shape, then the main program and its global functions, then the depth of its stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pbt.isa.insn import Insn, decode
from pbt.typing import TYPE_CHECKING, Any, Final
from pbt.uapi.expected import loads_for
from pbt.uapi.progs import PROG_TYPES, for_regs
from pbt.verifier_sim import arena, kernels, throw, unprivileged
from pbt.verifier_sim.check import check
from pbt.verifier_sim.env import ALL, Env, Refuse, Unsupported
from pbt.verifier_sim.explore import Explorer, Walk
from pbt.verifier_sim.fields import usable, visible
from pbt.verifier_sim.flow import Flow, longest_stack
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.reg import MapInfo, Reg
from pbt.verifier_sim.state import Frame, State
from pbt.verifier_sim.verdict import Verdict

if TYPE_CHECKING:
    from pbt.verifier_sim.explore import Watch
    from pbt.verifier_sim.functions import Declared
    from pbt.verifier_sim.kerneltypes import KernelTypes
    from pbt.verifier_sim.log import Log
    from pbt.verifier_sim.progbtf import ProgramTypes
    from pbt.verifier_sim.trail import Trail

MapOf = Mapping[int, tuple[int, str, int]]

_BY_BTF = ("TRACING", "LSM", "EXT")  # types of programs that attach to what BTF names
_GPL: Final = {"LSM": "LSM programs", "STRUCT_OPS": "struct ops programs"}  # under the GPL alone


def verify(
    insns: bytes | Sequence[Insn],
    *,
    prog_type: str,
    expected_attach_type: str = "",
    maps: Sequence[MapInfo] = (),
    map_of: MapOf | None = None,
    features: frozenset[str] | None = None,
    kernel: str = "6.18",
    privileged: bool = True,
    capabilities: frozenset[str] | None = None,
    keep_states: bool = False,
    thorough: bool = False,
    strict: bool = False,
    sleepable: bool = False,
    gpl: bool = True,
    arguments: Sequence[Reg] | None = None,
    missing: frozenset[str] = frozenset(),
    state_freq: bool = False,
    declared: Declared | None = None,
    described: bool = True,
    cpus: int = 0,
    log: int = 0,
    structs: Mapping[str, int] | None = None,
    own_types: Sequence[ProgramTypes] = (),
    types: KernelTypes | None = None,
    target: str | None = None,
    patience: int = 1_000_000,
    regs_size: int = 168,
    kfuncs: Mapping[int, str] | None = None,
    explain: bool = True,
) -> Verdict:
    """Judge a program as the kernel's verifier would.

    `insns`: slots, or their bytes (little endian); `map_of`: slot of a wide load → (position in
    `maps`, "map_fd" or "map_value", offset into the value); `features`: the kernel's rules by name
    (pbt.verifier_sim.kernels), else those of the release `kernel`; `missing`: helpers this machine
    lacks; `capabilities`: of those in `env.ALL`, what the user has, else all if `privileged`, and none if not;
    `arguments`: what a TRACING program's context holds, if known; `strict`: alignment is
    enforced everywhere; `keep_states`: remember every state, for teaching; `thorough`: follow paths
    that differ only in what is never needed, so that the kept states tell of every run (the kernel
    prunes such paths); `cpus`: how many the machine may have, 0 if unknown;
    `log`: level (1: the path that is refused, 2: all) of the log to be made;
    `structs`: sizes in bytes of structures that the types of maps name; `own_types`: the
    BTF of maps, beside that of `declared`; `types`: the kernel's own, `target`: the function, tracepoint
    or hook that a TRACING or LSM program attaches to, "" if it does not say, None if nobody knows;
    `patience`: how many instructions to walk at most before the program is "unsupported": a kernel walks faster;
    `described`: false if the program is loaded without types of its functions, as `declared` has them;
    `regs_size`: bytes of struct pt_regs, as programs see it; `kfuncs`: slot of a call → name of the kernel function;
    `explain`: walk a refused path once more, to tell where values came from.
    """
    slots = decode(insns) if isinstance(insns, bytes) else list(insns)
    rules = kernels.features(kernel) if features is None else features
    options: dict[str, Any] = {
        "capabilities": (ALL if privileged else frozenset()) if capabilities is None else capabilities,
        "strict": strict,
        "sleepable": sleepable,
        "gpl": gpl,
        "arguments": arguments,
        "missing": missing,
        "release": kernels.release(kernel),
        "state_freq": state_freq,
        "declared": declared,
        "described": described,
        "cpus": cpus,
        "structs": structs,
        "own_types": own_types,
        "types": types,
        "patience": patience,
        "kfuncs": kfuncs,
    }

    def walked(watch: Watch | None, keep: bool) -> Walk:
        return walk(
            slots,
            prog_type,
            expected_attach_type,
            maps,
            map_of or {},
            rules,
            keep=keep,
            thorough=thorough,
            log=watch,
            target=target,
            regs_size=regs_size,
            **options,
        )

    lines = _log(slots, log)
    try:
        found = walked(lines, keep_states)
    except Unsupported as reason:
        return Verdict(True, unsupported=str(reason))
    told = _told(lines, found)
    if found.refusal is None:
        return Verdict(True, None, found.processed, found.states, found.stack_depth, log=told)
    from pbt.verifier_sim.explain import refusal

    trail = _trail(slots, found, walked) if explain else None
    return Verdict(False, refusal(slots, found, trail), found.processed, found.states, log=told)


def _log(slots: Sequence[Insn], level: int) -> Log | None:
    if not level:
        return None
    from pbt.verifier_sim.log import Log

    return Log(slots, level)


def _trail(slots: Sequence[Insn], found: Walk, walked: Callable[[Watch | None, bool], Walk]) -> Trail | None:
    """The refused path, walked once more to tell where values came from, unless it is too long."""
    if found.last is None:
        return None
    from pbt.verifier_sim.trail import LONGEST, Trail

    if found.processed > LONGEST:
        return None
    trail = Trail(slots)
    walked(trail, False)
    return trail


# the walk --------------------------------------------------------------------------------------


def _told(lines: Log | None, found: Walk) -> str:
    """The log of a walk, with its last lines as the kernel has them."""
    if lines is None:
        return ""
    most, total, peak = found.remembered
    refused = found.refusal
    said = list(filter(None, (refused.before, refused.reason, refused.after))) if refused else []
    said.append(
        f"processed {found.processed} insns (limit 1000000) max_states_per_insn {most} total_states {total} "
        f"peak_states {peak} mark_read 0"
    )
    return "\n".join((*lines.lines, *said))


def walk(
    insns: Sequence[Insn],
    prog_type: str,
    attach: str,
    maps: Sequence[MapInfo],
    map_of: MapOf,
    rules: Features,
    *,
    keep: bool = False,
    thorough: bool = False,
    log: Watch | None = None,
    target: str | None = None,
    regs_size: int = 168,
    **options: Any,
) -> Walk:
    """Check the shape of a program, then walk all its paths; `target`: what it attaches to by BTF."""
    try:
        env, flow = _begun(insns, prog_type, attach, maps, map_of, rules, target, regs_size, options)
    except Refuse as refusal:
        return Walk(refusal, refusal.pc or 0, 0, 0, {}, None)
    if log is not None:
        log.functions(flow.starts, flow.live if env.release >= (6, 15) else ())
    explorer = Explorer(env, flow, keep, thorough, log)
    return _judge(env, flow, explorer)._replace(remembered=explorer.counts)


def _begun(
    insns: Sequence[Insn],
    prog_type: str,
    attach: str,
    maps: Sequence[MapInfo],
    map_of: MapOf,
    rules: Features,
    target: str | None,
    regs_size: int,
    options: dict[str, Any],
) -> tuple[Env, Flow]:
    """What walking begins with; Refuse for what no path is walked of."""
    declared = options.get("declared")
    handler = 0 if declared is None else throw.handler(declared)
    flow = check(insns, maps, map_of, rules, handler)
    if any(info.map_type == "ARENA" for info in maps):
        arena.only_one(maps, map_of)
    maps = [visible(info, options.get("release", ())) for info in maps]
    if target == "" and prog_type in _BY_BTF:
        raise Refuse("Tracing programs must provide btf_id", "Name what it attaches to.")
    if target:
        from pbt.verifier_sim.attach import attached

        options["attached"] = attached(
            options.get("types"), prog_type, attach, target, rules, options.get("sleepable", False)
        )
        if prog_type in _GPL and not options.get("gpl", True):
            raise Refuse(f"{_GPL[prog_type]} must have a GPL compatible license")
        if prog_type == "STRUCT_OPS":
            attach = "STRUCT_OPS"  # the number was the member's
    env = Env(insns, for_regs(PROG_TYPES[prog_type], regs_size), attach, maps, map_of, rules, **options)
    if not loads_for(prog_type, attach, env.release):
        raise _misplaced(env)
    if env.capabilities != ALL:
        unprivileged.shape(env, flow.successors)
    why = env.sleep_rule()
    if why:
        raise Refuse(why)
    env.starts, env.handler = flow.starts, handler
    for pc, (index, _, _) in map_of.items():
        reason = usable(env, maps[index])
        if reason:
            raise Refuse(reason, pc=pc)
    return env, flow


def _misplaced(env: Env) -> Refuse:
    wanted = " or ".join(env.prog.attach_types) or "none"
    return Refuse(
        f"expected_attach_type {env.attach or 0} is not for {env.prog.name}",
        f"Programs of this type attach as {wanted}.",
    )


def _judge(env: Env, flow: Flow, explorer: Explorer) -> Walk:
    """The main program and the global functions, in the kernel's order; then the depth of the stack."""
    known = env.declared
    try:
        if known is not None or len(flow.starts) > 1:
            from pbt.verifier_sim.functions import check_layout

            check_layout(env.insns, flow.starts, known)
        if known is not None:
            env.globals.update((at, f) for at, f in known.functions.items() if at and f.is_global)
        lazy = "main_first" in env.rules
        order = [0] if lazy else [*env.globals, 0]
        if env.handler:
            throw.check_handler(env, env.handler)
            env.called.add(env.handler)
        judged: set[int] = set()
        while order:
            start = order.pop(0)
            if start in judged:
                continue
            judged.add(start)
            found = explorer.run(_entry(env, start), start)
            if found.refusal is not None:
                return found
            if lazy:
                order = [at for at in env.globals if at in env.called and at not in judged]
        _all_walked(env)
        if env.handler or env.kfuncs:
            throw.allowed(env, flow.starts)
        depth = longest_stack(env.insns, flow.starts, env.depths, env.rules, env.private_stack, env.later)
    except Refuse as refusal:
        where = refusal.pc if refusal.pc is not None else explorer.pc
        return Walk(refusal, where, env.processed, 0, explorer.states, None)
    return Walk(None, -1, env.processed, depth, explorer.states, None)


def _all_walked(env: Env) -> None:
    """A function whose address is taken but that nothing calls is removed; the one behind it stands in for it.

    There has to be one behind it, unless nothing but the main program is left; a program that throws gets one more
    function, which makes its result of that.
    """
    kept = env.entered | env.called
    for start in sorted(env.passed - kept):
        if env.bpf and (kept or env.threw) and start > max(kept, default=0):
            raise Refuse(
                f"No program to jit at insn {start}",
                "Call the function, or do not take its address.",
                pc=start,
            )


def _entry(env: Env, start: int) -> State:
    """The state in which a function judged by itself begins."""
    frame = Frame(-1, start, 0)
    if not start:
        frame.regs[1] = Reg("ctx")
        state = State([frame])
        state.refs = tuple((ref, 0) for ref in env.attached.refs) if env.attached else ()
        return state
    else:
        from pbt.verifier_sim.functions import arguments

        frame.regs[1:6] = arguments(env.wanted(start), env.new_id)
    return State([frame])
