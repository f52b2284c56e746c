"""Which sequences the rows of a pass stand for.

Loops that feed a model sort, share, pad and drop rows as it suits them. A hook on the model sees a row's number alone,
so the loop says here whose it is.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_ROWS: ContextVar[Sequence[Sequence[int]] | None] = ContextVar("rows", default=None)


@contextmanager
def reading(rows: Sequence[Sequence[int]]) -> Generator[None]:
    """Row r of the passes within stands for the sequences rows[r], numbered as the caller of the loop gave them."""
    token = _ROWS.set(rows)
    try:
        yield
    finally:
        _ROWS.reset(token)


def rows_read(n: int) -> Sequence[Sequence[int]]:
    """The sequences of each of n rows of the pass in progress; row r is sequence r where no loop says otherwise.

    >>> with reading([(4,), (0, 2)]):
    ...     rows_read(2)
    [(4,), (0, 2)]
    >>> rows_read(2)
    [(0,), (1,)]
    """
    rows = _ROWS.get()
    return [(row,) for row in range(n)] if rows is None else rows
