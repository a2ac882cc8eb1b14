"""The names that `datasets.NAME.fields` may map, and which of them make a whole."""

from collections.abc import Mapping

from mindtune.cli import UserError

FIELDS = ("dialogue", "turns", "speaker", "text", "question", "answer", "system", "history")


def check_fields(fields: Mapping[str, str], key: str) -> None:
    """The mapping says where a question and its answer stand, or a speaker and a text; `key` is its
    place in the config, for the message.
    """
    if unknown := sorted(set(fields) - set(FIELDS)):
        raise UserError(f"{key}: found {', '.join(unknown)}; expected only {', '.join(FIELDS)}")
    pairs = {"question", "answer"} <= set(fields)
    turns = {"speaker", "text"} <= set(fields) and ("turns" in fields) != ("dialogue" in fields)
    if fields and pairs == turns:
        raise UserError(
            f"{key}: found {', '.join(sorted(fields))}; expected question and answer, or speaker "
            f"and text with turns (the key of their list) or dialogue (the key that the turns of "
            f"one dialogue share)"
        )
