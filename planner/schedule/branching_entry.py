"""The way into the compiled branching from C, which knows no tuples of arrays: a table of addresses and shapes.

Loaded only where it is compiled (see ``planner.machine_code``), for it needs numba.
"""

from __future__ import annotations

from typing import Any

import numba
import numba.extending
import numba.np.arrayobj

from planner.machine_code import BARE
from planner.schedule.branching_learn import look
from planner.schedule.branching_table import FLOATS, PLANES, TUPLES, WORDS

# numba says the types of a part of its names only
types: Any = numba.types
arrayobj: Any = numba.np.arrayobj
intrinsic: Any = numba.extending.intrinsic
cfunc: Any = numba.cfunc


def entry() -> Any:
    """``look`` as a function of C: (address of the table, assumed, most, budget)."""
    readers, first = [], 0
    for cls in TUPLES:
        readers.append(_reader(cls, first))
        first += len(cls._fields)
    trail_of, shop_of, clauses_of, taste_of = readers

    @cfunc("int64(int64, int64, int64, int64)", **BARE)
    def enter(table, assumed, most, budget):  # type: ignore[no-untyped-def]
        return look(trail_of(table), shop_of(table), clauses_of(table), taste_of(table), assumed, most, budget)

    return enter


def _reader(cls: Any, first: int) -> Any:
    """What gives compiled code a named tuple of the arrays from number ``first`` of the table on."""
    arrays = [
        types.Array(types.float64 if name in FLOATS else types.int64, 2 if name in PLANES else 1, "C")
        for name in cls._fields
    ]
    made = types.NamedTuple(arrays, cls)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        integer = context.get_value_type(types.intp)
        size = integer(8)
        words = builder.inttoptr(arguments[0], integer.as_pointer())

        def word(k: int) -> Any:
            return builder.load(builder.gep(words, [integer(k)]))

        members = []
        for k, kind in enumerate(arrays, first):
            array = arrayobj.make_array(kind)(context, builder)
            data = builder.inttoptr(word(WORDS * k), array.data.type)
            shape = [word(WORDS * k + 1 + d) for d in range(kind.ndim)]
            strides = [size] if kind.ndim == 1 else [builder.mul(shape[1], size), size]
            arrayobj.populate_array(array, data, shape, strides, size, meminfo=None)
            members.append(array._getvalue())
        return context.make_tuple(builder, made, members)

    def read(typing, table):  # type: ignore[no-untyped-def]  # numba goes by these names
        return made(table), generate

    return intrinsic(read)
