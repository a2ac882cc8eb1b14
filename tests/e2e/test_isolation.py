"""The demo's first run: without a network, with keys in the environment that no model and no file
may get.
"""

import pytest
from conftest import KEYS, PLANTED

PROGRAMS = (
    "cache_dataset.py", "build_demo_model.py", "train_lora.py", "swift.cli.sft", "merge_adapter.py",
    "verify_merge.py",
    "transformers_server.py", "greedy_reference.py", "generate_replies.py", "verify_serving.py",
)  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_process_that_loads_a_model_has_no_key_in_its_environment(demo, program):
    assert [line for line in demo.seen if program in line], f"{program} was not seen"
    assert not [line for line in demo.with_key if program in line]


def test_no_program_of_an_environment_has_one_and_no_file_holds_one(demo):
    assert not demo.with_key
    files = [path for path in demo.work.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 100 and not [
        path for path in files if PLANTED.encode() in path.read_bytes()
    ]
    assert not any(value in demo.output for value in KEYS.values())


def test_no_copy_of_a_dialogue_is_left_in_the_home(demo):
    home = demo.work.parent / "home"
    assert not (home / ".cache/modelscope").exists() and not (home / ".cache/huggingface").exists()
    spoken = "我".encode()
    assert not [path for path in home.rglob("*") if path.is_file() and spoken in path.read_bytes()]
    assert not (demo.work / "results/runs/main/cached/cache").exists()
