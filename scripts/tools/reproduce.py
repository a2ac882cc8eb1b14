"""Repeat an archived run: unpack it safely, run the archived code with the archived configuration,
and say of every result whether it is identical, within tolerance or different.

Writes a new folder: archive/ (what was in the archive; its code/ is the workflow that runs) and a
record reproduction.json. Exit status 0 if all results are identical or within tolerance, 1 if one
is not, 2 if the archive is refused or the run fails.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from deploy.verify_archive import MANIFEST
from mindtune.audit.comparing import DIFFERENT, MISSING, compare
from mindtune.audit.unpack import unpack, verified
from mindtune.cli import UserError, argument_parser, run
from mindtune.records import read_json, sha256_path, write_json

MEMORY_MB = 4000  # two trainings side by side on a small machine, as make demo has it


def places(workdir: Path, manifest: dict[str, Any]) -> tuple[Path, Path, Path]:
    """(what was archived, the code, the working directory as it lay to the code)."""
    archived = workdir / "archive"
    code = archived / "code"
    return archived, code, code if manifest.get("code_from_work") == "." else code / "work"


def snakemake(code: Path, work: Path, config: Path, cores: int) -> None:
    """Run the archived workflow; its own configuration is laid over nothing."""
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(code / "Snakefile"),
        "--directory", str(work), "--replace-workflow-config", "--configfile", str(config),
        "--cores", str(cores), "--resources", f"mem_mb={MEMORY_MB}", "--rerun-incomplete", "all",
    ]  # fmt: skip
    done = subprocess.run(command)
    if done.returncode:
        raise UserError(
            f"the archived workflow ended with status {done.returncode}; the cause stands above, "
            f"and the same command goes on where it stopped"
        )


def expected_results(manifest: dict[str, Any]) -> dict[str, str]:
    """{path below results/: SHA-256}, of files that are in the archive and of what is withheld."""
    listed = {
        name: about["sha256"]
        for name, about in manifest["files"].items()
        if name.startswith("results/")
    }
    return listed | {path: about["sha256"] for path, about in manifest["withheld"].items()}


def show(found: dict[str, tuple[str, str]]) -> None:
    """One line a result, the worst last, and a sentence that counts."""
    order = sorted(found, key=lambda path: (found[path][0] in (DIFFERENT, MISSING), path))
    for path in order:
        verdict, why = found[path]
        print(f"{verdict:16}  {path}" + (f"  ({why})" if why else ""))
    count = Counter(verdict for verdict, _ in found.values())
    print(", ".join(f"{number} {verdict}" for verdict, number in sorted(count.items())))


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument(
        "--workdir", type=Path, required=True, help="a folder that is not there yet"
    )
    parser.add_argument("--expect", default="", help="SHA-256 of the archive as it was published")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument(
        "--tolerance", type=float, default=0.0, help="share by which two numbers may differ"
    )
    args = parser.parse_args()
    manifest = verified(args.archive, args.expect)
    archived, code, work = places(args.workdir.resolve(), manifest)
    if not archived.is_dir():
        unpack(args.archive, archived, manifest)
    elif read_json(archived / MANIFEST) != manifest:
        raise UserError(f"{archived} holds another archive; give a new folder as WORKDIR")
    work.mkdir(exist_ok=True)
    snakemake(code, work, archived / "config.json", args.cores)
    expected = expected_results(manifest)
    hashes = {path: sha256_path(work / path) for path in expected if (work / path).exists()}
    found = compare(archived, work, expected, hashes, args.tolerance)
    write_json(
        args.workdir / "reproduction.json", {path: list(said) for path, said in found.items()}
    )
    show(found)
    if any(verdict in (DIFFERENT, MISSING) for verdict, _ in found.values()):
        sys.exit(1)


if __name__ == "__main__":
    raise SystemExit(run(main))
