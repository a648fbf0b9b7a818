.venv/bin/python -m examples.tutorial.notebooks notebooks
.venv/bin/python -m pip install jupyterlab
.venv/bin/jupyter lab notebooks
