"""Data classes and named tuples as the standard library makes them, for a fraction of its price at start-up

`dataclasses` imports `inspect` and compiles six methods for each class; `typing.NamedTuple` compiles each
annotation: for a hundred classes that is 80 ms before a script's first line is read. Here what classes
can share is shared: `__init__` and `__new__` of small ones are copies of a few functions, with other names,
and larger ones have theirs compiled when there are many instances. The meaning is the standard library's
(which type checkers are shown), for the options `frozen`, `slots` and `eq`.
"""

from __future__ import annotations

from _collections import _tuplegetter  # type: ignore[import-not-found]  # as collections.namedtuple does
from operator import attrgetter
from types import FunctionType

from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
    from typing import NamedTuple as NamedTuple
else:
    _ABSENT = type("_Absent", (), {"__repr__": lambda self: "<absent>"})()
    _SET = object.__setattr__
    _NEW = tuple.__new__
    _FEW = 64  # instances before compiling pays
    _INITS = (
        lambda self: None,
        lambda self, a: _SET(self, "a", a),
        lambda self, a, b: _SET(self, "a", a) or _SET(self, "b", b),
        lambda self, a, b, c: _SET(self, "a", a) or _SET(self, "b", b) or _SET(self, "c", c),
        lambda self, a, b, c, d: (
            _SET(self, "a", a) or _SET(self, "b", b) or _SET(self, "c", c) or _SET(self, "d", d)
        ),
        lambda self, a, b, c, d, e: (
            _SET(self, "a", a) or _SET(self, "b", b) or _SET(self, "c", c) or _SET(self, "d", d)
            or _SET(self, "e", e)
        ),
        lambda self, a, b, c, d, e, f: (
            _SET(self, "a", a) or _SET(self, "b", b) or _SET(self, "c", c) or _SET(self, "d", d)
            or _SET(self, "e", e) or _SET(self, "f", f)
        ),
        lambda self, a, b, c, d, e, f, g: (
            _SET(self, "a", a) or _SET(self, "b", b) or _SET(self, "c", c) or _SET(self, "d", d)
            or _SET(self, "e", e) or _SET(self, "f", f) or _SET(self, "g", g)
        ),
    )  # fmt: skip
    _NEWS = (
        lambda cls: _NEW(cls, ()),
        lambda cls, a: _NEW(cls, (a,)),
        lambda cls, a, b: _NEW(cls, (a, b)),
        lambda cls, a, b, c: _NEW(cls, (a, b, c)),
        lambda cls, a, b, c, d: _NEW(cls, (a, b, c, d)),
        lambda cls, a, b, c, d, e: _NEW(cls, (a, b, c, d, e)),
        lambda cls, a, b, c, d, e, f: _NEW(cls, (a, b, c, d, e, f)),
        lambda cls, a, b, c, d, e, f, g: _NEW(cls, (a, b, c, d, e, f, g)),
        lambda cls, a, b, c, d, e, f, g, h: _NEW(cls, (a, b, c, d, e, f, g, h)),
        lambda cls, a, b, c, d, e, f, g, h, i: _NEW(cls, (a, b, c, d, e, f, g, h, i)),
        lambda cls, a, b, c, d, e, f, g, h, i, j: _NEW(cls, (a, b, c, d, e, f, g, h, i, j)),
        lambda cls, a, b, c, d, e, f, g, h, i, j, k: _NEW(cls, (a, b, c, d, e, f, g, h, i, j, k)),
        lambda cls, a, b, c, d, e, f, g, h, i, j, k, m: _NEW(cls, (a, b, c, d, e, f, g, h, i, j, k, m)),
    )

    def _copied(pattern, names, label, defaults):
        """A function with other names for its parameters, and for the texts in it that are called as they are."""
        code = pattern.__code__
        first, *letters = code.co_varnames
        to = dict(zip(letters, names, strict=True))
        texts = tuple([to.get(c, c) if c.__class__ is str else c for c in code.co_consts])
        made = code.replace(co_varnames=(f"_{first}", *names), co_consts=texts, co_name=label)
        return FunctionType(made, globals(), label, defaults)

    class _Field:
        """What `field` says of one field."""

        __slots__ = ("compare", "default", "factory", "init", "name", "repr")

        def __init__(self, default, factory, init, repr_, compare):
            self.name, self.default, self.factory = "", default, factory
            self.init, self.repr, self.compare = init, repr_, compare

    def field(*, default=_ABSENT, default_factory=_ABSENT, init=True, repr=True, compare=True):
        """As `dataclasses.field`."""
        return _Field(default, default_factory, init, repr, compare)

    def dataclass(cls=None, /, *, frozen=False, slots=False, eq=True):
        """As `dataclasses.dataclass`."""
        if cls is None:
            return lambda cls: _made(cls, frozen, slots, eq)
        return _made(cls, frozen, slots, eq)

    def replace(instance, /, **changes):
        """As `dataclasses.replace`."""
        cls = instance.__class__
        values = [*map(changes.pop, cls.__match_args__, cls._values_(instance))]
        return cls(*values, **changes)

    def _made(cls, frozen, slots, eq):
        own = [_own(cls, name) for name in _names(cls)]
        inherited = [f for f in getattr(cls, "_fields_", ()) if all(f.name != o.name for o in own)]
        fields = (*inherited, *own)
        names = tuple(f.name for f in fields if f.init)
        space = {
            "_fields_": fields,
            "_frozen_": frozen,
            "_values_": _getter(names),
            "__match_args__": names,
            "__init__": _init_of(cls, fields, names),
            "__repr__": _repr,
        }
        if eq:
            get = _getter([f.name for f in fields if f.compare])
            space |= {"__eq__": _equality(get), "__hash__": _hashing(get) if frozen else None}
        for name in ("__init__", "__repr__", "__eq__", "__hash__"):
            if cls.__dict__.get(name) is not None:
                space.pop(name, None)
        if frozen:
            space |= {"__setattr__": _refuse, "__delattr__": _refuse}
        return _slotted(cls, own, space) if slots else _changed(cls, own, space)

    def _changed(cls, own, space):
        for each in own:
            if each.default is not _ABSENT:
                setattr(cls, each.name, each.default)
            elif each.name in cls.__dict__:
                delattr(cls, each.name)
        for name, value in space.items():
            setattr(cls, name, value)
        return cls

    def _slotted(cls, own, space):
        """A class with `__slots__` is made anew: they cannot be added to one that is there."""
        names = tuple(f.name for f in own)
        gone = {*names, "__dict__", "__weakref__"}
        kept = {name: value for name, value in cls.__dict__.items() if name not in gone}
        space |= {"__getstate__": _state, "__setstate__": _restore}
        made = type(cls)(cls.__name__, cls.__bases__, {**kept, **space, "__slots__": names})
        made.__qualname__ = cls.__qualname__
        return made

    def _names(cls):
        annotations = cls.__dict__.get("__annotations__", {})  # noqa: RUF063
        return [name for name, kind in annotations.items() if "ClassVar" not in str(kind)]

    def _own(cls, name):
        found = cls.__dict__.get(name, _ABSENT)
        made = found if isinstance(found, _Field) else _Field(found, _ABSENT, True, True, True)
        made.name = name
        return made

    def _getter(names):
        """A function: instance → the values of these fields, which no class has as a method."""
        if len(names) > 1:
            return attrgetter(*names)
        return staticmethod(lambda instance: tuple(getattr(instance, name) for name in names))

    def _equality(get):
        def __eq__(self, other):
            if self is other:
                return True
            return get(self) == get(other) if other.__class__ is self.__class__ else NotImplemented

        return __eq__

    def _hashing(get):
        return lambda self: hash(get(self))

    def _repr(self):
        parts = (f"{f.name}={getattr(self, f.name)!r}" for f in self._fields_ if f.repr)
        return f"{type(self).__qualname__}({', '.join(parts)})"

    def _state(self):
        return [getattr(self, f.name) for f in self._fields_]

    def _restore(self, state):
        for each, value in zip(self._fields_, state, strict=True):
            _SET(self, each.name, value)

    def _refuse(self, name, value=None):
        raise AttributeError(f"cannot assign to field {name!r}")

    def _init_of(cls, fields, names):
        plain = names == tuple(f.name for f in fields if f.factory is _ABSENT)
        if not plain or len(names) >= len(_INITS) or hasattr(cls, "__post_init__"):
            return _first_init(fields, names)
        defaults = tuple([f.default for f in fields if f.default is not _ABSENT])
        return _copied(_INITS[len(names)], names, "__init__", defaults)

    def _first_init(fields, names):
        """An `__init__` until a class has so many instances that one of its own pays."""
        ready = {f.name: f.default for f in fields if f.default is not _ABSENT}
        made = {f.name: f.factory for f in fields if f.factory is not _ABSENT}
        every, left, own = {*names, *ready, *made}, _FEW, None

        def __init__(self, *args, **kwargs):
            nonlocal left, own
            left -= 1
            values = {**ready, **dict(zip(names, args)), **kwargs}  # noqa: B905
            for name in made.keys() - values.keys():
                values[name] = made[name]()
            if left < 0 or len(args) > len(names) or values.keys() != every or not _fit(kwargs, names, args):
                if own is None:  # else another thread was quicker
                    cls = next(
                        (c for c in type(self).__mro__ if c.__dict__.get("__init__") is __init__), None
                    )
                    own = _init(cls)
                    cls.__init__ = own
                return own(self, *args, **kwargs)
            for name, value in values.items():
                _SET(self, name, value)
            if hasattr(self, "__post_init__"):
                self.__post_init__()

        return __init__

    def _fit(kwargs, names, args):
        """Whether arguments by name are none of those by position, and none that is not to be given."""
        return not kwargs or kwargs.keys() <= {*names[len(args) :]}

    def _init(cls):
        space = {"_set": _SET, "_absent": _ABSENT}
        params, body = ["self"], []
        write = "_set(self, {0!r}, {1})" if cls._frozen_ else "self.{0} = {1}"
        for each in cls._fields_:
            name, value = each.name, each.name
            if each.factory is not _ABSENT:
                space[f"_new_{name}"] = each.factory
                value = f"_new_{name}() if {name} is _absent else {name}" if each.init else f"_new_{name}()"
                params.append(f"{name}=_absent")
            elif each.default is not _ABSENT:
                space[f"_default_{name}"] = each.default
                params.append(f"{name}=_default_{name}")
            elif each.init:
                params.append(name)
            else:
                continue
            if not each.init and each.factory is _ABSENT:
                value = f"_default_{name}"
            if not each.init:
                params.pop()
            body.append(write.format(name, value))
        if hasattr(cls, "__post_init__"):
            body.append("self.__post_init__()")
        exec(f"def __init__({', '.join(params)}):\n " + "\n ".join(body or ["pass"]), space)
        return space["__init__"]

    class _NamedTupleMeta(type):
        def __new__(meta, name, bases, space):
            if bases == (_Root,):
                return type.__new__(meta, name, bases, space)
            names = tuple(space.get("__annotations__", ()))
            defaults = {n: space.pop(n) for n in names if n in space}
            made = {n: _tuplegetter(i, n) for i, n in enumerate(names)}
            made |= {"__slots__": (), "_fields": names, "_field_defaults": defaults, "__match_args__": names}
            made |= {"__new__": _new(names, defaults), "_make": classmethod(_NEW)}
            return type(name, (_Tuple,), made | space)

    class _Root:
        pass

    class NamedTuple(_Root, metaclass=_NamedTupleMeta):
        """As `typing.NamedTuple`."""

    class _Tuple(tuple):
        """What all named tuples can do."""

        __slots__ = ()

        def _replace(self, /, **changes):
            made = _NEW(self.__class__, map(changes.pop, self._fields, self))
            if changes:
                raise ValueError(f"no such fields: {list(changes)}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            parts = (f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({', '.join(parts)})"

        def __getnewargs__(self):
            return tuple(self)

    def _new(names, defaults):
        if len(names) < len(_NEWS):
            return _copied(_NEWS[len(names)], names, "__new__", tuple(defaults.values()))
        space = {"_new": _NEW, "_defaults": defaults}
        params = [f"{n}=_defaults[{n!r}]" if n in defaults else n for n in names]
        exec(f"def __new__({', '.join(['_cls', *params])}): return _new(_cls, ({', '.join(names)}))", space)
        return space["__new__"]
