"""Measure the archive of a finished demo: seconds, size, changed bytes that are found, and what the
validators of its provenance and its bill of materials say.

With --reproduction the verdicts of a `make reproduce` of that archive are counted, too; --by says
under which circumstances it ran.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from deploy.verify_archive import check
from measuring import command, head
from mindtune.cli import UserError, argument_parser, run
from mindtune.code import SCRIPTS
from mindtune.records import read_json, write_json

ROOT = SCRIPTS.parent
VALIDATE = ROOT / "tests/unit/builders/validate_crate.py"
# tests/unit/audit/test_crate.py makes it
VALIDATORS = ROOT / ".cache/validators-1/bin/python"
CHANGES = 1000


def archive(workdir: Path, name: str) -> tuple[Path, float]:
    """Make a run's archive anew; (its path, seconds of the whole command)."""
    target = f"results/archive/{name}.zip"
    words = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory",
        str(workdir), "--configfile", str(ROOT / "config/demo.yaml"), "--cores", "1", "--quiet",
        "all", "--force", "--", target,
    ]  # fmt: skip
    begin = time.monotonic()
    if subprocess.run(words).returncode:
        raise UserError(f"{target} could not be made; the cause stands above")
    return workdir / target, time.monotonic() - begin


def found_changes(path: Path, folder: Path) -> int:
    """Of so many copies with one random byte changed, the number that the check refuses."""
    content, draw, found = path.read_bytes(), random.Random(20261128), 0
    copy = folder / "changed.zip"
    for _ in range(CHANGES):
        place = draw.randrange(len(content))
        changed = bytearray(content)
        changed[place] ^= draw.randrange(1, 256)
        copy.write_bytes(changed)
        found += bool(check(copy)[0])
    return found


def validated(path: Path, folder: Path) -> dict[str, object]:
    """What roc-validator and CycloneDX's schema say of an archive."""
    if not VALIDATORS.is_file():
        raise UserError(f"{VALIDATORS} is not there; tests/unit/audit/test_crate.py makes it")
    with zipfile.ZipFile(path) as zipped:
        zipped.extractall(folder / "crate")
    done = subprocess.run(
        [str(VALIDATORS), str(VALIDATE), str(folder / "crate")], capture_output=True, text=True
    )
    if done.returncode:
        raise UserError(f"the validators ended with {done.stderr.strip()[-200:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    return {
        "required_issues": len(said["REQUIRED"]),
        "recommended_exceptions": sorted(said["RECOMMENDED"]),
        "cyclonedx_valid": said["bom"] == "None",
    }


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--workdir", type=Path, required=True, help="of a finished demo")
    parser.add_argument("--run", default="main")
    parser.add_argument("--reproduction", type=Path, help="reproduction.json of make reproduce")
    parser.add_argument("--by", default="", help="in what the reproduction differed")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    path, seconds = archive(args.workdir, args.run)
    size = path.stat().st_size
    with tempfile.TemporaryDirectory() as name:
        found = found_changes(path, Path(name))
        said = validated(path, Path(name))
    figures = [
        {"figure": "seconds of the whole command", "value": round(seconds, 1), "target": "20"},
        {"figure": "MB without weights", "value": round(size / 1e6, 2), "target": "20"},
        {"figure": f"of {CHANGES} changed bytes found", "value": found, "target": f"{CHANGES}"},
        {"figure": "issues at REQUIRED", "value": said["required_issues"], "target": "0"},
        {"figure": "exceptions at RECOMMENDED", "target": "5",
         "value": len(said["recommended_exceptions"])},
        {"figure": "valid CycloneDX", "value": said["cyclonedx_valid"], "target": "yes"},
    ]  # fmt: skip
    note = f"The load of the machine was {load:.1f} on {os.cpu_count()} cores when it began."
    if args.reproduction:
        verdicts = Counter(verdict for verdict, _ in read_json(args.reproduction).values())
        figures += [
            {"figure": f"results reproduced: {verdict}", "value": number, "target": ""}
            for verdict, number in sorted(verdicts.items())
        ]
        note += f" The archive was reproduced {args.by}."
    about = head("the archive of the demo, and its reproduction", command(), ["snakemake"])
    write_json(args.record, about | said | {"runs": figures, "note": note})
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    raise SystemExit(run(main))
