"""What a small script imports: every module here costs each run some of its time."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = {
    "dataclasses", "inspect", "ast", "dis", "tokenize", "lark", "logging", "pickle", "tempfile", "random", "hashlib",
    "difflib", "textwrap", "subprocess", "shutil", "pathlib", "urllib", "ipaddress", "argparse", "decimal",
    "typing", "datetime", "socket", "asyncio", "concurrent", "zipfile", "lzma", "bz2", "re", "enum", "json",
}  # fmt: skip
CODE = """
import sys
from pbt.cli.main import main
main(["--no-run", "--no-verify", "-e", 'BEGIN { printf("hello\\\\n"); exit(); }'])
print("\\n" + " ".join(sys.modules))
"""


@pytest.fixture(scope="module")
def imported() -> set[str]:
    done = subprocess.run([sys.executable, "-S", "-c", CODE], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_nothing_slow(imported: set[str]) -> None:
    assert not imported & SLOW


def test_only_the_features_that_it_uses(imported: set[str]) -> None:
    assert {m for m in imported if m.startswith("pbt.builtins.")} <= {
        f"pbt.builtins.{name}"
        for name in ("output", "control", "messages", "aggregate", "memory", "text", "process", "stack")
    }
    assert {m for m in imported if m.startswith("pbt.probes.")} <= {"pbt.probes.special", "pbt.probes.common"}


def test_nothing_of_the_built_in_verifier(imported: set[str]) -> None:
    assert not [m for m in imported if m.startswith("pbt.verifier_sim")]
