.venv/bin/python -m examples.tutorial.check solutions --csv marks.csv
