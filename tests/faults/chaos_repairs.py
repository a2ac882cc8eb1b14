"""What a person does after a chaos round's faults: as the error sentences say, and no more."""

import os
import re
import subprocess
import sys

from chain import ROOT, Chain, wait_for
from chaos_faults import KEY
from mindtune.audit.folder import find_records
from mindtune.records import remove

TRIES = 5


NOT_JSON = (
    r"^(?:error: )?(\S+)(?: line \d+)? is not (?:whole )?JSON .*delete (?:it|the file) and "
    r"run again"
)


GONE = r"^(\S+) is missing, and \S+ speaks of it; to make it again, ask for it by name"


NO_KEY = rf"config key export\.signing_key is .*{KEY}.* is not there"


OTHER_BYTES = r"^(?:error: )?(\S+) has SHA-256 \w+, and by (\S+) the stage "


def repair(made: Chain, targets: list[str], needed: list[str]) -> None:
    """Rerun to the end, doing what the messages say; what was done is added to `needed`."""
    for _ in range(TRIES):
        done = made.run(*targets)
        # what was made from a file that is gone stands, so nothing else asks for it
        gone = [path for path in re.findall(GONE, done.stdout, re.MULTILINE) if path not in targets]
        if gone:
            needed.append(f"ask for {' '.join(gone)}")
            targets = [*targets, *gone]
        elif done.returncode == 0:
            return
        else:
            targets = [*targets, *do_as_told(made, targets, done.stdout, needed)]
    raise AssertionError(f"{TRIES} reruns were not enough: {needed}")


def do_as_told(made: Chain, targets: list[str], said: str, needed: list[str]) -> list[str]:
    """Do what the messages of a failed start say, and return what to ask for beside the targets."""
    torn = re.search(NOT_JSON, said, re.MULTILINE)
    if "LockException" in said and "--unlock" in said:
        needed.append("unlock")
        wait_for(lambda: not made.processes(), 120, "an orphan does not end")
        assert made.run("--unlock", *targets).returncode == 0
    elif "clock skew" in said:
        needed.append("touch what is dated in the future")
        find = ["find", made.work / "results", "-newermt", "now", "-exec", "touch", "{}", "+"]
        subprocess.run(find, check=True)
    elif re.search(NO_KEY, said):
        needed.append("restore the key")
        (made.work / "elsewhere.pem").rename(made.work / KEY)
    elif other := re.search(OTHER_BYTES, said, re.MULTILINE):
        return make_anew(made, needed, other[1], other[2])
    elif torn:
        needed.append(f"delete {torn[1]}")
        (made.work / torn[1]).unlink()
        # no rule makes what a start notes of itself
        return [] if torn[1].startswith("results/starts/") else [torn[1]]
    else:
        raise AssertionError(said[-3000:])
    return []


def make_anew(made: Chain, needed: list[str], path: str, record: str) -> list[str]:
    """Delete a result and its record, as the message says, and return what to ask for."""
    needed.append(f"remake {path}")
    remove(made.work / path)
    remove(made.work / record)
    return [record]


def make_changed_anew(made: Chain, needed: list[str]) -> list[str]:
    """Delete what `make audit` calls changed or missing, with its record, and return what to ask
    for.
    """
    program = [sys.executable, str(ROOT / "scripts/tools/audit.py"), "--workdir", str(made.work)]
    said = subprocess.run(program, capture_output=True, text=True).stdout
    wrong = set(re.findall(r"^(?:changed|missing) +(results/\S+)", said, re.MULTILINE))
    records = {
        path: os.path.relpath(name, made.work)
        for name, record in find_records(made.work / "results").items()
        for path in wrong & record["outputs"].keys()
    }
    return [
        name
        for path, record in sorted(records.items())
        for name in make_anew(made, needed, path, record)
    ]
