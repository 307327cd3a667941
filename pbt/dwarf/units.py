"""Units of .debug_info and their entries (DIEs), each read when somebody asks for it (DWARF 5, 7.5).

A DIE is its offset in the section, its tag and its attributes; trees are walked in the order of the bytes,
without recursion, so that their depth does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from pbt.data import NamedTuple
from pbt.dwarf import consts as c
from pbt.dwarf.cursor import Cursor, Section
from pbt.dwarf.forms import Indirect, Value, read
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.dwarf.info import DebugInfo


class Abbrev(NamedTuple):
    """What DIEs of one shape have in common: tag, whether children follow, (attribute, form, constant)s."""

    tag: int
    children: bool
    specs: tuple[tuple[int, int, int], ...]


def read_abbrevs(section: Section, at: int) -> dict[int, Abbrev]:
    """The abbreviations of one unit, by their codes (7.5.3)."""
    cursor, found = Cursor(section, at), dict[int, Abbrev]()
    while code := cursor.uleb():
        tag, children, specs = cursor.uleb(), cursor.u8() != 0, list[tuple[int, int, int]]()
        while True:
            attribute, form = cursor.uleb(), cursor.uleb()
            constant = cursor.sleb() if form == c.FORM_IMPLICIT_CONST else 0
            if not attribute and not form:
                break
            specs.append((attribute, form, constant))
        found[code] = Abbrev(tag, children, tuple(specs))
    section.spend(cursor.at - at)
    return found


class Die:
    """A debugging information entry: its offset, tag and attributes, and where the next one begins."""

    __slots__ = ("attributes", "has_children", "next", "offset", "tag", "unit")

    def __init__(
        self, unit: Unit, offset: int, tag: int, has_children: bool, attributes: dict[int, Value], next_: int
    ) -> None:
        self.unit, self.offset, self.tag = unit, offset, tag
        self.has_children, self.attributes, self.next = has_children, attributes, next_

    def number(self, attribute: int) -> int | None:
        """The value of an attribute that is a plain number (or an address), None without one."""
        value = self.attributes.get(attribute)
        if isinstance(value, Indirect):
            if value.kind == "addrx":
                return self.unit.address(value.value)
            return value.value if value.kind == "addr" else None
        return value if isinstance(value, int) else None

    def text(self, attribute: int) -> str:
        """The value of an attribute that is a text, "" without one."""
        return self.unit.text(self.attributes.get(attribute))

    def reference(self, attribute: int) -> Die | None:
        """The DIE that an attribute names; None without one, or when it is in another file."""
        value = self.attributes.get(attribute)
        if isinstance(value, int):
            return self.unit.die(value)
        if isinstance(value, Indirect) and value.kind == "info":
            return self.unit.info.die(value.value)
        if isinstance(value, Indirect) and value.kind == "sig8":
            return self.unit.info.type_of_signature(value.value)
        return None

    def origins(self) -> Iterator[Die]:
        """The DIE and those that it completes or is an instance of: a name may stand with any of them."""
        seen, die = set[int](), self
        while die.offset not in seen:
            seen.add(die.offset)
            yield die
            die = die.reference(c.AT_ABSTRACT_ORIGIN) or die.reference(c.AT_SPECIFICATION) or die

    @property
    def name(self) -> str:
        """As the source writes it, "" for what has no name."""
        return next(filter(None, (each.text(c.AT_NAME) for each in self.origins())), "")

    @property
    def symbol(self) -> str:
        """As the linker sees it, where that differs from what the source says (C++), else the name."""
        tags = c.AT_LINKAGE_NAME, c.AT_MIPS_LINKAGE_NAME
        return (
            next(filter(None, (each.text(tag) for each in self.origins() for tag in tags)), "") or self.name
        )

    def inherited(self, attribute: int) -> tuple[Unit, int] | None:
        """A number that stands with the DIE or its origins, and the unit where it does."""
        for each in self.origins():
            value = each.number(attribute)
            if value is not None:
                return each.unit, value
        return None

    def children(self) -> Iterator[Die]:
        at: int | None = self.next if self.has_children else None
        while at is not None and at < self.unit.end:
            child = self.unit.read(at)
            if child is None:
                return
            yield child
            at = self.unit.after(child)

    def below(self) -> Iterator[tuple[int, Die]]:
        """(depth, DIE) of all descendants in their order; the children have depth 1."""
        depth, at = int(self.has_children), self.next
        while depth and at < self.unit.end:
            die = self.unit.read(at)
            if die is None:
                depth, at = depth - 1, at + 1
                continue
            yield depth, die
            depth, at = depth + die.has_children, die.next


class Unit:
    """One unit: the DIEs of (usually) one source file, and what they share."""

    def __init__(self, info: DebugInfo, section: Section, offset: int) -> None:
        """Read the header at an offset (7.5.1). DwarfError for versions that are not 2 to 5."""
        self.info, self.section, self.offset = info, section, offset
        cursor = Cursor(section, offset)
        self.end, self.word = cursor.length()
        self.version = cursor.u16()
        if not 2 <= self.version <= 5:
            raise section.damaged(f"the unit at byte {offset} has version {self.version}; 2 to 5 are known")
        self.type = c.UT_TYPE if section.name == ".debug_types" else c.UT_COMPILE
        if self.version >= 5:
            self.type, self.address_size, self._abbrevs_at = cursor.u8(), cursor.u8(), cursor.uint(self.word)
        else:
            self._abbrevs_at, self.address_size = cursor.uint(self.word), cursor.u8()
        if self.address_size not in (4, 8):
            raise section.damaged(f"the unit at byte {offset} has addresses of {self.address_size} bytes")
        self.signature = self.type_offset = 0
        if self.type in (c.UT_TYPE, c.UT_SPLIT_TYPE):
            self.signature, self.type_offset = cursor.u64(), offset + cursor.uint(self.word)
        elif self.type in (c.UT_SKELETON, c.UT_SPLIT_COMPILE):
            cursor.u64()  # the id that a skeleton shares with its other file
        self.first = cursor.at

    @cached_property
    def _abbrevs(self) -> Mapping[int, Abbrev]:
        return self.info.abbrevs(self._abbrevs_at)

    @cached_property
    def root(self) -> Die:
        """The DIE of the whole unit."""
        die = self.read(self.first) if self.first < self.end else None
        if die is None:
            raise self.section.damaged(f"the unit at byte {self.offset} is empty")
        return die

    def read(self, at: int) -> Die | None:
        """The DIE at an offset of the section; None for the mark that ends a list of children."""
        cursor = Cursor(self.section, at)
        code = cursor.uleb()
        if not code:
            return None
        abbrev = self._abbrevs.get(code)
        if abbrev is None:
            raise self.section.damaged(f"no abbreviation {code} for the entry at byte {at}")
        attributes = {name: read(form, constant, cursor, self) for name, form, constant in abbrev.specs}
        if cursor.at > self.end:
            raise self.section.damaged(f"the entry at byte {at} is longer than its unit")
        return Die(self, at, abbrev.tag, abbrev.children, attributes, cursor.at)

    def die(self, at: int) -> Die:
        """The DIE that something refers to."""
        die = self.read(at) if self.first <= at < self.end else None
        if die is None:
            raise self.section.damaged(f"something refers to byte {at}, where no entry is")
        return die

    def after(self, die: Die) -> int:
        """Where the DIE's next sibling (or the end of its list) is."""
        if not die.has_children:
            return die.next
        sibling = die.attributes.get(c.AT_SIBLING)
        if isinstance(sibling, int) and die.next < sibling <= self.end:
            return sibling
        depth, at = 1, die.next
        while depth and at < self.end:
            each = self.read(at)
            depth, at = (depth - 1, at + 1) if each is None else (depth + each.has_children, each.next)
        return at

    # --- what attributes mean ------------------------------------------------------------------

    @cached_property
    def comp_dir(self) -> str:
        return self.root.text(c.AT_COMP_DIR)

    def text(self, value: Value | None) -> str:
        if isinstance(value, str):
            return value
        if not isinstance(value, Indirect):
            return ""
        if value.kind == "strx":
            base = self._base(c.AT_STR_OFFSETS_BASE, 8 if self.word == 4 else 16)
            at = self.info.section(".debug_str_offsets").uint(base + value.value * self.word, self.word)
            return self.info.section(".debug_str").text(at)
        if value.kind in ("str", "line_str"):
            return self.info.section(f".debug_{value.kind}").text(value.value)
        return ""

    def _base(self, attribute: int, default: int) -> int:
        value = self.root.attributes.get(attribute)
        return value if isinstance(value, int) else default

    def address(self, index: int) -> int:
        """The address that .debug_addr has for an index."""
        at = self._base(c.AT_ADDR_BASE, 8) + index * self.address_size
        return self.info.section(".debug_addr").uint(at, self.address_size)

    @cached_property
    def rnglists_base(self) -> int:
        return self._base(c.AT_RNGLISTS_BASE, 12 if self.word == 4 else 20)
