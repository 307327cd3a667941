"""Questions that come of a kernel's types: its functions, and the members of its structures that programs stand for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

from pbt.host.btf import Btf
from pbt.isa import insn as make
from pbt.isa.insn import EXIT, Insn
from pbt.uapi.btf import DECL_TAG
from pbt.uapi.consts import ATTACH_TYPE
from pbt.uapi.helpers import HELPERS
from pbt.uapi.kfuncs import KFUNCS
from tests.lab.asked import TARGETS, Question, allowed, ended, target_of, telling, whole

_HOOKS = (
    "XDP", "SCHED_CLS", "SCHED_ACT", "TRACING", "LSM", "SYSCALL", "CGROUP_SKB", "SK_SKB", "SOCKET_FILTER", "LWT_IN",
    "NETFILTER", "KPROBE",
)  # fmt: skip
_SAME = ("TRACE_FENTRY", "TRACE_FEXIT", "LSM_CGROUP", "CGROUP_INET_EGRESS", "CGROUP_INET_INGRESS")


@cache
def _kernel_functions(btf: Btf) -> list[str]:
    """Those of the table and those that the kernel's types mark."""
    rows = map(btf.row, range(1, btf.count))
    tagged = {btf.name(row[3]) for row in rows if row[:2] == (DECL_TAG, "bpf_kfunc")}
    return sorted(name for name in tagged | set(KFUNCS) if btf.find("func", name))


def kernel_functions(btf: Btf) -> Iterator[Question]:
    """Each kernel function, of the table or marked in the kernel's types, in each program."""
    names = _kernel_functions(btf)
    some = names[:: max(1, len(names) // 20)]
    for prog, attach in telling():
        for sleepable in (
            (True,) if prog.name == "SYSCALL" else (False, True) if attach == "TRACE_ITER" else (False,)
        ):
            for name in names if prog.name in _HOOKS and attach not in _SAME else some:
                insns = ended(prog, attach, Insn(0x85, 0, 2, 0, 0))
                yield Question(f"calls {name}", prog.name, attach, insns, allowed, kfuncs={0: name},
                               sleepable=sleepable, target=target_of(prog, attach))  # fmt: skip


def structures(btf: Btf) -> Iterator[Question]:
    """STRUCT_OPS programs, for each member of each structure: results, arguments, helpers, kernel functions."""
    for owner, position, name in _members(btf):
        made = partial(Question, prog_type="STRUCT_OPS", attach=_NUMBERED[position],
                       target=("struct", "", owner))  # fmt: skip
        ask = partial(made, classify=whole)
        end = [make.mov_imm(0, 0), EXIT]
        yield ask(f"{owner}.{name} 0", insns=end)
        yield ask(f"{owner}.{name} 0 sleeping", insns=end, sleepable=True)
        yield ask(f"{owner}.{name} 1", insns=[make.mov_imm(0, 1), EXIT])
        yield ask(f"{owner}.{name} none", insns=[EXIT])
        yield ask(f"{owner}.{name} ctx", insns=[make.mov(0, 1), EXIT])
        yield ask(f"{owner}.{name} writes", insns=[make.mov_imm(0, 0), make.store(8, 1, 0, 0), EXIT])
        for at in range(0, 48, 8):
            read = make.load(8, 2, 1, at)
            test = make.branch("JEQ", 2, None, 1)
            yield ask(f"{owner}.{name} reads 8 at {at}", insns=[read, *end])
            yield ask(f"{owner}.{name} follows {at}", insns=[read, make.load(1, 3, 2, 0), *end])
            yield ask(f"{owner}.{name} follows {at} if", insns=[read, test, make.load(1, 3, 2, 0), *end])
        yield ask(f"{owner}.{name} reads 4", insns=[make.load(4, 2, 1, 0), *end])
        yield ask(f"{owner}.{name} reads 1", insns=[make.load(1, 2, 1, 8), *end])
        yield ask(
            f"{owner}.{name} writes to it", insns=[make.load(8, 2, 1, 0), make.store_imm(4, 2, 0, 0), *end]
        )
        yield ask(f"{owner}.{name} gives it", insns=[make.load(8, 0, 1, 0), EXIT])
        for helper in HELPERS.values() if not position or name in ("init", "release") else ():
            yield made(
                f"{owner}.{name} calls {helper.name}", insns=[make.call(helper.id), *end], classify=allowed
            )
        for kfunc in _kernel_functions(btf):
            if position and not (kfunc.startswith("scx_") and name in _SCHED):
                continue
            yield made(f"{owner}.{name} calls {kfunc}", insns=[Insn(0x85, 0, 2, 0, 0), *end], classify=allowed,
                       kfuncs={0: kfunc})  # fmt: skip


_SCHED = ("enqueue", "dequeue", "dispatch", "tick", "init", "init_task", "cpu_release", "dump")
_NUMBERED = {number: name for name, number in ATTACH_TYPE.items()}


def _members(btf: Btf) -> Iterator[tuple[str, int, str]]:
    prefix = "bpf_struct_ops_"
    for owner in btf.names_after("struct", prefix):
        id = btf.find("struct", owner)
        if id is None or btf.find("struct", prefix + owner) is None:
            continue
        row = btf.row(id)
        for position, at in enumerate(range(0, 3 * row[2], 3)):
            if position in _NUMBERED:
                yield owner, position, btf.text(row[4][at])


def calls(btf: Btf) -> Iterator[Question]:
    """Each kernel function, called with what its types ask for; what it gives, followed."""
    task = btf.struct("struct task_struct")
    assert task is not None
    mask = next(member.offset for member in task.members if member.name == "cpus_ptr")
    for name in _kernel_functions(btf):
        id = btf.find("func", name)
        assert id is not None
        proto = btf.row(btf.row(id)[3])
        body = _arguments(btf, proto, mask)
        at = len(body)
        body.append(Insn(0x85, 0, 2, 0, 0))
        follow = make.load(1, 3, 0, 0)
        test = make.branch("JEQ", 0, None, 1)
        for kind, attach, sleepable in (
            ("TRACING", "TRACE_RAW_TP", False),
            ("SYSCALL", "", True),
            ("LSM", "LSM_MAC", False),
        ):
            for how, more in (("", []), (" follows", [follow]), (" follows if", [test, follow])):
                if how and not proto[3]:
                    continue
                target = TARGETS.get(attach)
                end = [make.mov_imm(0, 0), EXIT]
                yield Question(f"{name}(){how}", kind, attach, [*body, *more, *end], whole, kfuncs={at: name},
                               sleepable=sleepable, target=target)  # fmt: skip


def _arguments(btf: Btf, proto: Any, mask: int) -> list[Insn]:
    """Values that fit the types: r6 the context, r7 the running task, zeros on the stack."""
    body = [make.mov(6, 1), *(make.store_imm(8, 10, at, 0) for at in range(-64, 0, 8))]
    body += [make.call(HELPERS["get_current_task_btf"].id), make.mov(7, 0)]
    for regno, (label, id) in enumerate(zip(proto[4][::2], proto[4][1::2], strict=True), 1):
        text, name = btf.ctype(id), btf.text(label)
        if "*" not in text:
            body.append(make.mov_imm(regno, 8 if name.endswith(("__sz", "__szk", "_size")) else 0))
        elif "task_struct" in text:
            body.append(make.mov(regno, 7))
        elif "struct cpumask" in text:
            body.append(make.load(8, regno, 7, mask))
        elif "__sk_buff" in text or "xdp_md" in text or name.endswith("__ctx"):
            body.append(make.mov(regno, 6))
        else:
            at = -96 if "bpf_iter" in text else -64
            body += [make.mov(regno, 10), make.alu("ADD", regno, None, at)]
    return body


OF_TYPES = {"calls": calls, "kfuncs": kernel_functions, "structs": structures}
