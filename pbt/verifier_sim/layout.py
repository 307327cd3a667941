"""Structures of a program's own types: their fields that the kernel keeps for itself, and what lies at an offset.

Source: btf_parse_fields() and btf_struct_access() of kernel/bpf/btf.c.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pbt.data import NamedTuple
from pbt.typing import Final
from pbt.uapi.btf import ARRAY, INT, PTR, STRUCT, TYPE_TAG, UNION
from pbt.verifier_sim.env import Refuse
from pbt.verifier_sim.progbtf import ProgramTypes
from pbt.verifier_sim.reg import Field

_SPECIAL: Final = {  # structs that the kernel keeps for itself → kind of the field
    "bpf_spin_lock": "spin_lock", "bpf_res_spin_lock": "res_spin_lock", "bpf_timer": "timer", "bpf_wq": "wq",
    "bpf_list_head": "list_head", "bpf_rb_root": "rb_root", "bpf_list_node": "list_node",
    "bpf_rb_node": "rb_node", "bpf_refcount": "refcount", "bpf_task_work": "task_work",
}  # fmt: skip
_TAGGED: Final = {
    "kptr": "kptr", "kptr_untrusted": "kptr_untrusted", "percpu_kptr": "kptr_percpu", "uptr": "uptr",
}  # fmt: skip
_ROOTS: Final = ("list_head", "rb_root")
_NODES: Final = ("list_node", "rb_node")
_DEPTH: Final = 16  # structs in structs


class Layout(NamedTuple):
    """A structure of the program's types: its name, type id and bytes; see `Field`."""

    name: str
    id: int
    size: int
    fields: tuple[Field, ...]
    types: ProgramTypes

    def find(self, *kinds: str) -> Field | None:
        return next((field for field in self.fields if field.kind in kinds), None)

    @property
    def is_node(self) -> bool:
        """Whether lists or trees hold such objects."""
        return self.find(*_NODES) is not None

    def touch(self, off: int, size: int) -> None:
        """Refuse a load or store of `size` bytes that fit no member, or meet a field of the kernel's."""
        for field in self.fields:
            if off < field.off + field.size and field.off < off + size:
                raise Refuse(f"direct access to {shown(field)} is disallowed")
        from pbt.verifier_sim.kerneltypes import KernelTypes

        KernelTypes(self.types, exact=True).walk(f"#{self.id}", off, size)


_SHOWN: Final = {"kptr": "kptr", "kptr_untrusted": "kptr", "kptr_percpu": "percpu_kptr", "uptr": "uptr"}


def shown(field: Field) -> str:
    """The field's kind as the kernel's messages have it."""
    return _SHOWN.get(field.kind, f"bpf_{field.kind}")


def layout(types: ProgramTypes, id: int) -> Layout:
    row = types.row(id)
    return Layout(row.name, id, row.size, tuple(fields(types, id)), types)


def find(name: str, all_types: Sequence[ProgramTypes]) -> Layout | None:
    """The structure of a name, in the first types that have it."""
    for types in all_types:
        id = types.find("struct", name)
        if id is not None:
            return layout(types, id)
    return None


def fields(types: ProgramTypes, id: int, offset: int = 0, depth: int = 0, root: str = "") -> Iterator[Field]:
    """The fields of a type that the kernel keeps for itself.

    `root`: what the declaration tag of a list or tree says it holds, "STRUCT:MEMBER".
    """
    id, row = types.plain(id)
    size = types.size_of(id) or 0
    kind = _SPECIAL.get(row.name)
    if kind in _ROOTS:
        name, _, member = root.partition(":")
        yield Field(kind, offset, size, name, _place(types, name, member))
    elif kind:
        yield Field(kind, offset, size)
    elif row.kind == PTR:
        tag = types.row(row.size)
        if tag.kind == TYPE_TAG and tag.name in _TAGGED:
            yield Field(_TAGGED[tag.name], offset, 8, types.plain(row.size)[1].name)
    elif row.kind in (STRUCT, UNION) and depth < _DEPTH:
        for at, (_, member_id, place, width) in enumerate(types.members(row)):
            if not width:
                held = _contents(types, id, at)
                yield from fields(types, member_id, offset + place // 8, depth + 1, held)
    elif row.kind == ARRAY and depth < _DEPTH:
        step = types.size_of(row.words[0]) or 0
        for n in range(min(row.words[2], 64)):
            yield from fields(types, row.words[0], offset + n * step, depth + 1, root)


def contents(types: ProgramTypes, id: int) -> str:
    """What the tag of a variable says that it holds."""
    return _contents(types, id, -1)


def _contents(types: ProgramTypes, id: int, at: int) -> str:
    for tag in types.tagged(id):
        if tag.words[0] == at & 0xFFFFFFFF and tag.name.startswith("contains:"):
            return tag.name.removeprefix("contains:")
    return ""


def _place(types: ProgramTypes, struct: str, member: str) -> int:
    """Where the node of a name lies in a structure, in bytes; -1 if it does not."""
    id = types.find("struct", struct)
    if id is not None:
        for name, _, place, _ in types.members(types.row(id)):
            if name == member:
                return place // 8
    return -1


def only_numbers(types: ProgramTypes, id: int, depth: int = 0) -> bool:
    """Whether a structure holds numbers, and arrays and structures of numbers, alone."""
    _, row = types.plain(id)
    if row.kind == STRUCT and depth < 4:
        return all(only_numbers(types, member, depth + 1) for _, member, _, _ in types.members(row))
    if row.kind == ARRAY:
        return types.plain(row.words[0])[1].kind == INT
    return types.is_scalar(id) and depth > 0


__all__ = ["Layout", "contents", "fields", "find", "layout", "only_numbers", "shown"]
