"""Run by the Python of deploy/tools: lint the chart with Helm's library, print the rendered objects as JSON."""

import json
import sys

import helm_python  # type: ignore[import-not-found] # the environment of deploy/tools has it

chart, values = sys.argv[1], json.loads(sys.argv[2])
linted = helm_python.lint(chart, values, strict=True, kube_version="v1.37.0")
rendered = helm_python.Chart.load(chart).render(values, name="maps", namespace="land", is_install=True)
print(json.dumps({"version": helm_python.helm_sdk_version(), "lint": linted, "files": rendered}))  # noqa: T201
