"""The GPU's kernels of the LoRA sum: right for odd lengths, all ranks and both kinds of numbers,
with masks that are what a mask should be. In Triton's interpreter; lora_check asks the card itself.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mindtune.environments import site_packages, venv_name, venvs_folder
from mindtune.kernels import by_kernels, fused, unfit_for_fp8
from training import QUANTIZER, SETTINGS

PROGRAM = Path(__file__).parents[1] / "builders/interpreted_kernels.py"
TRITON = site_packages(f"{venvs_folder()}/{venv_name('kernels', on_gpu=False)}")


@pytest.fixture(scope="module")
def found():
    env = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": f"{TRITON}:{QUANTIZER}"}
    done = subprocess.run([sys.executable, PROGRAM], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_outputs_and_gradients_are_the_formulas(found):
    assert len(found["formulas"]) == 7
    for *case, dtype, difference in found["formulas"]:
        assert difference < {"float32": 1e-6, "float16": 1e-3}[dtype], case


def test_a_model_trains_as_with_pefts_own_pass(found):
    models = found["models"]
    assert models["layers"] == 14
    # the norm of a gradient is some 1e-3: sums in another order
    assert models["kernels and peft"] < 1e-5
    assert models["some projections"] < 1e-5
    assert models["in 4 bits"] < 1e-5
    assert models["switched off is the base"]


def test_masks_come_again_in_recompute_and_in_a_second_run(found):
    models = found["models"]
    assert models["dropped and not"] > 1e-4
    assert models["twice the same bytes"]
    assert models["recomputed"] < 1e-6


def test_masks_keep_their_share_and_are_independent(found):
    masks = found["masks"]
    deviation = (0.9 * 0.1) ** 0.5
    assert abs(masks["kept"] - 0.9) < 4 * deviation / masks["numbers"] ** 0.5
    # of 512 rows of 4,096 numbers and 4,096 columns of 512
    for name, count, limit in (("rows", 4096, 4.5), ("columns", 512, 5)):
        for extreme in masks[name]:
            assert abs(extreme - 0.9) < limit * deviation / count**0.5, name
    for name, correlation in masks["correlations"].items():
        assert abs(correlation) < 4.5 / masks["numbers"] ** 0.5, name


def test_which_trainings_the_kernels_compute():
    on_card = {**SETTINGS, "device": "gpu"}
    assert fused(SETTINGS) is None
    assert fused(on_card) == {
        "rank": on_card["lora"]["rank"],
        "dropout": on_card["lora"]["dropout"],
        "dtype": on_card["dtype"],
        "fp8": False,
    }
    for other in ({"method": "dora"}, {"kernels": "plain"}, {"lora": {"rank": 65}}):
        assert not by_kernels({**on_card, **other})


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"device": "cpu"}, "device is cpu"),
        ({"method": "qlora"}, "method is qlora"),
        ({"kernels": "plain"}, "kernels is plain"),
        ({"dtype": "float32"}, "dtype is float32"),
        ({"lora": {"rank": 128}}, "lora.rank is 128"),
    ],
)
def test_a_base_in_fp8_is_refused_where_nothing_computes_it(other, words):
    right = {**SETTINGS, "device": "gpu", "dtype": "bfloat16", "base_precision": "fp8"}
    assert unfit_for_fp8(right) == ""
    assert unfit_for_fp8({**right, **other}) == words
    assert unfit_for_fp8({**right, **other, "base_precision": "bf16"}) == ""
