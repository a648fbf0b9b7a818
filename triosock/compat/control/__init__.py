"""What a program may ask of a server beyond the standard library: a policy, a drain, a trio program.

    policy                          what a class asks for
    drain, drain_target             `drain(server)`
    serve                           `await serve(server)`
    call_trio, current_request      `run(async_fn)` in a handler
    statistics, tree                what a server has counted, and a picture of it

May import: requests, waiting, stdlib, bridge, the facade, the core.

The invariant: what was not asked for does not happen, and no server gets a new name.
"""
