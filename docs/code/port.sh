python -m triosock.compat yourserver.py --its --arguments
python -m triosock.compat -m http.server 8000
