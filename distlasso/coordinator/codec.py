"""Questions and answers as JSON and plain arrays, and back; nothing is ever unpickled.

A value becomes a tree that JSON can hold, and the arrays that the tree refers to by number. Only the classes named here can
come back, each from exactly its fields, and only arrays of plain numbers. Read next: ``journal.py`` (the file), ``checkpoint.py``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from distlasso import held_out, losses, queries
from distlasso.data.dataset import sparse_problem
from distlasso.data.missing import Imputation
from distlasso.data.pieces import Pieces, whole
from distlasso.data.statistics import Statistics
from distlasso.solvers import local_step

_CLASSES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        queries.Ask, queries.Request, queries.Models, queries.Gradient, queries.GradientPartial, queries.GramTimes,
        queries.Gather, queries.Square, queries.Moments, queries.CellMoments, queries.Hessian, queries.HessianPartial, queries.Look,
        queries.LookPartial, queries.Value, queries.Dual, held_out.HeldOut, held_out.Eta, local_step.Frame,
        local_step.LocalPartial, local_step.LocalSlope, local_step.LocalStep, losses.Squared, losses.Logistic,
        losses.Poisson, losses.Huber, Imputation, Statistics,
    )
}  # fmt: skip
_DTYPES = ("float64", "float32", "int64", "int32", "int8", "uint8", "bool")
_LARGEST = 1 << 40  # values of an array


@dataclass(slots=True)
class Packed:
    """A value as a tree, and the arrays in it."""

    tree: Any
    arrays: list[NDArray[Any]] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays)


def pack(value: Any) -> Packed:
    """Take a value apart.

    Raises
    ------
    TypeError
        For a class that is not known here.
    """
    packed = Packed(None)
    packed.tree = _down(value, packed.arrays)
    return packed


def unpack(packed: Packed) -> Any:
    """Put a value together.

    Raises
    ------
    ValueError
        If it is not what ``pack`` makes.
    """
    try:
        return _up(packed.tree, packed.arrays)
    except (TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a value that was packed: {error}") from error


def digest(packed: Packed, salt: str) -> str:
    """Name of a value: the same for equal values in any layout in memory, and for no others."""
    told = hashlib.blake2b(salt.encode(), digest_size=20)
    shapes = [[array.dtype.name, *array.shape] for array in packed.arrays]
    told.update(json.dumps([packed.tree, shapes]).encode())
    for array in packed.arrays:
        told.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return told.hexdigest()


def raw(array: NDArray[Any]) -> tuple[dict[str, Any], memoryview]:
    """Form and bytes of an array."""
    by_columns = array.flags.f_contiguous and not array.flags.c_contiguous
    form = {"dtype": array.dtype.name, "shape": list(array.shape), "order": "F" if by_columns else "C"}
    flat = np.ascontiguousarray(array.T if by_columns else array)
    return form, flat.data.cast("B") if flat.size else memoryview(b"")


def nbytes_of(form: Any) -> int:
    """Bytes of an array of this form.

    Raises
    ------
    ValueError
        If it is no form of an array; nothing has been allocated then.
    """
    try:
        dtype, shape, order = form["dtype"], form["shape"], form["order"]
    except (TypeError, KeyError) as error:
        raise ValueError(f"not the form of an array: {error}") from error
    sound = isinstance(shape, list) and all(type(k) is int and 0 <= k <= _LARGEST for k in shape)
    if dtype not in _DTYPES or order not in ("C", "F") or not sound or len(shape) > 4:
        raise ValueError(f"not the form of an array: dtype {dtype!r}, shape {shape!r}, order {order!r}")
    size = 1
    for k in shape:
        size *= k
    return int(size * np.dtype(dtype).itemsize)


def restored(form: dict[str, Any], content: bytes) -> NDArray[Any]:
    """An array of a form that ``nbytes_of`` has checked, in memory of its own."""
    shape = form["shape"] if form["order"] == "C" else form["shape"][::-1]
    array = np.frombuffer(content, dtype=form["dtype"]).reshape(shape).copy()
    return array if form["order"] == "C" else array.T


def _down(value: Any, arrays: list[NDArray[Any]]) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.name not in _DTYPES:
            raise TypeError(f"an array of {value.dtype} cannot be packed")
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if sp.issparse(value) and value.format == "csc":
        parts = [_down(part, arrays) for part in (value.data, value.indices, value.indptr)]
        return {"csc": parts, "shape": [int(k) for k in value.shape]}
    if isinstance(value, Pieces):
        return {"pieces": _down(value.joined(), arrays)}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_down(part, arrays) for part in value]}
    name = type(value).__name__
    if not is_dataclass(value) or _CLASSES.get(name) is not type(value):
        raise TypeError(f"a {name} cannot be packed: add it to the classes of {__name__}")
    return {"class": name, "of": {own.name: _down(getattr(value, own.name), arrays) for own in fields(value)}}


def _up(tree: Any, arrays: Sequence[NDArray[Any]]) -> Any:
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    for kind, make in _MAKERS.items():
        if kind in tree:
            return make(tree, arrays)
    raise ValueError(f"not a value that was packed: {sorted(tree)}")


def _class(tree: Any, arrays: Sequence[NDArray[Any]]) -> Any:
    cls, of = _CLASSES[tree["class"]], tree["of"]
    if set(of) != {own.name for own in fields(cls)}:
        raise ValueError(f"a {cls.__name__} has other fields than {sorted(of)}")
    return cls(**{name: _up(part, arrays) for name, part in of.items()})


def _csc(tree: Any, arrays: Sequence[NDArray[Any]]) -> Any:
    data, indices, indptr = (_up(part, arrays) for part in tree["csc"])
    rows, columns = tree["shape"]
    sound = data.ndim == indices.ndim == indptr.ndim == 1 and data.size == indices.size and indptr.size == columns + 1
    problem = sparse_problem(indptr, indices, rows) if sound else "its parts do not fit together"
    if problem:
        raise ValueError(f"not a sound sparse matrix: {problem}")
    return sp.csc_array((data, indices, indptr), shape=(rows, columns))


_MAKERS: dict[str, Callable[[Any, Sequence[NDArray[Any]]], Any]] = {
    "array": lambda tree, arrays: arrays[tree["array"]],
    "csc": _csc,
    "pieces": lambda tree, arrays: whole(_up(tree["pieces"], arrays)),
    "list": lambda tree, arrays: [_up(part, arrays) for part in tree["list"]],
    "tuple": lambda tree, arrays: tuple(_up(part, arrays) for part in tree["tuple"]),
    "class": _class,
}
