# Two commands matter to a newcomer: `make demo` and `make test`. Everything they need, they install.
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed

.PHONY: setup demo check slo prometheus chromium test bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	python3 -c 'import sys; sys.exit("mesh-stream needs Python 3.11 or newer; `python3` here is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[local,slo,async,console,dev]'
	touch $(STAMP)

demo: setup
	$(VENV)/bin/mesh-stream demo

check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# What docker-compose.yml mounts, made anew from the products' declarations.
slo: setup
	$(VENV)/bin/mesh-stream slo --out deploy/slo

# A real Prometheus for the tests that ask one: Debian's package, unpacked beside Python and not
# installed, so that nothing runs here that did not before. Without it they are skipped, and say so.
prometheus: setup
	@command -v promtool >/dev/null || test -x $(VENV)/prometheus/usr/bin/promtool || \
	{ mkdir -p $(VENV)/prometheus && cd $(VENV)/prometheus && \
	  { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } && \
	  dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb; } >/dev/null 2>&1 || \
	echo "no Prometheus: neither on this machine, nor from apt-get; the tests that ask one are skipped"

# A real browser for the tests of the page: Debian's, which brings what it needs. The same holds.
chromium:
	@command -v chromium >/dev/null || \
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -qq --no-install-recommends chromium; } >/dev/null 2>&1 || \
	echo "no Chromium: neither on this machine, nor from apt-get; the tests of the page are skipped"

# Most of the time is waiting, for sessions and time-outs: four at once, each with its own broker.
test: check prometheus chromium
	$(PY) -m pytest -n 4 --dist loadfile --no-loadscope-reorder

bench: setup
	$(PY) -m tests.bench
	$(PY) -m tests.bench.fold
	$(PY) -m tests.bench.closing
	$(PY) -m tests.bench.observed

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
