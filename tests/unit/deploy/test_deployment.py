"""What starts a server for good: exports are switched and rolled back by their manifest, units
name what the configuration says.
"""

import os
import stat
import subprocess
from pathlib import Path

import activate_export
import pytest
import serve_export
import yaml
from mindtune.cli import UserError
from mindtune.config import serve_settings
from mindtune.environments import venv_name, venvs_folder
from signed_export import keys, seal
from stored_exports import make_export, program

ROOT = Path(__file__).resolve().parents[3]


def served(store: Path) -> str:
    """What the model card of the served export says."""
    return (store / "current" / "README.md").read_text(encoding="utf-8")


# Upgrade and rollback


def test_an_upgrade_and_the_way_back(tmp_path):
    store = tmp_path / "仓库"
    for text in ("第一版", "第二版"):
        done = program("deploy/activate_export.py", store, make_export(tmp_path / text, text))
        assert done.returncode == 0, done.stderr
        assert served(store) == text
        assert not (tmp_path / text).exists(), "a second copy was left"
    name = os.readlink(store / "current")
    assert name == activate_export.sha256(store / name / "manifest.json")[:16]
    assert program("deploy/activate_export.py", store, "--rollback").returncode == 0
    assert served(store) == "第一版"
    assert program("deploy/activate_export.py", store, "--rollback").returncode == 0
    assert served(store) == "第二版"


def test_a_damaged_export_is_never_served(tmp_path):
    store = tmp_path / "store"
    for text in ("一", "二"):
        assert (
            program(
                "deploy/activate_export.py", store, make_export(tmp_path / text, text)
            ).returncode
            == 0
        )
    bad = make_export(tmp_path / "三", "三")
    (bad / "config.json").write_text('{"model_type": "qwen3"}', encoding="utf-8")
    done = program("deploy/activate_export.py", store, bad)
    assert done.returncode == 1 and "config.json: byte 20 is" in done.stderr
    assert served(store) == "二" and bad.exists()
    previous = store / os.readlink(store / "previous")
    (previous / "README.md").write_text("改", encoding="utf-8")
    done = program("deploy/activate_export.py", store, "--rollback")
    assert done.returncode == 1 and "README.md" in done.stderr
    assert served(store) == "二"


def test_the_same_export_twice_keeps_the_way_back(tmp_path):
    store = tmp_path / "store"
    for folder, text in (("a", "一"), ("b", "二"), ("c", "二")):
        assert (
            program(
                "deploy/activate_export.py", store, make_export(tmp_path / folder, text)
            ).returncode
            == 0
        )
    assert program("deploy/activate_export.py", store, "--rollback").returncode == 0
    assert served(store) == "一"


def test_there_is_no_way_back_from_the_first(tmp_path):
    assert (
        program(
            "deploy/activate_export.py", tmp_path, make_export(tmp_path / "new", "一")
        ).returncode
        == 0
    )
    done = program("deploy/activate_export.py", tmp_path, "--rollback")
    assert done.returncode == 1 and "no previous export" in done.stderr


def test_a_link_is_not_taken_into_the_store(tmp_path):
    store = tmp_path / "store"
    (tmp_path / "链接").symlink_to(make_export(tmp_path / "new", "一"))
    done = program("deploy/activate_export.py", store, tmp_path / "链接")
    assert done.returncode == 1 and "is a link; give the folder itself" in done.stderr
    assert not store.exists() and (tmp_path / "new").exists()


def test_a_damaged_copy_in_the_store_is_not_served(tmp_path):
    store = tmp_path / "store"
    for text in ("一", "二"):
        assert (
            program(
                "deploy/activate_export.py", store, make_export(tmp_path / text, text)
            ).returncode
            == 0
        )
    first = store / os.readlink(store / "previous")
    (first / "model.safetensors").write_bytes("坏".encode() * 100)
    done = program("deploy/activate_export.py", store, make_export(tmp_path / "again", "一"))
    assert done.returncode == 1 and "model.safetensors" in done.stderr and str(first) in done.stderr
    assert served(store) == "二" and (tmp_path / "again").exists()


@pytest.mark.parametrize("aim", ["/etc", "../new", "current", "没有", "x\n\x1b[32mOK"])
def test_a_way_back_that_leads_out_of_the_store_is_refused(tmp_path, aim):
    store = tmp_path / "store"
    assert (
        program("deploy/activate_export.py", store, make_export(tmp_path / "a", "一")).returncode
        == 0
    )
    make_export(tmp_path / "new", "二")
    (store / "previous").symlink_to(aim)
    done = program("deploy/activate_export.py", store, "--rollback")
    assert done.returncode == 1 and "which is no export of the store" in done.stderr
    assert (
        served(store) == "一" and len(done.stderr.splitlines()) == 1 and "\x1b" not in done.stderr
    )


def test_only_the_published_export_is_taken(tmp_path):
    store, export = tmp_path / "store", make_export(tmp_path / "new", "一")
    published = activate_export.sha256(export / "manifest.json")
    done = program("deploy/activate_export.py", store, export, "--expect", "0" * 64)
    assert (
        done.returncode == 1
        and f"{published}, and {'0' * 64} was expected" in done.stderr
        and export.exists()
    )
    assert (
        program("deploy/activate_export.py", store, export, "--expect", published).returncode == 0
    )


# A signature that is demanded. What checks it lies in the core environment


@pytest.fixture(scope="module")
def core():
    """The interpreter of the core environment."""
    python = Path(venvs_folder(), venv_name("core", False), "bin/python")
    if not python.exists():
        pytest.skip("the core environment is not built")
    return python


@pytest.fixture
def signed(tmp_path, core):
    """A signed export, the public key, and the interpreter that can check."""
    private, public = keys(tmp_path, "o'brien 作者")
    export = make_export(tmp_path / "new", "一")
    code = (
        "import sys; from pathlib import Path; from mindtune.export.manifest import sign; "
        "sign(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    subprocess.run([core, "-c", code, export, private], env=environment, check=True)
    return export, public, core


def test_a_store_can_demand_a_signature(signed, tmp_path):
    export, public, core = signed
    store, demand = tmp_path / "store", ["--public-key", public, "--python", core]
    for key, said in (
        (keys(tmp_path, "别人")[1], "is not what the owner of"),
        (tmp_path / "没有", "没有"),
    ):
        done = program(
            "deploy/activate_export.py", store, export, "--public-key", key, "--python", core
        )
        assert (
            done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1
        ), done.stderr
    (export / "README.md").write_text("换了", encoding="utf-8")
    seal(export)
    done = program("deploy/activate_export.py", store, export, *demand)
    assert done.returncode == 1 and "is not what the owner of" in done.stderr and not store.exists()
    unsigned = make_export(tmp_path / "unsigned", "二")
    done = program("deploy/activate_export.py", store, unsigned, *demand)
    assert done.returncode == 1 and "has no model.sig" in done.stderr and not store.exists()
    (export / "README.md").write_text("一", encoding="utf-8")
    seal(export)
    assert program("deploy/activate_export.py", store, export, *demand).returncode == 0


def test_a_signature_that_cannot_be_checked_is_not_taken_for_right(signed, tmp_path):
    export, public, _ = signed
    done = program("deploy/activate_export.py", tmp_path / "store", export, "--public-key", public)
    assert (
        done.returncode == 1 and "model-signing is not installed" in done.stderr and export.exists()
    )


def test_the_server_demands_a_signature_if_told(signed, tmp_path, capsys):
    export, public, _ = signed
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(yaml.safe_dump({"export": {"public_key": str(public)}}), encoding="utf-8")
    assert serve_export.public_key(None, serve_export.read_config(None)) is None
    key = serve_export.public_key(None, serve_export.read_config(overlay))
    assert key == public and serve_export.public_key(
        Path("other"), serve_export.read_config(overlay)
    ) == Path("other")
    serve_export.check_export(export, key)
    assert "signed by the owner of" in capsys.readouterr().out
    with pytest.raises(UserError, match="has no model.sig"):
        serve_export.check_export(make_export(tmp_path / "unsigned", "二"), key)
    (export / "config.json").write_text("{}", encoding="utf-8")
    seal(export)
    serve_export.check_export(export, None)
    assert "who made it was not checked" in capsys.readouterr().out
    with pytest.raises(UserError, match="is not what the owner of"):
        serve_export.check_export(export, key)


# The server's start


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "state" / "serve.key"
    serve_export.check_key(path)
    key = path.read_text(encoding="ascii")
    assert len(key.strip()) >= 40 and stat.S_IMODE(path.stat().st_mode) == 0o600
    serve_export.check_key(path)
    assert path.read_text(encoding="ascii") == key
    path.chmod(0o640)
    with pytest.raises(UserError, match="can be read by others"):
        serve_export.check_key(path)
    path.chmod(0o600)
    path.write_text(key, encoding="ascii")
    serve_export.check_key(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "x",
        "short\n",
        "a" * 20 + "\n" + "b" * 20,
        "a" * 20 + "\n\n",
        "a b" * 20,
        "钥匙" * 20,
        "a" * 20 + "\r\n",
    ],
)
def test_what_is_no_key_is_refused(tmp_path, text):
    path = tmp_path / "serve.key"
    path.write_bytes(text.encode())
    path.chmod(0o600)
    with pytest.raises(UserError, match="holds no key, which is one line of at least 16"):
        serve_export.check_key(path)
    path.write_text("a" * 16)
    serve_export.check_key(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_of_another_account_is_refused(tmp_path):
    path = tmp_path / "serve.key"
    serve_export.check_key(path)
    os.chown(path, 12345, -1)
    with pytest.raises(UserError, match="belongs to another account"):
        serve_export.check_key(path)


def test_the_configuration_is_the_workflow_s(tmp_path):
    assert serve_export.read_config(None)["serve"]["engine"] == "lmdeploy"
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("serve: {model_name: counsel-demo, session_len: 8192}\n", encoding="utf-8")
    config = serve_export.read_config(overlay)["serve"]
    assert (config["model_name"], config["session_len"], config["tp"]) == ("counsel-demo", 8192, 1)
    overlay.write_text("serve: {cache_max_entry_count: 0}\n", encoding="utf-8")
    with pytest.raises(UserError, match="0 .*no token at all"):
        serve_export.read_config(overlay)


def test_the_server_gets_the_port_and_no_key_on_its_command_line(tmp_path):
    for overlay, flag in ((None, "--server-port"), (ROOT / "config/demo.yaml", "--port")):
        config = serve_export.read_config(overlay)
        engine = {**serve_settings(config), "python": "/env/bin/python"}
        words = serve_export.command(Path("/导出"), engine, 23456, tmp_path / "key.port")
        assert words[0] == "/env/bin/python" and words[words.index(flag) + 1] == "23456"
        assert "/导出" in words and not any("key" in word and "port" not in word for word in words)
