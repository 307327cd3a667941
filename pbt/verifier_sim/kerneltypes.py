"""The kernel's own types: what lies at an offset of a structure, and what a pointer to it may be used as.

Source: btf_struct_walk() and btf_struct_ids_match() of kernel/bpf/btf.c.
"""

from __future__ import annotations

from collections.abc import Iterator

from pbt.source import PbtError
from pbt.typing import Final, Protocol
from pbt.uapi.btf import ARRAY, ENUM, ENUM64, INT, PTR, STRUCT, TYPE_TAG, UNION
from pbt.verifier_sim.env import Refuse
from pbt.verifier_sim.mapstruct import Member
from pbt.verifier_sim.progbtf import Row, chain

_LONGEST_CHAIN: Final = 64


class Source(Protocol):
    """BTF that can be asked for single types, such as pbt.host.btf.Btf."""

    def row(self, id: int) -> tuple[int, str, int, int, tuple[int, ...], bool]: ...

    def text(self, offset: int) -> str: ...

    def find(self, kind: str, name: str) -> int | None: ...


def same_kernel(release: str, machine: str) -> bool:
    """Whether a release names the very kernel of a machine: 6.18 alone is no kernel's, its structures may differ."""
    return release == machine or (
        release.count(".") > 1 and (machine + "-").startswith((release + "-", release + "+"))
    )


class KernelTypes:
    """The types of one kernel. `exact`: of the very kernel that is judged for, so that offsets hold."""

    def __init__(self, source: Source, exact: bool) -> None:
        self.source, self.exact = source, exact
        self._rows: dict[int, Row] = {}
        self._structs: dict[str, int | None] = {}
        self._walks: dict[tuple[str, int, int], Member | Refuse] = {}

    def row(self, id: int) -> Row:
        found = self._rows.get(id)
        if found is None:
            found = self._rows[id] = Row(*self.source.row(id))
        return found

    def plain(self, id: int) -> tuple[int, Row]:
        """A type without its names, qualifiers and tags."""
        *_, last = chain(self.row, id, Refuse)
        return last

    def struct(self, name: str) -> int | None:
        """The id of a structure or union, found by what `name_of` made of it."""
        if name.startswith("#"):
            return int(name[1:])
        if name not in self._structs:
            found = self.source.find("struct", name)
            self._structs[name] = self.source.find("union", name) if found is None else found
        return self._structs[name]

    def named(self, id: int) -> str:
        """The structure with an id, as `name_of` makes its name; "" if the id is of something else."""
        try:
            row = self.row(id)
        except PbtError:
            return ""
        return self.name_of(id, row) if row.kind == STRUCT else ""

    def name_of(self, id: int, row: Row) -> str:
        """What a structure or union is called here; `struct` need not search for it then."""
        if row.name and row.kind in (STRUCT, UNION):
            self._structs.setdefault(row.name, id)
        return row.name or f"#{id}"

    def pointed(self, id: int) -> tuple[str, Row, frozenset[str]]:
        """What a pointer type points to: a structure's name or "", the type itself, its tags."""
        steps = list(chain(self.row, self.row(id).size, Refuse))
        tags = frozenset(row.name for _, row in steps if row.kind == TYPE_TAG and not row.flag)
        id, row = steps[-1]
        return self.name_of(id, row) if row.kind in (STRUCT, UNION) else "", row, tags

    def _extent(self, id: int) -> tuple[int, int, int, Row]:
        """Bytes of a type, how many elements it has, the id and row of one (itself if it is no array)."""
        count = 1
        for _ in range(_LONGEST_CHAIN):
            id, row = self.plain(id)
            if row.kind != ARRAY:
                size = 8 if row.kind == PTR else row.size
                return size * count, count, id, row
            count *= row.words[2]
            id = row.words[0]
        raise Refuse(f"type {id} refers to itself")

    def members(self, row: Row) -> Iterator[tuple[int, int, int, int]]:
        """Where the name is, type id, bit offset and bits (0: no bit field) of each member."""
        for at in range(0, 3 * row.vlen, 3):
            name, id, place = row.words[at : at + 3]
            bits = place >> 24 if row.flag else 0
            yield name, id, place & 0xFFFFFF if row.flag else place, bits

    # --- walks -------------------------------------------------------------------------------------

    def walk(self, struct: str, off: int, size: int) -> Member:
        """What `size` bytes at `off` of a structure are; Refuse if they fit no member."""
        key = (struct, off, size)
        found = self._walks.get(key)
        if found is None:
            try:
                found = self._walk(struct, off, size)
            except Refuse as refusal:
                found = refusal
            self._walks[key] = found
        if isinstance(found, Refuse):
            raise Refuse(found.reason, found.hint)
        return found

    def _walk(self, struct: str, off: int, size: int) -> Member:
        id = self.struct(struct)
        if id is None:
            raise Refuse(f"struct {struct} is not known to this kernel")
        loose = False
        for _ in range(_LONGEST_CHAIN):
            row = self.row(id)
            if off + size > row.size:
                inner = self._flexible(row, off, size)
                if inner is None:
                    return Member(False, loose=loose)
                id, off = inner
                continue
            found = self._member(row, off, size)
            if found is None:
                return Member(False, loose=loose)
            name, kind, start, end = found
            _, count, inner_id, inner_row = self._extent(kind)
            each = (end - start) // count
            start += (off - start) // each * each
            if inner_row.kind in (STRUCT, UNION):
                loose |= inner_row.kind == UNION and inner_row.vlen != 1
                id, off = inner_id, off - start
                continue
            label = self.source.text(name)
            if inner_row.kind == PTR:
                if each != size or off != start:
                    raise Refuse(
                        f"cannot access ptr member {label} with moff {start} in struct {row.name} "
                        f"with off {off} size {size}"
                    )
                target, _, tags = self.pointed(inner_id)
                return Member(True, target, label, self.name_of(id, row), tags, loose)
            if off + size > end and not loose:
                raise Refuse(
                    f"access beyond the end of member {label} (mend:{end}) in struct {row.name} "
                    f"with off {off} size {size}"
                )
            return Member(False, "", label, self.name_of(id, row), loose=loose)
        raise Refuse(f"struct {struct} contains itself")

    def _flexible(self, row: Row, off: int, size: int) -> tuple[int, int] | None:
        """Where an access behind a structure is in the array without length at its end; None: a number."""
        beyond = Refuse(f"access beyond struct {row.name} at off {off} size {size}")
        if not row.vlen:
            raise beyond
        _, id, place, _ = list(self.members(row))[-1]
        last = self.plain(id)[1]
        if last.kind != ARRAY or last.words[2] or off < place // 8:
            raise beyond
        inner, element = self.plain(last.words[0])
        if element.kind == INT:
            return None
        if element.kind not in (STRUCT, UNION) or not element.size:
            raise beyond
        return inner, (off - place // 8) % element.size

    def _member(self, row: Row, off: int, size: int) -> tuple[int, int, int, int] | None:
        """Name, type, first byte and end of the member at `off`; None: bits of a bit field."""
        for name, id, place, bits in self.members(row):
            start = place // 8
            if off + size <= start:
                break
            if bits:
                if off <= start and (place + bits + 7) // 8 <= off + size:
                    return None
                continue
            if off < start:
                break
            length = self._extent(id)[0]
            if start + length <= off:
                continue
            return name, id, start, start + length
        raise Refuse(f"struct {row.name} doesn't have field at offset {off}")

    def holds(self, struct: str, off: int, wanted: str) -> bool:
        """Whether a pointer to `off` bytes inside a structure points to another one as well (its start)."""
        id = self.struct(struct)
        for _ in range(_LONGEST_CHAIN):
            if id is None:
                return False
            row = self.row(id)
            if off == 0 and row.name == wanted:
                return True
            inner = next(self._structs_at(row, off), None)
            if inner is None:
                return False
            id, off = inner
        return False

    def _structs_at(self, row: Row, off: int) -> Iterator[tuple[int, int]]:
        for _, id, place, bits in self.members(row):
            length, count, inner, inner_row = self._extent(id)
            start = place // 8
            if not bits and inner_row.kind in (STRUCT, UNION) and start <= off < start + length:
                yield inner, (off - start) % (length // count)

    def numbers(self, struct: str) -> int:
        """Bytes of a structure that holds numbers alone, so that any memory may stand for it; else 0."""
        id = self.struct(struct)
        if id is None or not self._of_numbers(self.row(id), 0):
            return 0
        return self.row(id).size

    def _of_numbers(self, row: Row, depth: int) -> bool:
        """As __btf_type_is_scalar_struct(): arrays of numbers and structures inside are fine, unions are not."""
        for _, id, _, _ in self.members(row):
            inner = self.plain(id)[1]
            if inner.kind == STRUCT and depth < 3 and self._of_numbers(inner, depth + 1):
                continue
            if inner.kind == ARRAY and inner.words[2]:
                inner = self.plain(inner.words[0])[1]
            if inner.kind not in (INT, ENUM, ENUM64):
                return False
        return True

    # --- functions ---------------------------------------------------------------------------------

    def prototype(self, kind: str, name: str) -> Row | None:
        """The prototype of a function, or (kind "typedef") of what a typedef of a pointer calls."""
        id = self.source.find(kind, name)
        if id is None:
            return None
        row = self.row(self.row(id).size)
        if row.kind == PTR:
            row = self.plain(row.size)[1]
        return row

    def is_number(self, id: int) -> bool:
        _, row = self.plain(id)
        return row.kind in (INT, ENUM, ENUM64) and row.size in (1, 2, 4, 8)


__all__ = ["KernelTypes", "Member", "Source"]
