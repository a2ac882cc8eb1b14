"""How our settings become ms-swift's flags, and how its programs are started."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mindtune.cli import UserError
from mindtune.variables import listed


def render(flags: Mapping[str, Any]) -> list[str]:
    """Command-line words for a mapping of flags: lists as separate words, booleans in lower case,
    sorted by name.
    """
    words = []
    for name in sorted(flags):
        value = flags[name]
        values = value if isinstance(value, list) else [value]
        words += [
            f"--{name}",
            *(str(item).lower() if isinstance(item, bool) else str(item) for item in values),
        ]
    return words


def data_flags(model: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Flags that decide which tokens the trainer sees, the same for caching and for training."""
    return {
        "model_type": model["type"],
        "template": model["template"],
        "max_length": settings["max_length"],
        # over-long dialogues were rejected by name before; what is left must not be dropped in
        # silence, so counts are compared
        "truncation_strategy": "delete",
        "data_seed": settings["seed"],
        "dataset_num_proc": 1,
        "strict": True,
    }


def environment(**extra: str) -> dict[str, str]:
    """The environment of an ms-swift process: what is listed in mindtune/variables.py, offline,
    with `extra` laid over it.

    With a ModelScope token ms-swift logs in first, and without a connection dies of it; SwanLab
    would call a webhook of the user's even when it records offline. Processes that train together
    talk over the loopback interface only.
    """
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    return {
        **listed(os.environ),
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        **offline,
        **extra,
    }


def command_line(command: str, flags: Mapping[str, Any], processes: int) -> list[str]:
    """The words that start `swift COMMAND` with this interpreter, in several processes by
    torchrun.
    """
    torchrun = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--local_addr=127.0.0.1",
        f"--nproc_per_node={processes}",
    ]
    return [
        sys.executable,
        *(torchrun if processes > 1 else []),
        "-m",
        f"swift.cli.{command}",
        *render(flags),
    ]


def swift(
    command: str,
    flags: Mapping[str, Any],
    env: Mapping[str, str],
    keep_open: Sequence[int] = (),
    processes: int = 1,
    beside: Callable[[subprocess.Popen], None] = lambda _: None,
) -> None:
    """Run `swift COMMAND` in this interpreter's environment, in several processes by torchrun; its
    output goes to our log.

    `keep_open` are file descriptors that the process inherits: a lock that it holds on to if we
    are killed. `beside` is called with the process in a thread of its own.
    """
    words = command_line(command, flags, processes)
    print("running: " + " ".join(words[1:]), flush=True)
    with subprocess.Popen(
        words, env=dict(env), pass_fds=tuple(keep_open), stdin=subprocess.DEVNULL
    ) as process:
        thread = threading.Thread(target=beside, args=[process])
        thread.start()
        try:
            status = process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            thread.join()
    if status != 0:
        raise UserError(
            f"ms-swift's {command} ended with status {status}; its own message stands above in "
            f"this log"
        )
