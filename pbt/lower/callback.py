"""Bodies of loops that are functions, which the kernel calls back for each turn."""

from __future__ import annotations

from pbt.ir import core as ir
from pbt.ir.build import Builder
from pbt.lang import ast
from pbt.lower import loops, stmt
from pbt.lower.body import Body


class Loop(Body):
    """The body of a loop as a function; it reaches what it shares with the program by an address."""

    params: tuple[ir.Kind, ...]
    """Of the function; the last is the address of what is shared."""

    def __init__(self, outer: Body, name: str, node: ast.ForMap | ast.ForRange) -> None:
        super().__init__(outer.unit, outer.number, outer.instance, outer._limit, outer._with_scratch)
        self.b = Builder(name, self.params)
        self.outermost, self.shared, self.leaves = outer.root, outer.shared, False
        self._around = {name: pair.map for name, pair in outer.pairs.items()}
        self.returns = outer.returns
        self._node = node
        self._name = self.instance.names[node.var]
        self.loops = [(lambda: self.b.ret(1), lambda: self.b.ret(0))]

    def run(self) -> ir.Function:
        self.b.give_context(self.b.load_pointer(self.shared_base(), loops.CONTEXT, "ctx"))
        if self._with_scratch:
            self._enter_scratch()
        self.pairs = {name: loops.kept_pair(self, name, map_) for name, map_ in self._around.items()}
        self.enter()
        stmt.block(self, self._node.body)
        if not self.b.ended:
            self.b.ret(0)
        return self.b.finish()

    def enter(self) -> None:
        """Give the loop's variable its value."""
        raise NotImplementedError

    def shared_base(self) -> ir.Value:
        return self.b.param(len(self.params) - 1)

    def leave(self, value: ir.Value | None = None) -> None:
        self.leaves = True
        self.b.store(self.shared_base(), loops.LEFT, 8, 1)
        if self.probe.answers:
            self.b.store(self.shared_base(), loops.RESULT, 8, self.probe.result if value is None else value)
        self.b.ret(1)


class MapLoop(Loop):
    """Called with (map, key, value, shared)."""

    params = ("map", "value", "value", "stack")

    def enter(self) -> None:
        assert isinstance(self._node, ast.ForMap)
        self.pairs[self._name] = loops.Pair(self._node.map.name, self.b.param(1), self.b.param(2))
        loops.keep_pair(self, self._name)
        if loops.used_whole(self._node):
            loops.write_pair(self, self._name, self.variable(self._name))


class RangeLoop(Loop):
    """Called with (turn, shared); the turns count from 0."""

    params = ("int", "stack")

    def enter(self) -> None:
        start = self.b.load(self.shared_base(), self.shared.starts[self._name], 8)
        self.set(self._name, self.b.add(start, self.b.param(0)))
