"""The waist: a compiled script, all that loading, saving, judging and explaining it need.

Compilation ends in a `Bundle`. It holds no address, no file descriptor and no absolute number of a
running kernel: what differs from kernel to kernel stands in relocations and is filled in at load.
"""

from __future__ import annotations

from collections.abc import Mapping

from pbt.data import NamedTuple, dataclass, field
from pbt.record import Record
from pbt.types import Type
from pbt.typing import Any, Literal

RelocKind = Literal["map_fd", "map_value", "func", "btf_id", "kfunc", "hole"]


class Reloc(NamedTuple):
    """The wide load at slot `insn` is to carry the address that `name` will have when loaded.

    kind "map_fd": map `name`; "map_value": byte `offset` of the value of array map `name`;
    "func": subprogram `name` of the same program; "btf_id": kernel variable `name`. "kfunc" stands at a call
    instead: of the kernel's function `name`. "hole": number `name` of the program (`pbt.backend.fill`), shifted to the
    right by `offset` bits, in whatever has an immediate; bundles have none of these.
    """

    insn: int
    kind: RelocKind
    name: str
    offset: int = 0


class Place(NamedTuple):
    """A range of characters of the script; start -1 where an instruction has no source."""

    start: int
    end: int


@dataclass(frozen=True)
class Code:
    """Instructions of one program, all subprograms behind one another, as 8-byte slots.

    `spans` gives each slot its place in the script; `functions` maps each subprogram to its first slot.
    """

    insns: bytes
    relocs: tuple[Reloc, ...] = ()
    spans: tuple[Place, ...] = ()
    functions: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Program:
    """One BPF program and where it attaches.

    `name` is what `probe` prints; `place` is the provider's own description of the attach point
    (plain JSON values), which only that provider reads; `attach_btf` names what a TRACING program
    attaches to, as (BTF kind, name), or as ("prog", "ID:function") for a BPF program that is loaded: the number
    of the function is looked up on the machine that loads it; `cookie` is what bpf_get_attach_cookie() gives there.
    """

    name: str
    provider: str
    prog_type: str
    code: Code
    place: Mapping[str, Any]
    expected_attach_type: str = ""
    attach_btf: tuple[str, str] | None = None
    span: Place = Place(-1, -1)
    cookie: int = 0


@dataclass(frozen=True)
class Map:
    """A BPF map: UAPI type name, layouts, and how user space shows it.

    `keys` are the types of the key's parts (empty for a scalar map, whose key is a u32 0);
    `aggregation` names the record that merges and draws values, with its literal arguments.
    Maps whose name does not start with "@" belong to pbt itself. `data` fills an array map's
    first value before the programs load.
    """

    name: str
    map_type: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    key: Record | None = None
    value: Type | None = None
    aggregation: str = ""
    args: tuple[int, ...] = ()
    data: bytes = b""
    span: Place = Place(-1, -1)


@dataclass(frozen=True)
class Event:
    """What one kind of record from the kernel means.

    Every record starts with a u32 `id`, the position of its `Event` in `Bundle.events`, and a u32
    reserved; `record` is the layout of the whole. `action` names the user-space half (a builtin's
    record); `text` and `args` are its literal arguments, such as a printf's format.
    """

    action: str
    record: Record
    text: str = ""
    args: tuple[Any, ...] = ()
    span: Place = Place(-1, -1)


@dataclass(frozen=True, slots=True)
class Failure:
    """A call of a helper that is counted when it fails: its position in `Bundle.failures` is its number.

    `map`: the map that the helper was to work on, "" for none.
    """

    helper: str
    map: str
    span: Place


@dataclass(frozen=True)
class Bundle:
    """A whole compiled script."""

    name: str
    source: str
    programs: tuple[Program, ...]
    maps: tuple[Map, ...]
    events: tuple[Event, ...]
    arch: str
    release: str
    features: tuple[str, ...] = ()
    license: str = "GPL"
    config: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()

    def map(self, name: str) -> Map:
        return next(m for m in self.maps if m.name == name)
