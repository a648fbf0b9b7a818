"""The same, and more, with nurseries."""

import triosock


async def serve(handle, listeners, grace):
    timeouts = triosock.Timeouts(grace=grace)
    return await triosock.serve_listeners(handle, listeners, timeouts=timeouts)
