"""Several processes train as one does, and a training that goes wrong stops with the place to look
at.
"""

import csv
import io
import json
import shutil

import pytest
from training import Training


def losses(training):
    """The loss of each step."""
    return [float(row["loss"]) for row in csv.DictReader(io.StringIO(training.result()["history"]))]


def test_two_processes_have_the_losses_of_one_with_twice_the_accumulation(prepared, tmp_path):
    """Without dropout, whose masks differ from process to process."""
    one, two = tmp_path / "one", tmp_path / "two"
    settings = {
        "epochs": 1,
        "lora": {"rank": 8, "alpha": 32, "dropout": 0.0, "target_modules": ["q_proj", "down_proj"]},
    }
    trained = []
    for folder, gpus, accumulation in ((one, 1, 4), (two, 2, 2)):
        folder.mkdir()
        trained.append(
            Training(prepared, folder, **settings, gpus=gpus, grad_accumulation=accumulation)
        )
        trained[-1].finish()
    assert losses(trained[1]) == pytest.approx(losses(trained[0]), abs=1e-6)
    assert len(set(losses(trained[0]))) > 5
    facts = [training.result()["facts"] for training in trained]
    for name in ("rows", "tokens", "packs", "steps"):
        assert facts[0][name] == facts[1][name], name


def test_a_model_whose_packed_dialogues_change_each_other_is_refused_before_it_is_loaded(
    prepared, tmp_path
):
    """Dynamic rotary scaling goes by the longest dialogue of a batch: the others of the pack have
    other logits than alone.
    """
    folder = shutil.copytree(prepared, tmp_path / "prepared")
    config = json.loads((folder / "model/config.json").read_text())
    config.pop("rope_parameters", None)
    config |= {
        "max_position_embeddings": 16,
        "rope_scaling": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
    }
    (folder / "model/config.json").write_text(json.dumps(config))
    done = Training(folder, tmp_path).run()
    assert done.returncode == 2, done.stderr[-3000:]
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (
        "with train.attention sdpa packed dialogues see each other: their logits differ by"
        in message
    )
    assert (
        "Loading weights" not in done.stderr + done.stdout and not (tmp_path / "adapter").exists()
    )


def test_a_loss_that_is_no_number_stops_the_training_and_names_its_dialogues(prepared, tmp_path):
    training = Training(prepared, tmp_path, learning_rate=1e30)
    done = training.run()
    assert done.returncode == 2, done.stderr[-3000:]
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "the loss is nan; look at the dialogues of its micro-batch (pack 1: train" in message
    assert message.endswith("or lower train.learning_rate")
    assert not (tmp_path / "adapter").exists()
