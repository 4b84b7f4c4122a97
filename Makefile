# Two commands: `make serve` and `make test`. Each sets up everything it needs first.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0
# Without an NVIDIA GPU, torch's build for CPUs: on Linux the usual one brings 3 GB of CUDA along. Empty: the usual one.
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi 2>/dev/null),,https://download.pytorch.org/whl/cpu)
# From there torch alone; what it needs comes with the rest.
FROM_TORCH_INDEX = $(if $(TORCH_INDEX),--no-deps --extra-index-url $(TORCH_INDEX))
HOST = $(or $(VISAGE_HOST),127.0.0.1)
PORT = $(or $(VISAGE_PORT),8000)

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: serve test dev lint secrets audit fuzz format bench bench-serving train clean browser promtool

serve: $(VENV)/.serve  ## serve real faces at http://127.0.0.1:8000
	@# exec: a shell in between would be all that a signal to make ends
	exec env VISAGE_HOST=$(HOST) VISAGE_PORT=$(PORT) $(BIN)/python -m service

# What minds no neighbour runs two files at a time, a core each; what watches the clock has the machine to itself.
# Files that take long come first, so that neither core is left waiting for the other.
TWO_AT_A_TIME := $(addprefix tests/e2e/test_,faces.py pipeline.py server.py) tests/training \
  $(addprefix tests/deploy/test_,container_start.py prometheus.py) \
  $(addprefix tests/e2e/test_,openapi.py best_of.py verify.py) tests/fuzz tests/models
PYTEST := PATH="$$PATH:$(abspath $(VENV))/prometheus/usr/bin" $(BIN)/python -m pytest

# ARGS choose other tests, or say how: make test ARGS='tests/service -x'.
test: $(VENV)/.dev browser promtool  ## run every test, a real browser included
ifdef ARGS
	$(PYTEST) $(ARGS)
else
	OMP_NUM_THREADS=1 $(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder $(TWO_AT_A_TIME)
	$(PYTEST) $(addprefix --ignore=,$(TWO_AT_A_TIME))
endif

dev: $(VENV)/.dev  ## install all that training and tests need, and run nothing

lint: $(VENV)/.dev secrets audit  ## formatting, lint, types, import rules, secrets, known vulnerabilities
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What the tests and the docs call a secret is none.
secrets: $(VENV)/.dev  ## no key or password is in the repository
	git ls-files -z > $(VENV)/.files
	xargs -0 $(BIN)/detect-secrets-hook --no-verify < $(VENV)/.files \
	  --exclude-files '^(tests/fuzz/corpus/|constraints.txt|models/checkpoints/|Makefile)' \
	  --exclude-secrets '^(alpha|beta|alpha,beta|visitor|anything|password)$$'

audit: $(VENV)/.dev  ## known vulnerabilities of the pinned dependencies, where advisories can be had
	$(BIN)/python .ci/audit.py $(ARGS)

INPUTS ?= 1000000
fuzz: $(VENV)/.dev  ## every parser that takes bytes from strangers, with INPUTS inputs in all
	PYTHONPATH=.:tests $(BIN)/python -m fuzz --inputs $(INPUTS) $(ARGS)

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev  ## measure preparation, training and the server under load, as ratios in one run
	$(BIN)/python benchmarks/prepare.py
	$(BIN)/python benchmarks/train.py
	$(BIN)/python benchmarks/overload.py
	$(BIN)/python benchmarks/soak.py
	PYTHONPATH=. $(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/ray_replicas.py
	$(MAKE) bench-serving

# The peers live in an environment of their own: their dependencies are not ours.
PEERS ?= .venv-bench
bench-serving: $(VENV)/.dev $(PEERS)/.done  ## the service beside other servers of the same generator
	@command -v wrk >/dev/null || { echo 'wrk makes the load: install the package wrk' >&2; exit 2; }
	$(BIN)/python -m benchmarks.serving --peers-python $(PEERS)/bin/python $(ARGS)
	$(BIN)/python -m benchmarks.serving.ladder
	$(BIN)/python -m benchmarks.serving.plots serving.json ladder.json docs/pictures/serving.webp

$(PEERS)/.done:
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet $(FROM_TORCH_INDEX) '$(TORCH)'
	$(PEERS)/bin/python -m pip install --quiet '$(TORCH)' -r benchmarks/serving/peers/requirements.txt
	touch $@

DATA ?= data/faces.zip
RUN ?= runs/faces-64
PRESET ?= faces_64
train: $(VENV)/.dev  ## train on DATA (made by `python -m training prepare`)
	$(BIN)/python -m training train --data $(DATA) --run $(RUN) --preset $(PRESET)

clean:  ## remove the environment and every cache; data, runs and checkpoints stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.torch:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Visage needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	@# Debian and Ubuntu keep what venv needs in a package of its own.
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing $$package"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$package >/dev/null; \
	  else \
	    echo "$(PYTHON) cannot make virtual environments: install the package $$package, then make again" >&2; exit 2; \
	  fi; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(FROM_TORCH_INDEX) '$(TORCH)'
	touch $@

$(VENV)/.serve: $(VENV)/.torch pyproject.toml constraints.txt
	$(PIP) -c constraints.txt -e '.[cpu]'
	touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml constraints.txt
	$(PIP) -c constraints.txt -e '.[cpu,train,eval,c2pa,ray,dev]'
	touch $@ $(VENV)/.serve

# The page is tested in Debian's Chromium or in Chrome. Ubuntu has Chromium as a snap only, which will not do: there
# Playwright downloads its own.
browser: $(VENV)/.dev
	@$(BIN)/python tests/find_browser.py >/dev/null || { \
	  if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	    echo "the page's tests need a browser: install the package chromium or Chrome, or run" \
	      "'$(BIN)/python -m playwright install chromium'; then make test again" >&2; exit 2; \
	  fi; \
	  echo "installing chromium for the page's tests"; apt-get update -qq; \
	  if apt-cache show chromium 2>/dev/null | grep -q .; then \
	    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null; \
	  else \
	    $(BIN)/python -m playwright install --with-deps chromium; \
	  fi; }

# Alerts are tested in Debian's Prometheus. Unpacked, not installed: that would leave a daemon running.
promtool: $(VENV)/.dev
	@command -v promtool >/dev/null || [ -x $(VENV)/prometheus/usr/bin/promtool ] || { \
	  if command -v apt-get >/dev/null; then \
	    echo "unpacking Debian's prometheus for the tests of the alerts"; \
	    if [ "$$(id -u)" = 0 ]; then apt-get update -qq; fi; \
	    rm -rf $(VENV)/prometheus.deb && mkdir $(VENV)/prometheus.deb && cd $(VENV)/prometheus.deb && \
	    apt-get download -qq -o APT::Sandbox::User=root prometheus && dpkg-deb -x prometheus_*.deb ../prometheus && rm -r ../prometheus.deb; \
	  else \
	    echo "the tests of the alerts need Prometheus: install the package prometheus, then make test again" >&2; exit 2; \
	  fi; }
