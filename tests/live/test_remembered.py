"""What was compiled at an earlier start runs without the compiler, and does the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

HELLO = 'BEGIN { printf("hello %d\\n", $1); @x[1] = count(); exit(); }'


def trace(folder: Path, *words: str, **environment: str) -> tuple[str, bool]:
    """What a run says, and whether it compiled."""
    kept = {name: value for name, value in os.environ.items() if name != "PBT_NO_CACHE"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pbt", "-q", *words], capture_output=True, text=True, check=True,
        timeout=60, env={**kept, "XDG_CACHE_HOME": str(folder), **environment},
    )  # fmt: skip
    return done.stdout, any(line.endswith(" pbt.pipeline") for line in done.stderr.splitlines())


def test_the_second_start_needs_no_compiler(tmp_path: Path) -> None:
    first, again = trace(tmp_path, "-e", HELLO, "5"), trace(tmp_path, "-e", HELLO, "5")
    assert first == ("hello 5\n\n\n@x[1]: 1\n", True)
    assert again == (first[0], False)
    assert trace(tmp_path, "-e", HELLO, "6") == (first[0].replace("5", "6"), True)
    assert trace(tmp_path, "--no-cache", "-e", HELLO, "5") == first
    assert trace(tmp_path, "-e", HELLO, "5", PBT_NO_CACHE="1") == first
    assert trace(tmp_path, "-e", HELLO, "5", BPFTRACE_MAX_MAP_KEYS="9") == first


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    first = trace(tmp_path, "-e", HELLO, "5")
    (file,) = (tmp_path / "pbt").glob("script-*")
    file.write_bytes(file.read_bytes()[:-3])
    assert trace(tmp_path, "-e", HELLO, "5") == first
    assert trace(tmp_path, "-e", HELLO, "5") == (first[0], False)


def test_a_probe_that_is_attached(tmp_path: Path) -> None:
    script = "tracepoint:raw_syscalls:sys_* { @[probe] = 1; } interval:ms:100 { exit(); }"
    first, again = trace(tmp_path, "-e", script), trace(tmp_path, "-e", script)
    assert sorted(first[0].split("\n")) == sorted(again[0].split("\n")) and "sys_exit" in first[0]
    assert (first[1], again[1]) == (True, False)


def test_scripts_with_files_are_compiled_each_time(tmp_path: Path) -> None:
    script = "uprobe:libc:getpgid { @ = 1; } BEGIN { exit(); }"
    assert trace(tmp_path, "-e", script)[1] and trace(tmp_path, "-e", script)[1]
    header = tmp_path / "a.h"
    header.write_text("#define A 1\n")
    script = f'#include "{header}"\nBEGIN {{ print(A); exit(); }}'
    assert trace(tmp_path, "-e", script)[0] == "1\n"
    header.write_text("#define A 2\n")
    assert trace(tmp_path, "-e", script)[0] == "2\n"
    assert not list(tmp_path.glob("pbt/script-*"))


def test_a_folder_that_cannot_be_written_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "pbt").write_text("")
    first = trace(tmp_path, "-e", HELLO, "5")
    assert first == trace(tmp_path, "-e", HELLO, "5") and first[1]
