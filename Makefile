# make demo    a picture to a mesh at a webhook, everything on this machine
# make test    all that runs without a GPU or the network
# make studio  the page at / from its source in studio/; needs npm
# make fuzz    odd inputs for the API and the parsers, for as long as it takes (in `make test` for seconds)
# make chaos   half an hour of kills, freezes and restarts; KILLS=20 for less
# make check   format, lint, types, import contracts, tests
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python
IMAGE ?=
KILLS ?= 200
SEED ?=
# Tools that come with the packages are found before those of the system.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: studio demo test chaos fuzz check lint format serve doctor evaluate clean

.venv/serve: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/dev: .venv/serve requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

demo: .venv/serve
	$(RUN) main.py demo $(if $(IMAGE),--image "$(IMAGE)")

serve: .venv/serve
	$(RUN) main.py serve

doctor: .venv/serve
	$(RUN) main.py doctor

studio:
	npm --prefix studio ci --no-audit --no-fund
	npm --prefix studio run check
	npm --prefix studio run build

test: .venv/dev
	$(RUN) -m pytest

fuzz: .venv/dev
	FUZZ=long $(RUN) -m pytest tests/fuzz

chaos: .venv/dev
	cd tests && PYTHONPATH=..:. ../$(RUN) -m service.chaos --kills $(KILLS) $(if $(SEED),--seed $(SEED))

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

evaluate: .venv/dev
	$(RUN) -m training.evaluate

clean:
	rm -rf .venv demo data
