"""Every reason has a number, an example that is refused for it, and its row in docs/verifier.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbt.verifier_sim.reasons import REASONS, Reason, find
from tests.unit.verifier_sim.reasons import documented, examples, expected, run_example

ROOT = Path(__file__).parents[3]


def test_numbers_are_unique_and_in_order() -> None:
    numbers = [row.number for row in REASONS]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("row", REASONS, ids=lambda row: row.id)
def test_example_is_refused_for_its_reason(row: Reason) -> None:
    verdict = run_example(examples()[row.number])
    assert verdict.error is not None
    assert verdict.error.id == row.id, verdict.error.reason
    assert row.id in verdict.story()


def test_the_document_lists_them() -> None:
    assert list(documented()) == expected()


_FILLINGS = ("7", " read from", "read from", "map_value_or_null")


def _messages(node: ast.expr, filling: str) -> Iterator[str]:
    """The texts of a message, with something in place of what varies."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        text = ""
        for part in node.values:
            varies = "7" if text.endswith(("R", "#")) else filling  # a register's number
            text += str(part.value) if isinstance(part, ast.Constant) else varies
        yield text
    elif isinstance(node, ast.IfExp):
        yield from _messages(node.body, filling)
        yield from _messages(node.orelse, filling)


def test_every_message_of_the_simulator_has_one() -> None:
    missing = []
    for path in sorted((ROOT / "pbt/verifier_sim").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refuse" and node.args:
                tries = [list(_messages(node.args[0], filling)) for filling in _FILLINGS]
                known = (any(map(find, texts)) for texts in zip(*tries, strict=True))
                missing.extend(text for text, found in zip(tries[0], known, strict=True) if not found)
    assert not missing


@pytest.mark.parametrize("example, hint", [
    (
        "KPROBE: r1 = RING; r2 = 8; r3 = 0; call ringbuf_reserve; if r0 == 0 goto +6; r6 = r0; r1 = r0; r2 = 0; "
        "call ringbuf_submit; r1 = r6; r2 = 0; call ringbuf_submit; r0 = 0; exit",
        "What was given back is the kernel's again",
    ),
    ("KPROBE: r1 = HASH; r2 = r10; r2 += -2; call map_lookup_elem; r0 = 0; exit", "and 4 are taken: start at fp-4"),
])  # fmt: skip
def test_hints_for_what_a_helper_is_given(example: str, hint: str) -> None:
    error = run_example(example).error
    assert error is not None and hint in error.hint, error


@pytest.mark.parametrize("number, hint", [
    (32, "It starts at fp-7: a multiple of 4 is needed, such as fp-8."),
    (38, "On this way r2 is the context of the program; on one walked before, it was the stack."),
    (40, "8 bytes at fp-520 do not lie between fp-512 and fp+0."),
    (46, "(pt_regs) is read up to byte 168"),
    (57, "This map is of type HASH; bpf_map_push_elem works on QUEUE, STACK"),
    (65, "r2 is a pointer to the kernel's struct task_struct, or null"),
    (67, "r1 is the stack, at fp-16"),
    (69, "Give the value of map HASH a field of type struct bpf_spin_lock."),
    (70, "It points to offset 4, and struct bpf_spin_lock lies at offset 0"),
    (83, "r1 is the stack, at fp+0, and a number is wanted."),
    (100, "r1 is a pointer to the kernel's struct task_struct, or null"),
])  # fmt: skip
def test_hints_name_the_register_and_its_value(number: int, hint: str) -> None:
    error = run_example(examples()[number]).error
    assert error is not None and hint in error.hint, error
