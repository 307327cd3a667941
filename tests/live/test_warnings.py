"""Warnings of what fails while a script runs: each place once, with how often, and none lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Pbt

pytestmark = pytest.mark.live

FULL = """config = { max_map_keys = 2 }
BEGIN {
    for ($i : 0..200) {
        @a[$i] = $i;
        @c[$i] = count();
    }
    clear(@a); clear(@c); exit();
}"""


def test_a_full_map_is_told_once(pbt: Pbt) -> None:
    done = pbt("-q", "-e", FULL)
    assert done.lines() == ["", ""] or done.out.strip() == ""
    assert done.err.count("WARNING") == 2
    assert "stdin:4:9: WARNING: @a is full with 2 keys" in done.err
    assert "(map_update_elem: E2BIG, Argument list too long, 198 times)" in done.err
    assert "        @c[$i] = count();\n        ^~~~" in done.err
    assert "HINT: config = { max_map_keys = 8 }; percpulruhash(2) would forget the oldest instead" in done.err


def test_a_full_map_that_the_script_declares(pbt: Pbt) -> None:
    script = "let @m = hash(1); BEGIN { @m[1] = 1; @m[2] = 1; @l[1] = 1; clear(@m); clear(@l); exit(); }"
    done = pbt("-q", "-e", script)
    assert "HINT: let @m = hash(4); lruhash(1) would forget" in done.err


def test_maps_that_forget_are_never_full(pbt: Pbt) -> None:
    script = "let @m = lruhash(1); BEGIN { for ($i : 0..9) { @m[$i] = 1; } clear(@m); exit(); }"
    assert pbt("-q", "-k", "-e", script).err == ""


def test_no_warnings(pbt: Pbt) -> None:
    assert pbt("-q", "--no-warnings", "-e", FULL).err == ""


FAILING = """BEGIN {
    delete(@a, 77);
    print(@a[55]);
    print(*kptr((uint64 *)8));
    print(str(uptr(1)));
    @a[3] = 1;
    if (delete(@a, 4)) { }
    _ = delete(@a, 5);
    clear(@a); exit();
}"""


def test_what_k_tells(pbt: Pbt) -> None:
    assert pbt("-q", "-e", FAILING).err == ""
    places = [line for line in pbt("-q", "-k", "-e", FAILING).err.splitlines() if "WARNING" in line]
    assert places == [
        "stdin:2:5: WARNING: @a has no such key to delete (map_delete_elem: ENOENT, No such file or directory)",
        "stdin:3:11: WARNING: @a has no such key, which reads as 0 (map_lookup_elem)",
        "stdin:4:11: WARNING: memory of the kernel cannot be read (probe_read_kernel: ERANGE, "
        "Numerical result out of range)",
        "stdin:5:11: WARNING: memory of the process cannot be read (probe_read_user_str: EFAULT, Bad address)",
    ]


def test_what_k_tells_as_json(pbt: Pbt) -> None:
    lines = pbt("-q", "-k", "-f", "json", "-e", FAILING).lines()
    found = [message for message in map(json.loads, lines) if message["type"] == "helper_error"]
    assert found[0] == {
        "type": "helper_error", "msg": "No such file or directory", "helper": "map_delete_elem", "retcode": -2,
        "count": 1, "filename": "stdin", "line": 2, "col": 5,
    }  # fmt: skip
    assert [message["line"] for message in found] == [2, 3, 4, 5]


def test_what_goes_on_is_told_at_the_end(pbt: Pbt) -> None:
    """The first time at once, then nothing until the whole count."""
    run = pbt.start("-q", "-k", "-e", 'interval:ms:20 { @a[2] = 1; delete(@a, 1); print("again"); }')
    run.until(lambda: "WARNING" in run.err, "a warning")
    seen = run.out.count("again")
    run.until(lambda: run.out.count("again") > seen + 10, "10 more failures")
    done = run.interrupt()
    told = [line for line in done.err.splitlines() if "WARNING" in line]
    assert len(told) == 2 and int(told[1].split()[-2]) >= done.out.count("again"), told
