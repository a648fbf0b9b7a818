python -m triosock serve tcp://127.0.0.1:9999 --handler triosock.cli.handlers:shout --workers auto
