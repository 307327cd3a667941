"""The kernel's own description of its types: BTF becomes `pbt.types` on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pbt.data import NamedTuple
from pbt.host.btfindex import BtfError, Data, Index, contents
from pbt.host.cint import alignment, basic, integer, strip_qualifiers
from pbt.types import BOOL, CHAR, VOID, Array, Enum, Function, Member, Pointer, Struct, Type
from pbt.typing import Literal
from pbt.uapi.btf import (
    ARRAY,
    CONST,
    ENUM,
    ENUM64,
    FLOAT,
    FUNC,
    FUNC_PROTO,
    FWD,
    INT,
    MODIFIERS,
    PTR,
    RESTRICT,
    STRUCT,
    TYPE_TAG,
    TYPEDEF,
    UNION,
    VAR,
    VOLATILE,
    WORDS_EACH,
)

_QUALIFIER = {VOLATILE: "volatile", CONST: "const", RESTRICT: "restrict"}
_INT_SIGNED, _INT_BOOL = 1 << 0, 1 << 2


class Param(NamedTuple):
    """A parameter of a function: its name (may be empty), type, and the type as C spells it."""

    name: str
    type: Type
    ctype: str


class Btf(Index):
    """The types of a BTF section, and what C calls them."""

    base: Btf | None

    def __init__(self, data: Data | Callable[[], Data], base: Btf | None = None) -> None:
        super().__init__(data, base)
        self._cache: dict[int, Type] = {0: VOID}
        self._spelled: dict[int, str] = {0: "void"}
        self._open: set[int] = set()

    @staticmethod
    def live(path: str = "/sys/kernel/btf/vmlinux", base: Btf | None = None) -> Btf:
        """The BTF in a file; OSError when it cannot be read, BtfError when it is something else."""
        return Btf(contents(path), base)

    # --- types -------------------------------------------------------------------------------

    def type(self, id: int) -> Type:
        """The type with that id, without typedefs and qualifiers.

        Structs read their members when asked. An incomplete type is a struct of size 0. Raises
        BtfError for an id that does not exist.
        """
        if id < self._first_id and self.base and id:
            return self.base.type(id)
        found = self._cache.get(id)
        if found is None:
            if id in self._open:
                raise BtfError(f"BTF type {id} contains itself")
            self._open.add(id)
            try:
                found = self._cache[id] = self._decode(id)
            finally:
                self._open.discard(id)
        return found

    def _decode(self, id: int) -> Type:
        at, words = self._at(id), self._words
        info, last = words[at + 1], words[at + 2]
        kind, count = info >> 24 & 0x7F, info & 0xFFFFFF
        if kind == INT:
            return self._int(at)
        if kind == PTR:
            return self._pointer(last)
        if kind == ARRAY:
            return Array(self.type(words[at + 3]), words[at + 5])
        if kind in (STRUCT, UNION):
            keyword = "struct" if kind == STRUCT else "union"
            name = f"{keyword} {self._name(words[at]) or '(anon)'}"
            return Struct(name, last, alignment(last), lambda: tuple(self._members(at)))
        if kind in (ENUM, ENUM64):
            name = self._name(words[at]) or "(anon)"
            return Enum(name, last, bool(info >> 31), tuple(self._values(at, kind, count)))
        if kind == FWD:
            return Struct(f"{'union' if info >> 31 else 'struct'} {self._name(words[at])}", 0, 1)
        if kind == FUNC_PROTO:
            return Function(tuple((p.name, p.type) for p in self.params(id)), self.type(last))
        if kind == FLOAT:
            return integer(last, False)
        if kind in MODIFIERS or kind in (FUNC, VAR):
            return self.type(last)
        raise BtfError(f"BTF type {id} of kind {kind} is not a type of C")

    def _pointer(self, target: int) -> Type:
        tags = self._tags(target)
        space: Literal["user", "kernel"] = "user" if "user" in tags else "kernel"
        return Pointer(
            self.type(target), space, "percpu" if "percpu" in tags else "rcu" if "rcu" in tags else ""
        )

    def _int(self, at: int) -> Type:
        size, encoding = self._words[at + 2], self._words[at + 3] >> 24
        if encoding & _INT_BOOL and size == 1:
            return BOOL
        if self._name(self._words[at]) == "char":
            return CHAR
        return integer(size, bool(encoding & _INT_SIGNED))

    def _tags(self, id: int) -> set[str]:
        """The type tags that stand between a pointer and what it points to."""
        tags: set[str] = set()
        while id >= self._first_id:
            at = self._at(id)
            kind = self._words[at + 1] >> 24 & 0x7F
            if kind not in (TYPE_TAG, VOLATILE, CONST, RESTRICT):
                return tags
            if kind == TYPE_TAG:
                tags.add(self._name(self._words[at]))
            id = self._words[at + 2]
        return self.base._tags(id) | tags if self.base and id else tags

    def _values(self, at: int, kind: int, count: int) -> Iterator[tuple[str, int]]:
        words, signed = self._words, self._words[at + 1] >> 31
        step = WORDS_EACH[kind]
        for place in range(at + 3, at + 3 + count * step, step):
            value = words[place + 1] | (words[place + 2] << 32 if kind == ENUM64 else 0)
            top = 1 << (63 if kind == ENUM64 else 31)
            yield self._name(words[place]), (value ^ top) - top if signed else value

    def _members(self, at: int) -> Iterator[Member]:
        words, info, size = self._words, self._words[at + 1], self._words[at + 2]
        for place in range(at + 3, at + 3 + (info & 0xFFFFFF) * 3, 3):
            name, id, position = self._name(words[place]), words[place + 1], words[place + 2]
            if info >> 31:
                width, position = position >> 24, position & 0xFFFFFF
            else:
                width, position = self._old_bitfield(id, position)
            type_, ctype = self.type(id), self.ctype(id)
            if width:
                offset, shift = self._unit(position, width, type_.size, size)
                yield Member(name, type_, offset, shift, width, ctype=ctype)
            else:
                yield Member(name, type_, position >> 3, ctype=ctype)

    def _old_bitfield(self, id: int, position: int) -> tuple[int, int]:
        """Width (0: none) and position in bits of a bitfield described by its INT, as before kind_flag."""
        if id < self._first_id and self.base:
            return self.base._old_bitfield(id, position)
        while id:
            at = self._at(id)
            kind = self._words[at + 1] >> 24 & 0x7F
            if kind == INT:
                code = self._words[at + 3]
                bits, shift = code & 0xFF, code >> 16 & 0xFF
                plain = bits == self._words[at + 2] * 8 and not shift and position % 8 == 0
                return (0, position) if plain else (bits, position + shift)
            if kind not in MODIFIERS:
                break
            id = self._words[at + 2]
        return 0, position

    def _unit(self, position: int, width: int, unit: int, size: int) -> tuple[int, int]:
        """Byte to load from and the bit that begins there: within one aligned unit where the field fits in one."""
        offset = position // 8 // unit * unit
        if position + width > (offset + unit) * 8 or offset + unit > size:
            offset = position // 8
        return offset, position - offset * 8

    def params(self, id: int) -> list[Param]:
        """The parameters of a function or function type, "..." left out."""
        if id < self._first_id and self.base:
            return self.base.params(id)
        at, words = self._at(id), self._words
        kind, count = words[at + 1] >> 24 & 0x7F, words[at + 1] & 0xFFFFFF
        if kind == FUNC:
            return self.params(words[at + 2])
        if kind != FUNC_PROTO:
            raise BtfError(f"BTF type {id} is not a function")
        pairs = [(words[place], words[place + 1]) for place in range(at + 3, at + 3 + count * 2, 2)]
        return [
            Param(self._name(name), self.type(type_), self.ctype(type_)) for name, type_ in pairs if type_
        ]

    def result(self, id: int) -> Param:
        """The result of a function or function type, without a name."""
        if id < self._first_id and self.base:
            return self.base.result(id)
        at, words = self._at(id), self._words
        if words[at + 1] >> 24 & 0x7F == FUNC:
            return self.result(words[at + 2])
        return Param("", self.type(words[at + 2]), self.ctype(words[at + 2]))

    def ctype(self, id: int) -> str:
        """How C spells the type: "struct sk_buff *", "const char *", "char[16]", "enum skb_drop_reason"."""
        if id < self._first_id and self.base and id:
            return self.base.ctype(id)
        if id not in self._spelled:
            if id in self._open:
                raise BtfError(f"BTF type {id} contains itself")
            self._open.add(id)
            try:
                self._spelled[id] = self._spell(id)
            finally:
                self._open.discard(id)
        return self._spelled[id]

    def _spell(self, id: int) -> str:
        at, words = self._at(id), self._words
        info, last = words[at + 1], words[at + 2]
        kind, name = info >> 24 & 0x7F, self._name(words[at])
        if kind in (STRUCT, UNION, ENUM, ENUM64, FWD):
            keyword = {STRUCT: "struct", UNION: "union", FWD: "union" if info >> 31 else "struct"}.get(
                kind, "enum"
            )
            return f"{keyword} {name or '(anon)'}"
        if kind == PTR:
            target = self.ctype(last)
            head, function, params = target.partition(" (")
            if function and params.endswith(")") and not params.startswith("anon)"):
                return f"{head} (*)({params}"
            return target + ("*" if target.endswith("*") else " *")
        if kind == ARRAY:
            element, bracket, rest = self.ctype(words[at + 3]).partition("[")
            return f"{element}[{words[at + 5]}]{bracket}{rest}"
        if kind in _QUALIFIER:
            target = self.ctype(last)
            return f"{target} {_QUALIFIER[kind]}" if target.endswith("*") else f"{_QUALIFIER[kind]} {target}"
        if kind == FUNC_PROTO:
            spelled = [
                self.ctype(words[p]) if words[p] else "..."
                for p in range(at + 4, at + 4 + (info & 0xFFFFFF) * 2, 2)
            ]
            return f"{self.ctype(last)} ({', '.join(spelled) or 'void'})"
        return name if kind in (INT, FLOAT, TYPEDEF) else self.ctype(last)

    # --- by name -----------------------------------------------------------------------------

    def lookup(self, spelling: str) -> Type | None:
        """The type that C spells so: "struct sock", "enum x", "pid_t", "unsigned int", "char *", "u8[6]"."""
        words = strip_qualifiers(spelling)
        if words.endswith("*"):
            target = self.lookup(words[:-1])
            return None if target is None else Pointer(target, "kernel")
        if words.endswith("]"):
            return self._lookup_array(words)
        return self._lookup_plain(words)

    def _lookup_array(self, words: str) -> Type | None:
        element, _, counts = words.partition("[")
        type_ = self.lookup(element)
        for count in reversed(counts[:-1].split("][")):
            if type_ is None or not (count.strip().isdigit() or not count.strip()):
                return None
            type_ = Array(type_, int(count or 0))
        return type_

    def _lookup_plain(self, words: str) -> Type | None:
        keyword, _, name = words.partition(" ")
        if keyword in ("struct", "union", "enum"):
            id = self.find(keyword, name)
        else:
            plain = basic(words)
            if plain is not None:
                return plain
            id = self.find("typedef", words) or self.find("int", words)
        return None if id is None else self.type(id)

    def struct(self, spelling: str) -> Struct | None:
        """The struct or union of that spelling, keyword included; None if the BTF has none."""
        found = self.lookup(spelling)
        return found if isinstance(found, Struct) else None

    def id_of_func(self, name: str) -> int | None:
        """The id of function `name`, to attach to it or call it."""
        return self.find("func", name)

    def func(self, name: str) -> Function | None:
        """The type of function `name`, parameters named."""
        id = self.find("func", name)
        if id is None:
            return None
        found = self.type(id)
        assert isinstance(found, Function)
        return found

    def var(self, name: str) -> tuple[int, Type] | None:
        """Id and type of the kernel variable `name` (BTF lists the per-CPU ones, newer kernels all)."""
        id = self.find("var", name)
        return None if id is None else (id, self.type(id))

    def enum_constant(self, name: str) -> tuple[Enum, int] | None:
        """The enum that defines the constant `name`, and its number."""
        words = self._words
        for offset in self._offsets_of(name) if name else ():
            for place in self._mentions(offset):
                index = self._starts.index(place)
                at = self._at(self._first_id + index)
                kind = words[at + 1] >> 24 & 0x7F
                if kind in (ENUM, ENUM64) and place >= at + 3 and (place - at - 3) % WORDS_EACH[kind] == 0:
                    found = self.type(self._first_id + index)
                    assert isinstance(found, Enum)
                    return found, dict(found.values)[name]
        return self.base.enum_constant(name) if self.base else None

    def enum_constants(self) -> list[str]:
        """Names of all enum constants; the base's are not among them."""
        found: list[str] = []
        for kind in (ENUM, ENUM64):
            for id in self._ids(kind):
                at = self._at(id)
                found += [name for name, _ in self._values(at, kind, self._words[at + 1] & 0xFFFF)]
        return found

    def raw_tracepoint(self, name: str) -> Function | None:
        """The named arguments of programs at raw tracepoint `name`; None if there is none."""
        params = self.raw_tracepoint_params(name)
        return None if params is None else Function(tuple((p.name, p.type) for p in params), VOID)

    def raw_tracepoint_params(self, name: str) -> list[Param] | None:
        """The same as `Param`s, which also know their spelling.

        The types stand behind the typedef btf_trace_NAME, whose first parameter is the tracepoint's
        own data; the names, which function pointers do not keep, in the functions that call the probes.
        """
        typedef = self.find("typedef", f"btf_trace_{name}")
        if typedef is None:
            return None
        proto = self._target(self._target(typedef))
        params = self.params(proto)[1:]
        if all(p.name for p in params):
            return params
        return [
            p._replace(name=p.name or n)
            for p, n in zip(params, self._traced_names(name, len(params)), strict=True)
        ]

    def _traced_names(self, name: str, count: int) -> list[str]:
        for caller in (f"__traceiter_{name}", f"__bpf_trace_{name}"):
            id = self.find("func", caller)
            names = [p.name for p in self.params(id)[1:]] if id is not None else []
            if len(names) == count and all(names):
                return names
        return [f"arg{i}" for i in range(count)]

    def _target(self, id: int) -> int:
        """What a typedef or pointer refers to."""
        if id < self._first_id and self.base:
            return self.base._target(id)
        return self._words[self._at(id) + 2]
