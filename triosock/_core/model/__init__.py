"""The values that all packages use: errors, addresses, configuration, events, peer credentials.

May import: nothing of this library.

The invariant: values are frozen and checked when they are made, and nothing here does I/O.

Everything that uses trio imports this package first, so that the trio that is there is looked at here.
"""

from .trio_version import check_trio

check_trio()
