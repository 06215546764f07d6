"""JSON that others wrote: a ValueError for all that cannot be used, and nothing else."""

import json

import pytest

from dtql_robot.system.json_text import parse_json


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": "\\ud800"}', "alone is no character"),
        ('{"\\uDFFF": 1}', "alone is no character"),
        (b'["\\ud83d"]', "alone is no character"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "Expecting"),
        (b"\xff\xfe\x00", "codec|Expecting"),
    ],
)
def test_what_cannot_be_used_is_a_value_error(text, said):
    with pytest.raises(ValueError, match=said):
        parse_json(text)


@pytest.mark.parametrize("value", [{"a": "\U0001f600 \\ud800 in words"}, ["é", 1.5, None]])
def test_everything_else_is_what_json_says(value):
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value).encode()) == value
