"""Converts dataclasses of arrays, numbers and texts to bytes and back; contains no code, detects damage."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import types
import typing
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Record = TypeVar("Record")

_MAGIC = b"ZEMOSAIC-RECORD-1 "
_HEAD_BYTES = len(_MAGIC) + 64 + 1


class DamagedRecord(ValueError):  # noqa: N818 - it describes the bytes
    """The bytes are not what was written."""


def encode(value: Any) -> bytes:
    """A dataclass instance as bytes that begin with their own SHA-256.

    Parameters
    ----------
    value : dataclass instance
        Fields may be numbers, texts, None, arrays, dataclasses, and lists, tuples or mappings of these.

    Raises
    ------
    TypeError
        If a field holds anything else.
    """
    arrays: list[NDArray] = []
    tree = json.dumps(_tree_of(value, arrays))
    body = io.BytesIO()
    named = {f"a{number}": array for number, array in enumerate(arrays)}
    np.savez(body, allow_pickle=False, tree=np.frombuffer(tree.encode(), dtype=np.uint8), **named)
    data = body.getvalue()
    return _MAGIC + hashlib.sha256(data).hexdigest().encode() + b"\n" + data


def decode(data: bytes, kind: type[Record]) -> Record:
    """The instance of `kind` that `encode` made these bytes from.

    Raises
    ------
    DamagedRecord
        If a byte is missing or another one, or they were made from another kind.
    """
    head, body = data[:_HEAD_BYTES], data[_HEAD_BYTES:]
    if head != _MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise DamagedRecord("its checksum does not fit")
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as stored:
            tree = json.loads(stored["tree"].tobytes())
            arrays = [stored[f"a{number}"] for number in range(len(stored.files) - 1)]
        value = _value_of(tree, kind, arrays)
    except (
        KeyError, IndexError, TypeError, ValueError, AttributeError, StopIteration, OverflowError, RecursionError,
        EOFError, OSError, NotImplementedError, MemoryError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise DamagedRecord(f"it is of another kind ({error})") from error
    return typing.cast(Record, value)


def _tree_of(value: Any, arrays: list[NDArray]) -> Any:
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_tree_of(item, arrays) for item in value]
    if isinstance(value, Mapping):
        return {"map": [[key, _tree_of(item, arrays)] for key, item in value.items()]}
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {"of": {field.name: _tree_of(getattr(value, field.name), arrays) for field in fields}}
    raise TypeError(f"a {type(value).__name__} has no place in a record")


def _value_of(tree: Any, hint: Any, arrays: list[NDArray]) -> Any:
    if not isinstance(tree, dict | list):
        return _checked(tree, hint)
    if isinstance(tree, list):
        origin, arguments = _plain(hint)
        if hasattr(origin, "_fields"):  # a named tuple
            hints = typing.get_type_hints(origin)
            named = zip(tree, origin._fields, strict=True)
            return origin(*(_value_of(item, hints[name], arrays) for item, name in named))
        made = [_value_of(item, arguments[0] if arguments else Any, arrays) for item in tree]
        return tuple(made) if origin is tuple else made
    if "array" in tree:
        return arrays[tree["array"]]
    if "map" in tree:
        _, arguments = _plain(hint)
        return {key: _value_of(item, arguments[1] if len(arguments) > 1 else Any, arrays) for key, item in tree["map"]}
    kind, _ = _plain(hint)
    hints = typing.get_type_hints(kind)
    return kind(**{name: _value_of(item, hints[name], arrays) for name, item in tree["of"].items()})


_SCALARS = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}


def _checked(value: Any, hint: Any) -> Any:
    """A number, a text or None, if the type allows it; `TypeError` if a field should hold something else."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    kinds = arguments if origin in (typing.Union, types.UnionType) else (hint,)
    if value is None:
        if Any not in kinds and type(None) not in kinds:
            raise TypeError("a field that holds something is empty")
        return value
    for kind in kinds:
        if kind is Any or typing.get_origin(kind) is typing.Literal:
            return value
        if isinstance(value, _SCALARS.get(kind, ())) and (kind is bool or not isinstance(value, bool)):
            return value
    raise TypeError(f"a field holds a {type(value).__name__}")


def _plain(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """The class and the arguments of a type, an optional one without its None."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _plain(next(argument for argument in arguments if argument is not type(None)))
    return origin or hint, arguments
