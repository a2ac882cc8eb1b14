"""The fast path's parts that run on a CPU, against peft's and ms-swift's own: equal in float32,
and packed dialogues apart.
"""

import copy

import pytest
import torch
from mindtune.cli import UserError
from mindtune.train import watch
from mindtune.train.lora import speed_up_lora
from mindtune.train.trainer import pack_batch
from models import build_small_model

TEXTS = [
    "我最近总是失眠，晚上翻来覆去睡不着。",
    "听起来你很辛苦，我们一起看看可以怎么办。",
    "谢谢你愿意告诉我。",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_small_model(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def template(folder):
    from swift.model import get_processor
    from swift.template import get_template

    template = get_template(
        get_processor(str(folder), model_type="qwen2"),
        template_type="qwen2_5",
        max_length=768,
        padding_free=True,
    )
    template.set_mode("train")
    return template


@pytest.fixture(scope="module")
def rows(template):
    """Dialogues as the stored columns give them."""
    result = []
    for number in range(3):
        messages = [
            {"role": "user", "content": TEXTS[0] * (number + 1)},
            {"role": "assistant", "content": TEXTS[1]},
            {"role": "user", "content": TEXTS[2]},
            {"role": "assistant", "content": TEXTS[1] * 2},
        ]
        encoded = template.encode({"messages": messages}, return_length=True)
        result.append({**encoded, "dialogue": f"对话{number}"})
    return result


def adapted(folder, dropout):
    """The small model in float32 with a LoRA adapter whose B is not zero."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    )
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(
        model, LoraConfig(r=8, lora_alpha=32, lora_dropout=dropout, target_modules=names)
    )
    for name, part in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(part, std=0.05)
    return model.train()


def loss_and_gradients(model, batch):
    """Loss of a batch and the adapter's gradients, with the same dropout masks at every call."""
    torch.manual_seed(7)
    model.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    return loss.detach(), {
        name: part.grad.clone() for name, part in model.named_parameters() if part.requires_grad
    }


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_the_lora_sum_is_pefts(folder, rows, dropout):
    plain = adapted(folder, dropout)
    fast = copy.deepcopy(plain)
    assert speed_up_lora(fast) == 14
    batch = pack_batch([rows], flash=False)
    for name in ("dialogues", "lengths"):  # which the trainer takes out
        del batch[name]
    expected, found = loss_and_gradients(plain, batch), loss_and_gradients(fast, batch)
    assert torch.allclose(expected[0], found[0], rtol=0, atol=1e-5)
    assert len(expected[1]) == 28
    for name, gradient in expected[1].items():
        assert gradient.abs().max() > 1e-6, name
        assert torch.allclose(
            gradient, found[1][name], rtol=1e-5, atol=1e-5 * float(gradient.abs().max())
        ), name


def test_a_disabled_adapter_is_the_base_model(folder, rows):
    fast = adapted(folder, 0.1).eval()
    speed_up_lora(fast)
    batch = {name: pack_batch([rows], flash=False)[name] for name in ("input_ids", "position_ids")}
    with torch.no_grad(), fast.disable_adapter():
        off = fast(**batch).logits
    with torch.no_grad():
        assert torch.equal(off, fast.unload()(**batch).logits)


def test_dora_keeps_pefts_own_pass(folder):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert (
        speed_up_lora(
            get_peft_model(model, LoraConfig(r=4, use_dora=True, target_modules=["q_proj"]))
        )
        == 0
    )


def test_fp8_is_refused_where_a_layer_would_keep_its_base_as_it_is(folder):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    names = ["q_proj", "embed_tokens"]
    model = get_peft_model(model, LoraConfig(r=4, target_modules=names))
    with pytest.raises(UserError, match=r"1 of 3 adapters .*such as \S*embed_tokens"):
        speed_up_lora(model, fused=True, fp8=True)


def test_a_micro_batch_is_ms_swifts(template, rows):
    stock = template.data_collator(
        [[row] for row in copy.deepcopy(rows)][0] + copy.deepcopy(rows[1:])
    )
    ours = pack_batch([rows[:2], rows[2:]], flash=True)
    assert torch.equal(ours["input_ids"], stock["input_ids"])
    assert torch.equal(ours["position_ids"], stock["position_ids"])
    # ms-swift's SwiftMixin.prepare_logits_to_keep, for a batch of one
    trained = (stock["labels"] != -100)[0]
    kept = torch.nn.functional.pad(trained[1:], (0, 1), value=True)
    assert torch.equal(ours["logits_to_keep"], kept.nonzero()[:, 0])
    assert torch.equal(
        ours["labels"], torch.nn.functional.pad(stock["labels"][:, trained], (1, 0), value=-100)
    )
    assert ours["cu_seq_lens_q"].dtype == torch.int32
    assert ours["cu_seq_lens_q"].diff().tolist() == [row["length"] for row in rows]
    assert type(ours["max_length_q"]) is int and ours["max_length_q"] == max(
        row["length"] for row in rows
    )
    assert ours["dialogues"] == [["对话0", "对话1"], ["对话2"]]
    sizes = [row["length"] for row in rows]
    assert ours["lengths"] == [sizes[:2], sizes[2:]]


def logits(model, batch):
    with torch.no_grad():
        return model(
            input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
        ).logits[0]


def test_packed_dialogues_do_not_see_each_other(folder, rows):
    model = adapted(folder, 0.0).eval()
    packed = pack_batch([rows], flash=False)
    alone = torch.cat([logits(model, pack_batch([[row]], flash=False)) for row in rows])
    assert (logits(model, packed) - alone).abs().max() < 1e-4
    packed["position_ids"] = torch.arange(packed["input_ids"].shape[1])[None]
    assert (logits(model, packed) - alone).abs().max() > 1e-2, "a broken mask must be seen"


@pytest.mark.parametrize(
    ("loss", "before", "reason"),
    [
        (float("nan"), [], "nan"),
        (float("inf"), [2.0] * 30, "inf"),
        (4.1, [2.0] * 20, "2 times the median"),
        (3.9, [2.0] * 20, ""),
        (50.0, [2.0] * 19, ""),  # too early to know
    ],
)
def test_what_stops_a_training(loss, before, reason):
    found = watch.explosion(loss, before)
    assert reason in found and bool(found) == bool(reason)


def test_flops_of_a_token():
    assert watch.training_flops(7_070_000_000, 1, recompute=False, frozen=True) == 4 * 7.07e9
    assert watch.training_flops(7_070_000_000, 10, recompute=True, frozen=True) == 6 * 7.07e10
    assert watch.training_flops(7_070_000_000, 1, recompute=True, frozen=False) == 8 * 7.07e9
