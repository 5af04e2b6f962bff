# Everything a person does with this project. The first use of a target installs what it needs into virtual environments
# beside this file, and again when a requirements file changes; after that nothing needs the network but deploying.

PYTHON ?= python3
PORT ?= 3000
# Passed on to pytest, for example: make test ARGS="-k refresh"
ARGS ?= -n auto --dist loadfile

# The default Python has .venv; one named with PYTHON= has its own, so that versions can be tested side by side.
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
SUFFIX := $(if $(filter file default,$(origin PYTHON)),,-$(VERSION))
VENV := .venv$(SUFFIX)
SAM_VENV := .venv-sam$(SUFFIX)
MINISTACK_VENV := .venv-ministack$(SUFFIX)
CLIENTS_VENV := .venv-clients$(SUFFIX)
SOURCES := .ci functions layers tests tools
PIP_INSTALL := -m pip --disable-pip-version-check --no-input -qq install

LAYERS := layers/dependencies/requirements.txt
LOCAL := $(VENV)/.local-$(VERSION)
TEST := $(VENV)/.test-$(VERSION)
BROWSER := $(VENV)/.browser-$(VERSION)
SAM := $(SAM_VENV)/.sam-$(VERSION)
MINISTACK := $(MINISTACK_VENV)/.ministack-$(VERSION)
CLIENTS := $(CLIENTS_VENV)/.clients-$(VERSION)
CLIENTS_NODE := tests/clients/node_modules/.installed
# The tests of clients that others wrote, which need those clients.
OTHERS_CLIENTS := $(patsubst %,tests/clients/test_%.py,browser mcp node python)
AXE := tests/browser/node_modules/.installed

export SAM_CLI_TELEMETRY := 0
# The checks of the template need a Region and no account.
export AWS_DEFAULT_REGION ?= us-east-1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run setup test browser-test clients-test conformance compliance compliance-check lint validate build clean python

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(LOCAL) ## run the whole broker on http://localhost:3000 (PORT= changes it)
	@$(VENV)/bin/python -m broker_local --port $(PORT)

setup: $(LOCAL) ## install what `make run` and the command `broker` need, and nothing more

test: $(TEST) $(MINISTACK) ## run the tests (PYTHON= chooses another Python, ARGS= goes to pytest)
	@MINISTACK='$(abspath $(MINISTACK_VENV)/bin/ministack)' $(VENV)/bin/python -m pytest \
		--ignore tests/browser --ignore tests/aws $(addprefix --ignore ,$(OTHERS_CLIENTS)) $(ARGS)

browser-test: $(BROWSER) $(AXE) ## walk the playground and every page in headless Chromium
	@$(VENV)/bin/python -m pytest tests/browser

clients-test: $(BROWSER) $(CLIENTS) $(CLIENTS_NODE) ## let OAuth clients that others wrote log in, refresh and revoke
	@CLIENTS_PYTHON='$(abspath $(CLIENTS_VENV)/bin/python)' $(VENV)/bin/python -m pytest $(OTHERS_CLIENTS) $(ARGS)

conformance: $(TEST) ## aim the conformance suite at a broker: URL=https://... CLIENTS_FILE=clients.json
	@$(VENV)/bin/python -m pytest tests/conformance --broker-url '$(URL)' --broker-clients '$(CLIENTS_FILE)' $(ARGS)

compliance: $(TEST) ## run the conformance suite and write docs/compliance.md
	@$(VENV)/bin/python tests/conformance/compliance.py

compliance-check: $(TEST) ## run the conformance suite; fail if docs/compliance.md does not say what came out
	@$(VENV)/bin/python tests/conformance/compliance.py --check

lint: $(BROWSER) ## check style and types
	@$(VENV)/bin/ruff check $(SOURCES)
	@$(VENV)/bin/ruff format --check $(SOURCES)
	@$(VENV)/bin/mypy --strict layers/broker/broker tools tests
	@for folder in functions/*/; do $(VENV)/bin/mypy --strict "$$folder" || exit 1; done

validate: $(SAM) ## check template.yaml, as written and as SAM transforms it
	@PATH='$(abspath $(SAM_VENV)/bin)':"$$PATH" .ci/validate

build: $(SAM) ## build what is deployed, into .aws-sam/build
	@PATH='$(abspath $(SAM_VENV)/bin)':"$$PATH" env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL sam build

clean: ## remove everything that was built or installed
	@rm -rf tests/clients/node_modules tests/browser/node_modules .venv .venv-* .aws-sam .local build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -type d -name __pycache__ -prune -exec rm -rf {} +

# ---------------------------------------------------------------- set-up

# Not a prerequisite of the stamps by time: it only has to hold.
python:
	@if [ -z '$(VERSION)' ]; then \
		echo '$(PYTHON) was not found; install Python 3.11 or newer, or name yours: make ... PYTHON=/path/to/python3' >&2; \
		exit 1; fi
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		echo 'Python $(VERSION) is too old; this needs 3.11 or newer: make ... PYTHON=/path/to/python3' >&2; exit 1; fi
	@if ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then \
		echo 'This Python cannot make virtual environments; install its venv module (Debian: apt install python3-venv)' >&2; \
		exit 1; fi

# An environment of another version of Python, left by an upgrade, is made anew.
make_venv = $(1)/bin/python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(VERSION)")' 2>/dev/null \
	|| $(PYTHON) -m venv --clear $(1)

$(LOCAL): requirements/local.txt $(LAYERS) pyproject.toml | python
	@echo 'Setting up $(VENV) for the local broker ...' >&2
	@$(call make_venv,$(VENV))
	@$(VENV)/bin/python $(PIP_INSTALL) -r requirements/local.txt
	@$(VENV)/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(TEST): $(LOCAL) requirements/test.txt | python
	@echo 'Setting up $(VENV) for the tests ...' >&2
	@$(VENV)/bin/python $(PIP_INSTALL) -r requirements/test.txt
	@touch $@

$(BROWSER): $(TEST) requirements/browser.txt | python
	@echo 'Setting up $(VENV) for the browser tests ...' >&2
	@$(VENV)/bin/python $(PIP_INSTALL) -r requirements/browser.txt
	@touch $@

$(SAM): requirements/sam.txt | python
	@echo 'Setting up $(SAM_VENV) for the SAM CLI ...' >&2
	@$(call make_venv,$(SAM_VENV))
	@$(SAM_VENV)/bin/python $(PIP_INSTALL) -r requirements/sam.txt
	@touch $@

$(MINISTACK): requirements/ministack.txt | python
	@echo 'Setting up $(MINISTACK_VENV) for the race tests ...' >&2
	@$(call make_venv,$(MINISTACK_VENV))
	@$(MINISTACK_VENV)/bin/python $(PIP_INSTALL) -r requirements/ministack.txt
	@touch $@

$(CLIENTS): requirements/clients.txt | python
	@echo 'Setting up $(CLIENTS_VENV) for the clients of others ...' >&2
	@$(call make_venv,$(CLIENTS_VENV))
	@$(CLIENTS_VENV)/bin/python $(PIP_INSTALL) -r requirements/clients.txt
	@touch $@

# No install scripts: nothing here needs one, and they are how a bad package runs code on this machine.
$(CLIENTS_NODE): tests/clients/package.json tests/clients/package-lock.json
	@if ! command -v npm >/dev/null; then \
		echo 'npm was not found; install Node.js and npm (Debian: apt install npm)' >&2; exit 1; fi
	@echo 'Setting up tests/clients/node_modules for the clients of others ...' >&2
	@npm --prefix tests/clients ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# The accessibility checker. Without npm its tests are skipped, and fail in CI.
$(AXE): tests/browser/package.json tests/browser/package-lock.json
	@if command -v npm >/dev/null; then \
		npm --prefix tests/browser ci --ignore-scripts --no-audit --no-fund --loglevel=error && touch $@; \
	else echo 'npm was not found, so accessibility is not checked (Debian: apt install npm)' >&2; fi
