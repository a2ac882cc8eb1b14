"""Measure how likely the base model finds what the counsellors of each dialogue say.

Reads clean.jsonl and the base model's folder. Writes perplexity.parquet, a row a dialogue in their
order: id, tokens (those that a training would learn), nll (the mean negative log-likelihood of
them in nats a token, given what was said before; exp of it is the perplexity). Nothing is rejected
by it.

It reads the cleaned dialogues and not the sides of the split, so that another seed or share costs
no second measurement, and what was left out of training for a held-out text is measured too.
"""

import argparse
from pathlib import Path

from mindtune.cli import add_json, argument_parser, run
from mindtune.provenance import add_made_by, hashing_beside
from mindtune.records import partial, read_jsonl, write_record
from mindtune.torch_device import add_device, prepare
from mindtune.train.perplexity import BATCH_TOKENS, encoded, load_for, measured, summary


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--dialogues", required=True, type=Path, help="cleaned dialogues (JSONL)")
    parser.add_argument("--model", required=True, type=Path, help="folder of the base model")
    add_made_by(parser)
    add_json(parser, "--model-kind", "type", "template")
    add_device(parser)
    parser.add_argument("--perplexity", required=True, type=Path)
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    prepare(args)
    import pandas

    with hashing_beside([args.dialogues, args.model], args.made_by) as hashed:
        rows = encoded(read_jsonl(args.dialogues), args.model, args.model_kind)
        model = load_for(args.model, args.device)
        inputs = hashed()
        table = pandas.DataFrame(
            measured(rows, model, BATCH_TOKENS[args.device]), columns=["id", "tokens", "nll"]
        ).astype({"tokens": "int32", "nll": "float64"})
    facts = summary(table) | {"dtype": str(model.dtype).removeprefix("torch.")}
    with partial(args.perplexity) as temporary:
        table.to_parquet(temporary, index=False)
    write_record(
        args.record,
        "measure_perplexity",
        inputs=inputs,
        outputs=[args.perplexity],
        params={"model": args.model_kind, "device": args.device},
        facts=facts,
        packages=["ms-swift", "torch", "transformers"],
    )
    nll = facts["nll"]
    print(
        f"{facts['dialogues']} dialogues, {facts['tokens']} learned tokens: "
        f"{nll['median']} nats a token in the middle one, {nll['p5']} to {nll['p95']} in 9 of 10"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
