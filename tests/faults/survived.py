"""Which fault is done by which test, and how many of them were survived, from what pytest reported.

    python tests/faults/survived.py --reports demo-tests/faults --record docs/records/faults.json
      (make test-faults RECORD=1)

Reads   the JUnit files of the runs
Writes  the record that docs/measurements.md shows
"""

import argparse
from pathlib import Path
from xml.etree import ElementTree

from chain import write_json
from test_local import STAGES

from bench.measuring import head  # isort: skip  chain says where it lies

FULL_DISK = "test_a_full_disk_stops_the_stage_and_nothing_half_written_stays"
# fault -> the test that does it; the last of a scenario's tests says whether its result is that of
# an undisturbed run
FAULTS = {
    "a job fails": "test_a_failed_job_is_tried_again_and_one_over_its_limit_gets_a_longer_one",
    (
        "a job runs into its time limit"
    ): "test_a_failed_job_is_tried_again_and_one_over_its_limit_gets_a_longer_one",
    "scancel": "test_a_cancelled_job_is_tried_again_and_a_requeued_one_keeps_its_number",
    "scontrol requeue": "test_a_cancelled_job_is_tried_again_and_a_requeued_one_keeps_its_number",
    "a job is preempted and requeued": "test_a_preempted_job_keeps_its_number_and_resumes",
    "the node is drained and comes back": "test_every_job_fault_ends_in_the_same_adapter",
    "slurmctld is restarted": "test_jobs_outlive_a_restart_of_slurmctld",
    "two people start the same run": "test_a_second_person_is_told_that_the_folder_is_in_use",
    "kill -9 of Snakemake, rerun beside the orphan": "test_no_second_writer_beside_an_orphan",
    "kill -9 of Snakemake, rerun after the orphan": "test_the_orphans_work_is_used",
    "Ctrl-C": "test_ctrl_c_takes_its_jobs_along_and_the_rerun_resumes",
    "SIGTERM": "test_sigterm_lets_the_job_finish",
    "processes left behind": "test_nothing_is_left_running",
    **{f"disk full in {stage}": f"{FULL_DISK}[{stage}]" for stage in STAGES},
    (
        "disk of the checkpoints fills up"
    ): "test_a_disk_of_the_state_that_fills_up_stops_training_and_training_goes_on",
    "results cannot be written": "test_read_only_results_are_named",
    "a shard is truncated": "test_a_truncated_shard_is_not_exported_and_is_seen_by_the_receiver",
    "a record is half-written": "test_a_half_written_record_is_named_and_remade",
    "a line of a data set is torn": "test_a_torn_line_of_a_dataset_is_named_and_remade",
    "the clock jumps back": "test_a_clock_that_jumps_reruns_nothing[back]",
    "the clock jumps forward": "test_a_clock_that_jumps_reruns_nothing[forward]",
    "files show up late": "test_files_that_show_up_late_are_waited_for",
    (
        "the server dies in the smoke test"
    ): "test_a_server_that_dies_in_the_smoke_test_fails_it_and_leaves_nothing",
    "kill -9 of the trainer in both epochs, a torn checkpoint, a second trainer": (
        "test_killed_in_both_epochs_with_a_torn_checkpoint_and_a_second_writer"
    ),
}


def passed(reports: Path) -> set[str]:
    """Names of the tests that passed, in every JUnit file of a folder."""
    cases = [
        case
        for path in sorted(reports.glob("*.xml"))
        for case in ElementTree.parse(path).iter("testcase")
    ]
    return {case.get("name", "") for case in cases if not len(case)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reports", required=True, type=Path)
    parser.add_argument("--record", required=True, type=Path)
    args = parser.parse_args()
    found = passed(args.reports)
    runs = [
        {"fault": fault, "survived": test in found, "test": test} for fault, test in FAULTS.items()
    ]
    survived = sum(run["survived"] for run in runs)
    write_json(
        args.record,
        {
            **head(
                "faults survived: the rerun gives the hashes of an undisturbed run, with no "
                "process and no unexplained lock left",
                "make test-faults RECORD=1",
                ["snakemake", "snakemake-executor-plugin-slurm"],
            ),
            "columns": ["fault", "survived", "test"],
            "runs": runs,
            "median": survived,
            "target": len(FAULTS),
            "met": survived == len(FAULTS),
            "note": "Random ones beside these: make chaos.",
        },
    )
    print(f"{survived} of {len(FAULTS)} faults survived: {args.record}")
    return 0 if survived == len(FAULTS) else 1


if __name__ == "__main__":
    raise SystemExit(main())
