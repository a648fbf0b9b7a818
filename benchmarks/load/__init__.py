"""The load generator: `python -m benchmarks.load NAME JOB`, with the job as JSON, prints one line of JSON.

Each file is one shape of load, a class with `drive(stop_at, limit)`; `job.measured` drives it twice, to warm
up and to measure.
"""
