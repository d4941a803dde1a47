"""Where work runs: durable jobs, the reconciler, the runners. Never imports pygeoapi."""
