"""Numbered examples, each a program with one idea; and the demo, `python -m examples.demo`."""
