"""What the script says and does to the whole of itself: printf print cat system time exit clear zero signal."""

from __future__ import annotations

import pytest

from pbt.source import ScriptErrors
from tests.unit.lower.machine import Ran, compiled


def test_printf_sends_its_arguments_as_they_are() -> None:
    ran = Ran(
        'BEGIN { printf("%d %s %u %x %c %p %r %s\\n", (int8)-1, comm, pid, tid, 65, nsecs, buf({p}, 3), (1, "x")); }',
        memory={"p": b"abc"},
    )
    assert ran.sent == [("printf", -1, b"bash", 11, 12, 65, 5_000_000_000, b"abc", (1, b"x"))]


@pytest.mark.parametrize(
    ("call", "action", "text"),
    [('cat("/proc/%d/maps", pid)', "cat", "/proc/%d/maps"), ('system("ls %d", pid)', "system", "ls %d"),
     ('time("%H:%M")', "time", "%H:%M"),
     ("time()", "time", "%H:%M:%S\n")],
)  # fmt: skip
def test_actions(call: str, action: str, text: str) -> None:
    ran = Ran(f"BEGIN {{ {call}; }}", unsafe=True)
    assert ran.sent[0][0] == action and ran.made.events[0].text == text
    assert ran.sent[0][1:] == ((11,) if "pid" in call else ())


def test_print_of_a_map_names_it() -> None:
    ran = Ran(
        "BEGIN { @a[1] = count(); print(@a); print(@a, 5); print(@a, 5, 10); print(@a[1]); @b = 3; print(@b); }"
    )
    assert [event.args for event in ran.made.events] == [("@a",), ("@a", 5), ("@a", 5, 10), (), ("@b",)]


def test_exit_ends_the_probe() -> None:
    ran = Ran("BEGIN { print(1); if (pid == 11) { exit(); } print(2); }", times=[{}, {"pid": 1}])
    assert ran.sent == [("print", 1), ("exit", 0), ("print", 1), ("print", 2)]
    assert Ran("BEGIN { exit(3); }").sent == [("exit", 3)]
    assert Ran("BEGIN { exit(pid + 1); }").sent == [("exit", 12)]


@pytest.mark.parametrize("name", ["clear", "zero"])
def test_clear_and_zero_are_left_to_user_space(name: str) -> None:
    ran = Ran(f"BEGIN {{ @a[1] = 1; {name}(@a); }}")
    assert ran.sent == [(name,)] and ran.made.events[0].args == ("@a",) and ran.maps == {"@a": {1: 1}}


def test_deleting_an_aggregation_without_keys_is_left_to_user_space() -> None:
    ran = Ran("BEGIN { @a = count(); delete(@a); }")
    assert [r[0] for r in ran.sent] == ["delete"] and ran.made.events[0].args == ("@a",)


@pytest.mark.parametrize(
    ("argument", "number"), [('"KILL"', 9), ('"SIGUSR1"', 10), ('"int"', 2), ("15", 15), ("pid", 11)]
)
def test_signal(argument: str, number: int) -> None:
    assert Ran(f"BEGIN {{ signal({argument}); }}", unsafe=True).signals == [number]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ('printf("%d")', "not enough arguments for format string .0 supplied, 1 expected"),
        ('printf("x", 1)', "too many arguments for format string .1 supplied, 0 expected"),
        ('printf("%d", comm)', "unsupported format specifier"),
        ('printf("%r", 1)', "unsupported format specifier"),
        ("printf(comm)", "expects a string literal"),
        ("printf()", "printf.. requires at least one argument"),
        ("print()", "print.. requires"), ("print(pid, 5)", "top and div only for a whole map"),
        ("print(exit())", "type void"),
        ("exit(comm)", "exit.. expects an integer"), ("clear(pid)", "clear.. expects a map"),
        ("zero(@a[1]); @a[1] = 1", "zero.. expects a map"),
        ("delete(pid)", "delete.. expects a map"), ("delete(@a); @a[1] = 1; delete(@a)", ""),
        ("has_key(@a); @a[1] = 1", "has_key"),
        ("time(5)", "expects a string literal"), ("nothing()", "Unknown function: 'nothing'"),
        ("prinf(1)", "did you mean print"),
        ("count()", "must be assigned directly to a map"),
        ("$x = count()", "must be assigned directly to a map"),
        ("@a = hist(1, 6)", "must be 0..5"), ("@a = lhist(1, 5, 5, 1)", "min must be less than max"),
        ("@a = lhist(1, 0, 9, 0)", "step must be >= 1"),
        ("@a = lhist(1, 0, 100000, 1)", "too many buckets"),
        ("@a = sum(comm)", "only supports integer arguments"), ("@a = sum()", "requires one argument"),
        ("@a = hist(1); @a = hist(1, 2)", "Different bits"),
        ("@a = lhist(1, 0, 9, 1); @a = lhist(1, 0, 9, 2)", "Different bounds"),
    ],
)  # fmt: skip
def test_errors(statement: str, message: str) -> None:
    if not message:
        statement = statement.partition(";")[2].strip()
        message = "has keys: say which one to delete"
    with pytest.raises(ScriptErrors, match=message):
        compiled(f"BEGIN {{ {statement}; }}")


@pytest.mark.parametrize("call", ['system("ls")', 'signal("KILL")'])
def test_unsafe_functions(call: str) -> None:
    with pytest.raises(ScriptErrors, match="unsafe function being used in safe mode"):
        compiled(f"BEGIN {{ {call}; }}")


@pytest.mark.parametrize("argument", ['"NOTHING"', "0", "65"])
def test_signals_that_do_not_exist(argument: str) -> None:
    with pytest.raises(ScriptErrors, match="signal"):
        compiled(f"BEGIN {{ signal({argument}); }}", unsafe=True)
