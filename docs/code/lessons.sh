.venv/bin/python examples/tutorial/lesson1.py
.venv/bin/python examples/tutorial/lesson2.py
.venv/bin/python examples/tutorial/lesson3.py
.venv/bin/python examples/tutorial/lesson4.py
.venv/bin/python examples/tutorial/lesson5.py
.venv/bin/python examples/tutorial/lesson6.py
.venv/bin/python examples/tutorial/lesson7.py
.venv/bin/python examples/tutorial/lesson8.py
