"""The walk as the kernel's log tells it, and such a log read back."""

from __future__ import annotations

from pbt.isa.asm import assemble
from pbt.uapi.helpers import HELPERS
from pbt.verifier_sim import verify
from pbt.verifier_sim.log import read, verdict_of

_IDS = {name: helper.id for name, helper in HELPERS.items()}
_TEXT = """
r6 = r1
call get_prandom_u32
if r0 > 7 goto +2
r0 &= 3
exit
r0 = *(u64 *)(r0 +0)
exit
"""


def _log(level: int) -> list[str]:
    verdict = verify(assemble(_TEXT, _IDS), prog_type="SOCKET_FILTER", log=level)
    assert not verdict.ok
    return verdict.log.splitlines()


def test_every_path_at_level_two() -> None:
    lines = _log(2)
    assert lines[0] == "func#0 @0"
    assert lines[1] == "0: R1=ctx() R10=fp0"
    assert lines[2] == f"{'0: (bf) r6 = r1':<37} ; R1=ctx() R6=ctx()"
    bounds = "smin=smin32=0,smax=umax=smax32=umax32=3,var_off=(0x0; 0x3)"
    assert any(
        line.startswith("3: (57) r0 &= 3") and line.endswith(f"; R0=scalar({bounds})") for line in lines
    )
    assert any(line.startswith("from 2 to 5: R0=scalar(umin=8) R6=ctx() R10=fp0") for line in lines)
    assert lines[-2] == "R0 invalid mem access 'scalar'"


def test_only_the_refused_path_at_level_one() -> None:
    lines = _log(1)
    assert not any(line.startswith("3:") for line in lines)
    assert lines[1].startswith("from 2 to 5:")


def test_a_log_is_read_back() -> None:
    text = "\n".join(_log(2))
    lines = list(read(text))
    assert [line.pc for line in lines if line.pc >= 0][:3] == [0, 1, 2]
    assert verdict_of(lines) == (5, "R0 invalid mem access 'scalar'")
