"""Calls of kernel functions: sections, references, iterators, interrupt flags, exceptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pbt.host.btf import Btf
from pbt.isa.asm import assemble
from pbt.isa.insn import Insn
from pbt.uapi.btf import FUNC_PROTO, INT, PTR, STRUCT, TYPEDEF
from pbt.uapi.helpers import HELPERS
from pbt.uapi.progs import PROG_TYPES
from pbt.verifier_sim import Verdict, verify
from pbt.verifier_sim.kerneltypes import KernelTypes
from tests.unit.host.test_btf import Maker

_IDS = {name: helper.id for name, helper in HELPERS.items()}


class Case(NamedTuple):
    """A program of kfuncs.txt; `target`: the typed raw tracepoint that a TRACING program is attached to."""

    reason: str  # "" if accepted
    prog_type: str
    target: str
    insns: list[Insn]
    kfuncs: dict[int, str]
    text: str

    def judge(self, **options: Any) -> Verdict:
        typed = {"expected_attach_type": "TRACE_RAW_TP", "target": self.target} if self.target else {}
        return verify(
            self.insns,
            prog_type=self.prog_type,
            kfuncs=self.kfuncs,
            sleepable=self.prog_type == "SYSCALL",
            **typed,  # type: ignore[arg-type]
            **options,
        )


def build(text: str) -> tuple[list[Insn], dict[int, str]]:
    """Instructions, and the kernel functions that they call, by slot; `kcall NAME` is such a call."""
    names: list[str] = []
    lines = []
    for line in map(str.strip, text.split(";")):
        if line.startswith("kcall "):
            names.append(line[6:])
            line = f".insn 0x85 0 2 0 {len(names)}"
        lines.append(line)
    insns = assemble("\n".join(lines), _IDS)
    calls = [at for at, insn in enumerate(insns) if insn.opcode == 0x85 and insn.src_reg == 2]
    return insns, {at: names[insns[at].imm - 1] for at in calls}


def cases(name: str = "kfuncs.txt") -> list[Case]:
    out = []
    for line in Path(__file__).with_name(name).read_text().splitlines():
        if line and not line.startswith("#"):
            reason, _, text = line.partition(" | ")
            kind, colon, rest = text.partition(": ")
            kind, text = (kind, rest) if colon and ";" not in kind else ("sched_switch", text)
            typed = kind not in PROG_TYPES
            sort = ("TRACING", kind) if typed else (kind, "")
            out.append(Case("" if reason == "accepted" else reason, *sort, *build(text), text))
    return out


def _types() -> KernelTypes:
    """The tracepoints sched_switch(bool, struct task_struct *) and kfree_skb(struct sk_buff *)."""
    m = Maker()
    integer = m.add(INT, "int", 4, 32)
    to_void = m.add(PTR, "", 0)

    def tracepoint(name: str, *params: tuple[str, int]) -> None:
        words = [word for label, kind in (("__data", to_void), *params) for word in (m.text(label), kind)]
        proto = m.add(FUNC_PROTO, "", 0, *words, count=len(params) + 1)
        m.add(TYPEDEF, f"btf_trace_{name}", m.add(PTR, "", proto))

    task = m.add(STRUCT, "task_struct", 4, m.text("flags"), integer, 0, count=1)
    tracepoint("sched_switch", ("preempt", integer), ("prev", m.add(PTR, "", task)))
    packet = m.add(STRUCT, "sk_buff", 4, m.text("len"), integer, 0, count=1)
    tracepoint("kfree_skb", ("skb", m.add(PTR, "", packet)))
    css = m.add(STRUCT, "cgroup_subsys_state", 4, m.text("id"), integer, 0, count=1)
    m.add(STRUCT, "cgroup", 4, m.text("self"), css, 0, count=1)
    return KernelTypes(Btf(m.bytes()), exact=False)


TYPES = _types()


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.text[:60])
def test_verdict(case: Case) -> None:
    verdict = case.judge(types=TYPES, kernel="6.18")
    assert not verdict.unsupported
    assert (verdict.error.reason if verdict.error else "") == case.reason
    assert verdict.error is None or verdict.error.id


def _refused(text: str, prog_type: str = "TRACEPOINT", **options: str) -> str:
    insns, kfuncs = build(text)
    verdict = verify(insns, prog_type=prog_type, kfuncs=kfuncs, **options)  # type: ignore[arg-type]
    return verdict.error.reason if verdict.error else verdict.unsupported


def test_who_may_call() -> None:
    text = (
        "r1 = 1; kcall bpf_task_from_pid; if r0 == 0 goto o; r1 = r0; kcall bpf_task_release; o: r0 = 0; exit"
    )
    assert _refused(text) == ""
    assert _refused(text, "KPROBE") == "calling kernel function bpf_task_from_pid is not allowed"
    assert _refused(text, kernel="6.1") == "kernel function bpf_task_from_pid is not in this kernel"
    assert _refused(text, kernel="5.10") == "BPF_CALL uses reserved fields"
    assert _refused("kcall bpf_unheard_of; r0 = 0; exit").startswith("the kernel function bpf_unheard_of")


def test_sections_tell_states_apart() -> None:
    """The second way to the exit is inside of the section, and no earlier state stands for it."""
    text = "call get_prandom_u32; if r0 == 0 goto a; goto b; a:; kcall bpf_rcu_read_lock; b: r0 = 0; r0 = 0; exit"
    assert "bpf_rcu_read_lock-ed region" in _refused(text)


def test_sessions_alone_have_cookies() -> None:
    text = "kcall bpf_session_cookie; *(u64 *)(r0 +0) = 1; kcall bpf_session_is_return; r0 = 0; exit"
    session = {"expected_attach_type": "TRACE_UPROBE_SESSION"}
    assert _refused(text, "KPROBE", **session) == ""
    assert _refused(text, "KPROBE") == "calling kernel function bpf_session_cookie is not allowed"
    beyond = text.replace("r0 +0", "r0 +8")
    assert _refused(beyond, "KPROBE", **session).startswith("R0 min value is outside")


_ON_7 = (  # words of Linux 7.3
    ("BPF_EXIT instruction in main prog would lead to reference leak", "TRACEPOINT: kcall scx_bpf_get_online_cpumask; r0 = 0; exit"),
    ("", "TRACEPOINT: kcall scx_bpf_get_online_cpumask; r1 = r0; kcall scx_bpf_put_cpumask; r0 = 0; exit"),
    ("", "TRACEPOINT: kcall scx_bpf_get_idle_cpumask; r6 = r0; r1 = r6; r2 = 0; kcall scx_bpf_pick_any_cpu; r1 = r6;"
     " kcall scx_bpf_put_idle_cpumask; r0 = 0; exit"),
    ("R0 invalid mem access", "TRACEPOINT: r1 = 0; kcall scx_bpf_cpu_curr; r1 = *(u32 *)(r0 +0); r0 = 0; exit"),
    ("kernel func scx_bpf_cpu_curr requires RCU", "SYSCALL: r1 = 0; kcall scx_bpf_cpu_curr; r0 = 0; exit"),
    ("", "SYSCALL: r1 = 7; kcall hid_bpf_allocate_context; if r0 == 0 goto o; r1 = r0; kcall hid_bpf_release_context;"
     " o: r0 = 0; exit"),
    ("calling kernel function hid_bpf_allocate_context is not allowed",
     "TRACEPOINT: r1 = 7; kcall hid_bpf_allocate_context; r0 = 0; exit"),
    ("", "TRACEPOINT: kcall bpf_get_root_mem_cgroup; if r0 == 0 goto o; r1 = r0; kcall bpf_put_mem_cgroup; o: r0 = 0; exit"),
)  # fmt: skip


@pytest.mark.parametrize(("reason", "text"), _ON_7, ids=[text[:60] for _, text in _ON_7])
def test_functions_of_extensions(reason: str, text: str) -> None:
    kind, _, code = text.partition(": ")
    insns, kfuncs = build(code)
    options: Any = {"prog_type": kind, "kfuncs": kfuncs, "sleepable": kind == "SYSCALL"}
    found = verify(insns, kernel="7.3", **options)
    assert not found.unsupported
    assert (found.error.reason if found.error else "")[: len(reason) or None] == reason
    if "not allowed" not in reason:
        before = verify(insns, kernel="6.18", **options)
        assert before.unsupported or (before.error and "is not in this kernel" in before.error.reason)
