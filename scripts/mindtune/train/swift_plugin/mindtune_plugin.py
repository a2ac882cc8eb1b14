"""Loaded by ms-swift through `--external_plugins`: what its own flags cannot say.

Never imported by our programs. Its settings come in the environment, set by
mindtune/train/swift.py: MINDTUNE_SWANLAB_DIR, MINDTUNE_SWANLAB_EXPERIMENT, MINDTUNE_SWANLAB_ID
an offline SwanLab run; its id outlives a preemption
MINDTUNE_CPU_PACKING=1                                                  allow packing with SDPA;
                                                                        for tests on a CPU only
MINDTUNE_TRAINER={"kernels": "plain"|"fast", ...}                       our trainer and its
observer (watch.py), as JSON
"""

import json
import os
import queue
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from swift.arguments import SftArguments
from swift.dataset import packing

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # for our own package

from mindtune.processes import die_with_parent
from mindtune.safe_loading import guard_swift

if os.environ.get("TORCHELASTIC_RUN_ID"):
    # one process for each GPU: if their parent is killed they must not go on writing without its
    # lock
    die_with_parent()

guard_swift()

# Once CUDA is there ms-swift 4.6.0 packs in a new process, which imports everything again: 15 s of
# an idle GPU for each data set.
# Packing reads lengths only, so a thread does.
packing._resolve_mp_context = lambda _=None: SimpleNamespace(
    Queue=queue.Queue, Process=threading.Thread
)

if os.environ.get("MINDTUNE_CPU_PACKING") == "1":
    _check_padding_free = SftArguments._check_padding_free

    def _allow_sdpa(arguments: SftArguments) -> None:
        """Accept SDPA for packing: transformers builds a block-diagonal mask from the position ids
        when there is no other mask.
        """
        if arguments.packing and arguments.attn_impl == "sdpa":
            arguments.padding_free = True
        else:
            _check_padding_free(arguments)

    SftArguments._check_padding_free = _allow_sdpa

if os.environ.get("MINDTUNE_TRAINER"):
    from mindtune.train.trainer import PackTrainer, preflight
    from mindtune.train.watch import Watch
    from swift.callbacks import callbacks_map
    from swift.trainers import TrainerFactory

    settings = json.loads(os.environ["MINDTUNE_TRAINER"])
    PackTrainer.fast = settings["kernels"] == "fast"
    PackTrainer.fused = settings["fused"]
    Watch.settings = settings
    Watch.mark("driver and disk", settings["launched"])
    Watch.mark("libraries")
    preflight(settings)
    TrainerFactory.TRAINER_MAPPING["causal_lm"] = "mindtune.train.trainer.PackTrainer"
    callbacks_map["mindtune_watch"] = Watch

if os.environ.get("MINDTUNE_SWANLAB_DIR") and os.environ.get("RANK", "0") == "0":
    import swanlab

    # ms-swift's flag knows `cloud` and `local`; an offline run must exist before its callback
    # looks for one
    swanlab.init(
        project="mindtune",
        name=os.environ["MINDTUNE_SWANLAB_EXPERIMENT"],
        id=os.environ["MINDTUNE_SWANLAB_ID"],
        resume="allow",
        mode="offline",
        log_dir=os.environ["MINDTUNE_SWANLAB_DIR"],
    )

    # ms-swift's progress line puts texts beside the metrics, and SwanLab answers each with a
    # traceback in the log
    _log = swanlab.log

    def _log_numbers(data: dict[str, Any], **options: Any) -> Any:
        return _log(
            {name: value for name, value in data.items() if not isinstance(value, str)}, **options
        )

    swanlab.log = _log_numbers
