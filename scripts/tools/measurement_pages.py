"""What docs/measurements.md says of each record, by the record's file: a title, one sentence with
the figure, and the columns that matter. Figures come from the record, by `str.format`.

"rows" says where the table's rows are: the record's runs, or one of the functions of
write_measurements.py by name, with its arguments. "columns" gives each key its heading.
"""
# Kept long: one table has an entry a record.

from typing import Any

TRAINING = {
    "name": "run",
    "tokens_per_second": "tokens a second",
    "seconds_a_step": "seconds a step",
    "peak_gib": "peak GiB",
    "mfu": "share of peak FLOP/s",
    "watts": "watts",
}
MERGE = {"name": "way", "seconds": "seconds", "cpu_seconds": "CPU seconds", "peak_gb": "peak GB"}
REFUSED = {"name": "wrong merge", "value": "refused"}
PAGES: dict[str, dict[str, Any]] = {
    "docs/records/data-leaks.json": {
        "title": "Leaks between the sides, against comparing all with all",
        "headline": "Of {runs[2][pairs]} pairs of nearly equal client turns among {runs[2][n]:,} "
        "real ones, a share of {runs[2][recall]:.2f} is found.",
        "columns": {
            "what": "what",
            "n": "n",
            "threshold": "least similarity",
            "pairs": "pairs",
            "recall": "recall",
            "precision": "precision",
        },
    },
    "docs/records/lineage.json": {
        "title": "The lineage page of 2,000 jobs, in headless Chromium",
        "headline": "{runs[0][jobs]:,} jobs: {median[page_kb]:.0f} kB, {median[ready_ms]:.0f} ms.",
        "columns": {"load": "load", "ready_ms": "ready, ms", "slowest_click_ms": "a click, ms"},
    },
    "docs/records/agreement.json": {
        "title": "Agreement of raters, in simulation",
        "headline": "Where alpha 0.8 is planted, the largest error is {median[planted_error]:.3f}; "
        "its 95 % intervals hold it in at least {median[least_alpha]:.0%} of cases.",
        "columns": {
            "units": "units",
            "raters": "raters",
            "alpha is": "alpha is",
            "share of yes": "share of yes",
            "alpha": "alpha covered",
            "ac2": "AC2 covered",
            "raw": "raw covered",
        },
    },
    "docs/records/judge.json": {
        "title": "A judging: killed, its speed, and its error corrected",
        "headline": "Killed {runs[1][kills]} times in {runs[1][requests]:,} requests, "
        "{median[paid_twice]} are paid for twice by a server that knows request keys "
        "({median[lost]} by one that does not); {median[a_minute_by_cpu]:,} judgements a minute "
        "by CPU; intervals of corrected rates cover {median[least_coverage]:.3f} to "
        "{median[most_coverage]:.3f}.",
        "rows": ("having", "requests"),
        "columns": {
            "what": "what",
            "requests": "requests",
            "kills": "kills",
            "paid": "paid",
            "paid twice": "paid twice",
            "a minute": "a minute",
            "a minute by CPU": "a minute by CPU",
            "peak_mb": "peak memory, MB",
        },
    },
    "docs/records/archive.json": {
        "title": "The archive of the demo",
        "headline": "Made in {runs[0][value]:.1f} s, {runs[1][value]:.2f} MB; "
        "{runs[2][value]:,} of 1,000 one-byte changes are found.",
        "columns": {"figure": "figure", "value": "measured", "target": "target"},
    },
    "docs/records/serve-soak.json": {
        "title": "Our own server under clients of which a quarter hangs up",
        "headline": "{runs[0][clients]} clients for {runs[0][seconds]} s: {runs[0][failed]} of "
        "{runs[0][answered]} answers failed, 95 % of them took at most "
        "{runs[0][answer_s_p95]:.0f} s, and memory went from {runs[0][memory_mb_warm]:.1f} to "
        "{runs[0][memory_mb_end]:.1f} MB.",
        "columns": {
            "clients": "clients",
            "answered": "answered",
            "hung_up": "hung up",
            "failed": "failed",
            "answer_s_p95": "95 % within, s",
            "memory_mb_end": "memory at the end, MB",
        },
    },
    "docs/h100/train-side-by-side.json": {
        "title": "Training a 7B on one H100: speed",
        "headline": "{median[tokens_per_second]:,.0f} tokens a second, {median[times_plain]:.2f} "
        "times ms-swift's plain flags, in {median[peak_gib]:.0f} GiB.",
        "columns": TRAINING,
    },
    "docs/h100/train-equal.json": {
        "title": "Training a 7B on one H100: the fast way learns the same",
        "headline": "Over 50 steps the losses of the fast and the plain way differ by "
        "{median[loss_difference]:.2g} of their value.",
        "columns": TRAINING,
    },
    "docs/h100/train-first-step.json": {
        "title": "Training a 7B on one H100: time to the first step",
        "headline": "{median[first_step_after_start_seconds]:.0f} s from the job's start to the "
        "first optimizer step, with nothing compiled and nothing in memory before.",
        "columns": {
            "name": "run",
            "dialogues": "dialogues",
            "first_step_after_start_seconds": "first step after, s",
            "after_start.libraries": "libraries, s",
            "after_start.checks": "checks, s",
            "after_start.model and packs": "model and packs, s",
        },
    },
    "docs/h100/train-methods.json": {
        "title": "Training a 7B on one H100: the four methods",
        "headline": "LoRA trains at {runs[0][tokens_per_second]:,.0f} tokens a second; QLoRA "
        "needs {runs[1][peak_gib]:.1f} GiB, training all weights {runs[3][peak_gib]:.1f} GiB.",
        "columns": TRAINING,
    },
    "docs/h100/chain.json": {
        "title": "The whole chain with a 7B by the user's command on one H200",
        "headline": "{median[chain_seconds]:.0f} s from fetch to report for {training[rows]:,} "
        "dialogues of training, {training[steps]} steps; the card was held for "
        "{runs[0][card_held_seconds]:.0f} + {runs[1][card_held_seconds]:.0f} s.",
        "rows": ("inner", "jobs", "run"),
        "columns": {
            "of": "start",
            "job": "job",
            "start": "starts at, s",
            "seconds": "seconds",
            "computing": "share in which the card computed",
        },
    },
    "docs/h100/train-kernels.json": {
        "title": "Training a 7B on one H200: kernels of its own, and a base in FP8",
        "headline": "{median[tokens_per_second]:,.0f} tokens a second in bf16, "
        "{median[times_plain]:.2f} times ms-swift's plain flags; "
        "{median[fp8_tokens_per_second]:,.0f} beside a base in FP8.",
        "columns": TRAINING,
    },
    "docs/h100/kernels.json": {
        "title": "LoRA with dropout on one H200: kernels beside the formula",
        "headline": "A micro-batch takes {runs[2][milliseconds]:.0f} ms in place of "
        "{runs[0][milliseconds]:.0f} and {runs[2][peak_gib]:.0f} GiB in place of "
        "{runs[0][peak_gib]:.0f}; losses of 50 steps differ by {median[loss_difference]:.1g}.",
        "columns": {
            "name": "way",
            "milliseconds": "ms",
            "tokens_per_second": "tokens/s",
            "peak_gib": "peak, GiB",
        },
    },
    "docs/h100/export-merge-7b.json": {
        "title": "Merging a 7B",
        "headline": "{median[merge_adapter][seconds]:.1f} s for {median[weight_gb]:.1f} GB, "
        "{median[times_faster_than_peft]:.1f} times as fast as peft and {median[times_copy]:.2f} "
        "times the time of a plain copy.",
        "rows": ("by_name", "median"),
        "columns": MERGE,
    },
    "docs/records/merge-2gb.json": {
        "title": "Merging a small model on two cores",
        "headline": "{median[merge_adapter][seconds]:.1f} s for {median[weight_gb]:.1f} GB, "
        "{median[times_faster_than_peft]:.1f} times as fast as peft.",
        "rows": ("by_name", "median"),
        "columns": MERGE,
    },
    "docs/h100/proof-bounds-7b.json": {
        "title": "Which wrong merges the proof of the logits sees, with a 7B",
        "headline": "{median[right merges refused][refused]} of {median[right merges refused][n]} "
        "right merges were refused; the largest root mean square of one was "
        "{median[largest rms of a right merge]:.4f}, the bound is {target[max_logit_rms]}.",
        "rows": ("by_name", "median", "wrong merges refused"),
        "columns": REFUSED,
    },
    "docs/records/proof-bounds.json": {
        "title": "Which wrong merges the proof of the logits sees, with small models",
        "headline": "{median[right merges refused][refused]} of {median[right merges refused][n]} "
        "right merges were refused; the largest root mean square of one was "
        "{median[largest rms of a right merge]:.4f}, the bound is {target[max_logit_rms]}.",
        "rows": ("by_name", "median", "wrong merges refused"),
        "columns": REFUSED,
    },
    "docs/h100/serve-engines.json": {
        "title": "Serving a 7B on one H100",
        "headline": "{median[tokens_per_s_saturated]:,.0f} tokens a second saturated, "
        "{median[tokens_per_s_alone]:.0f} for one person alone; up after "
        "{median[startup_s]:.0f} s.",
        "rows": ("inner", "levels", "backend"),
        "columns": {
            "of": "engine",
            "concurrency": "at a time",
            "tokens_per_s": "tokens a second",
            "ttft_s_p50": "first token, median s",
            "ttft_s_p95": "first token, 95 % s",
            "tpot_s_p50": "s a token, median",
        },
    },
    **{
        f"docs/h100/serve-memory-{gib}.json": {
            "title": f"Serving a 7B within {gib} GiB of a card",
            "headline": "{runs[0][levels][2][card_bytes_used][0]:,} bytes held with 64 requests at "
            "a time; {median[tokens_per_s_saturated]:,.0f} tokens a second at most.",
            "rows": ("inner", "levels", "backend"),
            "columns": {
                "concurrency": "at a time",
                "tokens_per_s": "tokens a second",
                "ttft_s_p95": "first token, 95 % s",
                "card_bytes_used": "bytes held",
            },
        }
        for gib in (18, 20)
    },
    "docs/h100/evaluate-7b.json": {
        "title": "All suites of two 7B models, asked as the workflow asks them",
        "headline": "{median[minutes_after_loading]} minutes after loading, at a share of "
        "{median[share_of_full_rate]} of what the engine gives when it is full.",
        "columns": {
            "model": "model",
            "startup_s": "up after, s",
            "concurrency": "at a time",
            "dialogues.seconds": "dialogues, s",
            "dialogues.reply_tokens_per_s": "tokens a second",
            "questions.seconds": "questions, s",
            "full_tokens_per_s": "tokens a second when full",
        },
    },
    "docs/h100/fp8-seeds.json": {
        "title": "A base in FP8 beside one in bf16, over seeds",
        "headline": "FP8 changes the dev loss by {median[dev_loss_difference]:.4f} nats a token, "
        "another seed by {target[dev_loss_difference]:.4f}.",
        "columns": {
            "seed": "seed",
            "bf16.dev": "dev loss, bf16",
            "fp8.dev": "dev loss, FP8",
            "fp8_adapter_beside_bf16.dev": "FP8's adapter beside bf16",
            "fp8_adapter_beside_bf16.kl_to_fp8": "KL to FP8, nats",
        },
    },
    "docs/records/peers-mmlu.json": {
        "title": "Letters' likelihoods beside lm-evaluation-harness's, on MMLU's psychology",
        "headline": "Of {runs[0][items]:,} items {runs[0][differing]} have another likeliest "
        "letter; log-likelihoods differ by {runs[0][largest_difference]:.1e} at most.",
        "columns": {
            "model": "model",
            "items": "items",
            "differing": "with another likeliest letter",
            "largest_difference": "largest difference, nats",
        },
    },
    "docs/records/scoring.json": {
        "title": "Scoring replies of two systems, floors and a bootstrap included",
        "headline": "10,000 replies take {median[s for 10,000]:.0f} s on two cores; ROUGE is "
        "{median[times faster]:.0f} times as fast as LLaMA-Factory's set.",
        "columns": {
            "replies": "replies",
            "s": "seconds",
            "cpu s": "CPU seconds",
            "GB": "GB",
            "bootstrap s": "bootstrap, s",
            "ROUGE s": "ROUGE, s a system",
            "LLaMA-Factory s": "LLaMA-Factory's set, s",
        },
    },
    "docs/records/chaos.json": {
        "title": "Random faults over repeated runs",
        "headline": "{median} of {target} rounds ended with the hashes of an undisturbed run.",
        "columns": {
            "fault": "fault",
            "while making": "while making",
            "rounds": "rounds",
            "landed": "fault landed",
            "identical": "identical",
            "needed": "help that was needed",
        },
    },
    "docs/records/faults.json": {
        "title": "Every fault on the list, on a real SLURM and off it",
        "headline": "{median} of {target} faults survived: the rerun gives the hashes of an "
        "undisturbed run, and leaves no process and no unexplained lock.",
        "columns": {"fault": "fault", "survived": "survived"},
    },
    "docs/records/data-masking.json": {
        "title": "Masking of personal data",
        "headline": "{runs[0][recall]:.0%} of {runs[0][n]} mobile numbers are found, and "
        "{runs[9][left_alone]:.0%} of {runs[9][n]:,} turns without any are left alone.",
        "columns": {
            "kind": "kind",
            "n": "n",
            "recall": "found",
            "left_alone": "left alone",
            "hits": "hits",
        },
    },
    "docs/records/data-worst-input.json": {
        "title": "The cleaning's worst input",
        "headline": "A row of 1 MB costs {runs[0][cpu_s]:.2f} s of CPU at most, with "
        "{runs[0][pattern]}.",
        "columns": {"pattern": "said over and over", "unit": "as JSON", "cpu_s": "CPU seconds"},
    },
    "docs/records/data-near-duplicates.json": {
        "title": "Near-duplicates: the search alone",
        "headline": "{runs[0][dialogues]:,} dialogues in {runs[0][s]:.1f} s, with a recall of "
        "{runs[0][recall]:.4f}.",
        "columns": {
            "tool": "tool",
            "dialogues_a_s": "dialogues a second",
            "cpu_s": "CPU seconds",
            "gb": "peak GB",
            "recall": "recall",
            "precision": "precision",
        },
    },
    "docs/records/data-stage.json": {
        "title": "The data stage",
        "headline": "{runs[2][dialogues]:,} dialogues are cleaned, deduplicated, counted and "
        "split in {runs[2][minutes]:.1f} minutes and {runs[2][peak_gb]:.1f} GB, on two cores.",
        "columns": {
            "dialogues": "dialogues",
            "minutes": "minutes",
            "dialogues_a_s": "dialogues a second",
            "peak_gb": "peak GB",
            "kept": "kept",
            "recall": "recall",
            "precision": "precision",
        },
    },
    "docs/records/data-tokens.json": {
        "title": "Exact token counts",
        "headline": "{runs[0][tokens_a_s]:,} tokens a second are counted, exactly.",
        "columns": {
            "way": "way",
            "tokens": "tokens",
            "cpu_s": "CPU seconds",
            "tokens_a_s": "tokens a second",
        },
    },
    "docs/records/demo.json": {
        "title": "The demo",
        "headline": "make demo takes {runs[0][seconds]:.0f} s, and {runs[1][seconds]:.1f} s if "
        "all is made already.",
        "columns": {
            "run": "run",
            "seconds": "seconds",
            "target seconds": "target, seconds",
            "peak GB": "peak GB",
        },
    },
    "docs/records/real-input.json": {
        "title": "Two published data sets through the demo",
        "headline": "Of {runs[0][cpsycound]} and {runs[0][emollm]} dialogues "
        "{runs[1][cpsycound]} and {runs[1][emollm]} are kept; both ran to the end.",
        "columns": {"figure": "figure", "cpsycound": "CPsyCoun-D", "emollm": "EmoLLM"},
    },
    "docs/records/slurm_demo.json": {
        "title": "The demo on a real SLURM",
        "headline": "{median:.0f} s with the cluster's profile, environments built.",
        "columns": {
            "seconds": "seconds",
            "slurm_jobs": "SLURM jobs",
            "programs_s": "seconds in programs",
            "overhead_share": "share of overhead",
        },
    },
    "docs/records/train-cpu.json": {
        "title": "Training the demo's model on a CPU",
        "headline": "20 steps take {runs[0][wall_seconds]:.0f} and {runs[1][wall_seconds]:.0f} s; "
        "the adapters' bytes are the same.",
        "columns": {
            "name": "run",
            "wall_seconds": "seconds",
            "tokens_per_second": "tokens a second",
            "first_step_after_start_seconds": "first step after, s",
        },
    },
}
