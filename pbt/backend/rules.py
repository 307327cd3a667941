"""A rule for each operation: which instructions do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pbt.backend.machine import FRAME, MInsn, Symbol
from pbt.ir.core import Op, Value
from pbt.isa import insn as isa
from pbt.isa.insn import Insn
from pbt.isa.opcodes import LD_IMM64
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.backend.select import Selection

_ALU = {
    "add": "ADD", "sub": "SUB", "mul": "MUL", "udiv": "DIV", "umod": "MOD", "and": "AND", "or": "OR",
    "xor": "XOR", "shl": "LSH", "lshr": "RSH", "ashr": "ARSH", "sdiv": "SDIV", "smod": "SMOD",
}  # fmt: skip
_COMMUTATIVE = ("add", "mul", "and", "or", "xor")
_SHIFTS = ("shl", "lshr", "ashr")


def fits(number: int) -> bool:
    """Whether an instruction has room for a signed number."""
    return -(1 << 31) <= number < 1 << 31


# --- how what has no register is made -----------------------------------------------------------


def _make_number(s: Selection, made: Op, offset: int, dst: int) -> None:
    s.put_number(made.imm, dst)


def _make_slot(s: Selection, made: Op, offset: int, dst: int) -> None:
    s.emit(isa.mov(dst, FRAME))
    if fits(offset):
        s.emit(isa.alu("ADD", dst, None, offset), made.imm)
    else:
        s.emit(isa.alu("ADD", dst, None, 0), made.imm)
        s.add(dst, offset)


def _make_map(s: Selection, made: Op, offset: int, dst: int) -> None:
    s.emit(Insn(LD_IMM64, dst), symbol=Symbol("map_fd", made.name))


def _make_map_value(s: Selection, made: Op, offset: int, dst: int) -> None:
    s.emit(Insn(LD_IMM64, dst), symbol=Symbol("map_value", made.name, made.imm + offset))


def _make_func(s: Selection, made: Op, offset: int, dst: int) -> None:
    s.emit(Insn(LD_IMM64, dst), symbol=Symbol("func", made.name))


def _make_variable(s: Selection, made: Op, offset: int, dst: int) -> None:
    s.emit(Insn(LD_IMM64, dst), symbol=Symbol("btf_id", made.name))


def _make_hole(s: Selection, made: Op, offset: int, dst: int) -> None:
    s.emit(Insn(LD_IMM64, dst), symbol=Symbol("hole", str(made.imm)))


MAKERS: Mapping[str, Callable[[Selection, Op, int, int], None]] = {
    "const": _make_number,
    "slot": _make_slot,
    "map": _make_map,
    "map_value": _make_map_value,
    "func": _make_func,
    "variable": _make_variable,
    "hole": _make_hole,
}


# --- rules --------------------------------------------------------------------------------------


def _result(s: Selection, o: Op) -> int:
    assert o.result is not None
    return s.home(o.result)


def _binary(s: Selection, o: Op) -> None:
    left, right = o.args
    if o.code in _COMMUTATIVE and _better_swapped(s, left, right):
        left, right = right, left
    dst, number = _result(s, o), s.number(right)
    if number is not None and _special(s, o.code, left, number, dst):
        return
    if number is not None and fits(number):
        s.put(left, dst)
        s.alu(_ALU[o.code], dst, imm=number & 63 if o.code in _SHIFTS else number)
    else:
        source = dst if left == right else s.reg(right)
        s.put(left, dst)
        s.alu(_ALU[o.code], dst, source)


def _better_swapped(s: Selection, left: Value, right: Value) -> bool:
    """Numbers go to the right; else the operand that ends here is the one to overwrite."""
    if s.number(left) is not None or s.number(right) is not None:
        return s.number(right) is None
    if left.kind != "int" or right.kind != "int":
        return left.kind == "int"
    return s.reads[left] > 1 and s.reads[right] == 1


def _special(s: Selection, code: str, left: Value, number: int, dst: int) -> bool:
    """Constants that the instruction cannot take, or for which there is a better one."""
    if code == "and" and number == 0xFFFFFFFF:
        s.emit(isa.alu("MOV", dst, s.reg(left), wide=False))
    elif code == "udiv" and number == 0:
        s.put_number(0, dst)
    elif code == "umod" and number == 0:
        s.put(left, dst)
    elif code in _SHIFTS and not fits(number):
        s.put(left, dst)
        s.alu(_ALU[code], dst, imm=number & 63)
    else:
        return False
    return True


def _signed_division(s: Selection, o: Op) -> None:
    """By unsigned division of the magnitudes, because `s/=` is newer (Linux 6.6) and its overflow for
    an unknown divisor of -1 stopped the machine before Linux 6.12 (commit 7dd34d7b7dcf).

    With sign = x >> 63, the magnitude of x is (x ^ sign) - sign, and so is the way back.
    """
    dst, quotient, other = _result(s, o), o.code == "sdiv", s.number(o.args[1])
    if other == 0:
        s.put_number(0, dst) if quotient else s.put(o.args[0], dst)
        return
    if s.v4 and other not in (None, -1):
        _binary(s, o)
        return
    sign, magnitude = _magnitude(s, o.args[0])
    s.emit(isa.mov(dst, magnitude))
    if other is not None and fits(abs(other)):
        s.alu("DIV" if quotient else "MOD", dst, imm=abs(other))
        if quotient and other < 0:
            s.alu("XOR", sign, imm=-1)
    else:
        divisor_sign, divisor = _magnitude(s, o.args[1])
        s.alu("DIV" if quotient else "MOD", dst, divisor)
        if quotient:
            s.alu("XOR", sign, divisor_sign)
    s.alu("XOR", dst, sign)
    s.alu("SUB", dst, sign)


def _magnitude(s: Selection, value: Value) -> tuple[int, int]:
    """Registers with 0 or -1, and with the absolute value."""
    sign, magnitude = s.copy(value), s.copy(value)
    s.alu("ARSH", sign, imm=63)
    s.alu("XOR", magnitude, sign)
    s.alu("SUB", magnitude, sign)
    return sign, magnitude


def _negation(s: Selection, o: Op) -> None:
    s.put(o.args[0], _result(s, o))
    s.alu("NEG", _result(s, o))


def _plain_number(s: Selection, o: Op) -> None:
    """Negated twice: the one 64-bit arithmetic with a pointer that the verifier takes, and calls a number."""
    _negation(s, o)
    s.alu("NEG", _result(s, o))


def _zero_extension(s: Selection, o: Op) -> None:
    dst = _result(s, o)
    if o.size == 4:
        s.emit(isa.alu("MOV", dst, s.reg(o.args[0]), wide=False))
        return
    s.put(o.args[0], dst)
    if o.size < 4:
        s.alu("AND", dst, imm=(1 << 8 * o.size) - 1)


def _sign_extension(s: Selection, o: Op) -> None:
    dst = _result(s, o)
    if s.v4 and o.size < 8:
        s.alu(f"MOVSX{8 * o.size}", dst, s.reg(o.args[0]))
        return
    s.put(o.args[0], dst)
    _extend_in_place(s, dst, o.size)


def _extend_in_place(s: Selection, dst: int, size: int) -> None:
    if size < 8:
        s.alu("LSH", dst, imm=64 - 8 * size)
        s.alu("ARSH", dst, imm=64 - 8 * size)


def _byte_swap(s: Selection, o: Op) -> None:
    dst = _result(s, o)
    s.put(o.args[0], dst)
    if o.size == 1:
        s.alu("AND", dst, imm=0xFF)
    else:
        s.emit(isa.end(dst, 8 * o.size, "be"))  # programs run on little-endian machines


def _comparison(s: Selection, o: Op) -> None:
    dst = _result(s, o)
    jump = s.jump_if(o.cond, *o.args)
    s.put_number(1, dst)
    s.pick(dst, jump, 0)


def _selection(s: Selection, o: Op) -> None:
    flag, then, other = o.args
    made = s.defs.get(flag)
    dst = _result(s, o)
    if made is not None and made.code == "cmp":
        jump = s.jump_if(made.cond, *made.args)
    else:
        jump = isa.branch("JNE", s.reg(flag), None, 1, 0)
    if s.imm(other) is None:
        source = s.reg(other)
        s.put(then, dst)
        s.emit(jump, otherwise=isa.mov(dst, source))
    else:
        s.put(then, dst)
        s.pick(dst, jump, other)


def _load(s: Selection, o: Op) -> None:
    base, offset, slot = s.address(o.args[0], o.imm)
    signed = o.code == "sload" and o.size < 8
    s.emit(isa.load(o.size, _result(s, o), base, offset, sign=signed and s.v4), slot)
    if signed and not s.v4:
        _extend_in_place(s, _result(s, o), o.size)


def _store(s: Selection, o: Op) -> None:
    base, offset, slot = s.address(o.args[0], o.imm)
    number = s.number(o.args[1])
    made = s.defs.get(o.args[1])
    # Nobody else sees the frame, nor a record before it is sent.
    private = base == FRAME or o.args[0].kind == "mem"
    if made is not None and made.code == "hole" and private:
        for at in (0, 4) if o.size == 8 and made.name else (0,):
            symbol = Symbol("hole", str(made.imm), 8 * at)
            s.emit(
                isa.store_imm(4 if made.name and o.size == 8 else o.size, base, offset + at, 0), slot, symbol
            )
    elif number is not None and (o.size < 8 or fits(number)):
        s.emit(isa.store_imm(o.size, base, offset, isa.signed(number, min(8 * o.size, 32))), slot)
    elif number is not None and private:  # two halves are as good and take one slot less
        s.emit(isa.store_imm(4, base, offset, isa.signed(number, 32)), slot)
        s.emit(isa.store_imm(4, base, offset + 4, isa.signed(number >> 32, 32)), slot)
    else:
        s.emit(isa.store(o.size, base, offset, s.reg(o.args[1])), slot)


def _atomic_add(s: Selection, o: Op) -> None:
    base, offset, slot = s.address(o.args[0], o.imm)
    s.emit(isa.atomic("ADD", o.size, base, offset, s.reg(o.args[1])), slot)


def _call(s: Selection, o: Op) -> None:
    for number, arg in enumerate(o.args, 1):
        s.put(arg, number)
    insn = isa.call(s.helpers[o.name]) if o.code == "call" else isa.call_kfunc(0)
    symbol = None if o.code == "call" else Symbol("kfunc", o.name)
    s.out.append(MInsn(insn, symbol=symbol, touches=s.touches, arity=len(o.args), span=s.span))
    s.bases = {}
    if o.result in s.needed:
        s.emit(isa.mov(_result(s, o), 0))


def _nothing(s: Selection, o: Op) -> None:
    """The context and parameters are taken at the start of the function."""


RULES: Mapping[str, Callable[[Selection, Op], None]] = {
    **{
        code: _binary
        for code in ("add", "sub", "mul", "udiv", "umod", "and", "or", "xor", "shl", "lshr", "ashr")
    },
    "sdiv": _signed_division,
    "smod": _signed_division,
    "neg": _negation,
    "number": _plain_number,
    "zext": _zero_extension,
    "sext": _sign_extension,
    "bswap": _byte_swap,
    "cmp": _comparison,
    "select": _selection,
    "load": _load,
    "sload": _load,
    "store": _store,
    "atomic_add": _atomic_add,
    "ctx": _nothing,
    "param": _nothing,
    "call": _call,
    "kfunc": _call,
}
