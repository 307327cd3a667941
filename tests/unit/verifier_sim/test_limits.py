"""Programs at the limits of the verifier: each gets its verdict, within the memory that is given."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pbt.isa.insn import Insn, branch, call_local, encode, mov_imm

MEMORY = 1 << 30  # bytes of address space
PATIENCE = 300  # seconds; the first takes 8 on a quiet machine

_MOV, _EXIT = mov_imm(0, 0), Insn(0x95)
_CALLS_ITSELF, _NOWHERE = call_local(-2), branch("JEQ", 1, None, 0)

PROGRAMS: dict[str, tuple[bytes, str]] = {
    "a million instructions": (encode([_MOV]) * 999_999 + encode([_EXIT]), "accepted, 1000000 instructions"),
    "one more": (encode([_MOV]) * 1_000_000 + encode([_EXIT]), "PBT-V002"),
    "a hundred thousand jumps": (encode([_NOWHERE]) * 100_000 + encode([_MOV, _EXIT]), "PBT-V018"),
    "a function that calls itself": (encode([_MOV, _CALLS_ITSELF, _EXIT]), "PBT-V019"),
    "nothing": (b"", "has 0 bytes"),
    "half an instruction": (encode([_MOV, _EXIT])[:-4], "has 12 bytes"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_verdict(name: str, tmp_path: Path) -> None:
    program, expected = PROGRAMS[name]
    path = tmp_path / "program.bin"
    path.write_bytes(program)
    said = subprocess.run(
        [sys.executable, "-m", "pbt", "verify", str(path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert expected in said.stdout + said.stderr
    assert "Traceback" not in said.stderr
