.venv/bin/python -m examples.tutorial.check lesson1 mine.py
.venv/bin/python -m examples.tutorial.check lesson2 mine.py
.venv/bin/python -m examples.tutorial.check lesson3 mine.py
.venv/bin/python -m examples.tutorial.check lesson4 mine.py
.venv/bin/python -m examples.tutorial.check lesson5 mine.py
.venv/bin/python -m examples.tutorial.check lesson6 mine.py
.venv/bin/python -m examples.tutorial.check lesson7 mine.py
.venv/bin/python -m examples.tutorial.check lesson8 mine.py
