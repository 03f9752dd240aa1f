# Two commands do everything on a machine with Python 3.11 or later, git and make: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# More threads than free cores make PyTorch ten times slower; one is right for networks of this size.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-slow test-oldest test-wheel audit docs bench format

demo: .venv/demo
	$(BIN)/mopo train halfcheetah-mixed --epochs 30 --rollout-batch-size 20000 --evaluate-every 5 $(DEMO)

test: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m sphinx -q -W --keep-going -n docs docs/_build
	$(BIN)/pytest -n auto --dist loadfile

docs: .venv/dev
	$(BIN)/python -m sphinx -q -W --keep-going -n docs docs/_build
	@echo "Open docs/_build/index.html"

test-slow: .venv/dev
	$(BIN)/pytest -m slow

# The oldest versions that pyproject.toml allows, in an environment of their own.
test-oldest:
	test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	$(PYTHON) .ci/oldest.py > .venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-oldest/constraints.txt -e ".[dev]"
	.venv-oldest/bin/pytest -n auto --dist loadfile

test-wheel: .venv/dev
	$(BIN)/pytest -m slow tests/test_wheel.py

# Known vulnerabilities of what is installed; it asks pypi.org or osv.dev.
audit: .venv/dev
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --skip-editable

bench: .venv/dev
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/rollout.py
	$(BIN)/python benchmarks/epoch.py
	$(BIN)/python benchmarks/two_cores.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/saving.py
	$(BIN)/python benchmarks/side_by_side.py
	$(BIN)/python benchmarks/fit.py
	$(BIN)/python benchmarks/penalty.py
	$(BIN)/python benchmarks/oracle.py
	$(BIN)/python benchmarks/penalties_off_data.py halfcheetah-jump
	$(BIN)/python benchmarks/datasets.py

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The demo needs less than the tests do.
.venv/demo .venv/dev: .venv/%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$*]"
	touch $@
