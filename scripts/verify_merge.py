"""Prove that a merged model is its base plus its adapter, and that it reads dialogues as it was
trained to.

Three proofs; if one fails there is no verify.json, and without it nothing can be exported: every
tensor and file is exact (mindtune.proof_tensors), the logits agree (mindtune.proof_logits),
training and serving read the same token ids (mindtune.proof_prompts). docs/proof.md says what each
can see.

Reads   base, adapter and merged folders, and prompts (clean ShareGPT JSONL)
Writes  verify.json, the stage's record
"""

import argparse
import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from mindtune.chat_template import to_messages
from mindtune.cli import UserError, add_json, argument_parser, run
from mindtune.export.adapter_config import check_trained
from mindtune.export.proof_logits import prove_logits
from mindtune.export.proof_prompts import prove_prompts
from mindtune.export.proof_tensors import prove_side_files, prove_tensors
from mindtune.fixed_chats import fixed_chats
from mindtune.provenance import add_made_by, check_inputs
from mindtune.records import (
    read_jsonl,
    sha256_file,
    sha256_files,
    sha256_listing,
    write_hashed_record,
)
from mindtune.safe_loading import check_folder


def first_dialogues(path: Path, count: int) -> dict[str, list[dict[str, str]]]:
    """{id: messages} of the first dialogues of a clean file, at most `count`; an empty file is a
    UserError.
    """
    chosen = {
        str(row["id"]): to_messages(row["conversations"]) for row in islice(read_jsonl(path), count)
    }
    if not chosen:
        raise UserError(
            f"{path} has no dialogue to compare the models on; give a clean file with at least one"
        )
    return chosen


def verify(args: argparse.Namespace) -> dict[str, Any]:
    """All three proofs; return the facts, first of all the hashes of what was proven."""
    dialogues = first_dialogues(args.prompts, args.settings["n_prompts"])
    folders = {"base": args.base, "adapter": args.adapter, "merged": args.merged}
    facts: dict[str, Any] = {
        "hashes": {name: sha256_listing(sha256_files(folder)) for name, folder in folders.items()}
    }
    check_inputs(inputs_of(args, facts["hashes"]), args.made_by)
    check_trained(args.adapter, args.made_by)
    for folder in folders.values():
        check_folder(folder)
    facts["tensors"] = prove_tensors(args.base, args.adapter, args.merged)
    facts["files"] = prove_side_files(args.base, args.merged)
    fixed = fixed_chats()
    rows = prove_prompts(
        args.merged,
        fixed | {f"dialogue {name}": chat for name, chat in dialogues.items()},
        args.model,
    )
    facts["prompts"] = [
        row | ({"messages": fixed[row["chat"]][:-1]} if row["chat"] in fixed else {})
        for row in rows
    ]
    facts["logits"] = prove_logits(
        args.base, args.adapter, args.merged, dialogues.values(), args.settings
    )
    return facts


def inputs_of(args: argparse.Namespace, hashes: Mapping[str, str]) -> dict[str, str]:
    """{path: SHA-256} of what was proven, for the record, given the folders' hashes."""
    inputs = {getattr(args, name).as_posix(): digest for name, digest in hashes.items()}
    return inputs | {args.prompts.as_posix(): sha256_file(args.prompts)}


def prepare_torch(threads: int, device: str) -> None:
    """Set the number of threads; a GPU that is asked for and not there is a UserError."""
    import torch

    torch.set_num_threads(threads)
    if device == "gpu" and not torch.cuda.is_available():
        raise UserError(
            "--settings asks for device gpu, but torch finds no CUDA device on this node; give "
            "cpu, as the rule does, or run on a GPU node"
        )


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--base", required=True, type=Path, help="base model folder")
    parser.add_argument("--adapter", required=True, type=Path, help="adapter folder")
    parser.add_argument("--merged", required=True, type=Path, help="merged model folder")
    add_made_by(parser)
    parser.add_argument("--prompts", required=True, type=Path, help="clean dialogues (JSONL)")
    add_json(parser, "--model", "type", "template")
    parser.add_argument(
        "--settings",
        required=True,
        type=json.loads,
        help='JSON: the keys of `verify` (config/README.md), and "device": cpu or gpu',
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="threads for the logits; facts may change in their last digits",
    )
    parser.add_argument("--verify", required=True, type=Path, help="verify.json to write")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    args.verify.unlink(missing_ok=True)
    prepare_torch(args.threads, args.settings["device"])
    facts = verify(args)
    write_hashed_record(
        args.verify,
        "verify_merge",
        inputs=inputs_of(args, facts["hashes"]),
        outputs={},
        params={"model": args.model, **args.settings},
        facts=facts,
        packages=["ms-swift", "peft", "safetensors", "tokenizers", "torch", "transformers"],
    )
    tensors, logits = facts["tensors"], facts["logits"]
    print(
        f"{tensors['changed']['exact']} merged and {tensors['other']['equal']} other tensors are "
        f"exact; logits differ by a root "
        f"mean square of at most {logits['max_rms_in_deviations']:.3g} deviations at "
        f"{logits['positions']} positions, and choose the same "
        f"token at all {logits['decisive_positions']} that are no near-ties; "
        f"{len(facts['prompts'])} prompts read alike"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
