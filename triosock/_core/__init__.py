"""The library itself. A guided tour: each file answers one question, and imports only from those above it.

Values: what can be said at all?

    errors           Who must act when something goes wrong: the caller, the peer, or the machine?
    address          How is an address written down?
    limits           How much does a server take on, and how long does it wait?
    events           What happened, and who is told?
    roster           Who is being served at this moment, and how many more may be?
    deadlines        How can ten thousand waits have a timeout, and none of them pay for it?

Bytes: what goes over the wire?

    traps, pump      When does a task sleep, and what wakes it?
    wire             What must whatever carries bytes be able to do?
    socket_input     How does a socket receive without asking the kernel twice?
    postman, socket_output    How does it send, and how do many answers leave at once?
    socket_wire      How does it end?
    streams          What if it is no socket?
    tls              Who waits for a handshake? (Nobody else.)
    proxy_header, proxy    Who is the client, if a proxy stands in between?
    framing          Where does a message end?

Doors: how does anybody come in, and how is the door closed?

    ports, listen, inherited, unix    Where do we listen, and what is left there afterwards?
    accept           What if accept fails?
    drain            What is the difference between ending and being cut off?

One conversation:

    conversation     Does the peer wait for us, or we for the peer?
    messages         How is a conversation read message by message, and left at any point?
    sendfile         How does a file get out?
    credentials, connection    What is a handler given?

Servers of streams: read these five if you read nothing else.

    handling         What happens around one run of a handler, however it ends?
    life             What can a server be told, and asked, from outside?
    serving          What is the life of one connection, from its accept to its close?
    stream_server    Why are there two nurseries, and why is this one inside that one?
    serve            How does all of it begin, and how is it sure to end?

Servers of datagrams: the same life, without connections.

    packet_info, datagram_socket, open_udp    Where do datagrams come from, and which did we never see?
    intake           Which of them are handled, which dropped, and why?
    route, datagram  How does one get its turn, and its answer?
    idle_line, sessions, clientele    How can each peer have a task of its own, in bounded memory?
    datagram_server, serve_datagram    How does all of that begin and end?

    elsewhere, snapshot    What lives at this moment?

Structured concurrency, in the order in which it comes up: a task belongs to a nursery (stream_server), what a
task holds it gives back in `finally` (serving), a timeout is a scope (drain, conversation), being cancelled
must lose nothing (wire), and whatever one must know of all tasks together is a plain value that only
synchronous code changes (roster).
"""
