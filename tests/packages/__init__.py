"""Packages from PyPI that build on `socketserver`, held against triosock.compat with their own tests.

`make packages`, or `python -m tests.packages NAME ...` for some of them. It takes half an hour, so it is
started by hand and is no part of `make test`.

Read on: `table.py` (which packages, which of their tests), `workplace.py` (a folder and a virtual environment
for each), `stand_in.py` (what puts compat in the place of socketserver there), `outcomes.py` (what the tests
said), `compare.py` (what counts as a new failure), then `__main__.py`.
"""
