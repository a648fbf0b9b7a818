"""How long the properties are tried for.

The same examples each time, so that `make test` means the same for everybody; HYPOTHESIS_PROFILE=search tries
new ones, and more of them.
"""

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}

settings.register_profile("triosock", derandomize=True, max_examples=50, database=None, **COMMON)
settings.register_profile("search", max_examples=1_000, print_blob=True, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "triosock"))


@pytest.fixture(scope="module", autouse=True)
def _only_our_garbage():
    """What other tests have left must not be charged to these; once, for it takes longer than an example."""
    gc.collect()
