"""The error classes by who must act, and their texts verbatim."""

from __future__ import annotations

import copy
import errno
import pickle
import traceback
from typing import get_type_hints

import pytest
import trio

import triosock
from triosock._core.model import errors
from triosock._core.model.errors import (
    AddressUnavailable,
    CertificateRefused,
    ClientNotRecognized,
    FrameMalformed,
    FrameTooLarge,
    HandshakeFailed,
    Incomplete,
    MachineError,
    MemberTooSlow,
    NoReturnAddress,
    PeerError,
    ProxyHeaderError,
    RateExceeded,
    RequestTimedOut,
    TriosockError,
)

EXAMPLES = [
    FrameTooLarge("line", 10),
    FrameMalformed("no frame"),
    Incomplete("a line", b"abc"),
    ProxyHeaderError("no header"),
    HandshakeFailed("TLS handshake: no"),
    ClientNotRecognized("no certificate"),
    NoReturnAddress("nowhere"),
    RateExceeded("request_rate_per_peer", 1.5),
    RequestTimedOut("5 s were over"),
    AddressUnavailable(errno.EADDRINUSE, "cannot listen on tcp port 1"),
    MemberTooSlow(100),
    CertificateRefused("cert.pem: the key does not fit the certificate"),
]


@pytest.mark.parametrize("abstract", [TriosockError, PeerError, MachineError])
def test_an_abstract_class_cannot_be_raised(abstract: type[TriosockError]) -> None:
    with pytest.raises(TypeError, match=f"{abstract.__name__} is abstract: raise one of its subclasses"):
        abstract("text")


def test_every_leaf_says_by_its_parent_who_must_act() -> None:
    for error in EXAMPLES:
        assert isinstance(error, (PeerError, MachineError))
    assert isinstance(AddressUnavailable(1, ""), OSError)
    assert isinstance(RequestTimedOut(), trio.TooSlowError)
    assert not isinstance(RequestTimedOut(), OSError)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_a_traceback_names_the_place_to_import_it_from(error: TriosockError) -> None:
    (line,) = traceback.format_exception_only(type(error), error)
    name = line.partition(":")[0]
    assert name == f"triosock.{type(error).__name__}"
    assert getattr(triosock, type(error).__name__) is type(error)
    assert get_type_hints(type(error)) is not None
    assert get_type_hints(type(error).__init__) is not None


def test_every_class_of_the_module_is_in_its_tree_and_in_this_test() -> None:
    classes = {
        one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, TriosockError)
    }
    assert errors.__doc__ is not None
    assert all(f" {one.__name__} " in errors.__doc__ for one in classes)
    assert {type(error) for error in EXAMPLES} == classes - {TriosockError, PeerError, MachineError}


def test_the_texts_say_what_was_wrong_and_how_much() -> None:
    assert str(FrameTooLarge("line", 10)) == "the peer sent a line of more than 10 bytes (max_bytes=10)"
    assert str(Incomplete("a line", b"abc")) == "the peer ended the stream inside a line, after 3 bytes of it"
    assert str(FrameMalformed("no frame")) == "no frame"


def test_what_the_peer_did_can_be_read_off_the_fields() -> None:
    assert FrameTooLarge("line", 10).max_bytes == 10
    assert Incomplete("a line", b"abc").partial == b"abc"


def test_an_address_that_is_unavailable_keeps_the_systems_number() -> None:
    error = AddressUnavailable(errno.EADDRINUSE, "cannot listen")
    assert error.errno == errno.EADDRINUSE
    assert error.strerror == "cannot listen"
    assert "cannot listen" in str(error)
    assert AddressUnavailable(None, "cannot listen").errno is None


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_can_be_copied_and_sent_to_another_process(error: TriosockError) -> None:
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


def test_a_subclass_of_ones_own_is_a_leaf() -> None:
    class Own(PeerError):
        pass

    assert str(Own("text")) == "text"
