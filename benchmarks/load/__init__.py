"""The load generator: `python -m benchmarks.load NAME JOB`, with the job as JSON; its figures are JSON too.

Each file is one shape of load, a class with `drive(stop_at, limit)`, which `job.Meter` drives to warm up and
then for each slice.
"""
