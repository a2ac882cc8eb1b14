"""A results folder is not given another model or other data under the same name unasked; every
other edit is free.
"""

import json
import os

import pytest
from planning import ROOT, snakemake

MODEL = {
    "source": "huggingface",
    "id": "Qwen/心理咨询-7B",
    "revision": "a" * 40,
    "licence": "Apache-2.0",
    "sha256": None,
}
DATA = {
    "source": "modelscope",
    "id": "某人/对话",
    "revision": "b" * 40,
    "licence": "CC0-1.0",
    "path": None,
}

OTHER = {"source": "local", "path": "resources/dialogues/zh.jsonl", "licence": "CC0-1.0"}


@pytest.fixture
def folder(tmp_path):
    """A working directory that holds the records of a model and a data set, and a way to plan in
    it.
    """
    (tmp_path / "results/base").mkdir(parents=True)
    (tmp_path / "results/data/mh").mkdir(parents=True)
    (tmp_path / "results/base/fetch_model.json").write_text(
        json.dumps({"params": MODEL | {"part": "all"}})
    )
    (tmp_path / "results/data/mh/fetch_dataset.json").write_text(json.dumps({"params": DATA}))

    def plan(model=None, data=None, **more):
        config = {"model": MODEL | (model or {}), "datasets": {"mh": DATA | (data or {})}}
        (tmp_path / "edit.json").write_text(
            json.dumps(config | more, ensure_ascii=False), encoding="utf-8"
        )
        return snakemake(
            "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path),
            "--configfile", str(tmp_path / "edit.json"), *plan.arguments, "-n", "--quiet", "rules",
            "--", "results/export",
        )  # fmt: skip

    plan.arguments = []
    return plan


FREE = {
    "nothing": {},
    "a licence": {"model": {"licence": "MIT"}, "data": {"licence": "MIT"}},
    "a checksum": {"model": {"sha256": "0" * 64}, "data": {"sha256": "1" * 64}},
    "a template": {"model": {"template": "qwen3"}},
    "a learning rate": {"train": {"learning_rate": 3.0e-4}},
    "another run": {"runs": {"second": {"dataset": "mh"}}},
    "another data set": {
        "datasets": {"mh": DATA, "zh": OTHER},
        "runs": {"second": {"dataset": "zh"}},
    },
    "a prompt": {"evaluate": {"system": "你是一位心理咨询师。"}},
}
REFUSED = {
    "model's name": ({"model": {"id": "Qwen/别的"}}, "model", "id=Qwen/别的"),
    "model's revision": ({"model": {"revision": "c" * 40}}, "model", "revision=" + "c" * 40),
    "model's source": ({"model": {"source": "modelscope"}}, "model", "source=modelscope"),
    "a local model": (
        {"model": {"source": "local", "path": "resources/knowledge"}},
        "model",
        "resources/knowledge",
    ),
    "data's name": ({"data": {"id": "某人/别的"}}, "data", "id=某人/别的"),
    "local data": (
        {"data": {"source": "local", "path": "resources/dialogues"}},
        "data",
        "resources/dialogues",
    ),
}


@pytest.mark.parametrize("edit", FREE.values(), ids=FREE)
def test_edits_are_free(folder, edit):
    status, output = folder(**edit)
    assert status == 0, output


@pytest.mark.parametrize(("edit", "kind", "wanted"), REFUSED.values(), ids=REFUSED)
def test_another_source_is_refused_and_can_be_said_by_name(folder, edit, kind, wanted):
    status, output = folder(**edit)
    assert status == 1 and "Traceback" not in output
    held = MODEL if kind == "model" else DATA
    assert held["id"] in output and wanted in output and f"--config replace={kind}" in output, (
        output
    )
    for said, allowed in (("model", kind == "model"), ("data", kind == "data"), ("all", True)):
        folder.arguments = ["--config", f"replace={said}"]
        status, output = folder(**edit)
        assert (status == 0) == allowed, output


def test_only_known_things_can_be_replaced_and_only_once(folder):
    folder.arguments = ["--config", "replace=modle"]
    status, output = folder()
    assert status == 1 and "replace=modle should be one of model, data, all" in output
    folder.arguments = []
    status, output = folder(replace="all")
    assert (
        status == 1
        and "config key replace is 'all' in a file" in output
        and "Traceback" not in output
    )


def test_a_record_that_is_gone_leaves_the_tokenizers(folder, tmp_path):
    base = tmp_path / "results/base"
    (base / "fetch_model.json").rename(base / "fetch_tokenizer.json")
    assert folder({"id": "Qwen/别的"})[0] == 1


def test_the_demos_folder_is_not_planned_as_the_real_run(project):
    """`snakemake` typed in the finished demo's folder, without its --configfile."""
    record = project.work / "results/base/fetch_model.json"
    whole, times = record.read_bytes(), record.stat()
    record.write_text(json.dumps({"params": {"source": "package", "id": "tiny", "toy": True}}))
    place = ["--snakefile", str(project.root / "Snakefile"), "--directory", str(project.work), "-n"]
    try:
        status, output = snakemake(*place, "results/export")
        assert status == 1 and "holds the results of model source=package id=tiny" in output, output
        assert "id=Qwen/Qwen2.5-7B" in output and "--configfile" in output
        status, output = snakemake(*place, "--config", "replace=model", "--", "results/export")
        assert status == 0 and "fetch_model" in output, output
        status, output = snakemake(*project.command("-n"))
        assert status == 0, output
    finally:
        record.write_bytes(whole)
        os.utime(record, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_the_word_replace_reruns_nothing(project):
    """It reaches no parameter."""
    status, output = snakemake(*project.command("-n", "--config", "replace=all", "--"))
    assert status == 0 and "Nothing to be done" in output, output
