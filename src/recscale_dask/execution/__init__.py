"""The contract between algorithms and machines, the runner, and the built-in executors."""
