"""What each pass is for, on the smallest text that shows it."""

import pytest

from pbt.ir import passes, text
from pbt.ir.passes.cse import share
from pbt.ir.passes.dead import drop_dead
from pbt.ir.passes.fold import fold
from pbt.ir.passes.imply import imply
from pbt.ir.passes.layout import cold_last
from pbt.ir.passes.lookups import merge_lookups
from pbt.ir.passes.merge import merge_blocks
from pbt.ir.passes.overwritten import drop_overwritten
from pbt.ir.passes.reads import merge_reads
from pbt.ir.verify import verify

HEAD = """\
program p
function main
slot 8 8 "a"
slot 8 8 "b"
entry:
  %0:ctx = ctx
  %1 = load %0 8 0
"""


def after(body, *steps):
    program = text.parse(HEAD + "".join(f"{line}\n" for line in body))
    assert verify(program) == []
    for step in steps:
        program = passes.apply(step, program)
        assert verify(program) == []
    lines = text.dump(program).split("\n")
    return [line.strip() for line in lines[4:] if line]


def result(*body):
    """The operation that makes the returned value, after folding."""
    lines = after([*body[:-1], f"  {body[-1]}"], fold, drop_dead)
    value = lines[-1].split()[1]
    return next(line.partition("= ")[2] for line in lines if line.startswith(f"{value} "))


@pytest.mark.parametrize(
    ("code", "number", "expected"),
    [
        ("add", 0, "load %0 8 0"),
        ("mul", 1, "load %0 8 0"),
        ("mul", 0, "const 0"),
        ("mul", 8, "shl %1 %4"),
        ("udiv", 16, "lshr %1 %4"),
        ("udiv", 0, "const 0"),
        ("umod", 0, "load %0 8 0"),
        ("umod", 16, "and %1 %4"),
        ("umod", 256, "zext %1 1"),
        ("sdiv", -1, "neg %1"),
        ("smod", -1, "const 0"),
        ("and", 0xFFFF, "zext %1 2"),
        ("and", -1, "load %0 8 0"),
        ("or", -1, "const -1"),
        ("sub", 5, "add %1 %4"),
        ("shl", 64, "load %0 8 0"),
    ],
)
def test_identities(code, number, expected):
    assert result(f"  %2 = const {number}", f"  %3 = {code} %1 %2", "return %3") == expected


@pytest.mark.parametrize(
    ("code", "left", "right", "expected"),
    [
        ("sdiv", -7, 2, -3),
        ("smod", -7, 2, -1),
        ("sdiv", -(1 << 63), -1, -(1 << 63)),
        ("udiv", -1, 2, (1 << 63) - 1),
        ("umod", 5, 0, 5),
        ("shl", 1, 65, 2),
        ("ashr", -8, 1, -4),
        ("lshr", -1, 60, 15),
        ("mul", 1 << 62, 4, 0),
    ],
)
def test_constants_follow_the_standard(code, left, right, expected):
    body = (f"  %2 = const {left}", f"  %3 = const {right}", f"  %4 = {code} %2 %3", "return %4")
    assert result(*body) == f"const {expected}"


def test_narrow_loads_need_no_extension():
    assert result("  %2 = load %0 4 8", "  %3 = zext %2 4", "return %3") == "load %0 4 8"
    assert result("  %2 = sload %0 2 8", "  %3 = sext %2 4", "return %3") == "sload %0 2 8"
    assert result("  %2 = load %0 4 8", "  %3 = sext %2 8", "return %3") == "load %0 4 8"


def test_shifts_up_and_down_are_an_extension():
    body = ("  %2 = const 48", "  %3 = shl %1 %2", "  %4 = ashr %3 %2", "return %4")
    assert result(*body) == "sext %1 2"


def test_bounds_that_the_verifier_does_not_know_stay():
    body = ["  %2 = const 3", "  %3 = zext %1 1", "  %4 = udiv %3 %2", "  %5 = const 255", "  %6 = and %4 %5"]
    assert result(*body, "return %6") == "zext %4 1"


def test_a_branch_on_a_flag_becomes_a_branch_on_what_was_compared():
    body = [
        "  %2 = const 7", "  %3 = const 0", "  %4 = cmp %1 %2 slt", "  branch eq %4 %3 a else b",
        "a:", "  return %2", "b:", "  return %3",
    ]  # fmt: skip
    assert "branch sge %1 %2 a else b" in after(body, fold)


def test_known_branches_and_their_blocks_go():
    body = ["  %2 = const 7", "  branch ult %2 %2 a else b", "a:", "  return %1", "b:", "  return %2"]
    assert after(body, fold, merge_blocks, drop_dead) == ["entry:", "%2 = const 7", "return %2"]


def test_a_number_passed_to_a_test_skips_the_test():
    body = [
        "  %2 = const 0", "  %3 = const 1", "  branch eq %1 %2 yes else no",
        "yes:", "  jump test(%3)", "no:", "  jump test(%2)",
        "test(%4):", "  branch ne %4 %2 a else b", "a:", "  return %3", "b:", "  return %1",
    ]  # fmt: skip
    assert "branch eq %1 %2 a else b" in after(body, merge_blocks)


def test_equal_arguments_are_no_parameters():
    body = ["  %2 = const 0", "  branch eq %1 %2 a(%1) else b", "b:", "  jump a(%1)", "a(%3):", "  return %3"]
    assert "return %1" in after(body, merge_blocks)


def test_equal_numbers_are_no_parameters():
    body = [
        "  %2 = const 4", "  %3 = const 4", "  branch eq %1 %2 a(%2) else b", "b:", "  jump a(%3)",
        "a(%4):", "  return %4",
    ]  # fmt: skip
    assert "%4 = const 4" in after(body, merge_blocks)


def test_a_self_loop_does_not_confuse_threading():
    body = ["  jump a(%1 %1)", "a(%2 %3):", "  branch ne %2 %3 a(%3 %2) else b", "b:", "  return %1"]
    assert after(body, merge_blocks)[-1] == "return %1"


def test_equal_operations_are_shared_where_one_dominates():
    body = [
        "  %2 = mul %1 %1", "  branch eq %1 %2 a else b",
        "a:", "  %3 = mul %1 %1", "  return %3", "b:", "  %4 = mul %1 %1", "  return %4",
    ]  # fmt: skip
    assert sum("mul" in line for line in after(body, share)) == 1
    body[0] = "  %2 = const 1"
    assert sum("mul" in line for line in after(body, share)) == 2


def test_only_helpers_that_repeat_themselves_are_shared():
    body = ["  %2 = call {0}()", "  %3 = call {0}()", "  %4 = add %2 %3", "  return %4"]
    for name, count in (("get_current_pid_tgid", 1), ("ktime_get_ns", 2), ("get_prandom_u32", 2)):
        made = after([line.format(name) for line in body], share)
        assert sum("call" in line for line in made) == count


def test_loads_are_shared_until_somebody_writes():
    load = "  %{} = load %0 4 8"
    body = [load.format(2), load.format(3), "  %4 = add %2 %3", "  return %4"]
    assert sum("load %0 4" in line for line in after(body, share)) == 1
    body.insert(1, "  %5 = call ktime_get_ns()")
    assert sum("load %0 4" in line for line in after(body, share)) == 1
    body.insert(1, "  %6 = call override_return(%0 %1)")
    assert sum("load %0 4" in line for line in after(body, share)) == 2


def test_loads_of_the_context_are_shared_wherever_one_dominates():
    body = [
        "  %2 = load %0 4 8", "  branch eq %1 %2 a else b", "a:", "  %3 = call f(%0)", "  jump b",
        "b:", "  %4 = load %0 4 8", "  return %4",
    ]  # fmt: skip
    assert sum("load %0 4" in line for line in after(body, share)) == 1
    for change in ("  %3 = call override_return(%0 %1)", "  store %0 %1 8 0"):
        assert sum("load %0 4" in line for line in after([*body[:3], change, *body[4:]], share)) == 2


def test_loads_are_shared_along_blocks_with_one_way_in():
    body = [
        "  %2 = load %0 4 8",
        "  branch eq %1 %2 a else b",
        "a:",
        "  %3 = load %0 4 8",
        "  return %3",
        "b:",
    ]
    assert sum("load %0 4" in line for line in after([*body, "  return %1"], share)) == 1
    loop = ["  jump a", "a:", "  %2:value = map_value @m 0", "  %3 = load %2 8 0", "  branch eq %3 %1 a else b",
            "b:", "  return %1"]  # fmt: skip
    assert sum("load %2" in line for line in after(loop, share)) == 1


def test_a_load_sees_the_store_before_it_but_not_past_another():
    head = ["  %2:stack = slot 0", "  %3:stack = slot 1", "  store %2 %1 8 0"]
    tail = ["  %9 = load %2 8 0", "  return %9"]
    assert "return %1" in after([*head, "  store %3 %1 8 0", *tail], share)
    assert "return %9" in after([*head, "  store %2 %1 1 3", *tail], share)
    assert "return %9" in after([*head, "  %4 = call f(%2)", *tail], share)


def test_stores_that_nobody_can_see_go():
    body = ["  %2:stack = slot 0", "  store %2 %1 8 0", "  %3 = const 0", "  return %3"]
    assert after(body, drop_dead) == ["entry:", "%3 = const 0", "return %3"]
    body[1:1] = ["  %4 = call f(%2)"]
    assert any("store" in line for line in after(body, drop_dead))


LOOKUPS = [
    "  %2:map = map @m", "  %3:stack = slot 0", "  %4:stack = slot 1",
    "  store %3 %1 8 0", "  %5:value = call map_lookup_elem(%2 %3)", "  %6 = call ktime_get_ns()",
    "  store %4 %1 8 0", "  %7:value = call map_lookup_elem(%2 %4)",
    "  branch eq %5 %7 a else b", "a:", "  return %1", "b:", "  return %6",
]  # fmt: skip


def lookups(*changes):
    body = list(LOOKUPS)
    for at, line in changes:
        body.insert(at, line)
    made = after(body, share, merge_lookups, drop_dead)
    return sum("map_lookup_elem" in line for line in made), sum("store" in line for line in made)


READS = [
    "  %2:stack = slot 0", "  %3:stack = slot 1", "  %4 = const 4", "  %5 = const 12", "  %6 = add %1 %4",
    "  %7 = add %1 %5", "  %8 = call probe_read_kernel(%2 %4 %6)", "  %9 = call probe_read_kernel(%3 %4 %7)",
    "  %10 = load %2 4 0", "  %11 = sload %3 2 2", "  %12 = add %10 %11", "  return %12",
]  # fmt: skip


def reads(*changes):
    """Calls and loads after the pass; `changes`: (line, what stands there instead)."""
    body = list(READS)
    for at, line in changes:
        body[at] = line
    made = after(body, merge_reads, drop_dead)
    return [line.partition("= ")[2] for line in made if "probe_read" in line or "load %1" in line]


def test_neighbours_are_read_at_once():
    assert reads() == ["call probe_read_kernel(%13 %14 %16)", "load %13 4 0", "sload %13 2 10"]


@pytest.mark.parametrize(
    "change",
    [
        (7, "  %9 = call probe_read_user(%3 %4 %7)"),  # not the same memory
        (7, "  %9 = call probe_read_kernel(%3 %4 %4)"),  # not the same pointer
        (3, "  %5 = const 400"),  # far away
        (3, "  %5 = const -12"),  # before what the pointer points to
        (3, "  %5 = const 7"),  # the stack is loaded from where it is aligned
        (11, "  return %9"),  # somebody asks whether it worked
        (9, "  %11 = call f(%3)"),  # others see where the bytes are
    ],
)
def test_what_is_no_neighbour_is_read_by_itself(change):
    assert sum("probe_read" in line for line in reads(change)) == 2


@pytest.mark.parametrize(("helper", "left"), [("loop(%1)", 2), ("ktime_get_ns()", 1)])
def test_a_helper_that_takes_long_keeps_reads_apart(helper, left):
    made = after([*READS[:7], f"  %13 = call {helper}", *READS[7:]], merge_reads)
    assert sum("probe_read" in line for line in made) == left


def order(*body):
    made = after(["  %2:map = map @m", "  %3:stack = slot 0", "  %9 = const 0", *body], cold_last)
    return [line[:-1] for line in made if line.endswith(":")]


@pytest.mark.parametrize("test", ["eq %4 %9 new else have", "ne %4 %9 have else new"])
def test_what_a_new_key_needs_stands_behind_the_rest(test):
    body = [
        "  %4:value = call map_lookup_elem(%2 %3)", f"  branch {test}", "new:", "  %5 = call {}(%2 %3 %3 %9)",
        "  branch slt %5 %9 failed else end", "failed:", "  jump end", "have:", "  jump end", "end:", "  return %9",
    ]  # fmt: skip
    made = [line.format("map_update_elem") for line in body]
    assert order(*made) == ["entry", "have", "end", "new", "failed"]
    other = [
        line.format("probe_read_kernel") for line in body
    ]  # not to be there may be what the script wants
    assert order(*other) == ["entry", "new", "have", "end", "failed"]


def test_what_is_not_always_cold_stays():
    body = ["  %4 = call f()", "  branch slt %4 %9 a else b", "a:", "  jump c", "b:", "  branch eq %1 %9 a else c",
            "c:", "  return %1"]  # fmt: skip
    assert order(*body) == ["entry", "a", "b", "c"]


def test_a_key_is_looked_up_once_in_a_row():
    assert lookups() == (1, 1)
    assert lookups((7, "  store %4 %6 1 0"))[0] == 2  # another key
    for call in (
        "map_delete_elem(%2 %3)", "map_update_elem(%2 %3 %3 %1)", "probe_read_kernel(%4 %1 %1)", "loop(%1 %1 %3)",
    ):  # fmt: skip
        assert lookups((6, f"  %8 = call {call}"))[0] == 2, call


def test_keys_whose_bytes_are_not_known_are_looked_up_again():
    assert lookups((3, "  store %0 %3 8 0"))[0] == 2  # somebody else may write there
    half = [line.replace("store %4 %1 8 0", "store %4 %1 4 0") for line in LOOKUPS]
    assert sum("map_lookup" in line for line in after(half, share, merge_lookups)) == 2


def test_of_cleared_bytes_those_that_are_not_written_over_stay_known():
    zero = ["  %9 = const 0", "  store %3 %9 8 0"]
    half = [line.replace(" %1 8 0", " %1 4 0") for line in LOOKUPS]
    whole = [*half[:3], *zero, *half[3:6], "  store %4 %9 8 0", *half[6:]]
    assert sum("map_lookup" in line for line in after(whole, share, merge_lookups)) == 1
    other = [line.replace("store %4 %1 4 0", "store %4 %1 4 4") for line in whole]
    assert sum("map_lookup" in line for line in after(other, share, merge_lookups)) == 2


def test_keys_on_two_ways_are_known_where_they_meet():
    body = ["  %2:map = map @m", "  %3:stack = slot 0", "  %4:stack = slot 1",
            "  branch eq %1 %1 a else b", "a:", "  store %3 %1 8 0", "  jump c",
            "b:", "  store %3 {} 8 0", "  jump c",
            "c:", "  %5:value = call map_lookup_elem(%2 %3)", "  store %4 %1 8 0",
            "  %6:value = call map_lookup_elem(%2 %4)", "  %7 = load %6 8 0", "  return %7"]  # fmt: skip
    for stored, count in (("%1", 1), ("%0", 2)):
        made = after([line.format(stored) for line in body], merge_lookups)
        assert sum("map_lookup_elem" in line for line in made) == count


def test_branches_follow_from_those_before():
    body = ["  %2 = const 5", "  branch ult %1 %2 a else b", "a:", "  branch {} {} c else d",
            "b:", "  return %2", "c:", "  %3 = const 1", "  return %3", "d:", "  %4 = const 2", "  return %4"]  # fmt: skip
    for cond, operands, end in (
        ("ult", "%1 %2", "jump c"), ("uge", "%1 %2", "jump d"), ("ugt", "%2 %1", "jump c"), ("eq", "%1 %2", "branch"),
        ("ult", "%2 %1", "branch"),
    ):  # fmt: skip
        made = after([line.format(cond, operands) for line in body], imply)
        assert made[made.index("a:") + 1].startswith(end), (cond, operands)
    joined = ["  %2 = const 5", "  branch eq %1 %2 a else b", "a:", "  jump b", "b:", "  branch eq %1 %2 c else d",
              "c:", "  return %1", "d:", "  return %2"]  # fmt: skip
    assert sum("branch" in line for line in after(joined, imply)) == 2


def test_stores_that_are_overwritten_go():
    head = ["  %2:stack = slot 0", "  %3 = const 8", "  store %2 %3 8 0"]
    tail = ["  store %2 %1 8 0", "  %9 = call map_push_elem(%1 %2 %3)", "  return %9"]

    def stores(*between):
        return sum("store" in line for line in after([*head, *between, *tail], drop_overwritten))

    assert stores() == 1
    assert stores("  %4 = load %2 1 7", "  store %0 %4 1 0") == 3
    assert stores("  %4 = call probe_read_kernel(%2 %3 %1)") == 1
    read = "  %5 = load %2 1 7"
    assert (
        stores("  %4 = call get_current_comm(%2 %3)", read) == 2
    )  # some kernels leave what is behind the NUL
    assert stores("  %4 = call probe_read_kernel_str(%2 %3 %1)", read) == 2  # writes as much as there is
    assert stores("  %4 = call f(%2)") == 2 and stores("  store %0 %2 8 0") == 3
    tail[0] = "  store %2 %1 4 4"
    assert stores() == 2


def test_helpers_that_write_what_nobody_reads_go():
    def calls(*lines):
        body = ["  %2:stack = slot 0", "  %3 = const 8", "  %4 = call get_current_comm(%2 %3)", *lines]
        return sum("comm" in line for line in after(body, drop_overwritten))

    read, end = "  %5 = load %2 1 7", "  return %1"
    assert calls(end) == 0 and calls("  store %2 %1 8 0", read, end) == 0
    assert calls(read, end) == 1 and calls("  return %4") == 1  # who asks whether it went well
    assert calls("  store %0 %2 8 0", end) == 1  # somebody else may read it
    assert calls("  branch eq %1 %3 a else b", "a:", read, end, "b:", end) == 1


COMMS = [
    "  %3:stack = slot 0", "  %4:stack = slot 1", "  %5 = const 8", "  %6 = call get_current_comm(%3 %5)",
    "  %7 = load %3 8 0", "  %8 = call get_current_comm(%4 %5)", "  %9 = load %4 4 2", "  %2:map = map @m",
    "  %10:value = call map_lookup_elem(%2 %4)", "  return %9",
]  # fmt: skip


def test_the_name_of_the_thread_is_asked_once():
    def calls(*changes):
        body = list(COMMS)
        for at, line in sorted(changes, reverse=True):
            body.insert(at, line)
        return sum("comm" in line for line in after(body, merge_lookups, drop_overwritten))

    made = after(COMMS, merge_lookups, drop_overwritten)
    assert calls() == 1 and "%9 = load %3 4 2" in made and "%10:value = call map_lookup_elem(%2 %3)" in made
    assert calls((4, "  store %3 %0 1 3")) == 2  # the first is no longer a name
    assert calls((6, "  store %4 %0 1 3")) == 2 and calls((8, "  %11 = call f(%4)")) == 2
    zeros = ["  %11 = const 0", "  store {} %11 8 0"]
    assert calls((3, zeros[0]), (3, zeros[1].format("%3"))) == 2  # what is behind the NUL may differ
    both = [(3, zeros[0]), *((3, zeros[1].format(slot)) for slot in ("%4", "%3"))]
    assert calls(*both) == 1


def test_stores_in_loops_are_read_in_the_next_turn():
    body = ["  %2:stack = slot 0", "  %3 = const 0", "  store %2 %3 8 0", "  jump head",
            "head:", "  %4 = load %2 8 0", "  %5 = add %4 %1", "  store %2 %5 8 0",
            "  branch ult %5 %1 head else end", "end:", "  store %2 %1 8 0", "  return %1"]  # fmt: skip
    assert sum("store" in line for line in after(body, drop_overwritten)) == 2


def test_deep_programs_do_not_recurse():
    lines = [f"  %{n + 1} = add %{n} %1" for n in range(1, 4000)]
    assert after([*lines, "  return %4000"], *passes.PASSES)[-1] == "return %4000"


def test_long_chains_of_blocks_do_not_recurse():
    lines = ["  jump b0"]
    for n in range(800):
        lines += [f"b{n}:", f"  %{n + 9} = call f()", f"  branch eq %1 %{n + 9} b{n + 1} else end"]
    lines += ["b800:", "  jump end", "end:", "  return %1"]
    assert after(lines, fold, share)[-1] == "return %1"
