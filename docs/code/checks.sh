.venv/bin/python -m triosock.testing.check lesson1 mine.py
.venv/bin/python -m triosock.testing.check lesson2 mine.py
.venv/bin/python -m triosock.testing.check lesson3 mine.py
.venv/bin/python -m triosock.testing.check lesson4 mine.py
.venv/bin/python -m triosock.testing.check lesson5 mine.py
.venv/bin/python -m triosock.testing.check lesson6 mine.py
.venv/bin/python -m triosock.testing.check lesson7 mine.py
.venv/bin/python -m triosock.testing.check lesson8 mine.py
