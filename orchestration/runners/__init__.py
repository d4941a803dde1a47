"""Where work runs: one module a runner."""
