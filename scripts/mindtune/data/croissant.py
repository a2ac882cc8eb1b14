"""The Croissant 1.0 description of a cleaned and split dataset, from stage records alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindtune.sources import source_name

SIDES = ("train", "dev", "test")


TURN_FIELDS = {
    "from": "Who speaks: system, human (the client) or gpt (the counsellor)",
    "value": "What is said",
}


Facts = Mapping[str, Any]


def field(side: str, column: str, what: str, part: str = "", **more: Any) -> Any:
    """A text of a dialogue; with `part`, one of each turn."""
    import mlcroissant

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


def turns(side: str) -> Any:
    """The turns of a dialogue: a list of records inside the record."""
    import mlcroissant

    identity = f"{side}/conversations"
    parts = [field(side, "conversations", what, part) for part, what in TURN_FIELDS.items()]
    return mlcroissant.Field(
        id=identity,
        name=identity,
        description="Turns in their order",
        repeated=True,
        sub_fields=parts,
    )


def dialogues(side: str) -> Any:
    """The record set of a side: one dialogue a record."""
    import mlcroissant

    return mlcroissant.RecordSet(
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


def croissant(name: str, spec: Facts, split: Facts, hashes: Mapping[str, str]) -> dict[str, Any]:
    """The description (JSON-LD): the three files with their hashes, and the fields of a row."""
    import mlcroissant

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
    metadata = mlcroissant.Metadata(
        name=name,
        description=f"Counselling dialogues from {source_name(spec)}, cleaned, deduplicated and "
        f"split by groups by MindTune.",
        license=[spec["licence"]],
        url=_url(spec),
        distribution=files,
        record_sets=[dialogues(side) for side in SIDES],
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
