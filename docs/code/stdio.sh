echo hello | python stdio.py
