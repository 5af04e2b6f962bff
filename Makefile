# Everything a person does with this project. The first use of a target installs what it needs into virtual environments
# beside this file, and again when a requirements file changes; after that nothing needs the network but deploying.

PYTHON ?= python3
PORT ?= 3000
# Passed on to pytest, for example: make test ARGS="-k refresh"
ARGS ?= -n auto --dist loadfile
# A file in which `make test` keeps what the conformance suite proved, so that `make compliance-check` need not run it again.
RESULTS ?=

# The default Python has .venv; one named with PYTHON= has its own, so that versions can be tested side by side.
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
SUFFIX := $(if $(filter file default,$(origin PYTHON)),,-$(VERSION))
VENV := .venv$(SUFFIX)
SAM_VENV := .venv-sam$(SUFFIX)
MINISTACK_VENV := .venv-ministack$(SUFFIX)
CLIENTS_VENV := .venv-clients$(SUFFIX)
UPSTREAMS_VENV := .venv-upstreams$(SUFFIX)
ANALYSIS_VENV := .venv-analysis$(SUFFIX)
LAMBDA_VENV := .venv-lambda
SOURCES := .ci bench functions layers tests tools
PIP_INSTALL := -m pip --disable-pip-version-check --no-input -qq install

LAYERS := layers/dependencies/requirements.txt
LOCAL := $(VENV)/.local-$(VERSION)
TEST := $(VENV)/.test-$(VERSION)
BROWSER := $(VENV)/.browser-$(VERSION)
SAM := $(SAM_VENV)/.sam-$(VERSION)
MINISTACK := $(MINISTACK_VENV)/.ministack-$(VERSION)
CLIENTS := $(CLIENTS_VENV)/.clients-$(VERSION)
UPSTREAMS := $(UPSTREAMS_VENV)/.upstreams-$(VERSION)
UPSTREAMS_NODE := tests/upstreams/node_modules/.installed
ANALYSIS := $(ANALYSIS_VENV)/.analysis-$(VERSION)
LAMBDA := $(LAMBDA_VENV)/.lambda
CLIENTS_NODE := tests/clients/node_modules/.installed
# The tests of clients that others wrote, which need those clients.
OTHERS_CLIENTS := $(patsubst %,tests/clients/test_%.py,browser mcp node python)
# What takes minutes: of attacks, and providers that fail; of the vault, links and keys; of races; of secrets in what a run writes.
LONG_TRIALS := $(patsubst %,tests/vault/test_%.py,crash_points state_machine trouble) \
	$(patsubst %,tests/http/test_%.py,attacks key_rotation leaks links provider_access provider_secrets races userinfo_failures vault)
AXE := tests/browser/node_modules/.installed
# The version that the functions run on, in the emulator of AWS too: on PATH, or of pyenv.
RUNTIME_PYTHON ?= $(shell for python in python3.13 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13*/bin/python3.13; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null && echo "$$python" && break; done)
# For `sam build`, which gets none of make's own variables and works in another folder.
COMPILER = RUNTIME_PYTHON='$(foreach python,$(RUNTIME_PYTHON),$(if $(findstring /,$(python)),$(abspath $(python)),$(python)))'
EMULATOR_VENV := .venv-aws
EMULATOR := $(EMULATOR_VENV)/.aws-3.13
BUILT := .aws-sam/.built
RUNTIME_IMAGE := build/lambda-runtime.tar
# Arguments for tests that share one deployment, in one process and in order.
ORDERED_ARGS := --timeout 900 $(if $(filter file,$(origin ARGS)),,$(ARGS))

export SAM_CLI_TELEMETRY := 0
# The checks of the template need a Region and no account. A deployment takes only one that was really chosen.
OWN_REGION := $(if $(AWS_DEFAULT_REGION),AWS_DEFAULT_REGION='$(AWS_DEFAULT_REGION)')
export AWS_DEFAULT_REGION ?= us-east-1

BENCH_PATH := layers/broker:tools:functions/sandbox:tests:bench

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run setup test test-aws test-sam-local vault-test upstreams-test browser-test clients-test conformance compliance compliance-check lint validate build bench bench-cold usage cost scale storm fault-day deploy delete clean python

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(LOCAL) ## run the whole broker on http://localhost:3000 (PORT= changes it)
	@$(VENV)/bin/python -m broker_local --port $(PORT)

setup: $(LOCAL) ## install what `make run` and the command `broker` need, and nothing more

test: $(TEST) $(MINISTACK) ## run the tests (PYTHON= chooses another Python, ARGS= goes to pytest)
	@MINISTACK='$(abspath $(MINISTACK_VENV)/bin/ministack)' $(VENV)/bin/python -m pytest \
		--ignore tests/browser --ignore tests/aws --ignore tests/upstreams $(addprefix --ignore ,$(OTHERS_CLIENTS) $(LONG_TRIALS)) \
		$(ARGS) $(if $(RESULTS),--compliance-results='$(abspath $(RESULTS))')

vault-test: $(TEST) $(MINISTACK) ## let every step fail in every way, and many ask at once; show that nothing is lost or leaked
	@MINISTACK='$(abspath $(MINISTACK_VENV)/bin/ministack)' $(VENV)/bin/python -m pytest $(LONG_TRIALS) -n auto --dist loadgroup

test-aws: $(TEST) $(SAM) $(EMULATOR) $(BUILT) ## deploy to an emulator of AWS that enforces IAM; log in, update, delete
	@EMULATOR_PYTHON='$(abspath $(EMULATOR_VENV)/bin/python)' SAM='$(abspath $(SAM_VENV)/bin/sam)' \
		tests/aws/private_network $(VENV)/bin/python -m pytest tests/aws --ignore tests/aws/sam_local $(ORDERED_ARGS)

test-sam-local: $(TEST) $(SAM) $(BUILT) $(RUNTIME_IMAGE) ## log in through `sam local`, in Docker; try every sample event (as root)
	@RUNTIME_IMAGE='$(abspath $(RUNTIME_IMAGE))' SAM='$(abspath $(SAM_VENV)/bin/sam)' \
		tests/aws/private_network $(VENV)/bin/python -m pytest tests/aws/sam_local $(ORDERED_ARGS)

upstreams-test: $(TEST) $(MINISTACK) $(UPSTREAMS) $(UPSTREAMS_NODE) ## log in at OAuth servers that others wrote, in storms and outages too
	@MINISTACK='$(abspath $(MINISTACK_VENV)/bin/ministack)' UPSTREAMS_PYTHON='$(abspath $(UPSTREAMS_VENV)/bin/python)' \
		$(VENV)/bin/python -m pytest tests/upstreams

browser-test: $(BROWSER) $(AXE) ## walk the playground and every page in headless Chromium
	@$(VENV)/bin/python -m pytest tests/browser

clients-test: $(BROWSER) $(CLIENTS) $(CLIENTS_NODE) ## let OAuth clients that others wrote log in, refresh and revoke
	@CLIENTS_PYTHON='$(abspath $(CLIENTS_VENV)/bin/python)' $(VENV)/bin/python -m pytest $(OTHERS_CLIENTS) $(ARGS)

conformance: $(TEST) ## aim the conformance suite at a broker: URL=https://... CLIENTS_FILE=clients.json
	@$(VENV)/bin/python -m pytest tests/conformance --broker-url '$(URL)' --broker-clients '$(CLIENTS_FILE)' $(ARGS)

compliance: $(TEST) ## run the conformance suite and write docs/compliance.md
	@$(VENV)/bin/python tests/conformance/compliance.py

compliance-check: $(TEST) ## run the conformance suite; fail if docs/compliance.md does not say what came out
	@$(VENV)/bin/python tests/conformance/compliance.py --check $(if $(RESULTS),--results '$(abspath $(RESULTS))')

lint: $(BROWSER) ## check style and types
	@$(VENV)/bin/ruff check $(SOURCES)
	@$(VENV)/bin/ruff format --check $(SOURCES)
	@$(VENV)/bin/mypy --strict layers/broker/broker tools tests bench
	@for folder in functions/*/; do $(VENV)/bin/mypy --strict "$$folder" || exit 1; done

validate: $(SAM) $(ANALYSIS) ## check and analyse template.yaml, as written and as SAM transforms it
	@PATH='$(abspath $(SAM_VENV)/bin)':"$$PATH" ANALYSERS='$(abspath $(ANALYSIS_VENV)/bin)' .ci/validate

build: $(SAM) ## build what is deployed, into .aws-sam/build (RUNTIME_PYTHON= names a Python 3.13)
	@PATH='$(abspath $(SAM_VENV)/bin)':"$$PATH" env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL $(COMPILER) sam build
	@touch $(BUILT)

bench: $(TEST) ## measure warm requests: CPU time and round trips by endpoint
	@PYTHONPATH=$(BENCH_PATH) $(VENV)/bin/python bench/warm.py

bench-cold: $(TEST) $(SAM) $(LAMBDA) ## measure cold starts of what is deployed (needs Python 3.13)
	@PYTHONPATH=$(BENCH_PATH) $(VENV)/bin/python bench/cold.py --python $(LAMBDA_VENV)/bin/python \
		--emulator "$$($(SAM_VENV)/bin/python -c 'import samcli, platform, pathlib; print(pathlib.Path(samcli.__file__).parent \
			/ "local/rapid" / ("aws-lambda-rie-" + {"aarch64": "arm64"}.get(platform.machine(), platform.machine())))')"

usage: $(TEST) ## measure what each step of a login uses, into bench/usage.json
	@PYTHONPATH=$(BENCH_PATH) $(VENV)/bin/python bench/usage.py

cost: $(LOCAL) ## compute docs/cost.md from what was measured and the list prices
	@PYTHONPATH=$(BENCH_PATH) $(VENV)/bin/python bench/cost.py

scale: $(LOCAL) ## compute the tables of docs/scale.md
	@PYTHONPATH=$(BENCH_PATH) $(VENV)/bin/python bench/scale.py

storm: $(LOCAL) ## simulate the retries after a provider was down
	@PYTHONPATH=$(BENCH_PATH) $(VENV)/bin/python bench/storm.py

fault-day: $(TEST) ## let one thing after another fail under load, and show that no login is lost
	@PYTHONPATH=$(BENCH_PATH) $(VENV)/bin/python bench/fault_day.py

deploy: $(SAM) $(LOCAL) ## build and deploy; asks what it needs to know the first time (GUIDE=all asks for every parameter)
	@PATH='$(abspath $(SAM_VENV)/bin)':"$$PATH" env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u AWS_DEFAULT_REGION $(OWN_REGION) $(COMPILER) \
		$(VENV)/bin/python -m broker_deploy deploy $(if $(filter all,$(GUIDE)),--guide-all)

delete: $(SAM) $(LOCAL) ## take the deployment down; asks first, and says what stays
	@PATH='$(abspath $(SAM_VENV)/bin)':"$$PATH" env -u AWS_DEFAULT_REGION $(OWN_REGION) \
		$(VENV)/bin/python -m broker_deploy delete $(if $(CONFIRM),--confirm '$(CONFIRM)')

clean: ## remove everything that was built or installed
	@rm -rf tests/*/node_modules .venv .venv-* .aws-sam .local build .pytest_cache .mypy_cache .ruff_cache .hypothesis
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

# Lambda's own runtime client, on the version of Python that Lambda has.
$(LAMBDA): requirements/lambda.txt
	@if [ -z '$(RUNTIME_PYTHON)' ]; then \
		echo "No Python 3.13 was found, the functions' version; install it, or name yours: make ... RUNTIME_PYTHON=..." >&2; \
		exit 1; fi
	@echo 'Setting up $(LAMBDA_VENV) for cold starts ...' >&2
	@'$(RUNTIME_PYTHON)' -m venv --clear $(LAMBDA_VENV)
	@$(LAMBDA_VENV)/bin/python $(PIP_INSTALL) -r requirements/lambda.txt
	@touch $@

$(CLIENTS): requirements/clients.txt | python
	@echo 'Setting up $(CLIENTS_VENV) for the clients of others ...' >&2
	@$(call make_venv,$(CLIENTS_VENV))
	@$(CLIENTS_VENV)/bin/python $(PIP_INSTALL) -r requirements/clients.txt
	@touch $@

$(ANALYSIS): requirements/analysis.txt | python
	@echo 'Setting up $(ANALYSIS_VENV) for the analysers of the template ...' >&2
	@$(call make_venv,$(ANALYSIS_VENV))
	@$(ANALYSIS_VENV)/bin/python $(PIP_INSTALL) -r requirements/analysis.txt
	@touch $@

$(EMULATOR): requirements/aws.txt
	@if [ -z '$(RUNTIME_PYTHON)' ]; then \
		echo "No Python 3.13 was found, the functions' version; install it, or name yours: make ... RUNTIME_PYTHON=..." >&2; \
		exit 1; fi
	@echo 'Setting up $(EMULATOR_VENV) for the emulator of AWS ...' >&2
	@'$(RUNTIME_PYTHON)' -m venv --clear $(EMULATOR_VENV)
	@$(EMULATOR_VENV)/bin/python $(PIP_INSTALL) -r requirements/aws.txt
	@touch $@

$(BUILT): template.yaml $(shell find functions layers -type f ! -path '*/__pycache__/*')
	@$(MAKE) --no-print-directory build

$(RUNTIME_IMAGE): tests/aws/runtime_image requirements/runtime.txt
	@echo 'Making $@ for the functions to run in ...' >&2
	@tests/aws/runtime_image $@

$(UPSTREAMS): requirements/upstreams.txt | python
	@echo 'Setting up $(UPSTREAMS_VENV) for the servers of others ...' >&2
	@$(call make_venv,$(UPSTREAMS_VENV))
	@$(UPSTREAMS_VENV)/bin/python $(PIP_INSTALL) -r requirements/upstreams.txt
	@touch $@

# No install scripts: nothing here needs one, and they are how a bad package runs code on this machine.
$(CLIENTS_NODE) $(UPSTREAMS_NODE): tests/%/node_modules/.installed: tests/%/package.json tests/%/package-lock.json
	@if ! command -v npm >/dev/null; then \
		echo 'npm was not found; install Node.js and npm (Debian: apt install npm)' >&2; exit 1; fi
	@echo 'Setting up tests/$*/node_modules for what others wrote ...' >&2
	@npm --prefix tests/$* ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# The accessibility checker. Without npm its tests are skipped, and fail in CI.
$(AXE): tests/browser/package.json tests/browser/package-lock.json
	@if command -v npm >/dev/null; then \
		npm --prefix tests/browser ci --ignore-scripts --no-audit --no-fund --loglevel=error && touch $@; \
	else echo 'npm was not found, so accessibility is not checked (Debian: apt install npm)' >&2; fi
