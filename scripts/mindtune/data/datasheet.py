"""The data sheet and the Croissant description of a cleaned and split dataset, from stage records
alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.data.crisis import MEASURED
from mindtune.markdown import templates
from mindtune.sources import is_licence, source_name

TEMPLATE = Path(__file__).with_name("datasheet.md.j2")
MIXTURE_TEMPLATE = Path(__file__).with_name("mixture_sheet.md.j2")
SIDES = ("train", "dev", "test")
TURN_FIELDS = {
    "from": "Who speaks: system, human (the client) or gpt (the counsellor)",
    "value": "What is said",
}
Facts = Mapping[str, Any]


def percent(part: int, whole: int) -> str:
    """A share in per cent with one decimal; empty for a share of nothing."""
    return f"{100 * part / whole:.1f}" if whole else ""


def datasheet(name: str, spec: Facts, fetch: Facts, clean: Facts, split: Facts) -> str:
    """Render the sheet. `spec` is the dataset's entry in the config; the others are facts of the
    three stages.
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
            percent=percent,
            crisis={
                "client": client,
                "help": percent(census["counsellor_points_to_help"], client),
                "hotline": percent(census["counsellor_names_a_hotline"], client),
                "measured": MEASURED,
            },
        )
    )


def mixture_sheet(name: str, parts: Sequence[tuple[str, Facts, Facts]], mix: Facts) -> str:
    """Render the sheet of a mixture. A part is (name, entry in the config, facts of its
    cleaning); `mix` are the facts of mix_datasets.
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


def croissant(
    name: str, specs: Sequence[Facts], split: Facts, hashes: Mapping[str, str]
) -> dict[str, Any]:
    """The Croissant 1.0 description (JSON-LD): the three files with their hashes, and the fields
    of a row. `specs` are the entries of the data sets in the config, of a mixture several.
    """
    import mlcroissant

    def field(side: str, column: str, what: str, part: str = "", **more: Any) -> mlcroissant.Field:
        identity = "/".join(filter(None, (side, column, part)))
        source = mlcroissant.Source(
            file_object=f"{side}.jsonl",
            extract=mlcroissant.Extract(column=column),
            transforms=[mlcroissant.Transform(json_path=part)] if part else [],
        )
        return mlcroissant.Field(
            id=identity,
            name=identity,
            description=what,
            data_types=[mlcroissant.DataType.TEXT],
            source=source,
            **more,
        )

    def turns(side: str) -> mlcroissant.Field:
        """The turns of a dialogue: a list of records inside the record."""
        identity = f"{side}/conversations"
        parts = [field(side, "conversations", what, part) for part, what in TURN_FIELDS.items()]
        return mlcroissant.Field(
            id=identity,
            name=identity,
            description="Turns in their order",
            repeated=True,
            sub_fields=parts,
        )

    files = [
        mlcroissant.FileObject(
            id=f"{side}.jsonl",
            name=f"{side}.jsonl",
            description=f"{split['dialogues'][side]} dialogues of the {side} side",
            content_url=f"{side}.jsonl",
            encoding_formats=["application/jsonlines"],
            sha256=hashes[f"{side}.jsonl"],
        )
        for side in SIDES
    ]
    record_sets = [
        mlcroissant.RecordSet(
            id=side,
            name=side,
            description=f"One dialogue a record, {side} side",
            fields=[
                field(side, "id", "Unique name of the dialogue"),
                turns(side),
                field(side, "source", "Dataset, file and row that the dialogue was read from"),
                field(side, "fixes", "Names of the cleaning steps that changed it", repeated=True),
            ],
        )
        for side in SIDES
    ]
    metadata = mlcroissant.Metadata(
        name=name,
        description=f"Counselling dialogues from {', '.join(map(source_name, specs))}, cleaned, "
        f"deduplicated and split by groups by MindTune.",
        license=list(dict.fromkeys(spec["licence"] for spec in specs)),
        url=_url(specs[0]),
        distribution=files,
        record_sets=record_sets,
    )
    return metadata.to_json()


def _url(spec: Facts) -> str:
    """Where the data came from; a local source has no address but its place in the project."""
    hubs = {
        "modelscope": "https://www.modelscope.cn/datasets/",
        "huggingface": "https://huggingface.co/datasets/",
    }
    return (
        f"{hubs[spec['source']]}{spec['id']}"
        if spec["source"] in hubs
        else f"file:{Path(str(spec['path'])).name}"
    )
