"""The examples of the documents, run as they stand there: Python in a process of its own, commands in a shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60  # seconds for one example
EXAMPLES = [
    pytest.param(kind, text, id=f"{name}-{number}")
    for name, kinds in {
        "README.md": "python",
        "docs/api.md": "python",
        "docs/teaching.md": "python|sh",
    }.items()
    for number, (kind, text) in enumerate(
        re.findall(rf"^```({kinds})\n(.*?)^```", (ROOT / name).read_text(), re.MULTILINE | re.DOTALL)
    )
]
pytestmark = pytest.mark.live


def _open_files(over: threading.Event) -> None:
    """What the examples trace: `cat` opens files, again and again."""
    while not over.wait(0.1):
        subprocess.run(["cat", "/dev/null"], check=False, timeout=PATIENCE)


@pytest.mark.parametrize("kind, text", EXAMPLES)
def test_example(kind: str, text: str, tmp_path: Path) -> None:
    """It ends by itself, without an error, and prints what its comments say."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [sys.executable, "-c", text] if kind == "python" else ["sh", "-ec", text]
    over = threading.Event()
    load = threading.Thread(target=_open_files, args=(over,), daemon=True)
    load.start()
    try:
        made = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True,
            timeout=PATIENCE,
        )  # fmt: skip
    finally:
        over.set()
        load.join()
    assert made.returncode == 0, made.stderr
    assert made.stdout
    for said in re.findall(r"#  ?(Insn\(.*\)|False .*|\{'@.*\}|\['.*'\])$", text, re.MULTILINE):
        assert said in made.stdout


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 9
