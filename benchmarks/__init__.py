"""Benchmarks: jobrunner measured against the floor on the same machine in the same run."""
