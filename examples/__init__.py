"""Numbered examples, each one idea and a program of its own; and the demo, `python -m examples.demo`."""
