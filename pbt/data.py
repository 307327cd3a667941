"""Data classes and named tuples as the standard library makes them, for a fraction of its price at start-up

`dataclasses` imports `inspect` and compiles six methods for each class; `typing.NamedTuple` compiles each
annotation: for a hundred classes that is 80 ms before a script's first line is read. Here what classes
can share is shared, and `__init__` or `__new__` is compiled when a class has many instances. The meaning
is the standard library's (which type checkers are shown), for the options `frozen`, `slots` and `eq`.
"""

from __future__ import annotations

from _collections import _tuplegetter  # type: ignore[import-not-found]  # as collections.namedtuple does
from operator import attrgetter

from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
    from typing import NamedTuple as NamedTuple
else:
    _ABSENT = type("_Absent", (), {"__repr__": lambda self: "<absent>"})()
    _SET = object.__setattr__
    _INSTANCES = {}  # class → instances, as long as they are few
    _FEW, _SOME = 32, 256  # instances made slowly, by name, and nearly as fast as ever, by position

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
        names = cls.__match_args__
        values = [changes.pop(name) if name in changes else getattr(instance, name) for name in names]
        return cls(*values, **changes)

    def _made(cls, frozen, slots, eq):
        own = [_own(cls, name) for name in _names(cls)]
        inherited = [f for f in getattr(cls, "_fields_", ()) if all(f.name != o.name for o in own)]
        fields = (*inherited, *own)
        space = {
            "_fields_": fields,
            "_frozen_": frozen,
            "__match_args__": tuple(f.name for f in fields if f.init),
            "__init__": _first_init,
            "__repr__": _repr,
        }
        if eq:
            space |= {"__eq__": _equality(fields), "__hash__": _hashing(fields) if frozen else None}
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

    def _getter(fields):
        names = [f.name for f in fields if f.compare]
        return attrgetter(*names) if names else lambda instance: ()

    def _equality(fields):
        get = _getter(fields)

        def __eq__(self, other):
            if self is other:
                return True
            return get(self) == get(other) if other.__class__ is self.__class__ else NotImplemented

        return __eq__

    def _hashing(fields):
        get = _getter(fields)
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

    def _first_init(self, *args, **kwargs):
        """Stands for `__init__` until a class has so many instances that one of its own pays."""
        cls = next(c for c in type(self).__mro__ if c.__dict__.get("__init__") is _first_init)
        if not _is_one_of_few(cls, _FEW) or not _fill(self, cls._fields_, args, kwargs):
            cls.__init__ = _init(cls)
            cls.__init__(self, *args, **kwargs)

    def _is_one_of_few(cls, few):
        count = _INSTANCES[cls] = _INSTANCES.get(cls, 0) + 1
        return count <= few

    def _fill(self, fields, args, kwargs):
        """Set the fields of an instance; whether the arguments are what `__init__` takes."""
        given = iter(args)
        for each in fields:
            value = next(given, _ABSENT) if each.init else _ABSENT
            if value is _ABSENT and each.init:
                value = kwargs.pop(each.name, _ABSENT)
            if value is _ABSENT:
                value = each.default if each.factory is _ABSENT else each.factory()
            if value is not _ABSENT:
                _SET(self, each.name, value)
            elif each.init:
                return False
        if kwargs or next(given, _ABSENT) is not _ABSENT:
            return False
        if hasattr(self, "__post_init__"):
            self.__post_init__()
        return True

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
            made |= {"__new__": _first_new, "_make": classmethod(tuple.__new__)}
            made["_positions"] = {name: at for at, name in enumerate(names)}
            made["_defaults"] = tuple(defaults.values())
            return type(name, (_Tuple,), made | space)

    class _Root:
        pass

    class NamedTuple(_Root, metaclass=_NamedTupleMeta):
        """As `typing.NamedTuple`."""

    class _Tuple(tuple):
        """What all named tuples can do."""

        __slots__ = ()

        def _replace(self, /, **changes):
            values, positions = list(self), self._positions
            for name, value in changes.items():
                if name not in positions:
                    raise ValueError(f"no such field: {name!r}")
                values[positions[name]] = value
            return self._make(values)

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            parts = (f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({', '.join(parts)})"

        def __getnewargs__(self):
            return tuple(self)

    def _first_new(cls, *args, **kwargs):
        """Stands for `__new__` until a class has so many instances that one of its own pays."""
        spare = len(args) + len(cls._defaults) - len(cls._fields)  # defaults that arguments stand for
        if not kwargs and 0 <= spare <= len(cls._defaults) and _is_one_of_few(cls, _SOME):
            return tuple.__new__(cls, args + cls._defaults[spare:])
        home = next(c for c in cls.__mro__ if c.__dict__.get("__new__") is not None)
        if kwargs and _is_one_of_few(home, _FEW):
            given = {**home._field_defaults, **dict(zip(home._fields, args)), **kwargs}  # noqa: B905
            doubled = kwargs.keys() & set(home._fields[: len(args)])
            if len(args) <= len(home._fields) and given.keys() == set(home._fields) and not doubled:
                return tuple.__new__(cls, [given[name] for name in home._fields])
        space = {"_new": tuple.__new__, "_defaults": home._field_defaults}
        params = [f"{n}=_defaults[{n!r}]" if n in home._field_defaults else n for n in home._fields]
        values = "".join(f"{n}, " for n in home._fields)
        exec(f"def __new__({', '.join(['_cls', *params])}): return _new(_cls, ({values}))", space)
        home.__new__ = space["__new__"]
        return home.__new__(cls, *args, **kwargs)
