"""What each form looks like, for people, and which of them an unknown row comes nearest to."""

import re
from typing import Any

SHAPES = {
    "sharegpt": '{"conversations": [{"from", "value"}, ...]}',
    "messages": '{"messages": [{"role", "content"}, ...]}',
    "speaker_text": '{"dialog": [{"speaker", "text"}, ...]}',
    "alternating": '{"messages": [{"message"}, ...]}, the client first',
    "pairs": '{"conversation": [{"input", "output"}, ...]}',
    "alpaca": '{"instruction", "input", "output", "history"}',
    "query_response": '{"query", "response", "history"}',
    "question_answer": '{"question", "answer"} or {"prompt", "completion"}',
    "preference": '{"prompt", "chosen", "rejected"}',
    "prefixed_text": '{"text": "用户：… 助手：…"}',
}


def nearest_form(row: Any) -> str:
    """The keys of an unknown row, and the form that shares most of their names."""
    if not isinstance(row, dict):
        found = f"a {type(row).__name__}"
        if isinstance(row, list) and row:
            found = f"a list of {type(row[0]).__name__}"
        return f"{found}, and the nearest form is {SHAPES['messages']}"
    keys = [str(key) for key in row]
    inner = [key for value in row.values() if isinstance(value, list) and value
             for key in (value[0] if isinstance(value[0], dict) else ())]  # fmt: skip
    have = {key.lower() for key in [*keys, *inner]}
    names = {form: set(re.findall(r'"(\w+)"', shape)) for form, shape in SHAPES.items()}
    nearest = max(SHAPES, key=lambda form: len(have & names[form]) / len(names[form] | have))
    shown = ", ".join(key[:40] for key in keys[:12]) + (", ..." if len(keys) > 12 else "")
    return f"the keys {shown or '(none)'}, and the nearest form is {SHAPES[nearest]}"
