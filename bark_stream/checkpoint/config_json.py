"""Config dataclasses <-> plain JSON values, checked key by key. Knows no file."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, TypeVar

from bark_stream.config import require
from bark_stream.errors import ConfigError

T = TypeVar("T")


def to_json(config: Any) -> dict[str, Any]:
    """A config dataclass as plain JSON values."""
    return dataclasses.asdict(config)


def from_json(cls: type[T], values: Any, where: str = "config") -> T:
    """Build config dataclass `cls` from JSON values.

    Raises: ConfigError that names an unknown, missing or ill-typed key.
    """
    require(isinstance(values, dict), where, "must be an object")
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in dataclasses.fields(typing.cast(Any, cls))}
    for key in values:
        require(key in known, f"{where}.{key}", "is not a known setting")
    arguments = {}
    for name, item in known.items():
        if name in values:
            arguments[name] = _convert(hints[name], values[name], f"{where}.{name}")
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}.{name}", "is missing")
    return cls(**arguments)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type, hint), value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if value is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, where)
    if origin is tuple:
        require(isinstance(value, list | tuple), where, "must be a list")
        if arguments[-1] is Ellipsis:
            return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
        require(len(value) == len(arguments), where, f"must have {len(arguments)} items")
        return tuple(_convert(a, item, where) for a, item in zip(arguments, value, strict=True))
    if origin is dict:
        require(isinstance(value, dict), where, "must be an object")
        return {str(k): _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin is Literal:
        require(value in arguments, where, f"must be one of {', '.join(map(str, arguments))}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    require(
        isinstance(value, hint) and not (hint is int and isinstance(value, bool)),
        where,
        f"must be {hint.__name__}",
    )
    return value
