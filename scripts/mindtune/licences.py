"""What counts as a licence, for the configuration's check and for the datasheet."""

NO_LICENCE = ("", "unknown", "none", "not stated", "unlicensed", "n/a", "?")


def is_licence(licence: str | None) -> bool:
    """False for a word that says that there is none, or that nobody knows it."""
    return bool(licence) and licence.strip().lower() not in NO_LICENCE
