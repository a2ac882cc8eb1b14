"""Files are whole or absent, records are equal for equal runs, code hashes follow imports,
generated pages are current.
"""

import os
import re
from pathlib import Path

import pytest
from mindtune import code
from mindtune.cli import UserError
from mindtune.records import (
    link_or_copy,
    partial,
    partial_folder,
    read_json,
    read_jsonl,
    sha256_listing,
    sha256_path,
    write_json,
    write_jsonl,
    write_record,
)

ROOT = Path(__file__).resolve().parents[3]


def test_nothing_is_left_of_a_failed_write(tmp_path):
    target = tmp_path / "回复.jsonl"
    with pytest.raises(RuntimeError), partial(target) as temporary:
        temporary.write_text("一半", encoding="utf-8")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_what_was_there(tmp_path):
    target = tmp_path / "folder"
    with partial_folder(target) as folder:
        (folder / "a").write_text("旧")
    with pytest.raises(RuntimeError), partial_folder(target) as folder:
        (folder / "a").write_text("新")
        raise RuntimeError
    assert (target / "a").read_text() == "旧"
    with partial_folder(target) as folder:
        (folder / "b").write_text("新")
    assert [path.name for path in target.iterdir()] == ["b"]


def test_folder_hash_is_that_of_its_sha256sum_listing(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b.txt").write_bytes("你好".encode())
    (tmp_path / "a.txt").write_bytes(b"")
    (tmp_path / ".snakemake_timestamp").touch()
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    hello = "670d9743542cae3ea7ebe36af56bd53648b0a1126162e78d81a32934a711302e"
    assert sha256_path(tmp_path) == sha256_listing({"a.txt": empty, "sub/b.txt": hello})
    (tmp_path / "sub/b.txt").rename(tmp_path / "b.txt")
    assert sha256_path(tmp_path) != sha256_listing({"a.txt": empty, "sub/b.txt": hello})


def test_torn_files_are_named(tmp_path):
    (tmp_path / "a.json").write_text('{"stage": "合', encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.json"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.jsonl").write_text('{"id": "一"}\n{"id": ', encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.jsonl line 2"):
        list(read_jsonl(tmp_path / "a.jsonl"))


def test_records_are_equal_for_equal_runs(tmp_path):
    write_jsonl(tmp_path / "in.jsonl", [{"id": "一"}])
    for name in ("a", "b"):
        write_record(
            tmp_path / name,
            "stage",
            inputs=[tmp_path / "in.jsonl"],
            outputs=[],
            params={"b": 1, "a": "中文"},
            facts={"n": 1},
            packages=["pyyaml"],
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    record = read_json(tmp_path / "a")
    assert set(record) == {"stage", "inputs", "outputs", "params", "facts", "env", "seal"}
    assert record["env"]["pyyaml"]
    assert "中文" in (tmp_path / "a").read_text(encoding="utf-8")


def test_numbers_that_json_does_not_know_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_links_have_the_bytes_of_their_source(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    link_or_copy(tmp_path / "a", tmp_path / "sub/b")
    assert (tmp_path / "sub/b").samefile(tmp_path / "a")


def test_code_hash_follows_imports_and_nothing_else(tmp_path, monkeypatch):
    library = tmp_path / "mindtune"
    library.mkdir()
    (library / "__init__.py").write_text("")
    (library / "used.py").write_text("from mindtune.deep import X\n")
    (library / "deep.py").write_text("X = 1\n")
    (library / "other.py").write_text("Y = 1\n")
    (tmp_path / "program.py").write_text("def main():\n    from mindtune import used\n")
    monkeypatch.setattr(code, "SCRIPTS", tmp_path)

    def digest():
        for function in (code.seen, code.used_files, code.sources, code.code_hash):
            function.cache_clear()
        return code.code_hash("program.py")

    before = digest()
    (library / "other.py").write_text("Y = 2\n")
    assert digest() == before
    (library / "deep.py").write_text("X = 2\n")
    changed = digest()
    assert changed != before
    (library / "deep.py").write_text('"""说明。"""\n# a comment\nX   =   2\n')
    assert digest() == changed
    (tmp_path / "page.md.j2").write_text("{{ 名 }}")
    (tmp_path / "program.py").write_text(
        'def main():\n    from mindtune import used\n    return "page.md.j2"\n'
    )
    with_page = digest()
    (tmp_path / "page.md.j2").write_text("{{ 姓名 }}")
    assert digest() not in (with_page, changed)
    for function in (code.seen, code.used_files, code.sources, code.code_hash):
        function.cache_clear()


def test_what_was_looked_through_is_taken_up_by_its_bytes_alone(tmp_path, monkeypatch):
    program, kept = tmp_path / "a.py", tmp_path / ".snakemake/mindtune_code.json"
    kept.parent.mkdir()
    program.write_text('"""说明。"""\nimport mindtune.cli\nX = "page.j2"\n', encoding="utf-8")
    for name, empty in (("KNOWN", {}), ("ASKED", set())):
        monkeypatch.setattr(code, name, empty)
    code.seen.cache_clear()
    found = code.seen(program)
    assert found.modules == ["mindtune.cli"] and found.beside == ["page.j2"]
    code.keep(kept)
    monkeypatch.setattr(code, "KNOWN", {})
    code.recall(kept)
    monkeypatch.setattr(code, "look_through", lambda text: 1 / 0)
    code.seen.cache_clear()
    assert code.seen(program) == found
    stamps = program.stat()
    program.write_text('"""说明。"""\nimport mindtune.cli\nX = "pagf.j2"\n', encoding="utf-8")
    os.utime(program, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
    code.seen.cache_clear()
    with pytest.raises(ZeroDivisionError):
        code.seen(program)
    for torn in ("", "{", '{"version": "another", "seen": {}}', "[1]"):
        kept.write_text(torn)
        code.recall(kept)
    code.seen.cache_clear()


def test_generated_pages_are_current():
    from tools.write_docs import pages

    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path.name} is out of date: run make docs"
        )


def test_no_default_of_the_page_hides_keys():
    """A mapping with keys of its own is shown key by key, one that may be null as well."""
    from mindtune.config import read_schema
    from tools.write_docs import rows

    shown = {key: default for key, default, _ in rows(read_schema())}
    assert shown["evaluate.baselines.prompted"] == "the keys below"
    assert shown["evaluate.baselines.prompted.zh"].startswith("`你是")
    assert shown["matrix"] == "`null`" and "matrix.seed" not in shown


@pytest.mark.parametrize(
    "env",
    ["driver", "core", "train", "train-cuda", "serve", "dashboard", "judge", "qlora", "signing"]
    + ["tiny", "smollm2", "kernels"],
)
def test_locks_pin_everything_by_hash(env):
    lock = (ROOT / f"envs/{env}.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", lock.strip())
    assert entries
    for entry in entries:
        assert re.match(r"[\w.\[\],-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert ("\ntorch==" in lock) is (env in ("train-cuda", "serve")), (
        "torch for CUDA has hashes, torch for a CPU only a version"
    )
