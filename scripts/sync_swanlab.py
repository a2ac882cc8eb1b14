"""Send a run's offline SwanLab record to a SwanLab server, when somebody asks for it; nothing else
in the workflow does.

Reads   train_lora.json (the run's id), state/train/{run}/{id}/swanlab/, and SWANLAB_API_KEY
        (SWANLAB_API_HOST for a server of one's own)
Writes  the stage's record
"""

import os
import subprocess
import sys
from pathlib import Path

from mindtune.cli import UserError, argument_parser, run
from mindtune.provenance import read_record
from mindtune.records import write_record

KEY = "SWANLAB_API_KEY"


def recordings(state_root: Path, run_id: str) -> list[Path]:
    """The folders that SwanLab wrote, one for each time the training started; a run without any is
    a UserError.
    """
    found = sorted((state_root / run_id / "swanlab").glob("run-*"))
    if not found:
        raise UserError(
            f"{state_root / run_id / 'swanlab'} holds no recording; the state of that training was "
            f"removed, so train again to get one"
        )
    return found


def send(folder: Path, project: str, run_id: str, key: str) -> None:
    """Send one recording; the key is in the environment only, and is taken out of what SwanLab
    says.
    """
    program = [
        str(Path(sys.executable).with_name("swanlab")),
        "sync",
        "--project",
        project,
        "--id",
        run_id,
        str(folder),
    ]
    done = subprocess.run(
        program,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout.replace(key, "***"), flush=True)
    if done.returncode:
        last = (done.stdout.strip().splitlines() or ["nothing"])[-1].replace(key, "***")
        raise UserError(
            f"SwanLab did not take {folder} ({last}); check {KEY}, SWANLAB_API_HOST and the "
            f"network, then run again"
        )


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--train-record", required=True, type=Path)
    parser.add_argument("--state-root", required=True, type=Path)
    parser.add_argument("--project", required=True)
    parser.add_argument("--record", required=True, type=Path)
    args = parser.parse_args()
    key = os.environ.get(KEY, "")
    if not key:
        raise UserError(
            f"{KEY} is not set; put your SwanLab key into the environment, then run again"
        )
    run_id = read_record(args.train_record)["facts"]["run_id"]
    folders = recordings(args.state_root, run_id)
    for folder in folders:
        send(folder, args.project, run_id, key)
    write_record(
        args.record,
        "sync_swanlab",
        inputs=[args.train_record],
        outputs=[],
        params={"project": args.project},
        facts={"run_id": run_id, "recordings": len(folders)},
        packages=["swanlab"],
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
