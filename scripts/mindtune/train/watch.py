"""Looks after a training: one line a step in steps.jsonl, and a stop, with a reason, before a bad
step costs more.

Settings (from mindtune/train/swift.py): "steps" the file of lines, "stopped" the file of the
reason, "started" the job's start in Unix seconds, "launched" the trainer's, "recompute" whether
activations are recomputed, "datasets" those of a mixture.

A line: step, loss, packs, rows, tokens (as delivered to the model, not as planned), seconds, and
on a GPU tokens_per_second, mfu, memory_gib (peak of what torch holds), gpu_percent, watts, joules;
with several GPUs energy and tokens are of all of them, memory of the fullest and use of the
idlest; of a mixture, "datasets" has the tokens of each. A step that a killed job repeats has two
lines; the last counts.
"""

import json
import math
import os
import shutil
import time
from pathlib import Path
from statistics import median
from typing import Any

from swift.callbacks import TrainerCallback

from mindtune.train.card import Card, training_flops
from mindtune.train.memory import CHECKPOINT_COPIES
from mindtune.train.mixing import set_of

WINDOW, FACTOR = (
    20,
    2.0,
)  # a loss above FACTOR times the median of the last WINDOW steps is an explosion
SPARE_BYTES = 64 << 20


def explosion(loss: float, losses: list[float]) -> str:
    """Why a loss stops the training; empty if it does not. `losses` are those of the steps
    before.
    """
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if len(losses) >= WINDOW and loss > FACTOR * median(losses[-WINDOW:]):
        return (
            f"the loss is {loss:.4g}, more than {FACTOR:g} times the median of the {WINDOW} "
            f"steps before"
        )
    return ""


def leave_reason(file: str, reason: str) -> None:
    """For the program that started the trainer, which reports it."""
    Path(file).write_text(reason, encoding="utf-8")


class Watch(TrainerCallback):
    """The callback; `settings` is set by the plugin."""

    settings: dict[str, Any] = {}
    after_start: dict[
        str, float
    ] = {}  # seconds from the job's start to the end of each part of its beginning

    @classmethod
    def mark(cls, part: str, now: float | None = None) -> None:
        """A part of the beginning has ended, now or at a Unix time."""
        cls.after_start[part] = round((now or time.time()) - cls.settings["started"], 2)

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Count the weights and start the clock."""
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.frozen = base is not model
        self.parameters = base.num_parameters(
            exclude_embeddings=True
        )  # weights in 4 bits count as what they stand for
        if base.config.tie_word_embeddings:
            self.parameters += base.get_input_embeddings().weight.numel()
        self.end_line()
        self.card, self.losses = Card(), []
        self.steps_taken = 0
        self.mark("trainer")
        self.clock, self.energy = time.perf_counter(), self.card.joules()

    def on_evaluate(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Evaluations do not count as training time."""
        self.clock, self.energy = time.perf_counter(), self.card.joules()

    on_save = on_evaluate

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Write the step's line; stop if its loss is no number or if the disk cannot take the
        checkpoint that is due.
        """
        parts, cards, free = self.gather(Path(args.output_dir))
        now = time.perf_counter()
        # ms-swift multiplies each process's loss by their number, because the mean of their
        # gradients is taken
        loss = sum(part["loss"] for part in parts) / args.world_size
        packs = [pack for part in parts for pack in part["dialogues"]]
        tokens = sum(part["tokens"] for part in parts)
        line = {
            "step": state.global_step,
            "loss": loss,
            "packs": len(packs),
            "rows": sum(map(len, packs)),
            "tokens": tokens,
        } | self.by_dataset(parts)
        line |= {"seconds": now - self.clock} | self.card_readings(tokens, now - self.clock, cards)
        if not self.steps_taken:
            self.mark("first step")
            line["after_start"] = self.after_start
        self.clock = now
        self.steps_taken += 1
        self.write(line)
        reason = explosion(loss, self.losses)
        if reason:
            worst = [part for part in parts if not math.isfinite(part["loss"])] or parts
            self.stop(f"at step {state.global_step} {reason}; {self.place(worst)}")
        self.losses.append(loss)
        if control.should_save:
            self.check_disk(Path(args.output_dir), free)
        self.profile()

    def gather(self, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
        """Of all processes: what the step's micro-batches held, with their losses; the cards'
        readings; the folder's free bytes.

        The one wait of a step. Every process gets the same, so that all stop or none.
        """
        import torch

        mine, self.trainer.delivered = self.trainer.delivered, []
        losses = torch.stack([part["loss"] for part in mine]).tolist()
        mine = [part | {"loss": loss} for part, loss in zip(mine, losses, strict=True)]
        joules, before = self.card.joules(), self.energy
        self.energy = joules
        card = [] if joules is None else [self.card.reading(joules - before)]
        gathered = [(mine, card, shutil.disk_usage(folder).free)]
        if torch.distributed.is_initialized():
            gathered *= torch.distributed.get_world_size()
            torch.distributed.all_gather_object(gathered, gathered[0])
        parts, cards, free = zip(*gathered, strict=True)
        return sum(parts, []), sum(cards, []), min(free)

    def by_dataset(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        """Tokens of the step by data set, for a run on a mixture."""
        tokens = dict.fromkeys(self.settings["datasets"], 0)
        for part in parts if tokens else ():
            for ids, lengths in zip(part["dialogues"], part["lengths"], strict=True):
                for name, length in zip(ids, lengths, strict=True):
                    tokens[set_of(name)] += length
        return {"datasets": tokens} if tokens else {}

    def profile(self) -> None:
        """Write a table of the third step's GPU time by kernel, when "profile" names a file."""
        if not self.settings.get("profile"):
            return
        from torch.profiler import ProfilerActivity, profile

        if self.steps_taken == 2:
            self.profiler = profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU])
            self.profiler.start()
        elif self.steps_taken == 3:
            self.profiler.stop()
            table = self.profiler.key_averages().table(
                sort_by="self_cuda_time_total", row_limit=40, max_name_column_width=90
            )
            table += self.profiler.key_averages().table(
                sort_by="self_cpu_time_total", row_limit=40, max_name_column_width=90
            )
            Path(self.settings["profile"]).write_text(table, encoding="utf-8")
            self.clock, self.energy = time.perf_counter(), self.card.joules()

    def card_readings(
        self, tokens: int, seconds: float, cards: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """What the GPUs did in a step."""
        if not cards:
            return {}
        rate, joules = tokens / seconds, sum(card["joules"] for card in cards)
        flops = rate * training_flops(self.parameters, 1, self.settings["recompute"], self.frozen)
        return {
            "tokens_per_second": rate,
            "mfu": flops / (self.card.peak * len(cards)) if self.card.peak else None,
            "memory_gib": max(card["memory_gib"] for card in cards),
            "gpu_percent": min(card["gpu_percent"] for card in cards),
            "joules": joules,
            "watts": joules / seconds,
        }

    def place(self, parts: list[dict[str, Any]]) -> str:
        """Where to look: the micro-batches' packs and dialogues."""
        packs = [
            f"pack {number}: {', '.join(ids)}"
            for number, ids in enumerate(parts[0]["dialogues"], 1)
        ]
        return (
            "look at the dialogues of its micro-batch ("
            + "; ".join(packs)
            + "), or lower train.learning_rate"
        )

    def check_disk(self, folder: Path, free: int) -> None:
        """A checkpoint is what is trained and two optimizer moments; leave room for twice that."""
        trained = sum(
            part.numel() * part.element_size()
            for part in self.trainer.model.parameters()
            if part.requires_grad
        )
        needed = 2 * CHECKPOINT_COPIES * trained + SPARE_BYTES
        if free < needed:
            self.stop(
                f"{folder} has {free >> 20} MiB free and a checkpoint needs {needed >> 20} MiB; "
                f"free some space, "
                "then run again to go on from the last checkpoint"
            )

    def stop(self, reason: str) -> None:
        """Leave the reason for the program that started the trainer, and end."""
        import torch

        if self.trainer.is_world_process_zero():
            leave_reason(self.settings["stopped"], reason)
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # the first process that ends has the others ended
        raise SystemExit(reason)

    def end_line(self) -> None:
        """End the line that a kill has torn, or the next one would be lost with it."""
        steps = Path(self.settings["steps"])
        if (
            self.trainer.is_world_process_zero()
            and steps.is_file()
            and not steps.read_bytes().endswith(b"\n")
        ):
            with open(steps, "a", encoding="utf-8") as stream:
                stream.write("\n")

    def write(self, line: dict[str, Any]) -> None:
        """Append one line; a kill leaves at most a torn last one."""
        if self.trainer.is_world_process_zero():
            with open(self.settings["steps"], "a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
