# Everything works on a fresh clone: the first target that needs Python sets up .venv. No other tool than make and Python >= 3.11 (with venv).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
#: PyPI's Linux wheels of torch bring 4 GB of GPU libraries; this index has those without.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
#: Recordings that `make eval` scores, and how many at a time.
RECORDINGS ?= $(firstword $(WHENCE_RECORDINGS) $(wildcard ../shared/data) exporter/recordings)
JOBS ?= 2
#: Inputs of `make fuzz`; SANITIZE=1 runs them under AddressSanitizer.
INPUTS ?= 10000000

.PHONY: help install demo test lint types format fuzz eval quiet embeddings calibrate clean

help:
	@echo 'make demo    two recorded failures through a running whence: what broke, why, how sure'
	@echo 'make test    every test (those that need otelcol, prometheus, ... on PATH are skipped without them)'
	@echo 'make lint    ruff, layout and errors      make types   mypy --strict over engine/ and exporter/'
	@echo 'make eval    scores the recordings at hand and writes docs/accuracy.md (RECORDINGS=DIR, JOBS=2)'
	@echo 'make quiet   synthetic days on which nothing is wrong, and the same with planted faults; writes docs/quiet.md (a quarter of an hour of CPU)'
	@echo 'make fuzz    changed bytes to the compiled decoder and to the plain one: no difference (INPUTS=10000000, SANITIZE=1)'
	@echo 'make calibrate  fits confidence on faults planted where nothing happened, and prints how good it is on recordings left out'
	@echo 'make embeddings  k-NN ROC-AUC of the learned rows, with trained and with untrained weights (minutes)'
	@echo 'make format  lays the code out             make clean   removes .venv and what tools leave behind'
	@echo 'make bench   what a span costs beside a Collector, Rotel and the naive way; writes docs/performance.md (BENCH="--json FILE")'
	@echo 'make soak    twenty minutes at half load, plotted       make bench-memory   100 million spans of 200 services'

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt setup.py exporter/decode/walker.pyx exporter/pages.pyx $(wildcard exporter/decode/walk/*.h engine/kernels/*.pyx)
	@echo 'whence: setting up $(VENV) (once): numpy, faiss-cpu, grpcio, protobuf, torch (CPU build, for training), and what tests need;'
	@echo '        about 350 MB to download, 1.2 GB on disk, no GPU libraries'
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'whence needs Python 3.11 or later: make PYTHON=python3.12' >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --dry-run --no-deps --ignore-installed --report $(VENV)/torch.json -c constraints.txt torch 2> /dev/null || true
	@index=; grep -q '+cpu' $(VENV)/torch.json 2> /dev/null || index='--extra-index-url $(TORCH_INDEX)'; \
	$(BIN)/pip install --quiet --disable-pip-version-check $$index -c constraints.txt -e '.[dev]'
	@if $(BIN)/pip list --disable-pip-version-check 2> /dev/null | grep -qi '^nvidia-'; then \
	echo 'whence: GPU libraries were installed: make clean, then make TORCH_INDEX=<an index with CPU builds of torch>' >&2; exit 1; fi
	@$(BIN)/python -c 'from exporter.decode.decoder import walker_problem as p; p() and print("whence: no compiled decoder, the slow one is used:", p())'
	@du -sh $(VENV) | awk '{ print "whence: installed, " $$1 " in $(VENV)" }'
	@touch $@

demo: $(STAMP)
	@$(BIN)/whence demo

test: $(STAMP)
	$(BIN)/pytest -rs

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(STAMP)
	$(BIN)/mypy

fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz --inputs $(INPUTS) $(if $(SANITIZE),--sanitize)

eval: $(STAMP)
	$(BIN)/whence eval $(RECORDINGS) --jobs $(JOBS) --report docs/accuracy.md

quiet: $(STAMP)
	$(BIN)/python -m exporter.evaluate.quiet $(RECORDINGS) --jobs $(JOBS) --report docs/quiet.md

calibrate: $(STAMP)
	$(BIN)/python -m exporter.evaluate.calibrate $(RECORDINGS) --jobs $(JOBS)

embeddings: $(STAMP)
	$(BIN)/python -m tests.bench.embeddings $(RECORDINGS)

clean:
	rm -f exporter/decode/walker.c exporter/decode/walker.*.so exporter/pages.c exporter/pages.*.so
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	find engine exporter tests -name __pycache__ -prune -exec rm -rf {} +

.PHONY: bench soak bench-memory

bench: $(STAMP)
	@$(BIN)/python -m tests.bench.performance --report docs/performance.md $(BENCH)

soak: $(STAMP)
	@$(BIN)/python -m tests.bench.soak --report docs/performance-soak.md

bench-memory: $(STAMP)
	@$(BIN)/python -m tests.bench.memory --report docs/performance-memory.md
