"""What an archive holds of code and logs."""

import subprocess

import pytest
from mindtune.audit.code_state import code_files, state_of_code, uncommitted
from mindtune.audit.scrub import scrub


def test_code_is_the_commit_and_what_differs(tmp_path):
    root = tmp_path / "repo"
    (root / "scripts").mkdir(parents=True)
    (root / "scripts/a.py").write_text("A = 1\n")
    (root / "key.pem").write_text("private")
    assert state_of_code(root) == {} and "scripts/a.py" in code_files(root)

    def git(*words):
        who = ["-c", "user.name=x", "-c", "user.email=x@x"]
        subprocess.run(["git", "-C", str(root), *who, *words], check=True, capture_output=True)

    git("init")
    git("add", "scripts")
    git("commit", "-m", "first")
    clean = state_of_code(root)
    assert clean.keys() == {"commit"} and uncommitted(root) == b""
    (root / "scripts/a.py").write_text("A = 2\n")
    (root / "scripts/新.py").write_text("B = 1\n")
    edited = state_of_code(root)
    assert edited["commit"] == clean["commit"] and "+A = 2" in uncommitted(root).decode()
    (root / "config/suites").mkdir(parents=True)
    (root / "config/suites/sleep.yaml").write_text("about: 睡眠\n")
    (root / "config/mine.yaml").write_text("secret\n")
    # a new program or suite is part of the code, a new file of another kind may be a key
    assert code_files(root) == ["config/suites/sleep.yaml", "scripts/a.py", "scripts/新.py"]
    (root / "scripts/新.py").write_text("B = 2\n")
    assert state_of_code(root) != edited


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("at /home/li/a/b.py:3", "at <path>/b.py:3"),
        ("/usr/lib/python3/x.py stays", "/usr/lib/python3/x.py stays"),
        ("https://hub.example/a/b stays", "https://hub.example/a/b stays"),
        ("results/runs/main/adapter stays", "results/runs/main/adapter stays"),
        ("SWANLAB_API_KEY=abcdefgh1234", "SWANLAB_API_KEY=<secret>"),
        ('"token": "abcdefgh1234"', '"token": <secret>"'),
        ("max_new_tokens: 12345678", "max_new_tokens: 12345678"),
        ("host n12 and n123", "host <host> and n123"),
        ("10.1.2.3:80 and 127.0.0.1:80", "<address>:80 and 127.0.0.1:80"),
        ("张三@x.cn", "<mail>"),
    ],
)
def test_logs_lose_places_names_and_keys(text, wanted):
    assert scrub(text, {"n12": "<host>"}) == wanted


def test_a_driver_below_a_home_is_a_path_like_any_other():
    """A home with a Chinese name is quoted in a command, and made two lineage pages differ."""
    known = {"/home/lin": "<home>"}
    for place in (
        "'/home/lin/心语/.venvs/driver-1/bin/python'",
        "/srv/a/.venvs/driver-1/bin/python",
    ):
        assert scrub(f"exec {place} -m snakemake", known) == "exec <path>/python -m snakemake"
    assert scrub("--start '/data/心/x.json'", {"/data/心": "<work>"}) == "--start <work>/x.json"
