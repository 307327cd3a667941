"""The table of what `pbt --migrate` changes: old forms, new forms, and where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from pbt.lang import ast, settings
from pbt.lang.concrete import Branch, Leaf, first_leaf, last_leaf
from pbt.lang.migrate import Edit, Rewrite, View
from pbt.lang.preprocess import IS_DIRECTIVE, comment_lines
from pbt.lang.scope import resolve


def _replaced(node: Branch | Leaf, text: str) -> Edit:
    return Edit(first_leaf(node).start, last_leaf(node).end, text)


def _removed(text: str, start: int, end: int) -> Edit:
    """Nothing in the place of some text; a line that it leaves empty goes too."""
    before = start - len(text[:start]) + len(text[:start].rstrip(" \t"))
    rest = text[end:].partition("\n")
    if text[:before].endswith("\n") and not rest[0].strip():
        return Edit(before, end + len(rest[0]) + len(rest[1]), "")
    return Edit(before, end, "")


# --- names ------------------------------------------------------------------------------------

_PROVIDERS = {"kfunc": "fentry", "kretfunc": "fexit", "kf": "f", "kr": "kr", "BEGIN": "begin", "END": "end"}
_BUILTINS = {"stack": "kstack", "name": "probe", "sym": "ksym"}
_TIMERS = r"((?:interval|i|profile|p)):(s|ms|us):(\d+)"


def _attach_points(view: View, names: Sequence[str]) -> Iterator[Edit]:
    for leaf in view.leaves("ATTACH"):
        first = leaf.text.partition(":")[0]
        if first in names:
            yield Edit(leaf.start, leaf.start + len(first), _PROVIDERS[first])


def _timers(view: View) -> Iterator[Edit]:
    """Not where the builtin `probe` would print another name."""
    if "probe" in view.words():
        return
    for leaf in view.leaves("ATTACH"):
        timer = re.fullmatch(_TIMERS, leaf.text)
        if timer:
            yield _replaced(leaf, f"{timer[1]}:{timer[3]}{timer[2]}")


def _builtins(view: View) -> Iterator[Edit]:
    """Builtins that other names took the place of."""
    for node in view.branches("ident", "call"):
        leaf = first_leaf(node)
        if leaf.text in _BUILTINS:
            yield _replaced(leaf, _BUILTINS[leaf.text])


def _stack_arguments(view: View) -> Iterator[Edit]:
    """64-bit x86 alone has them after a return address of 8 bytes."""
    for node in view.branches("ident"):
        match = re.fullmatch(r"sarg(\d)", first_leaf(node).text)
        if match:
            yield _replaced(node, f'*(reg("sp") + {8 * (int(match[1]) + 1)})')


def _fields_of_args(view: View) -> Iterator[Edit]:
    for node in view.branches("member"):
        base, arrow = node.children[:2]
        if base.kind == "ident" and first_leaf(base).text == "args" and arrow.kind == "ARROW":
            yield _replaced(arrow, ".")


# --- delete -----------------------------------------------------------------------------------


def _deletes(view: View) -> Iterator[tuple[Branch, list[Branch | Leaf]]]:
    """Calls of delete() and their arguments, with the commas between them."""
    for node in view.branches("call"):
        if first_leaf(node).text == "delete":
            yield node, [child for child in node.children[2:-1]]


def _element(node: Branch | Leaf) -> bool:
    return isinstance(node, Branch) and node.kind == "index" and node.children[0].kind == "map"


def _apart(node: Branch | Leaf) -> Iterator[Edit]:
    """`@m[a, b]` → `@m, (a, b)`."""
    assert isinstance(node, Branch)
    _, opening, *keys, closing = node.children
    several = sum(key.kind != "COMMA" for key in keys) > 1
    yield _replaced(opening, ", (" if several else ", ")
    yield _replaced(closing, ")" if several else "")


def _deleted_element(view: View) -> Iterator[Edit]:
    for _, args in _deletes(view):
        if len(args) == 1 and _element(args[0]):
            yield from _apart(args[0])


def _deleted_elements(view: View) -> Iterator[Edit]:
    """One call for each; the call must be a statement."""
    statements = {stmt.children[0] for stmt in view.branches("expr_stmt")}
    for node, args in _deletes(view):
        maps = args[::2]
        if len(maps) > 1 and node in statements and all(map(_element, maps)):
            for arg in maps:
                yield from _apart(arg)
            for comma, after in zip(args[1::2], maps[1:], strict=False):
                gap = view.text[last_leaf(comma).end : first_leaf(after).start]
                to = last_leaf(comma).end if gap.strip() else first_leaf(after).start
                yield Edit(first_leaf(comma).start, to, "); delete(")


# --- loops ------------------------------------------------------------------------------------

_NOT_IN_LOOPS = re.compile(r"arg\d+|sarg\d+|args|retval|ctx|reg|exit|return|func|usdt\w*|comptime")
"""Words that bpftrace 0.27 refuses in the body of a `for`, or that leave more than the loop."""


def _plain(block: Branch | Leaf) -> bool:
    assert isinstance(block, Branch)
    return not any(_NOT_IN_LOOPS.fullmatch(leaf.text) for leaf in block.leaves())


def _unroll(view: View) -> Iterator[Edit]:
    used = view.words()
    fresh = (name for name in ("$i", "$j", "$k", *(f"$i{n}" for n in range(1, 1000))) if name not in used)
    for node in view.branches("unroll"):
        word, _, count, _, block = node.children
        if count.kind in ("int", "param") and _plain(block):
            head = f"for ({next(fresh)} : 0..{first_leaf(count).text})"
            yield Edit(first_leaf(word).start, first_leaf(block).start, head + " ")


def _while(view: View) -> Iterator[Edit]:
    """`$i = 0; while ($i < 10) { ...; $i++; }`, where nothing else touches `$i`."""
    for probe in view.branches("probe", "function"):
        texts = [leaf.text for leaf in probe.leaves()]
        for block in (n for n in probe.walk() if isinstance(n, Branch) and n.kind in ("body", "block")):
            statements = block.children[1:-1]
            for before, loop in pairwise(statements):
                yield from _counted(view.text, before, loop, texts)


def _counted(text: str, before: Branch | Leaf, loop: Branch | Leaf, texts: Sequence[str]) -> Iterator[Edit]:
    init, loop = _statement(before), _statement(loop)
    if init.kind != "assign" or loop.kind != "while":
        return
    assert isinstance(init, Branch) and isinstance(loop, Branch)
    var, equals, start = init.children
    word, condition, block = loop.children
    while isinstance(condition, Branch) and condition.kind == "group":
        condition = condition.children[1]
    if (
        var.kind != "var"
        or equals.kind == "ASSIGN"
        or start.kind != "int"
        or not isinstance(condition, Branch)
    ):
        return
    name = first_leaf(var).text
    shape = [first_leaf(child).text for child in condition.children] if len(condition.children) == 3 else []
    bounded = shape[:2] == [name, "<"] and condition.children[2].kind in ("int", "param")
    assert isinstance(block, Branch)
    last = _statement(block.children[-2])
    inside = [leaf.text for leaf in block.leaves()]
    counts = [leaf.text for leaf in last.leaves()] if isinstance(last, Branch) else []
    steps = (["++", name], [name, "++"], [name, "+=", "1"])
    alone = texts.count(name) == 2 + inside.count(name) and not _assigned(block, name, last)
    if bounded and counts in steps and alone and "continue" not in inside and _plain(block):
        head = f"for ({name} : {first_leaf(start).text}..{shape[2]})"
        yield _removed(text, first_leaf(before).start, last_leaf(before).end)
        yield Edit(first_leaf(word).start, first_leaf(block).start, head + " ")
        yield _removed(text, first_leaf(block.children[-2]).start, last_leaf(block.children[-2]).end)


def _statement(node: Branch | Leaf) -> Branch | Leaf:
    """What stands in a line of a block, without its `;`."""
    while isinstance(node, Branch) and node.kind in ("item", "last", "expr_stmt"):
        node = node.children[0]
    return node


def _assigned(block: Branch, name: str, but: Branch | Leaf) -> bool:
    kinds = ("assign", "let", "post_step", "pre_step", "address_of")
    changes = (n for n in block.walk() if isinstance(n, Branch) and n.kind in kinds and n is not but)
    return any(name in [leaf.text for leaf in node.leaves()][:2] for node in changes)


# --- variables of the whole probe ---------------------------------------------------------------


def _declarations(view: View) -> Iterator[Edit]:
    """`let` in the innermost block around all uses, outside of loops."""
    for probe in view.script.probes:
        targets = {node.target for node in probe.walk() if isinstance(node, ast.Assign)}
        reads = [node.name for node in probe.walk() if isinstance(node, ast.Var) and node not in targets]
        for name in sorted(resolve(probe).wide, key=reads.index):
            stmt = _first_statement(probe.body, name)
            line = view.text[: stmt.span.start].rpartition("\n")[2]
            indent = line if not line.strip() else ""
            between = "\n" + indent if not line.strip() else " "
            yield Edit(stmt.span.start, stmt.span.start, f"let {name};{between}")


def _first_statement(block: ast.Block, name: str) -> ast.Stmt:
    """Before which statement a declaration serves all uses of a name."""
    users = [stmt for stmt in block.body if _uses(stmt, name)]
    if len(users) == 1:
        inner = [b for b in _blocks(users[0]) if _uses(b, name)]
        heads = _uses_in_head(users[0], name)
        if len(inner) == 1 and not heads:
            return _first_statement(inner[0], name)
    return users[0]


def _uses(node: ast.Node, name: str) -> bool:
    return any(isinstance(inner, ast.Var) and inner.name == name for inner in node.walk())


def _blocks(stmt: ast.Stmt) -> list[ast.Block]:
    """Blocks of a statement that run at most once."""
    if isinstance(stmt, ast.Block):
        return [stmt]
    if not isinstance(stmt, ast.If):
        return []
    return [stmt.then, *(_blocks(stmt.other) if stmt.other is not None else [])]


def _uses_in_head(stmt: ast.Stmt, name: str) -> bool:
    if not isinstance(stmt, ast.If):
        return False
    return _uses(stmt.condition, name) or (isinstance(stmt.other, ast.If) and _uses_in_head(stmt.other, name))


# --- config, environment, headers -----------------------------------------------------------------


def _config(view: View) -> Iterator[Edit]:
    for node in view.branches("setting"):
        name, _, value = node.children
        old = first_leaf(name).text
        plain = old.removeprefix("BPFTRACE_").lower()
        new = settings.RENAMED.get(plain, plain)
        if new != old and (new in settings.SETTINGS):
            yield _replaced(name, new)
            if plain.startswith("no_"):
                yield _replaced(value, "false" if first_leaf(value).text in ("1", "true") else "true")


def _dropped_config(view: View) -> Iterator[Edit]:
    for node in view.branches("config"):
        for number, child in enumerate(node.children):
            name = first_leaf(child).text.removeprefix("BPFTRACE_").lower()
            if child.kind == "setting" and name in settings.REMOVED:
                after = node.children[number + 1]
                end = last_leaf(after if after.kind == "SEMICOLON" else child).end
                yield _removed(view.text, first_leaf(child).start, end)


_FUNCTIONS = ("kprobe", "kretprobe", "k", "kr", "fentry", "fexit", "kfunc", "kretfunc")


def _missing_probes(view: View) -> Iterator[Edit]:
    """Since 0.24 all attach points must exist, unless the config says otherwise."""
    if any(first_leaf(node).text == "missing_probes" for node in view.branches("setting")):
        return
    for points in view.branches("points"):
        functions = [
            p for p in points.leaves() if p.text.partition(":")[0] in _FUNCTIONS and "*" not in p.text
        ]
        if len(functions) > 1:
            yield _setting(view, 'missing_probes = "warn";')
            return


def _setting(view: View, text: str) -> Edit:
    """Put a setting first in the config block, which is made where there is none."""
    for config in view.branches("config"):
        end = last_leaf(config.children[2]).end
        return Edit(end, end, f"\n  {text}")
    first = next(
        n for n in view.tree.children if n.kind not in ("definition", "struct_def", "enum_def", "forward")
    )
    at = first_leaf(first).start
    return Edit(at, at, f"config = {{\n  {text}\n}}\n\n")


def _environment(view: View) -> Iterator[Edit]:
    """`#!/usr/bin/env -S BPFTRACE_STRLEN=200 bpftrace`."""
    first = view.text.partition("\n")[0]
    if first.startswith("#!"):
        for match in re.finditer(r"BPFTRACE_(STRLEN|MAP_KEYS_MAX|CAT_BYTES_MAX)(?==)", first):
            yield Edit(match.start(1), match.end(1), settings.RENAMED[match[1].lower()].upper())


def _without_types(view: View) -> Iterator[Edit]:
    """What only kernels without BTF read: `#ifndef BPFTRACE_HAVE_BTF ... #endif`."""
    for start, middle, end, holds in _conditionals(view.text):
        if holds:
            yield Edit(start[0], start[1], "")
            yield Edit(*(middle or end)[:1], end[1], "")
        elif middle:
            yield Edit(start[0], middle[1], "")
            yield Edit(*end, "")
        else:
            yield Edit(start[0], end[1], "")


def _conditionals(
    text: str,
) -> Iterator[tuple[tuple[int, int], tuple[int, int] | None, tuple[int, int], bool]]:
    """Lines of the outer conditionals on BPFTRACE_HAVE_BTF: (if, else or None, endif, whether the first part holds)."""
    inside, at = comment_lines(text), 0
    open_: list[tuple[str, tuple[int, int], tuple[int, int] | None]] = []
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        here, at = (at, at + len(line)), at + len(line)
        match = None if here[0] in inside else IS_DIRECTIVE.match(line)
        if match is None:
            continue
        if match[1] in ("if", "ifdef", "ifndef"):
            open_.append((f"{match[1]} {match[2].split('//')[0].strip()}", here, None))
        elif match[1] == "elif" and open_:
            open_[-1] = ("", *open_[-1][1:])
        elif match[1] == "else" and open_:
            open_[-1] = (*open_[-1][:2], here)
        elif match[1] == "endif" and open_:
            condition, start, middle = open_.pop()
            if condition in ("ifdef BPFTRACE_HAVE_BTF", "ifndef BPFTRACE_HAVE_BTF") and not open_:
                yield start, middle, here, condition.startswith("ifdef")


def _headers(view: View) -> Iterator[Edit]:
    """Kernel headers of a script whose names all have another origin than a header's #define."""
    known = {"BPFTRACE_HAVE_BTF", *view.parsed.defines}
    capitals = {
        first_leaf(n).text
        for n in view.branches("ident")
        if re.fullmatch(r"[A-Z][A-Z0-9_]+", first_leaf(n).text)
    }
    if capitals - known:
        return
    inside, at = comment_lines(view.text), 0
    for line in re.findall(r"[^\n]*\n|[^\n]+", view.text):
        start, at = at, at + len(line)
        if start not in inside and re.match(r"[ \t]*#[ \t]*include[ \t]*<(linux|net|asm|uapi)/", line):
            yield Edit(start, at, "")


# --- the table ------------------------------------------------------------------------------------

REWRITES: tuple[Rewrite, ...] = (
    Rewrite("args->field", "args.field", _fields_of_args),
    Rewrite("delete(@m[key])", "delete(@m, key)", _deleted_element),
    Rewrite("delete(@a[1], @b[2])", "delete(@a, 1); delete(@b, 2)", _deleted_elements),
    Rewrite(
        "kfunc:, kretfunc:", "fentry:, fexit:", lambda view: _attach_points(view, ("kfunc", "kretfunc", "kf"))
    ),
    Rewrite("BEGIN, END", "begin, end", lambda view: _attach_points(view, ("BEGIN", "END")), False),
    Rewrite("interval:s:1", "interval:1s", _timers, False),
    Rewrite("stack, name, sym(a)", "kstack, probe, ksym(a)", _builtins),
    Rewrite("sarg0", '*(reg("sp") + 8)', _stack_arguments),
    Rewrite("unroll(5) { }", "for ($i : 0..5) { }", _unroll, False),
    Rewrite("$i = 0; while ($i < 5) { $i++; }", "for ($i : 0..5) { }", _while, False),
    Rewrite("a variable of the whole probe", "let $x;", _declarations),
    Rewrite("kprobe:a, kprobe:b", 'config = { missing_probes = "warn" }', _missing_probes, False),
    Rewrite("strlen = 64", "max_strlen = 64", _config, False),
    Rewrite("symbol_source = dwarf", "", _dropped_config, False),
    Rewrite("BPFTRACE_STRLEN=64", "BPFTRACE_MAX_STRLEN=64", _environment),
    Rewrite("#ifndef BPFTRACE_HAVE_BTF", "types of BTF", _without_types, False),
    Rewrite("#include <linux/x.h>", "types of BTF", _headers, False),
)
