import triosock

OPTIONS = {"limits": triosock.Limits(max_connections=3)}
