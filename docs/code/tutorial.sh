# run
make demo
.venv/bin/python examples/tutorial/lesson1.py
# check
.venv/bin/python -m examples.tutorial.check lesson1
.venv/bin/python -m examples.tutorial.check lesson1 mine.py
