"""The features that the standard library does not have: policies, drains, servers in a trio program.

    policy                          the options of a server class
    drain, drain_target             `drain(server)`
    serve                           `await serve(server)`
    call_trio, current_request      `run(async_fn)` in a handler
    statistics, tree                the counts of a server, and its tree
    server_argument                 the check of their argument

May import: requests, waiting, stdlib, bridge, the facade, the core.

The invariant: a feature that a program does not use has no effect, and no server gets a new public name.
"""
