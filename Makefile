# run    install what is missing, make the sample, serve it on http://127.0.0.1:5000
# test   install what the tests need, check, run all but the longest tests
# test-full  run the longest tests, which `test` leaves out
# check  lint, format, types
# faults kill everything once while 200 orders are done
# bench  measure
# components  write docs/components.md, the list of components with their licences
# dashboards  write the dashboards of Grafana and the table in docs/dashboards.md
# sbom   write sbom.json, the list of the installed packages as CycloneDX
SHELL := /bin/sh
.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE  # else each program that is started compiles all of its modules anew
.PHONY: help setup run check test test-full faults services bench components dashboards sbom
PYTHON_RUN := .venv/bin/python

help:
	@sed -n 's/^# //p' Makefile

setup:
	@deploy/setup.sh

run: setup
	@$(PYTHON_RUN) -m server.cli sample
	@LANDCAST_AUTH_OPEN=yes exec $(PYTHON_RUN) -m server.cli serve

check: setup
	@$(PYTHON_RUN) -m ruff check
	@$(PYTHON_RUN) -m ruff format --check
	@$(PYTHON_RUN) -m mypy

test:
	@$(MAKE) --no-print-directory -j2 check services
	@$(PYTHON_RUN) -m pytest -n auto -m "not full"

test-full: services
	@$(PYTHON_RUN) -m pytest -m full  # one after the other: some set up Airflow or Keycloak for themselves

services: setup
	@deploy/test-services.sh

faults: setup
	@deploy/test-services.sh
	@$(PYTHON_RUN) -m bench faults_orders

bench: setup
	@$(PYTHON_RUN) -m bench

components: setup
	@$(PYTHON_RUN) deploy/components.py

dashboards: setup
	@$(PYTHON_RUN) -m deploy.grafana.make

SBOM := sbom.json
sbom: setup
	@.venv/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --validate --output-file $(SBOM) .venv
