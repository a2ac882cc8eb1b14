"""The trainer that the plugin puts in the place of ms-swift 4.6.0's: same mathematics, no
tokenising and no waits in the loop.

It takes the tokens that cache_dataset stored, makes a micro-batch in one pass with everything that
the model would otherwise compute on the GPU and wait for (sequence borders, longest sequence,
trained positions), and knows which dialogues are in it.
"""

import os
from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from swift.trainers import Seq2SeqTrainer

from mindtune.cli import UserError
from mindtune.preflight import check_this_process
from mindtune.train.isolation import check_isolation
from mindtune.train.lora import speed_up_lora
from mindtune.train.micro_batch import pack_batch
from mindtune.train.watch import Watch, leave_reason


def preflight(settings: dict[str, Any]) -> None:
    """End with a reason before the model is loaded if torch cannot use the cards, if packed
    dialogues see each other, or if the kernels are wrong.

    Of the settings, "gpu" says what is wanted of the cards, "isolation" how the model is run and
    "fused" which adapters the kernels compute; each may be false.
    """
    device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if settings["gpu"] else "cpu"
    try:
        if settings["gpu"]:
            check_this_process(**settings["gpu"])
        if settings["isolation"]:
            check_isolation(device=device, **settings["isolation"])
        if settings["fused"]:
            from mindtune.train.lora_check import check_kernels

            check_kernels(device=device, **settings["fused"])
    except UserError as error:
        refuse(settings, error)
    Watch.mark("checks")


def refuse(settings: dict[str, Any], error: UserError) -> NoReturn:
    """End, and leave the reason for the program that started the trainer."""
    leave_reason(settings["stopped"], str(error))
    raise SystemExit(str(error)) from None


def stored_tokens(row: Mapping[str, Any], return_length: bool = True) -> dict[str, Any]:
    """What ms-swift's template would encode of a cached dialogue, from the columns that
    cache_dataset added; and its id.
    """
    return {
        "input_ids": row["token_ids"],
        "labels": row["token_labels"],
        "length": len(row["token_ids"]),
        "dialogue": row["id"],
    }


def use_stored_tokens(dataset: Any) -> None:
    """Let a data set of ms-swift (packed or not) read the stored tokens instead of tokenising."""
    lazy = getattr(dataset, "dataset", dataset) if hasattr(dataset, "packed_idx") else dataset
    if hasattr(lazy, "encode_func"):
        lazy.encode_func = stored_tokens


class PackTrainer(Seq2SeqTrainer):
    """ms-swift's trainer for packs that cache_dataset tokenised."""

    fast = False  # set by the plugin
    fused: dict[str, Any] | None = None  # as well

    def __init__(
        self,
        model: Any,
        args: Any,
        template: Any,
        train_dataset: Any,
        eval_dataset: Any = None,
        **rest: Any,
    ):
        Watch.mark("model and packs")
        for dataset in (train_dataset, eval_dataset):
            if dataset is not None:
                use_stored_tokens(dataset)
        if self.fast:
            fp8 = bool(self.fused and self.fused["fp8"])
            try:
                count = speed_up_lora(model, fused=bool(self.fused), fp8=fp8)
            except UserError as error:
                refuse(Watch.settings, error)
            print(f"{count} LoRA layers by {'kernels' if self.fused else 'formula'}", flush=True)
        args.use_logits_to_keep = not template.packing and None  # the collator does it for packs
        self.flash = "flash" in str(model.config._attn_implementation)
        self.delivered: list[dict[str, Any]] = []  # what the micro-batches since the last step held
        super().__init__(model, args, template, train_dataset, eval_dataset, **rest)

    def _get_data_collator(self, args: Any, template: Any) -> Any:
        """Our own micro-batches when packing; unpacked runs keep ms-swift's, without the ids."""
        if not template.packing:
            collate = super()._get_data_collator(args, template)
            return lambda rows: {
                **collate(rows),
                "dialogues": [[row["dialogue"]] for row in rows],
                "lengths": [[row["length"]] for row in rows],
            }
        return lambda packs: pack_batch(packs, self.flash)

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Take the ids out, remember them, and hand the rest on."""
        dialogues, lengths = inputs.pop("dialogues"), inputs.pop("lengths")
        if self.model.training:
            tokens = int(
                inputs["input_ids"].numel()
                if "attention_mask" not in inputs
                else inputs["attention_mask"].sum()
            )
            self.delivered.append({"dialogues": dialogues, "lengths": lengths, "tokens": tokens})
        return super()._prepare_inputs(inputs)

    def training_step(self, *args: Any, **rest: Any) -> torch.Tensor:
        """As always; the loss is kept with its dialogues, on the device, so that nothing waits for
        it.
        """
        loss = super().training_step(*args, **rest)
        self.delivered[-1]["loss"] = loss
        return loss

    def floating_point_ops(self, inputs: Any) -> int:
        """Not asked of transformers, which walks over every parameter for it each micro-batch; the
        history has its own formula.
        """
        return 0
