# make demo    a picture to a mesh at a webhook, everything on this machine
# make test    all that runs without a GPU or the network, on JOBS processes (JOBS=0: in this one)
# make test-slow  before a release: minutes of load and large cases; demo, serve and kill tests on each Python here
# make studio  the page at / from its source in studio/; needs npm
# make pictures  the pictures in docs/ that README shows; photographs need MATTING_HOME with ISNet
# make docs    the tables in docs/ that follow from code
# make fuzz    odd inputs for the API and the parsers, for as long as it takes (in `make test` for seconds)
# make chaos   half an hour of kills, freezes and restarts, and a hostile key; KILLS=20 for less
# make check   format, lint, types, import contracts, tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
IMAGE ?=
KILLS ?= 200
# One more than cores, as half of the tests wait for a service (with twice as many, services waited for each other);
# at most six, each holds PyTorch and a Postgres.
JOBS ?= $(shell $(PYTHON) -c "import os; print(min(6, 1 + (os.cpu_count() or 1)))")
SEED ?=
# PyTorch's build: cpu or cuda. Without an NVIDIA driver the CPU's, some 200 MB in place of 2.7 GB.
TORCH ?= $(if $(wildcard /proc/driver/nvidia/version)$(shell command -v nvidia-smi 2>/dev/null),cuda,cpu)
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
# Tools that come with the packages are found before those of the system.
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: docs pictures studio demo test test-slow chaos fuzz check lint format serve doctor evaluate clean

$(VENV)/serve: requirements.txt
	$(PYTHON) -m venv $(VENV)
	@echo "installing PyTorch ($(TORCH)) and the packages of requirements.txt, some minutes"
	@if [ "$(TORCH)-$$(uname -s)" = cpu-Linux ]; then \
	    $(BIN)/pip install --quiet --disable-pip-version-check --retries 0 --timeout 15 \
	        --index-url $(TORCH_CPU_INDEX) torch==2.13.0 2>/dev/null \
	    || echo "PyTorch's own index can't be reached: its default build is taken"; fi
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/dev: $(VENV)/serve requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

demo: $(VENV)/serve
	$(RUN) main.py demo $(if $(IMAGE),--image "$(IMAGE)") $(if $(OUT),--out "$(OUT)")

serve: $(VENV)/serve
	$(RUN) main.py serve

doctor: $(VENV)/serve
	$(RUN) main.py doctor

studio:
	npm --prefix studio ci --no-audit --no-fund
	$(RUN) studio/schemas.py > studio/openapi.json
	npm --prefix studio run types
	npm --prefix studio run check
	npm --prefix studio run build

pictures: $(VENV)/dev
	$(RUN) -m examples.readme_pictures demo variants $(if $(MATTING_HOME),photographs)
	STUDIO_SCREENSHOTS=1 $(RUN) -m pytest -n0 tests/e2e/test_studio.py tests/e2e/test_operate.py \
	    tests/e2e/test_models_picture.py -k pictures_of

docs: $(VENV)/dev
	cd tests && PYTHONPATH=.:.. $(abspath $(RUN)) -m support.doc_tables

test: $(VENV)/dev
	$(RUN) -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder -rs

test-slow: $(VENV)/dev
	$(RUN) -m pytest -m slow -rs
	.ci/other-pythons tests

fuzz: $(VENV)/dev
	FUZZ=long $(RUN) -m pytest tests/fuzz

chaos: $(VENV)/dev
	cd tests && PYTHONPATH=..:. $(abspath $(RUN)) -m service.chaos --kills $(KILLS) $(if $(SEED),--seed $(SEED))

lint: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

evaluate: $(VENV)/dev
	$(RUN) -m training.evaluate

clean:
	rm -rf $(VENV) demo data
