"""One server a file, each written as that framework's own documentation would write it.

A server is a process of its own, `python -m benchmarks.servers.NAME KIND [PEM] [ARGUMENT…]`. KIND is what its
handler does:

========== ==========================================================================================
echo       send back whatever arrives
lines      send back each line, through the framework's own line API
download   for each byte that arrives, one reply of 1 MiB
upload     for each MiB that arrives, a reply of one byte
tls-echo   echo over TLS, with the certificate and key in the file PEM
udp        send back each datagram to where it came from
drain      `work` takes WORK_SECONDS, everything else is answered at once; SIGTERM ends the server
shutdown   no client: the server measures how long it takes to stop, several times, and prints a line
========== ==========================================================================================

It prints `ready PORT` as soon as it listens, and then serves until it is killed. All listen on 127.0.0.1 with
the same backlog wherever the framework lets one choose, and all have TCP_NODELAY set, since some have it by
default and others have not.
"""
