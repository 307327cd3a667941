"""bench.agreement: what is counted where kernels and the simulator say the same, or not."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from bench.agreement import compared, main
from pbt.isa.asm import assemble
from pbt.isa.insn import encode


def test_kinds_of_answers() -> None:
    assert compared("accept", {"verdict": "accept"}) == "same"
    assert compared("reject", {"verdict": "accept"}) == "false accept"
    assert compared("accept", {"verdict": "reject"}) == "false reject"
    assert compared("reject", {"verdict": "unsupported"}) == "unsupported"


def test_a_packed_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def line(name: str, text: str, **verdicts: str) -> str:
        code = encode(assemble(text)).hex()
        said = {
            kernel.replace("_", ".")[1:]: [verdict, None, None, 0] for kernel, verdict in verdicts.items()
        }
        row = {"id": name, "insns": code, "prog_type": 1, "expected_attach_type": 0, "prog_flags": 0}
        return json.dumps(row | {"maps": [], "relocs": [], "verdicts": said}) + "\n"

    path = tmp_path / "programs.jsonl.xz"
    with lzma.open(path, "wt") as stream:
        stream.write(line("good", "r0 = 0\nexit", k6_1="accept", k6_12="accept"))
        stream.write(line("odd", "r0 = 0\nexit", k6_1="reject"))
        stream.write(line("bad", "exit", k6_1="reject"))
    main([str(path), "--list"])
    out = capsys.readouterr().out.splitlines()
    assert out[1].startswith("  false accept: odd:")
    assert out[2].split() == ["programs.jsonl.xz", "6.1", "3", "66.67%", "1", "0", "0"]
    assert out[3].split() == ["programs.jsonl.xz", "6.12", "1", "100.00%", "0", "0", "0"]
