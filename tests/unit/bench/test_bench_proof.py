"""What the proof is measured on is what our merge makes and what peft trains with; every wrong
merge is another model.
"""

import pytest
import torch
from bench.measuring import wilson
from bench.proof_checks import check, logits_of, random_adapter, trained_adapter
from bench.proof_table import false_rates, table
from bench.wrong_merges import Merging, truncated, wrong_adapters
from mindtune.tensors import load_tensor, read_model
from peft import PeftModel
from proven_run import VERIFY, proven_run
from transformers import AutoModelForCausalLM

PROMPTS = [torch.tensor([[5, 9, 200, 31, 7, 5, 88]])]


@pytest.fixture
def run_folder(tmp_path_factory):
    return proven_run(tmp_path_factory)


@pytest.fixture
def merging(run_folder):
    model = AutoModelForCausalLM.from_pretrained(run_folder / "base", dtype=torch.float32)
    return Merging(model.eval(), torch.bfloat16)


def test_a_right_merge_in_memory_is_the_merged_folder(run_folder, merging):
    merging.load(
        trained_adapter(run_folder / "adapter", "cpu"), lambda weight: weight.bfloat16().float()
    )
    stored = read_model(run_folder / "merged")
    for name, value in merging.model.named_parameters():
        assert torch.equal(value, load_tensor(stored[name]).float()), name


def test_the_unmerged_model_is_pefts(run_folder, merging):
    base = AutoModelForCausalLM.from_pretrained(run_folder / "base", dtype=torch.float32)
    trained = PeftModel.from_pretrained(base, run_folder / "adapter").eval()
    with merging.unmerged(trained_adapter(run_folder / "adapter", "cpu")):
        ours = next(logits_of(merging.model, PROMPTS))
    theirs = next(logits_of(trained, PROMPTS))
    assert (ours - theirs).abs().max() < 1e-5 * theirs.std()
    plain = next(logits_of(merging.model, PROMPTS))
    assert (plain - theirs).abs().max() > 0.1 * theirs.std(), "the hooks were not taken away"


def test_truncation_cuts_bits_and_does_not_round():
    values = torch.tensor([1.0, 1.0 + 2**-8 + 2**-9, -(1.0 + 2**-8 + 2**-9)])
    assert truncated(values).tolist() == [1.0, 1.0, -1.0]
    assert values.bfloat16().tolist() == [1.0, 1.0078125, -1.0078125]


def test_every_wrong_merge_is_another_model_and_the_next_one_is_right_again(merging):
    right, other = (random_adapter(merging, 0.1, seed) for seed in (0, 1))
    rows = list(check(merging, right, other, PROMPTS, VERIFY))
    names = [row["merge"] for row in rows]
    assert len(names) == len(set(names)) and {"rope_theta is 10,000", "alpha negated"} <= set(names)
    for row in rows:
        assert (row["max_loaded_rms_in_deviations"] > 0) is (row["is"] != "right"), row
        assert row["merge"] not in ("float16", "float32") or not row["refused"], row
    assert next(row for row in rows if row["merge"] == "adapter missing")["refused"]
    again = list(check(merging, right, other, PROMPTS, VERIFY))
    assert again == rows, "a wrong merge left something behind"


def test_wrong_adapters_change_what_they_say(merging):
    right, other = (random_adapter(merging, 0.01, seed) for seed in (0, 1))
    wrong = wrong_adapters(right, other)
    assert len(right.pairs) - len(wrong["v_proj's adapter missing in the first layer"].pairs) == 1
    assert wrong["alpha negated"].scale == -right.scale
    exchanged = wrong["first and last layer's adapters exchanged"].pairs
    assert exchanged["model.layers.0.mlp.up_proj"] is right.pairs["model.layers.1.mlp.up_proj"]


def test_rates_have_their_n_and_interval(merging):
    right, other = (random_adapter(merging, 0.1, seed) for seed in (0, 1))
    rows = [
        {"model": "m", "adapters": "B 0.1", **row}
        for row in check(merging, right, other, PROMPTS, VERIFY)
    ]
    rates = false_rates(rows)
    assert rates["right merges refused"]["n"] == 3
    assert rates["wrong merges refused"]["adapter missing"] == "1 of 1 (by the first comparison 1)"
    assert {row["n"] for row in table(rows)} == {1}
    assert wilson(0, 10) == pytest.approx((0, 0.27754), abs=1e-4)  # Newcombe 1998
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
