import pytest

from pbt.ir.text import parse
from pbt.ir.verify import verify

HEAD = """\
program p
function main
slot 8 8 "x"
entry:
  %0 = const 1
  %1:stack = slot 0
  %2:ctx = ctx
"""
BROKEN = {
    "%9 is never made": "  return %9\n",
    "read before it is made": "  %3 = add %4 %0\n  %4 = const 1\n  return %3\n",
    "made twice": "  %0 = const 2\n  return %0\n",
    "not made on every path": "  branch eq %0 %0 a else b\na:\n  %3 = const 1\n  jump b\nb:\n  return %3\n",
    "which is not there": "  jump nowhere\n",
    "1 arguments for the 0 parameters": "  jump a(%0)\na:\n  return %0\n",
    "is a stack, parameter %3 of a a map": "  jump a(%1)\na(%3:map):\n  return %0\n",
    "a jump to the entry": "  jump entry\n",
    "two blocks of one name": "  jump a\na:\n  return %0\na:\n  return %0\n",
    "arithmetic on a pointer": "  %3:stack = mul %1 %0\n  return %0\n",
    "there is no slot 4": "  %3:stack = slot 4\n  return %0\n",
    "there is no parameter 0": "  %3 = param 0\n  return %0\n",
    "there is no function f": "  %3:func = func f\n  return %0\n",
    "size 3": "  %3 = load %1 3 0\n  return %0\n",
    "size 2": "  atomic_add %1 %0 2 0\n  return %0\n",
    "a call takes 5 at most": "  %3 = call f(%0 %0 %0 %0 %0 %0)\n  return %0\n",
    "result missing": "  neg %0\n  return %0\n",
    "no result is possible": "  %3 = store %1 %0 8 0\n  return %0\n",
    "the result is a map, not a stack": "  %3:map = slot 0\n  return %0\n",
    "a pointer has 8 bytes": "  %3:value = load %1 4 0\n  return %0\n",
    "pointers of kind btf cannot be passed": "  %3:btf = load %2 8 0\n  jump a(%3)\na(%4):\n  return %0\n",
    "no operation on a pointer of kind btf": "  %3:btf = load %2 8 0\n  store %1 %3 8 0\n  return %0\n",
    "%0 is a int, not a btf": "  %3 = number %0\n  return %3\n",
    "unknown condition": "  %3 = cmp %0 %0 like\n  return %0\n",
}


@pytest.mark.parametrize("message", BROKEN)
def test_broken_invariants_are_named(message):
    errors = verify(parse(HEAD + BROKEN[message]))
    assert any(message in error for error in errors), errors


def test_a_sound_program():
    assert verify(parse(HEAD + "  %3:stack = add %1 %0\n  %4 = load %3 1 0\n  return %4\n")) == []


def test_functions_have_different_names():
    body = "entry:\n  %0 = const 1\n  return %0\n"
    assert verify(parse(f"program p\nfunction f\n{body}function f\n{body}"))
