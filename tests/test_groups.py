"""Groups as conjunctions of columns."""

import pyarrow as pa
import pytest

from dsl_probe.groups import parse_group, select_rows
from dsl_probe.types import UserError

TRACES = pa.table(
    {"model": ["a", "b", "a"], "domain": ["m", "m", "n"], "correct": [True, None, False], "step": [1, 2, None]}
)


def test_conjunction():
    assert select_rows(TRACES, "model=a").tolist() == [0, 2]
    assert select_rows(TRACES, "model=a,domain=n").tolist() == [2]
    assert select_rows(TRACES, "correct=true").tolist() == [0]
    assert select_rows(TRACES, "step=2").tolist() == [1]


def test_commas_inside_values():
    assert parse_group("model=x(a,b), domain=m=1") == {"model": "x(a,b)", "domain": "m=1"}


@pytest.mark.parametrize(
    "group, word",
    [
        ("a", "column=value"),
        ("colour=red", "columns are"),
        ("model=c", "no trace has model=c.* a; b|b; a"),
        ("model=b,domain=n", "never all at once"),
        ("text=a", "columns are"),
        ("", "column=value"),
    ],
)
def test_errors_name_what_there_is(group, word):
    with pytest.raises(UserError, match=word):
        select_rows(TRACES, group)
