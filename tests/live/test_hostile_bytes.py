"""Bytes that a traced process chooses: a terminal gets no control characters of it, JSON stays JSON."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import COMMAND, environment

pytestmark = pytest.mark.live
COMM = b"\x1b]0;me\x07\xff\xc3\x28\x9b1m"  # sets a terminal's title; no UTF-8; ends with an 8-bit CSI
PATH = b"/nonexistent/\x1b[2J\r\x80\xfe\x7f\n\t"  # clears the screen
CHILD = f"""
import os, threading, time
open(f"/proc/self/task/{{threading.get_native_id()}}/comm", "wb").write({COMM!r})
while True:
    try: os.open({PATH!r}, os.O_RDONLY)
    except OSError: pass
    time.sleep(0.01)
"""
PROGRAM = """tracepoint:syscalls:sys_enter_openat /pid == $1/ {
    @by[comm] = count(); @path = str(args.filename);
    printf("%s|%-20s|%.3s\\n", comm, str(args.filename), comm);
    print(comm); print((comm, 1)); print((name=comm, path=str(args.filename)));
    exit();
}"""


@pytest.fixture
def child() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-c", CHILD])
    try:
        yield str(process.pid)
    finally:
        process.kill()
        process.wait()


def run(words: list[str], terminal: bool) -> bytes:
    """The output of pbt, on a terminal or in a pipe."""
    reader, writer = pty.openpty() if terminal else os.pipe()
    with subprocess.Popen(
        [*COMMAND, *words], stdout=writer, stderr=subprocess.PIPE, env=environment({})
    ) as process:
        os.close(writer)
        found = b""
        try:
            while piece := os.read(reader, 65536):
                found += piece
        except OSError:  # the terminal's other end is closed
            pass
        os.close(reader)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 0, said
    return found


def test_a_terminal_gets_no_control_characters(child: str, tracefs: object) -> None:
    out = run(["-q", "-e", PROGRAM, child], terminal=True)
    text = out.replace(b"\r\n", b"\n")
    assert not [byte for byte in text if byte < 0x20 and byte not in (10, 9)], text
    assert b"\x1b" not in out and b"\x7f" not in text and b"\x9b" not in text and b"\xff" not in text
    assert b"\\x1b]0;me\\x07" in text and b"\\x1b[2J\\x0d" in text
    text.decode()


def test_json_is_json(child: str, tracefs: object) -> None:
    out = run(["-q", "-f", "json", "-e", PROGRAM, child], terminal=False)
    assert b"\x1b" not in out
    rows = [json.loads(line) for line in out.decode().splitlines()]
    values = [row["data"] for row in rows if row["type"] == "value"]
    assert values[0].startswith("\x1b]0;me\x07")
    assert any("\x1b[2J" in row["data"] for row in rows if row["type"] == "printf")


def test_a_pipe_gets_the_bytes(child: str, tracefs: object) -> None:
    assert COMM in run(["-q", "-e", PROGRAM, child], terminal=False)
