"""What a stage reads is what the stage before it made: hashes that were found, compared with those
in the producers' records.

A program is told by `--made-by` which records stand behind its inputs. It hashes an input once,
and these hashes go into its own record, so that every record names the same hash for the same
path: that is the chain.

This finds files that changed by accident, and forgeries of a file without its record. Whoever
rewrites a file, its record and the record's seal passes: only a signature (export.signing_key)
stands against that.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.records import RECORD_KEYS, read_json, seal, sha256_file, sha256_path

Record = Mapping[str, Any]


def add_made_by(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """The flag --made-by of a program whose inputs are checked."""
    parser.add_argument(
        "--made-by",
        type=Path,
        nargs="+",
        default=[],
        required=required,
        help="records of the stages that made the inputs; an input that is not what they say stops "
        "the program",
    )


class Said(dict):
    """A part of a record. To ask for what it does not say is a UserError: it is a record of
    another stage, or of an older version.
    """

    where = ""

    def __missing__(self, key: str) -> Any:
        raise UserError(
            f"{self.where}: there is no {key!r}, so this is the record of another stage or of an "
            "older version; give the right record, or delete this one and run its stage again"
        )


def add_records(parser: argparse.ArgumentParser) -> None:
    """The flag for the records of stages; the parser takes @ as the prefix of a file of words."""
    parser.add_argument(
        "--records",
        type=Path,
        nargs="+",
        required=True,
        help="stage records, JSON; @FILE: one a line in FILE",
    )


def as_said(value: Any, where: str) -> Any:
    """JSON data with Said in place of dict, at any depth."""
    if isinstance(value, list):
        return [as_said(part, where) for part in value]
    if not isinstance(value, dict):
        return value
    said = Said((key, as_said(part, f"{where}, {key}")) for key, part in value.items())
    said.where = where
    return said


def read_record(path: Path) -> dict[str, Any]:
    """A stage's record; one that is not whole, or was changed after its stage wrote it, is a
    UserError, and so is a key of it that is not there.
    """
    record = read_json(path)
    missing = [key for key in RECORD_KEYS if not isinstance(record, dict) or key not in record]
    if missing:
        raise UserError(
            f"{path} is no stage record: {missing[0]!r} is missing; delete it and run its stage "
            f"again"
        )
    if (found := seal(record)) != record["seal"]:
        raise UserError(
            f"{path} is not as {record['stage']} wrote it: its seal is {record['seal']}, and what "
            f"it says now has {found}; "
            "put the record back as it was, or delete it and run again"
        )
    return as_said(record, path.as_posix())


def read_records(paths: Iterable[Path]) -> dict[str, Record]:
    """{path: record} of several records."""
    return {path.as_posix(): read_record(path) for path in paths}


def differs(path: str, found: str, recorded: str, record: str, stage: str) -> UserError:
    """The one sentence for a file or folder that is not what its producer made."""
    return UserError(
        f"{path} has SHA-256 {found}, and by {record} the stage {stage} made it with {recorded}: "
        f"it was changed since; "
        f"put it back as it was, or delete it and {record} and run again"
    )


def recorded_hash(path: Path, made_by: Sequence[Path]) -> str:
    """The hash that a producer recorded of a file or folder."""
    for record in read_records(made_by).values():
        if path.as_posix() in record["outputs"]:
            return record["outputs"][path.as_posix()]
    raise UserError(
        f"{path} is in none of the records {', '.join(map(str, made_by)) or '(none given)'}; give "
        f"the record of the stage "
        "that made it as --made-by"
    )


def check_inputs(found: Mapping[str, str], made_by: Sequence[Path]) -> None:
    """Compare {input: SHA-256 found} with what each producer recorded; a record that is about none
    of them is a mistake.
    """
    for name, record in read_records(made_by).items():
        about = sorted(record["outputs"].keys() & found.keys())
        if not about:
            raise UserError(
                f"--made-by {name} is the record of {', '.join(record['outputs']) or 'no file'}, "
                f"and none of it is read here; "
                f"the inputs are {', '.join(found)}"
            )
        for path in about:
            if found[path] != record["outputs"][path]:
                raise differs(path, found[path], record["outputs"][path], name, record["stage"])


def hash_inputs(paths: Iterable[Path], made_by: Sequence[Path]) -> dict[str, str]:
    """{path: SHA-256} of a stage's inputs for its record, after `check_inputs`."""
    found = {path.as_posix(): sha256_path(path) for path in paths}
    check_inputs(found, made_by)
    return found


@contextmanager
def hashing_beside(
    paths: Iterable[Path], made_by: Sequence[Path]
) -> Iterator[Callable[[], dict[str, str]]]:
    """`hash_inputs` in a thread beside what is done in the block, which gets a function that waits
    for its result. It has to call that before it uses or keeps anything.

    Reading 15 GB takes seconds, for which a card that is held need not wait. If the block fails,
    an input that is not what its record says is the reason that is given.
    """
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(hash_inputs, list(paths), made_by)
        try:
            yield found.result
        finally:
            found.result()


def check_chain(records: Mapping[str, Record]) -> None:
    """Every record names the same hash for the same path; the records' own files are among the
    paths.
    """
    made = {
        path: (name, record["stage"], digest)
        for name, record in records.items()
        for path, digest in record["outputs"].items()
    }
    made |= {name: (name, record["stage"], sha256_file(name)) for name, record in records.items()}
    for name, record in records.items():
        for path, digest in record["inputs"].items():
            producer, stage, wanted = made.setdefault(path, (name, record["stage"], digest))
            if digest != wanted:
                raise UserError(
                    f"{name} was made from another {path} (SHA-256 {digest}) than {producer} of "
                    f"the stage {stage} names ({wanted}); "
                    f"delete {name} and run again"
                )
