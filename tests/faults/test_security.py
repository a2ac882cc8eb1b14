"""Text from outside never reaches a shell, a path or a report as anything but text, and keys stay
where they were put.

The rest of the ground is covered beside the code: refused model folders and links that lead out of
a folder in tests/unit/data/test_hub.py, the escaping of the report in test_report.py, the server's
key in tests/unit/serve/test_transformers_server.py.
"""

import json
import os
import pickle
import shutil
import time
from pathlib import Path

import pytest
from chain import Chain, base_folder, group, read, template

KEY = "planted-key-7f3a91c2"
LONG = "长" * 1365  # 4,095 bytes of UTF-8
HOSTILE = [
    "'; touch {mark}; '",
    '"; touch {mark}; "',
    "$(touch {mark})",
    "`touch {mark}`",
    "a\n touch {mark}\n",
    "&& touch {mark} #",
    "../../{name}",
    "{{wildcard}} {{input}} %s",
    "--record=elsewhere",
]


def hostile(mark: Path) -> list[str]:
    """The texts; each would make the file `mark` if a shell ran it."""
    return [text.format(mark=mark, name=mark.name) for text in HOSTILE]


def dialogue(text: str) -> list[dict[str, str]]:
    """A dialogue that cleaning keeps, with the text in it."""
    said = "我最近总是睡不着，白天上班也没有精神，心里很着急，不知道该怎么办才好。"
    answer = "听起来你很辛苦。我们可以先看看，是什么让你晚上难以放松下来，再一起想想办法。"
    return [{"from": "human", "value": f"{said}{text}"}, {"from": "gpt", "value": answer + text}]


def test_rows_and_file_names_are_only_text(tmp_path):
    mark = tmp_path / "ran"
    folder = tmp_path / "数据 '$(touch ran)' ;x"
    folder.mkdir()
    texts = hostile(mark)
    for number, text in enumerate(texts):
        # names with braces (tested below) and with line breaks (tests/unit/data/test_torn_files.py)
        # are refused
        name = f"{number} {text.translate(str.maketrans('/{}' + chr(10), '∕() '))[:60]}.jsonl"
        row = {
            "id": text,
            "conversations": dialogue(f"{number} {text} {LONG if number == 0 else ''}"),
        }
        (folder / name).write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    made = Chain("hostile-rows")
    made.configure(
        datasets={"demo": {"source": "local", "path": str(folder), "licence": texts[2]}},
        data={"contamination": {"remove": False}},  # the rows are nearly the same
        train={"max_length": 16384},
    )
    done = made.run("results/data/demo/split_dialogues.json")
    assert done.returncode == 0, done.stdout[-4000:]
    facts = read(made.work / "results/data/demo/clean_dialogues.json")["facts"]
    assert facts["read"] == len(texts)
    assert (
        not list(base_folder().rglob("ran"))
        and not list(tmp_path.rglob("ran"))
        and not Path("ran").exists()
    )
    assert not list(made.work.rglob("elsewhere"))


@pytest.mark.parametrize(
    "name",
    [*HOSTILE, "", ".", "a b", "名字", "main\n", "x" * 4096],
    ids=lambda name: repr(name)[:20],
)
def test_run_ids_and_dataset_names_that_could_be_paths_or_words_are_refused(name):
    made = template().copy(f"hostile-name-{abs(hash(name))}")
    try:
        made.configure(runs={name: {"dataset": "demo"}})
        run = made.run("--dry-run", "results/export")
        made.configure(datasets={name: {"source": "local", "path": "x", "licence": "x"}})
        dataset = made.run("--dry-run", "results/export")
    finally:
        shutil.rmtree(made.work)
    for done in (run, dataset):
        assert done.returncode == 1 and "Traceback" not in done.stdout, done.stdout[-2000:]
        assert "which names a folder and must consist of" in done.stdout, done.stdout[-2000:]


def test_braces_in_the_path_of_the_environments_are_one_sentence(tmp_path):
    made = template().copy("hostile-environments")
    done = made.run("--dry-run", MINDTUNE_VENVS=str(tmp_path / "{环境}"))
    assert done.returncode == 1 and "has '{' in its path, to which Snakemake" in done.stdout


def test_config_values_are_only_text(tmp_path):
    mark = tmp_path / "ran"
    made = template().copy("hostile-values")
    for text in hostile(mark):
        # a path with braces is refused before, and one with dots would leave the folder
        folder = base_folder() / "models" / text.translate(str.maketrans("{}.", "()_"))
        shutil.copytree(base_folder() / "base", folder)
        made.configure(
            model={
                "source": "local",
                "id": "small",
                "path": str(folder),
                "licence": text,
                "revision": text,
            }
        )
        done = made.run("--config", "replace=model", "--", "results/base/fetch_tokenizer.json")
        assert done.returncode == 0, done.stdout[-3000:]
        # the values came through in one piece
        params = read(made.work / "results/base/fetch_tokenizer.json")["params"]
        assert params["revision"] == text and params["path"] == str(folder)
    assert not mark.exists() and not list(made.work.rglob("ran"))


class Payload:
    """Unpickled, it would make a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("kind", ["pickle", "code", "auto_map"])
def test_a_model_folder_that_can_run_code_is_refused(kind, tmp_path):
    mark = tmp_path / "ran"
    folder = tmp_path / "model"
    shutil.copytree(base_folder() / "base", folder)
    if kind == "pickle":
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(mark)))
    elif kind == "code":
        (folder / "modeling_x.py").write_text(f"open({str(mark)!r}, 'w')\n", encoding="utf-8")
    else:
        config = read(folder / "config.json") | {"auto_map": {"AutoModel": "modeling_x.X"}}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    made = Chain(f"refused-{kind}")
    made.configure(model={"source": "local", "id": "small", "path": str(folder), "revision": None})
    done = made.run("results/base/fetch_model.json")
    assert done.returncode == 1 and "error: " in done.stdout, done.stdout[-3000:]
    assert not mark.exists() and not (made.work / "results/base/model").exists()


def test_keys_of_the_environment_stay_out_of_logs_records_and_command_lines():
    keys = {
        name: f"{KEY}-{name.lower()}"
        for name in ("SWANLAB_API_KEY", "OPENAI_API_KEY", "HF_TOKEN", "MODELSCOPE_API_TOKEN")
    }
    made = template().copy("keys")
    lines = set()
    with group(made.start("results/runs/main/train_lora.json", **keys)) as controller:
        while controller.poll() is None:
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    lines.add((process / "cmdline").read_bytes())
                except OSError:
                    continue
            time.sleep(0.2)
    assert controller.returncode == 0, made.log("snakemake.log")[-3000:]
    assert not [line for line in lines if KEY.encode() in line]
    assert any(b"swift.cli.sft" in line for line in lines), "the trainer was not seen"
    found = [
        path
        for path in made.work.rglob("*")
        if path.is_file() and KEY.encode() in path.read_bytes()
    ]
    assert not found


@pytest.mark.parametrize(("group_readable", "others"), [(False, 0o077), (True, 0o027)])
def test_what_the_rules_write_is_for_nobody_else(group_readable, others):
    made = Chain(f"private-{group_readable}")
    made.configure(privacy={"group_readable": group_readable})
    done = made.run("results/data/demo/clean.jsonl")
    assert done.returncode == 0, done.stdout[-3000:]
    names = ("results", "logs", "benchmarks")
    assert all((made.work / name).is_dir() for name in names)
    for name in names:
        for path in [made.work / name, *(made.work / name).rglob("*")]:
            mode = path.lstat().st_mode
            if path.is_dir() and not path.is_symlink():
                assert not mode & others, f"{path} has mode {mode:o}"
    rows = made.work / "results/data/demo/rejected.jsonl"
    assert rows.stat().st_mode & 0o777 == 0o666 & ~others
