"""The data sheet of a cleaned and split dataset, from stage records alone."""

from collections.abc import Mapping, Sequence
from math import exp
from pathlib import Path
from typing import Any

from mindtune.data.crisis import MEASURED
from mindtune.markdown import templates
from mindtune.sources import is_licence, source_name

TEMPLATE = Path(__file__).with_name("datasheet.md.j2")
MIXTURE_TEMPLATE = Path(__file__).with_name("mixture_sheet.md.j2")
Facts = Mapping[str, Any]


def percent(part: int, whole: int) -> str:
    """A share in per cent with one decimal; empty for a share of nothing."""
    return f"{100 * part / whole:.1f}" if whole else ""


def datasheet(
    name: str, spec: Facts, fetch: Facts, clean: Facts, split: Facts, more: Facts | None = None
) -> str:
    """Render the sheet. `spec` is the dataset's entry in the config; the next are facts of the
    three stages, and `more` are records of those that ran besides: perplexity, paraphrases.
    """
    census = clean["census"]
    client = census["client_speaks_of_suicide_or_self_harm"]
    return (
        templates()
        .from_string(TEMPLATE.read_text(encoding="utf-8"))
        .render(
            name=name,
            source=source_name(spec),
            licence=spec["licence"],
            licensed=is_licence(spec["licence"]),
            fetch=fetch,
            clean=clean,
            split=split,
            more=more or {},
            percent=percent,
            exp=exp,
            crisis={
                "client": client,
                "help": percent(census["counsellor_points_to_help"], client),
                "hotline": percent(census["counsellor_names_a_hotline"], client),
                "measured": MEASURED,
            },
        )
    )


def mixture_sheet(name: str, parts: Sequence[tuple[str, Facts, Facts]], mix: Facts) -> str:
    """Render the sheet of a mixture. A part is (name, entry in the config, facts of its cleaning);
    `mix` are the facts of mix_datasets.
    """
    shown = [
        {
            "name": part,
            "source": source_name(spec),
            "licence": spec["licence"],
            "licensed": is_licence(spec["licence"]),
            "clean": clean,
            "mixed": mix["datasets"][part],
        }
        for part, spec, clean in parts
    ]
    template = templates().from_string(MIXTURE_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(name=name, parts=shown, mix=mix)
