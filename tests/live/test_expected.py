"""What attach types change about programs: the simulator's word and the running kernel's, for every type of both."""

from __future__ import annotations

import os

import pytest

from pbt.cli.kernel import judging
from pbt.isa.insn import Insn, encode
from pbt.source import KernelError
from pbt.sys import bpf
from pbt.uapi.helpers import HELPERS
from pbt.uapi.progs import PROG_TYPES
from pbt.verifier_sim import verify

RELEASE = os.uname().release
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not RELEASE.startswith("6.18."), reason="others are configured in other ways"),
]
BY_BTF = ("TRACING", "LSM", "EXT", "STRUCT_OPS", "LIRC_MODE2")  # and what few kernels are configured for
PAIRS = [
    (row.name, attach) for row in PROG_TYPES.values() if row.name not in BY_BTF for attach in ("", *row.attach_types)
]  # fmt: skip
ASKED = (
    "get_retval", "set_retval", "bind", "getsockopt", "setsockopt", "get_attach_cookie", "get_func_ip",
    "get_local_storage", "get_cgroup_classid", "get_current_comm", "perf_event_output", "sk_storage_get",
)  # fmt: skip
_FORBIDDEN = ("cannot use helper", "unknown func", "not supported for", "not allowed in probe")


def _log(prog_type: str, attach: str, insns: list[Insn]) -> str | None:
    """What the kernel says against a program; None if it loads it."""
    flags = 16 * (prog_type == "SYSCALL")  # BPF_F_SLEEPABLE
    try:
        bpf.prog_load(prog_type, encode(insns), expected_attach_type=attach, flags=flags).close()
    except KernelError as error:
        return error.log or error.name
    return None


def _refusal(prog_type: str, attach: str, insns: list[Insn]) -> str | None:
    options = judging(RELEASE)
    verdict = verify(
        insns, prog_type=prog_type, expected_attach_type=attach, sleepable=prog_type == "SYSCALL", **options  # type: ignore[arg-type]
    )  # fmt: skip
    assert not verdict.unsupported
    return verdict.error.reason if verdict.error else None


def _returning(value: int) -> list[Insn]:
    return [Insn(0xB7, 0, 0, 0, value), Insn(0x95)]


@pytest.mark.parametrize(("prog_type", "attach"), PAIRS, ids=lambda value: value or "none")
def test_results_helpers_contexts(prog_type: str, attach: str) -> None:
    values = [value for value in (-1, 0, 1, 2, 3, 4) if _log(prog_type, attach, _returning(value)) is None]
    assert values == [v for v in (-1, 0, 1, 2, 3, 4) if _refusal(prog_type, attach, _returning(v)) is None]
    if not values:
        return
    end = _returning(1 if 1 in values else 0)
    for name in ASKED:
        insns = [Insn(0x85, 0, 0, 0, HELPERS[name].id), *end]
        said, ours = _log(prog_type, attach, insns) or "", _refusal(prog_type, attach, insns) or ""
        assert any(w in said for w in _FORBIDDEN) == any(w in ours for w in _FORBIDDEN), (name, said)
    for offset in range(0, 64, 4):
        for insns in ([Insn(0x61, 2, 1, offset)], [Insn(0xB7, 2), Insn(0x63, 1, 2, offset)]):
            program = [*insns, *end]
            assert (_log(prog_type, attach, program) is None) == (
                _refusal(prog_type, attach, program) is None
            ), offset
