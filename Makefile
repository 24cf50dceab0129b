# Every task of the project; `make` alone lists them.
#
# Set-up is a file, .venv/.complete: a target that needs the environment depends on it, so each
# command works on a fresh machine and costs nothing when pyproject.toml and constraints.txt have
# not changed. The board's side has one of its own, .venv36/.complete.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.SUFFIXES:

# The workstation's Python; empty means: look for one.
PYTHON ?=
# The board's Python, a CPython 3.6; empty means: look for one.
PYTHON36 ?=

BIN := .venv/bin
READY := .venv/.complete
BOARD_BIN := .venv36/bin
BOARD_READY := .venv36/.complete
EXTRAS := train,export,cpu,live,mqtt,report,dev

# The code that must run on the board's Python 3.6. A test runs there by lying in one of these
# folders; tests that need torch or Python 3.10 lie elsewhere.
BOARD_CODE := jetson export benchmarks
BOARD_TESTS := tests/jetson tests/export_board tests/benchmarks
BOARD_FIXTURES := tests/conftest.py tests/stand_ins
# A real export, made on this side, for the board's side to read and time.
BOARD_MODEL := build/board/model

# One thread each, or the workers of a parallel test run fight over the cores.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: help
help: ## list the targets
	@echo "make TARGET, where TARGET is one of:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- Set-up ---------------------------------------------------------------------------------------

# $(call first_python,NAMES,CONDITION): the first that starts and meets the Python condition.
# A name may be on PATH and still not start: pyenv puts names there for versions not chosen.
first_python = $(shell for name in $(1); do \
	"$$name" -c 'import sys, venv, ensurepip; sys.exit(not ($(2)))' >/dev/null 2>&1 \
	&& { echo "$$name"; break; }; done)

NEW_ENOUGH := (3, 10) <= sys.version_info < (3, 15)
PYTHON_NAMES := python3 python3.14 python3.13 python3.12 python3.11 python3.10
find_python = $(call first_python,$(or $(PYTHON),$(PYTHON_NAMES)),$(NEW_ENOUGH))

IS_36 := sys.version_info[:2] == (3, 6)
PYENV_ROOTS = $(shell pyenv root 2>/dev/null) $(HOME)/.pyenv
find_python36 = $(call first_python,$(or $(PYTHON36),python3.6 \
	$(wildcard $(addsuffix /versions/3.6*/bin/python,$(PYENV_ROOTS)))),$(IS_36))

.PHONY: setup
setup: $(READY) ## create .venv with pinned versions (PYTHON=... chooses the interpreter)
	@echo "Ready: $(BIN) has train-clips, export-engine, jetson-bench, gesture-demo and gesture-record."

# An environment that works is brought up to date in place, one that pip does not start in is made
# anew. Building without isolation uses the pinned setuptools.
$(READY): pyproject.toml constraints.txt
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		python="$(find_python)"; \
		if [ -z "$$python" ]; then \
			echo "make: no Python 3.10 to 3.14 with its venv module was found; install one (Debian," \
				"Ubuntu: apt-get install python3 python3-venv) or name it: make setup PYTHON=FILE" >&2; \
			exit 1; \
		fi; \
		echo "Creating .venv with $$("$$python" --version) ($$python)"; \
		"$$python" -m venv --clear .venv || exit 1; \
	fi
	@rm -f $@
	@echo "Installing the pinned packages into .venv (a few minutes the first time)"
	@$(BIN)/python -m pip install --constraint constraints.txt setuptools
	@$(BIN)/python -m pip install --constraint constraints.txt --no-build-isolation \
		--editable '.[$(EXTRAS)]'
	@touch $@

$(BOARD_READY): constraints-board.txt
	@python="$(find_python36)"; \
	echo "Creating .venv36 with $$("$$python" --version) ($$python)"; \
	"$$python" -m venv --clear .venv36
	@# The bundled pip can be older than the manylinux2014 tag; 21.3.1 is the last for 3.6.
	@$(BOARD_BIN)/python -m pip install --quiet pip==21.3.1
	@$(BOARD_BIN)/python -m pip install --requirement constraints-board.txt
	@touch $@

# --- The demo -------------------------------------------------------------------------------------

# A small network on small clips: it learns in a few minutes on two CPU cores.
DEMO_TRAINING := --model shufflenetv1 --width 0.5 --size 48
# The drawn gestures last a second: a clip of every picture, not of every second one, holds one.
DEMO_CLIPS := --stride 1
DEMO_MODEL := demo/shufflenetv1_0.5x_synthetic

# The user's own commands, as a user types them: make prints each before it runs.
.PHONY: demo
demo: $(READY) ## train a small model, export, benchmark and use it (a few minutes on a CPU)
	@mkdir -p demo
	@printf '\n[1/5] Train a small model on generated gestures\n'
	$(BIN)/train-clips fit $(DEMO_TRAINING) $(DEMO_CLIPS) --data synthetic --output $(DEMO_MODEL).pt
	@printf '\n[2/5] Export it to ONNX and compare with PyTorch\n'
	$(BIN)/export-engine --checkpoint $(DEMO_MODEL).pt --no-engine --output demo
	@printf '\n[3/5] Measure clips per second\n'
	$(BIN)/jetson-bench $(DEMO_MODEL).onnx --batch 8 --duration 5 --json demo/bench.json
	@printf '\n[4/5] Make a video of gestures in a row, with known times\n'
	$(BIN)/python -m clipedge.trainside.data.synthetic --gestures 12 --seed 1 --output demo/gestures.mp4
	@printf '\n[5/5] Recognise them, and compare with what is true\n'
	$(BIN)/gesture-demo --model $(DEMO_MODEL).onnx --source demo/gestures.mp4 \
		--truth demo/gestures.truth.jsonl --events demo/events.jsonl --record demo/recognised.mp4
	@printf '%s\n' "" "Here is what was made:" \
		"  $(DEMO_MODEL).pt     the trained weights" \
		"  $(DEMO_MODEL).onnx   the model for the board; its .spec.json and .parity.json beside" \
		"  demo/bench.json         the measurement with its conditions" \
		"  demo/gestures.mp4       the generated video; its true times in gestures.truth.jsonl" \
		"  demo/events.jsonl       what was recognised" \
		"  demo/recognised.mp4     the video with the scores drawn on it: look at this one" \
		"" "What next (the commands are in $(BIN)):" \
		"  a camera       gesture-demo --model $(DEMO_MODEL).onnx --source 0" \
		"                 This model has seen drawn hands only: it will not know yours." \
		"  real weights   train-clips import FILE.pth --model shufflenetv1 --width 2.0 --dataset jester" \
		"  own gestures   train-clips fit $(DEMO_TRAINING) --data FOLDER_OF_CLASSES"

# --- The benchmark --------------------------------------------------------------------------------

.PHONY: bench
bench: $(READY) ## measure every model of the paper's Table 8 here (about half an hour on a CPU)
	@mkdir -p bench/models
	$(BIN)/jetson-bench bench/models --all --batch 8 --limit \
		--json bench/bench.json --html bench/report.html
	@printf '%s\n' "" "Here is what was made:" \
		"  bench/report.html   the table and the charts, in one page: look at this one" \
		"  bench/bench.json    every figure with its conditions" \
		"  bench/models        the ONNX files, with random weights" \
		"" "What next (the commands are in $(BIN)):" \
		"  which model    jetson-bench bench/bench.json --recommend --min-cps 30 --dataset jester" \
		"  later again    jetson-bench bench/models --all --baseline bench/bench.json --json new.json" \
		"  on the board   copy bench/models there; for each file export-engine --onnx FILE, then" \
		"                 jetson-bench bench/models --batch 8 --html report.html"

# --- Checks ---------------------------------------------------------------------------------------

.PHONY: test
test: $(READY) ## run the tests, setting up first where needed
	$(ONE_THREAD) $(BIN)/pytest --numprocesses auto --dist worksteal

# 100,000 frames at 400 a second, the camera lost and found 20 times, three viewers.
.PHONY: soak
soak: $(READY) ## the long form of the endurance test (six minutes)
	CLIPEDGE_SOAK_FRAMES=100000 $(ONE_THREAD) $(BIN)/pytest -s tests/jetson/test_endurance.py

# Programs that tests talk to: a browser, a media server, a broker, a window system, and an OpenCV
# with windows and GStreamer. Where one is missing, its tests are skipped and say so.
DEBIAN_PEERS := chromium gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base \
	gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly mosquitto openssl python3-gi \
	python3-opencv xdotool xvfb

.PHONY: peers
peers: ## install the programs that tests talk to, from Debian (as root)
	apt-get update
	DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $(DEBIAN_PEERS)

.PHONY: lint
lint: $(READY) ## ruff check
	$(BIN)/ruff check .

.PHONY: format
format: $(READY) ## ruff format, checking only
	$(BIN)/ruff format --check .

# mypy and import-linter see the namespace through links, as the root has no __init__.py.
.PHONY: links
links:
	@mkdir -p build/ns/clipedge
	@for folder in jetson export benchmarks trainside; do \
		ln -sfn "../../../$$folder" "build/ns/clipedge/$$folder"; done

.PHONY: types
types: $(READY) links ## mypy, strict
	$(BIN)/mypy

.PHONY: floor
floor: $(READY) ## vermin: the board's code and tests keep to Python 3.6
	$(BIN)/vermin --target=3.6- --eval-annotations --no-tips --violations \
		$(BOARD_CODE) $(BOARD_TESTS) $(BOARD_FIXTURES)

.PHONY: layers
layers: $(READY) links ## import-linter: imports point one way
	PYTHONPATH=build/ns $(BIN)/lint-imports --no-cache --no-logo

.PHONY: docker-lint
docker-lint: $(READY) ## hadolint for the Dockerfiles, the Compose schema for compose.yaml
	$(BIN)/hadolint --config docker/hadolint.yaml docker/*.Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml

.PHONY: board-test
board-test: $(READY) ## install the wheel into a real CPython 3.6 and test it there (PYTHON36=...)
	@python="$(find_python36)"; \
	if [ -n "$$python" ]; then \
		$(MAKE) --no-print-directory board-run PYTHON36="$$python"; \
	elif [ -n "$(PYTHON36)" ]; then \
		echo "make: $(PYTHON36) is no CPython 3.6 with its venv module" >&2; exit 1; \
	else \
		mkdir -p build/check; \
		echo "no CPython 3.6 found; install one with pyenv or name it: make board-test PYTHON36=FILE" \
			| tee build/check/board-test.skipped; \
	fi

# The wheel goes through a source archive: a wheel built in the tree can hold deleted files that
# still lie in build/. Called by board-test, with PYTHON36 set.
.PHONY: board-run
board-run: $(BOARD_READY)
	rm -rf build/dist build/board; mkdir -p build
	$(BIN)/pyproject-build --no-isolation --outdir build/dist . > build/wheel.log 2>&1 \
		|| { tail -n 20 build/wheel.log; exit 1; }
	$(BOARD_BIN)/python -m pip install --quiet --no-deps --force-reinstall build/dist/*.whl
	$(BOARD_BIN)/python -m pip check
	$(BIN)/export-engine --model shufflenetv1 --width 0.5 --no-engine --graph conv3d --output build/board
	CLIPEDGE_TEST_ONNX="$$(ls "$$PWD"/build/board/*.onnx)" $(ONE_THREAD) \
		env -u PYTHONPATH $(BOARD_BIN)/pytest $(BOARD_TESTS) -p no:cacheprovider

STAGES := lint format types floor layers docker-lint test board-test

# All stages run, also after a failure, and the last lines say how each ended.
.PHONY: check
check: $(READY) ## everything CI runs: lint, format, types, floor, layers, docker-lint, test, board-test
	@rm -rf build/check; mkdir -p build/check; failed=; \
	for stage in $(STAGES); do \
		printf '\n--- %s\n' "$$stage"; \
		began=$$(date +%s); \
		if ! $(MAKE) --no-print-directory "$$stage"; then outcome=FAILED; failed=yes; \
		elif [ -e "build/check/$$stage.skipped" ]; then \
			outcome="skipped: $$(cat "build/check/$$stage.skipped")"; \
		else outcome=passed; fi; \
		printf '  %-12s%5d s  %s\n' "$$stage" "$$(($$(date +%s) - began))" "$$outcome" \
			>> build/check/summary; \
	done; \
	printf '\nmake check:\n'; cat build/check/summary; [ -z "$$failed" ]

# --- The rest -------------------------------------------------------------------------------------

.PHONY: clean
clean: ## remove build output and caches (keeps .venv, demo, bench, engines and runs)
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .grimp_cache
	find $(BOARD_CODE) trainside tests -name __pycache__ -prune -exec rm -rf {} +
