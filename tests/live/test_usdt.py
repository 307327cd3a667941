"""Static probes of a program of our own: what their arguments are."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Pbt

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="operands of x86-64"),
]

# the note of one probe, as <sys/sdt.h> writes it
PROGRAM = r"""
asm(".section .stapsdt.base,\"a\"\n_.stapsdt.base: .space 1\n.text");
__attribute__((noinline)) void fire(long a, int b)
{
    asm volatile("990: nop\n"
        ".pushsection .note.stapsdt,\"?\",\"note\"\n"
        ".balign 4\n.4byte 2f - 1f, 4f - 3f, 3\n"
        "1: .asciz \"stapsdt\"\n2: .balign 4\n"
        "3: .8byte 990b, _.stapsdt.base, 0\n"
        ".asciz \"made\"\n.asciz \"hit\"\n.asciz \"8@%%rdi -4@%%esi 4@%%esi -1@%%sil -2@$-7\"\n"
        "4: .balign 4\n.popsection\n" :: "D"(a), "S"(b));
}
int main(void) { for (int i = 0; i < 2; i++) fire(-i, -i); return 0; }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("usdt")
    (folder / "a.c").write_text(PROGRAM)
    words = ["gcc", "-O1", "-o", str(folder / "a"), str(folder / "a.c")]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    return folder / "a"


def test_arguments_have_signs(pbt: Pbt, program: Path) -> None:
    script = f"usdt:{program}:made:hit {{ print((arg0, arg1, arg2, arg3, arg4)); @[arg1] = sum(arg0); }}"
    made = pbt("-q", "-c", str(program), "-e", script)
    assert made.out == "(0, 0, 0, 0, -7)\n(-1, -1, 4294967295, -1, -7)\n\n\n@[-1]: -1\n@[0]: 0\n"


def test_beside_a_function(pbt: Pbt, program: Path) -> None:
    """Of the same file, in one script with it."""
    made = pbt(
        "-q",
        "-c",
        str(program),
        "-e",
        f"usdt:{program}:hit, uprobe:{program}:fire {{ @[probetype] = count(); }}",
    )
    assert sorted(made.lines()[-2:]) == ["@[uprobe]: 2", "@[usdt]: 2"]


def test_functions_of_c_beside_those_of_cpp(pbt: Pbt, program: Path) -> None:
    made = pbt("-q", "-c", str(program), "-e", f"uprobe:{program}:cpp:fire {{ print((int32)arg1); }}")
    assert made.out == "0\n-1\n"
