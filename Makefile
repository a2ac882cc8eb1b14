# make help          what there is
# make demo          the whole chain on this machine's CPU, in demo/
# make test          everything but the GPU tests and the long list of faults

SHELL := bash
PYTHON ?=
CORES ?= 2
MODEL ?= tiny
DATA ?=
WORKDIR ?= $(if $(filter dashboard audit adopt plan why diff estimate artifact,$(MAKECMDGOALS)),.,$(if $(filter reproduce,$(MAKECMDGOALS)),reproduced,demo))
REPLACE ?=
DATASET ?= demo
ID ?=
SHAREGPT ?=
TOKENIZER ?= demo/results/base/tokenizer
PARTS ?= tokens near stage leaks worst
SIZES ?= 10000 100000
NEAR ?= 100000
PEERS ?=
N ?= 200
SEED ?= 1
RECORD ?=
EXPORT ?= results/export
EXPECT ?=
CONFIG ?=
PORT ?= $(if $(filter dashboard audit,$(MAKECMDGOALS)),5092,23333)
KEY ?= state/serve.key
STORE ?= exports
OUT ?= $(if $(filter artifact,$(MAKECMDGOALS)),artifact,$(if $(filter export-suites,$(MAKECMDGOALS)),evalscope,deploy/rendered))
SBOM ?= sbom.json
PUBLIC_KEY ?=
AUTHORITY ?=
IDENTITY ?=
REVOKED ?=
COMMIT ?=
ISSUER ?=
SIGSTORE ?=
QUICK ?=
PLAN ?=
FILE ?=
ARCHIVE ?=
RUN ?=
SHEETS ?=
RUBRICS ?= professionalism empathy practicality
PAIRS ?=
RATERS ?= 2
A ?=
B ?=

# What people give is text: make expands nothing in it, and recipes read it from the environment ("$$DATA"), where it needs no quotes
GIVEN := PYTHON CORES MODEL DATA WORKDIR DATASET ID SHAREGPT TOKENIZER PARTS SIZES NEAR PEERS N SEED RECORD EXPORT EXPECT CONFIG \
	PORT KEY STORE OUT PUBLIC_KEY AUTHORITY IDENTITY REVOKED COMMIT ISSUER SIGSTORE USER REPLACE QUICK SBOM PLAN FILE ARCHIVE RUN A B SHEETS RUBRICS PAIRS RATERS
$(foreach name,$(GIVEN),$(if $(filter command environment,$(firstword $(origin $(name)))),\
	$(eval override $(name) := $$(value $(name)))))
export $(GIVEN)

# The driver environment has the name of what it is made of, so that another lock never takes one away that runs; .venv leads to it
DRIVER_ENV := .venvs/driver-$(shell sha256sum envs/driver.lock | cut -c 1-12)
DRIVER := $(DRIVER_ENV)/bin/python
CORE := scripts/mindtune/environments.py core
TRAIN := scripts/mindtune/environments.py train
DASHBOARD := scripts/mindtune/environments.py dashboard
PEERS_ENV := scripts/mindtune/environments.py peers
export PATH := $(CURDIR)/$(DRIVER_ENV)/bin:$(value PATH)
# UTF-8 in every locale: Python reads paths and texts by it, and so does each program that it starts
export PYTHONUTF8 := 1
REPORTS := demo-tests/faults
# Who must have signed an export, and what was taken back
SIGNER = $${PUBLIC_KEY:+--public-key="$$PUBLIC_KEY"} $${AUTHORITY:+--authority="$$AUTHORITY"} $${IDENTITY:+--identity="$$IDENTITY"} \
	$${ISSUER:+--issuer="$$ISSUER"} $${SIGSTORE:+--sigstore="$$SIGSTORE"} $${REVOKED:+--revoked="$$REVOKED"}

.DEFAULT_GOAL := help
.PHONY: help setup driver demo test test-unit test-peers test-workflow test-e2e test-profile test-faults test-slurm test-local chaos slurm-doctor audit adopt plan why estimate artifact reproduce diff lint lock docs clean-demo look row erase tables chart export-suites gate blind-sheet score-raters h100-check bench-data verify serve chat dashboard deployment sbom

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: driver ## make the driver environment (.venv): Snakemake and the tools of the tests

driver: $(DRIVER_ENV)/READY
	@if [ "$$(readlink .venv)" != $(DRIVER_ENV) ]; then \
		if [ -d .venv ] && [ ! -L .venv ]; then mv -T .venv .venvs/earlier-$$$$; fi && \
		ln -sfn $(DRIVER_ENV) .venv.new && mv -T .venv.new .venv; fi

$(DRIVER_ENV)/READY:
	"$${PYTHON:=$$(command -v python3.11 || command -v python3)}" -c \
		'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed: make PYTHON=/path/to/python3.11")' && \
		"$$PYTHON" -m venv --clear $(@D)
	$(DRIVER) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r envs/driver.lock
	@touch $@

demo: driver ## the whole chain on a CPU [MODEL=tiny|smollm2] [DATA=FILE.jsonl] [WORKDIR=demo] [REPLACE=model|data|all]
	@$(DRIVER) scripts/tools/demo.py --model="$$MODEL" --data="$$DATA" --workdir="$$WORKDIR" --cores="$$CORES" --replace="$$REPLACE"

look: driver ## what is in DATA (a file or folder of dialogues), what cleaning would keep, three rows; in seconds, before any config
	@"$$($(DRIVER) $(CORE))" scripts/tools/show_data.py --data="$$DATA" --hotlines config/hotlines.yaml

row: driver ## what happened to one dialogue, step by step: ID=... [DATASET=demo] [WORKDIR=demo]
	@"$$($(DRIVER) $(CORE))" scripts/tools/show_row.py --workdir="$$WORKDIR" --dataset="$$DATASET" --id="$$ID" --hotlines config/hotlines.yaml

erase: driver ## remove a dialogue from all that the working directory holds and makes again: ID=... [DATASET=demo] [WORKDIR=demo]
	@"$$($(DRIVER) $(CORE))" scripts/tools/erase.py --workdir="$$WORKDIR" --dataset="$$DATASET" --id="$$ID" --list config/erased.txt

bench-data: driver ## time the data stage on large made-up corpora: SHAREGPT=FOLDER [TOKENIZER=FOLDER] [SIZES="10000 100000"]
	@"$$($(DRIVER) $(CORE))" scripts/bench/bench_data.py --sharegpt="$$SHAREGPT" --tokenizer="$$TOKENIZER" --parts $$PARTS \
		--sizes $$SIZES --near-size="$$NEAR" --peers="$$PEERS" --records docs/records

tables: driver ## tables, summary and forest plot again, from the item scores alone, without a GPU [WORKDIR=demo]
	@python="$$($(DRIVER) $(CORE))" && at="$$PWD/scripts" && cd "$$WORKDIR" && \
		exec "$$python" "$$at/evaluation_table.py" --items results/runs/*/items/*.parquet --made-by results/runs/*/scores/*.json \
			$(foreach file,csv=evaluation.csv markdown=evaluation.md latex=evaluation.tex summary=summary.md worse=worse.md seeds=seeds.csv \
			variants=evaluation_table.json forest=differences.svg record=evaluation_table.json,--$(subst =,=results/tables/,$(file)))

chart: ## the CHART checklist of a finished run, each line linked to a record [WORKDIR=demo]
	@file="$$WORKDIR/results/report/chart.md"; if [ -f "$$file" ]; then exec cat -- "$$file"; fi; \
		printf 'error: %s is not there; run the workflow in that working directory first\n' "$$file" >&2; exit 2

export-suites: driver ## the suites as EvalScope reads them, and the words to call it with [WORKDIR=demo] [DATASET=demo] [OUT=evalscope]
	@"$$($(DRIVER) $(CORE))" scripts/tools/export_suites.py --workdir="$$WORKDIR" --dataset="$$DATASET" --out="$$OUT"

gate: driver ## which gates each run passed; fails if one failed or is not certified [WORKDIR=demo]
	@$(DRIVER) scripts/gate.py --gates "$$WORKDIR/results/gates.json"

blind-sheet: driver ## replies of base and tuned in random order for people to rate [RUN=main] [PAIRS=50] [RATERS=2] [RUBRICS=NAMES] [SEED=1] [WORKDIR=demo]
	@"$$($(DRIVER) $(CORE))" scripts/tools/blind_sheet.py --workdir="$$WORKDIR" --run="$${RUN:-main}" --rubrics $$RUBRICS \
		$${PAIRS:+--pairs="$$PAIRS"} --raters="$$RATERS" --seed="$$SEED"

score-raters: driver ## how far people agree, and what they found: SHEETS=FOLDER of filled-in sheets [RUN=main] [WORKDIR=demo]
	@python="$$($(DRIVER) $(CORE))" && at="$$PWD/scripts" && run="$${RUN:-main}" && \
		sheets="$$(realpath -m --relative-to="$$WORKDIR" -- "$$SHEETS")" && cd "$$WORKDIR" && \
		exec "$$python" "$$at/score_raters.py" --sheets "$$sheets" --key "results/raters/$$run/key.json" \
			--items results/runs/"$$run"/items/*.parquet \
			--made-by "results/raters/$$run/blind_sheet.json" results/runs/"$$run"/scores/*.json \
			--csv results/tables/raters.csv --markdown results/tables/raters.md \
			--answers results/tables/raters.jsonl --record results/tables/score_raters.json

h100-check: driver ## the whole chain at real size on a card, with few dialogues; records what each rule took [PLAN=1] [CORES=16]
	@$(DRIVER) scripts/bench/bench_chain.py --configfile config/h100-check.yaml --dataset check --workdir demo-h100 \
		--cores="$$CORES" --record demo-h100/chain.json $${PLAN:+--plan}

clean-demo: ## remove demo/, environments stay
	rm -rf demo

plan: driver ## what would run, and why, in sentences; nothing runs [WORKDIR=.] [CONFIG=FILE]
	@$(DRIVER) scripts/tools/plan.py --workdir="$$WORKDIR" $${CONFIG:+--configfile="$$CONFIG"}

estimate: driver ## how long what would run takes, by earlier runs in that folder [WORKDIR=.] [CONFIG=FILE] [CORES=2]
	@$(DRIVER) scripts/tools/estimate.py --workdir="$$WORKDIR" $${CONFIG:+--configfile="$$CONFIG"} --cores="$$CORES"

why: driver ## why one file would be made again, or when it was made from what: FILE=... [WORKDIR=.] [CONFIG=FILE]
	@$(DRIVER) scripts/tools/why.py --workdir="$$WORKDIR" $${CONFIG:+--configfile="$$CONFIG"} --file="$$FILE"

audit: driver ## is everything that the records name as it was made? file by file [WORKDIR=.] [QUICK=1], or of an archive: [ARCHIVE=FILE]
	@$(DRIVER) scripts/tools/audit.py --workdir="$$WORKDIR" $${QUICK:+--quick} $${ARCHIVE:+--archive="$$ARCHIVE"}

diff: driver ## what differs between two runs or two archives: A=RUN|FILE B=RUN|FILE [WORKDIR=.]
	@$(DRIVER) scripts/tools/diff.py --a="$$A" --b="$$B" --workdir="$$WORKDIR"

artifact: driver ## what a paper and a committee ask for, in a new folder: [RUN=main] [WORKDIR=.] [OUT=artifact]
	@$(DRIVER) scripts/tools/artifact.py --workdir="$$WORKDIR" --run="$${RUN:-main}" --out="$$OUT"

reproduce: driver ## run an archived run again, and compare file by file: ARCHIVE=FILE [WORKDIR=reproduced] [EXPECT=SHA256]
	@$(DRIVER) scripts/tools/reproduce.py --archive="$$ARCHIVE" --workdir="$$WORKDIR" $${EXPECT:+--expect="$$EXPECT"} --cores="$$CORES"

adopt: driver ## take up results that were copied without .snakemake, if every one is as recorded [WORKDIR=.]
	@$(DRIVER) scripts/tools/adopt.py --workdir="$$WORKDIR"

verify: ## check a copied export byte by byte (needs Python 3.9, no package, no network) [EXPORT=DIR] [EXPECT=SHA256] [REVOKED=FILE] [PUBLIC_KEY=FILE] or [IDENTITY=NAME AUTHORITY=FILE|ISSUER=URL], then [COMMIT=HASH]
	@if [ -z "$$PUBLIC_KEY$$AUTHORITY$$IDENTITY$$ISSUER$$COMMIT" ]; then \
		exec python3 -I scripts/deploy/verify_export.py $${EXPECT:+--expect="$$EXPECT"} $${REVOKED:+--revoked="$$REVOKED"} -- "$$EXPORT"; fi; \
	python="$$($(DRIVER) $(CORE))" && exec "$$python" scripts/deploy/verify_signature.py $${EXPECT:+--expect="$$EXPECT"} $(SIGNER) \
		$${COMMIT:+--commit="$$COMMIT"} -- "$$EXPORT"

serve: driver ## serve an export on 127.0.0.1 until Ctrl-C [EXPORT=DIR] [CONFIG=FILE] [PORT=23333] [KEY=FILE] [PUBLIC_KEY=FILE] or [IDENTITY=NAME AUTHORITY=FILE|ISSUER=URL] [REVOKED=FILE]
	@$(DRIVER) scripts/deploy/serve_export.py --export="$$EXPORT" $${CONFIG:+--configfile="$$CONFIG"} --port="$$PORT" --key-file="$$KEY" \
		$(SIGNER)

chat: ## talk to what make serve serves (no package needed) [PORT=23333] [KEY=FILE]
	@python3 scripts/deploy/chat.py --port="$$PORT" --key-file="$$KEY"

dashboard: driver ## the trainings in SwanLab's own dashboard, on 127.0.0.1 and without an account, until Ctrl-C [WORKDIR=.] [PORT=5092]
	@python="$$($(DRIVER) $(DASHBOARD))" && exec "$$python" scripts/tools/show_dashboard.py --workdir="$$WORKDIR" --port="$$PORT"

deployment: driver ## systemd units and a SLURM script for a store of exports: make deployment STORE=DIR [CONFIG=FILE] [OUT=DIR]
	@$(DRIVER) scripts/deploy/render_deployment.py --store="$$STORE" $${CONFIG:+--configfile="$$CONFIG"} --port="$$PORT" \
		--user="$$USER" --key-file="$$KEY" --out="$$OUT"

test: lint ## all tests but the GPU's and the long ones of test-faults
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target --keep-going test-unit test-workflow test-e2e test-profile

lint: driver ## formatting and static checks of Python and rules
	$(DRIVER) -m ruff check --quiet .
	$(DRIVER) -m ruff format --quiet --check .
	$(DRIVER) -m snakefmt --check Snakefile rules

test-unit: driver ## pure functions, the server, the merge: each in the environment that runs it
	@$(DRIVER) tests/unit/run.py

test-peers: driver ## our numbers beside those of sacrebleu, rouge_chinese, ms-swift, lm-eval and statsmodels; builds what they need; MINDTUNE_MMLU and MINDTUNE_EVALSCOPE name more to compare with
	@$(DRIVER) $(PEERS_ENV) >/dev/null
	@$(DRIVER) tests/unit/run.py unit/peers/

test-workflow: driver ## the plan: what an edit of every key, script and module would rerun
	@$(DRIVER) $(CORE) > /dev/null
	$(DRIVER) -m pytest -q tests/workflow

test-e2e: driver ## the demo, twice, and what must be equal
	$(DRIVER) -m pytest -q tests/e2e

test-profile: driver ## the literal command and the doctor on a real SLURM (as root; else skipped, and said), hostile input, a sample of chaos
	$(DRIVER) -m pytest -q tests/slurm/test_profile.py tests/slurm/test_doctor.py tests/faults/test_security.py tests/faults/test_chaos.py

test-faults: driver ## every fault, on a real SLURM and off it, in two lanes side by side [RECORD=1]
	@rm -rf $(REPORTS)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-slurm test-local
	if [ -n "$$RECORD" ]; then $(DRIVER) tests/faults/survived.py --reports $(REPORTS) --record docs/records/faults.json; fi

test-slurm: driver ## the part of test-faults on a real SLURM, which it brings up (as root; else skipped, and said)
	$(DRIVER) -m pytest -q --junitxml $(REPORTS)/slurm.xml tests/slurm

test-local: driver ## the rest of it: full disks, torn files, jumping clocks, hostile input, three rounds of chaos
	$(DRIVER) -m pytest -q --junitxml $(REPORTS)/local.xml tests/faults --ignore tests/faults/test_resume.py --ignore tests/faults/test_train.py
	"$$($(DRIVER) $(TRAIN))" -m pytest -q --junitxml $(REPORTS)/resume.xml tests/faults/test_resume.py tests/faults/test_train.py

chaos: driver ## random faults over repeated runs, unattended (nightly), recorded in docs/records/chaos.json [N=200] [SEED=1]
	$(DRIVER) tests/faults/chaos.py --rounds="$$N" --seed="$$SEED" --record docs/records/chaos.json

slurm-doctor: driver ## does the profile fit this cluster? prints the lines to change
	@$(DRIVER) scripts/tools/slurm_doctor.py --profile slurm-h100

docs: driver ## generated pages: config/README.md, docs/measurements.md, docs/rulegraph.svg
	$(DRIVER) scripts/tools/write_docs.py
	$(DRIVER) scripts/tools/write_measurements.py
	$(DRIVER) -m snakemake --quiet all --directory demo-docs --cores="$$CORES" --force results/report/rulegraph.svg
	mkdir -p docs && cp demo-docs/results/report/rulegraph.svg docs/rulegraph.svg && rm -rf demo-docs

sbom: driver ## list every pinned package as a bill of materials (CycloneDX 1.6): sbom.json [SBOM=FILE]
	$(DRIVER) scripts/tools/write_sbom.py --out="$$SBOM"

lock: driver ## pin what envs/*.in name, with hashes
	$(DRIVER) scripts/tools/lock_environments.py
	$(DRIVER) scripts/tools/write_docs.py
