"""Tables for pandas, where it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dtql_robot.errors import InputError

if TYPE_CHECKING:
    import pandas


def data_frame(rows: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """A DataFrame of the rows.  InputError where pandas is missing."""
    try:
        import pandas
    except ImportError as error:
        raise InputError("A DataFrame needs pandas: pip install pandas.") from error
    return pandas.DataFrame(list(rows))
