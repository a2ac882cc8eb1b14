"""A mapping of fields is whole before anything is planned."""

import pytest
from mindtune.cli import UserError
from mindtune.field_names import check_fields


@pytest.mark.parametrize("fields", [
    {"question": "a"}, {"turns": "a", "speaker": "b"}, {"speaker": "b", "text": "c"},
        {"answers": "x"},
    {"question": "a", "answer": "b", "turns": "t", "speaker": "s", "text": "x"},
    {"turns": "t", "dialogue": "d", "speaker": "s", "text": "x"},
])  # fmt: skip
def test_half_a_mapping_is_refused(fields):
    with pytest.raises(UserError, match="datasets.a.fields: found"):
        check_fields(fields, "datasets.a.fields")
