"""What somebody edits while the workflow works on one machine: later steps keep to the start, or
stop with a sentence.
"""

import chain
import pytest
from chain import Chain, group, read, wait_for

STATS, GRAPH = "results/runs/main/pack_stats.json", "results/report/rulegraph.svg"


@pytest.fixture(scope="module")
def clone():
    """A repository to edit, and a folder that works with it."""
    return Chain("edited-here-work", root=chain.clone("edited-here"))


def append(made: Chain, name: str) -> None:
    """Put a statement at the end of a file of the clone."""
    path = made.root / name
    path.write_bytes(path.read_bytes() + '\nCHANGED = "改了一行"\n'.encode())


def while_it_tokenises(made: Chain, edit, *arguments: str) -> int:
    """Start, edit while cache_dataset works, and return Snakemake's exit status."""
    log = made.work / "logs/runs/main/cache_dataset.log"
    log.unlink(missing_ok=True)
    with group(made.start(*arguments)) as controller:
        wait_for(log.exists, 300, lambda: made.log("snakemake.log")[-3000:])
        edit()
        return controller.wait(timeout=300)


def test_later_steps_keep_to_the_configuration_of_the_start(clone):
    def edit():
        clone.configure(train={"epochs": 7})
        append(clone, "scripts/score_dialogue.py")
        append(clone, "README.md")

    assert while_it_tokenises(clone, edit, "--", STATS, GRAPH) == 0, clone.log("snakemake.log")[
        -4000:
    ]
    assert read(clone.work / STATS)["params"]["epochs"] == chain.TRAIN["epochs"]
    assert "train_lora" in (clone.work / GRAPH).read_text(encoding="utf-8")
    assert "pack_stats" in clone.run("-n", "--", STATS).stdout
    clone.configure()
    assert "Nothing to be done" in clone.run("-n", "--", STATS).stdout


def test_a_step_whose_program_was_edited_stops(clone):
    before = (clone.root / "scripts/mindtune/train/packing.py").read_bytes()
    call = ["--forcerun", "cache_dataset", "--", STATS]
    assert (
        while_it_tokenises(clone, lambda: append(clone, "scripts/mindtune/train/packing.py"), *call)
        == 1
    )
    said = clone.log("logs/runs/main/pack_stats.log")
    assert said.startswith(
        "error: scripts/mindtune/train/packing.py changed since the start of this job"
    ), said
    assert said.count("\n") == 1 and not (clone.work / STATS).exists()
    (clone.root / "scripts/mindtune/train/packing.py").write_bytes(before)
    clone.finish(STATS)
