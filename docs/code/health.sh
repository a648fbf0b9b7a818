python -m triosock serve tcp://127.0.0.1:9999 --handler triosock.cli.handlers:shout --health tcp://127.0.0.1:8081 --delay 5
