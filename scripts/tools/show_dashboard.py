"""Show the trainings of a working directory in SwanLab's own dashboard, on this machine and
without an account, until Ctrl-C.

A training records offline, which the dashboard cannot show, so every training is written once more
into a temporary folder that goes when the program ends: finished ones from their history, the
others as far as they have come when the program starts. It answers whoever has the address that it
prints, and nothing but what the dashboard's own page asks (dashboard_guard.py).

Reads   results/runs/*/history.csv and train_lora.json, state/train/*/*/steps.jsonl and
        logging.jsonl of a working directory
Writes  a temporary folder
"""

import colorsys
import io
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError, argument_parser, run
from mindtune.processes import die_with_parent
from tools.dashboard_guard import Guard
from tools.trainings import Training, trainings

LOOPBACK = "127.0.0.1"
GOLDEN = 0.618034
PROBES = ("hardware", "runtime", "requirements", "git", "swanlab", "monitor")


def listen(port: int) -> socket.socket:
    """A socket that listens on this machine alone; a UserError if the port cannot be had."""
    try:
        return socket.create_server((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) else "it must be 0 to 65535"
        raise UserError(
            f"port {port} on {LOOPBACK} cannot be had ({reason}); name another PORT"
        ) from None


def leave_settings_behind(folder: Path) -> None:
    """Leave SwanLab a folder and nothing of the user's own settings: no key, no server, no webhook
    that it would call.
    """
    for name in [name for name in os.environ if name.upper().startswith("SWANLAB_")]:
        del os.environ[name]
    os.environ |= {
        "SWANLAB_ROOT": str(folder),
        "SWANLAB_CONFIG_DIR": str(folder),
        "SWANLAB_LOG_DIR": str(folder),
    }
    os.chdir(folder)


def color(number: int) -> str:
    """The colour of a training's curves, `#rrggbb`: each hue is far from those of the trainings
    before.
    """
    parts = colorsys.hls_to_rgb(number * GOLDEN % 1, 0.42, 0.6)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def write(training: Training, number: int, folder: Path) -> None:
    """Write a training as an experiment of SwanLab's local mode."""
    import swanlab

    # SwanLab would say to start its dashboard by hand, and take this program's machine and output
    # for the training's
    with redirect_stdout(io.StringIO()):
        swanlab.init(
            mode="local",
            log_dir=str(folder),
            project="mindtune",
            name=training.name,
            description=training.note,
            color=color(number),
            config=training.settings,
            settings=swanlab.Settings(
                terminal={"proxy_type": "none"}, probe=dict.fromkeys(PROBES, False)
            ),
        )
        for step, values in sorted(training.steps.items()):
            swanlab.log(values, step=step)
        swanlab.finish()


def check(found: Sequence[Training], folder: Path) -> None:
    """A UserError unless SwanLab, which only logs its errors, has written every value."""
    wanted = sum(training.values() for training in found)
    written = sum(len(file.read_bytes().splitlines()) for file in folder.glob("run-*/logs/*/*.log"))
    if written != wanted:
        raise UserError(
            f"SwanLab wrote {written} of {wanted} values into {folder}; free some space there, or "
            f"set TMPDIR"
        )


def show(found: Sequence[Training], folder: Path, listener: socket.socket) -> None:
    """Write the trainings, then be what `swanlab watch` starts, on a socket that is ours: it would
    take any port for a used one.
    """
    leave_settings_behind(folder)
    for number, training in enumerate(found):
        write(training, number, folder)
        print(f"{training.name}: {len(training.steps)} steps, {training.note}")
    check(found, folder)
    import uvicorn
    from swanboard.app import app

    guard = Guard(app, listener.getsockname()[1])
    print(f"dashboard on {guard.address()} until Ctrl-C; the address is for you alone")
    config = uvicorn.Config(
        guard, log_level="critical", ws="none", proxy_headers=False, server_header=False
    )
    uvicorn.Server(config).run(sockets=[listener])


def show_in_child(found: Sequence[Training], folder: Path, listener: socket.socket) -> None:
    """Exit with the status of `show`, in a process that its parent ends, and that ends with it."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(run(lambda: show(found, folder, listener)))


def watch_over(found: Sequence[Training], folder: Path, listener: socket.socket) -> int:
    """Run `show_in_child` until it ends, and return its exit status; an interrupt ends it."""
    # SwanLab's threads write on after an interrupt; a process that was killed leaves its folder
    # alone
    child = get_context("fork").Process(target=show_in_child, args=(found, folder, listener))
    child.start()
    try:
        child.join()
        return child.exitcode
    finally:
        child.kill()
        child.join()


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--workdir", type=Path, required=True, help="working directory of a run, such as demo"
    )
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell in the background ignores the first
        signal.signal(number, signal.default_int_handler)
    try:
        found = trainings(args.workdir)
        with (
            listen(args.port) as listener,
            tempfile.TemporaryDirectory(prefix="mindtune-dashboard-") as folder,
        ):
            status = watch_over(found, Path(folder), listener)
    except KeyboardInterrupt:
        print("the dashboard ended")
    else:
        sys.exit(status)


if __name__ == "__main__":
    raise SystemExit(run(main))
