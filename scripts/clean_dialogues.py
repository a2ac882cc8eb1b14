"""Clean raw dialogues: repair what can be repaired, reject the rest with its reasons, lose no row.

Reads every data file below --raw, the model's tokenizer folder and the list of official hotlines.
Writes the kept dialogues (ShareGPT, one a line, with the names of the repairs and the crisis tags),
the rejected rows as they were, a list of what speaks of a crisis, and the record. kept + rejected
= read. The result does not depend on --threads.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from mindtune.chat_template import load_chat
from mindtune.cli import UserError, add_json, argument_parser, run
from mindtune.data import cleaning, forms, readers
from mindtune.data.duplicates import check_near_duplicates
from mindtune.data.ledger import FileFacts, Ledger, make_facts
from mindtune.data.noticed import WHAT
from mindtune.data.patterns import Patterns
from mindtune.data.personal_data import load_hotlines
from mindtune.data.row_cleaning import Chunk, Outcome, Worker, chunks, unknown_form
from mindtune.data.selection import check_sources
from mindtune.field_names import check_fields
from mindtune.processes import in_order
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import partial, write_record

SETTINGS = (
    "max_tokens", "min_turns", "role_map", "steps", "near_duplicates", "form", "languages",
    "over_long", "max_line_repeats", "sources",
    "fields", "crisis", "patterns",
)  # fmt: skip


def clean(
    raw: Path, files: Sequence[str], arguments: argparse.Namespace, stack: ExitStack
) -> dict[str, Any]:
    """Clean all files into the three outputs, which take their names when the stack closes without
    an error.

    Returns the record's facts.
    """
    final, rejected, crisis = (
        stack.enter_context(stack.enter_context(partial(path)).open("wb"))
        for path in (arguments.clean, arguments.rejected, arguments.crisis)
    )

    def start() -> Callable[[Chunk], list[Outcome]]:
        return Worker(arguments.settings, str(arguments.tokenizer), str(arguments.hotlines)).work

    folder, fields = arguments.clean.parent, arguments.settings["fields"]
    with TemporaryFile(dir=folder) as drafts, TemporaryFile(dir=folder) as originals:
        ledger = Ledger(drafts, originals, rejected, arguments.source_name, arguments.settings)
        for chunk, outcomes in in_order(start, chunks(raw, files, fields), arguments.threads):
            for row, outcome in zip(chunk.rows, outcomes, strict=True):
                ledger.add(chunk.file, row, outcome)
            facts = ledger.files[chunk.file]
            if not facts.form and facts.read >= forms.UNKNOWN_ROWS:
                raise unknown_form(raw, chunk.file, fields)
        for file in files:
            facts = ledger.files.setdefault(file, FileFacts())
            if not facts.form and facts.read:
                raise unknown_form(raw, file, fields)
        ledger.finish(final, crisis)
        return make_facts(ledger)


def check_settings(settings: dict[str, Any]) -> None:
    """The settings are of the right kinds."""
    cleaning.check_steps(settings["steps"])
    for key, least in (("max_tokens", 1), ("min_turns", 2), ("max_line_repeats", 1)):
        if not isinstance(settings[key], int) or settings[key] < least:
            raise UserError(
                f"--settings: {key} is {settings[key]!r}; expected a whole number of {least} or "
                f"more"
            )
    for key, known in (
        ("form", ("auto", *forms.FORMS)),
        ("over_long", ("drop", "split")),
        ("crisis", ("keep", "drop", "with_help")),
    ):
        if settings[key] not in known:
            raise UserError(
                f"--settings: {key} is {settings[key]!r}; expected one of {', '.join(known)}"
            )
    Patterns(settings["patterns"])
    check_near_duplicates(settings["near_duplicates"])
    check_fields(settings["fields"], "fields")


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--raw", type=Path, required=True, help="folder of data files")
    parser.add_argument(
        "--tokenizer",
        type=Path,
        required=True,
        help="tokenizer folder of the model that will be trained",
    )
    parser.add_argument(
        "--hotlines",
        type=Path,
        required=True,
        help="YAML list of official hotlines, which are never masked",
    )
    add_json(parser, "--settings", *SETTINGS)
    add_made_by(parser)
    parser.add_argument("--source-name", required=True, help="the dataset's name in the config")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="processes to clean with; the result is the same for any number",
    )
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--rejected", type=Path, required=True)
    parser.add_argument(
        "--crisis", type=Path, required=True, help="list of the kept dialogues for a person to read"
    )
    parser.add_argument("--record", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    check_settings(arguments.settings)
    inputs = hash_inputs(
        [arguments.raw, arguments.tokenizer, arguments.hotlines], arguments.made_by
    )
    load_hotlines(str(arguments.hotlines))
    load_chat(str(arguments.tokenizer))  # as the worker asks for them: both are loaded once
    files, skipped = readers.data_files(arguments.raw)
    check_sources(arguments.settings["sources"], files)
    arguments.clean.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        facts = clean(arguments.raw, files, arguments, stack) | {"files_skipped": skipped}
    write_record(
        arguments.record,
        "clean_dialogues",
        inputs=inputs,
        outputs=[arguments.clean, arguments.rejected, arguments.crisis],
        params=arguments.settings,
        facts=facts,
        packages=["ftfy", "jinja2", "numpy", "orjson", "pyarrow", "rensa", "tokenizers"],
    )
    reasons = ", ".join(
        f"{name} {count}" for name, count in facts["rejected_by_reason"].items() if count
    )
    print(f"kept {facts['kept']} of {facts['read']} dialogues ({reasons or 'none rejected'})")
    for file, found in facts["files"].items():
        if found["form"] == "preference":
            print(
                f"{file}: pairs of replies; the chosen one is taken, the rejected one is not read"
            )
        for name, count in found["noticed"].items():
            print(f"{file}: {count} rows with {WHAT[name]}")
    if skipped:
        print(f"not read, because they are no data files: {', '.join(skipped)}")


if __name__ == "__main__":
    raise SystemExit(run(main))
