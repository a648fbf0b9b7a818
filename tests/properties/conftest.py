"""What the properties need besides: no garbage of other tests."""

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def _only_our_garbage():
    """What other tests have left must not be charged to these; once, for it takes longer than an example."""
    gc.collect()
