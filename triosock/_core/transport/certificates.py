"""Certificates that can change while they are served: `Certificates`.

The invariant: **each handshake uses one complete, checked set**. A set is a value that never changes:
contexts of the ssl module, and which of them is for which name. A new one is made and checked completely, and
takes the place of the old by one assignment. Handshakes that have begun keep theirs, and connections do not
use it after the handshake, so none is interrupted.

What is served now is remembered with the signature of its files. A check compares it, so it sees a change
whether the files were written, replaced or moved away. Files that were refused are tried again at the next
check. No task or thread watches the files: the first handshake after the time for a check does it, and the
others use the present set.
"""

from __future__ import annotations

import contextlib
import math
import os
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Final, final

import attrs
import trio

from ..model.checks import check_seconds
from ..model.emitter import Emitter
from ..model.errors import CertificateRefused
from ..model.events import CertificatesRefused, CertificatesReloaded
from .certificate_check import (
    CertificateFiles,
    LoadedCertificate,
    Signature,
    StrPath,
    load_certificate,
    signature_of,
)

#: RFC 8446, 6.2: no certificate for the name that the client has asked for.
_UNRECOGNIZED_NAME: Final = ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME


@final
@attrs.frozen(kw_only=True)
class _Set:
    """What is served from one loading to the next."""

    loaded: tuple[LoadedCertificate, ...]
    by_name: Mapping[str, ssl.SSLContext]
    strict: bool
    signature: Signature

    @property
    def default(self) -> ssl.SSLContext:
        """The context that handshakes begin with."""
        return self.loaded[0].context

    def pick(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int | None:
        """Take the context of the name that the client asks for: what ssl.SSLContext.sni_callback does."""
        if not name:
            return None
        name = name.lower().removesuffix(".")
        found = self.by_name.get(name) or self.by_name.get("*." + name.partition(".")[2])
        if found is not None:
            connection.context = found
            return None
        return _UNRECOGNIZED_NAME if self.strict else None


@final
class Certificates:
    """The certificates of a server, by server name, which can be loaded again while it serves. It can be used
    wherever a server takes an `ssl.SSLContext`: as ``tls=`` of `serve_*`, and in `Connection.start_tls`; by
    any number of servers at once.

    Args:
      files: each a `CertificateFiles`, or the path of one file with chain and key; at least one. The first
        one also serves clients that send no server name, or an unknown one. If two have the same name, the
        first of them is used. An exact name takes precedence over a wildcard.
      configure: a function of one `ssl.SSLContext`, called with each new context, to set what all of them
        have in common: versions, ciphers, protocols (ALPN), ``verify_mode``. It must not set
        ``sni_callback``. When files are loaded during a handshake, it is called in its own thread.
      roots: path of a PEM file; each chain must then lead to a certificate in it, so that an issuer left out
        is noticed. ``ssl.get_default_verify_paths().cafile`` is the system's. None: each certificate must be
        signed by the next one in its file.
      strict: refuse clients that send an unknown server name (alert unrecognized_name), instead of serving
        them with the first certificate.
      check_dates: refuse certificates that have expired or are not valid yet, by the clock of the machine at
        the moment of the loading. False is for machines that boot with a wrong clock.
      check_every: the seconds, from 0 on, after which a handshake checks whether the files have changed, and
        loads them if so; `math.inf` for never. A check is one stat(2) for each file; the files are loaded in
        a thread. The result is an event, `CertificatesReloaded` or `CertificatesRefused`.

    Raises: CertificateRefused if one of them cannot be used; TypeError, ValueError.

    New handshakes use the new certificates; connections and handshakes in progress keep the old ones. Earlier
    TLS sessions are not resumed: their clients do a full handshake.
    """

    #: The signature of the files that were last loaded, or refused.
    _seen: Signature
    #: What is offered by ALPN; `_offers` has an object for each server that runs and offers it.
    _protocols: tuple[str, ...] = ()

    def __init__(
        self,
        *files: CertificateFiles | StrPath,
        configure: Callable[[ssl.SSLContext], object] | None = None,
        roots: StrPath | None = None,
        strict: bool = False,
        check_dates: bool = True,
        check_every: float = math.inf,
    ) -> None:
        if not files:
            raise ValueError("Certificates needs the files of at least one certificate")
        if configure is not None and not callable(configure):
            raise TypeError(f"configure must be a function of one ssl.SSLContext, not {configure!r}")
        self._files = tuple(
            one if isinstance(one, CertificateFiles) else CertificateFiles(one) for one in files
        )
        self._configure = configure
        self._roots = None if roots is None else os.fspath(roots)
        self._strict = bool(strict)
        self._check_dates = bool(check_dates)
        self._check_every = check_seconds(check_every, "check_every", zero=True)
        self._paths: list[StrPath] = [path for one in self._files for path in (one.chain, one.key) if path]
        if self._roots is not None:
            self._paths.append(self._roots)
        self._offers: dict[object, None] = {}
        self._error: CertificateRefused | None = None
        #: Two that load at once, by a call and by a handshake, must not end with the older files.
        self._loading = threading.Lock()
        self._set = self._load()
        self._next_look = monotonic() + self._check_every

    def __repr__(self) -> str:
        return f"<triosock.Certificates {'; '.join(str(one) for one in self._files)}>"

    @property
    def context(self) -> ssl.SSLContext:
        """The context for the next handshake, for other libraries. It selects the certificate by the server
        name that the client sends. After each loading it is another object.
        """
        return self._set.default

    @property
    def loaded(self) -> tuple[LoadedCertificate, ...]:
        """The certificates in use, in the order of the files."""
        return self._set.loaded

    @property
    def error(self) -> CertificateRefused | None:
        """The error of the last loading; None if it succeeded, and its certificates are in use."""
        return self._error

    def reload(self) -> None:
        """Load all files again, and use them from the next handshake on: all of them or none.

        Raises: CertificateRefused, with the reason; then the certificates in use stay. Blocks while the files
        are read, and for some milliseconds for each. May be called in any thread.
        """
        with self._loading:
            self._take()

    def _take(self) -> None:
        try:
            self._set = self._load()
        except CertificateRefused as error:
            self._error = error
            raise
        self._error = None

    def load_changed(self) -> CertificateRefused | bool:
        """Load the files if they still differ from those served. Returns: whether new ones are in use, or why
        they were refused; False if the same files were refused before. They are the same by signature or by
        message: the message of unchanged files may contain the time.
        """
        with self._loading:
            if not self._is_to_load():
                return False  # another handshake was quicker
            error, seen = self._error, self._seen
            try:
                self._take()
            except CertificateRefused as refused:
                is_known = error is not None and (self._seen == seen or str(refused) == str(error))
                return False if is_known else refused
            return True

    def check_offer(self, protocols: Sequence[str]) -> None:
        """Raise ValueError if a server that runs has these certificates offer other protocols by ALPN."""
        if self._offers and self._protocols != tuple(protocols):
            raise ValueError(
                f"these certificates offer {', '.join(self._protocols)} by ALPN for another server "
                "already: make other Certificates of the same files"
            )

    @contextlib.contextmanager
    def offering(self, protocols: Sequence[str]) -> Iterator[None]:
        """Offer these protocols by ALPN, the preferred one first, while a server with handlers by protocol
        runs. Afterwards they are still offered, until others are.

        Raises: ValueError as `check_offer`.
        """
        offer = object()
        with self._loading:
            self.check_offer(protocols)
            self._offers[offer] = None
            self._protocols = wanted = tuple(protocols)
            for one in self._set.loaded:
                one.context.set_alpn_protocols(list(wanted))
        try:
            yield
        finally:
            del self._offers[offer]  # without the lock, which a loading in another thread may hold for long

    def is_due(self) -> bool:
        """Whether a check is due, and the files differ from those served, or were refused. The caller then
        loads them.
        """
        if self._next_look > (now := monotonic()):
            return False
        self._next_look = now + self._check_every  # other handshakes do not check meanwhile
        return self._is_to_load()

    def _is_to_load(self) -> bool:
        # After a refusal the files are tried also if they equal those served: a link may lead back to them.
        return self._error is not None or signature_of(self._paths) != self._set.signature

    def _load(self) -> _Set:
        """Make a new set. Raises: CertificateRefused."""
        self._seen = signature = signature_of(self._paths)
        loaded = tuple(self._load_one(one) for one in self._files)
        if signature_of(self._paths) != signature:
            raise CertificateRefused("the files of the certificates were changed while they were read")
        by_name: dict[str, ssl.SSLContext] = {}
        for one in loaded:
            for name in one.names:
                by_name.setdefault(name, one.context)
        new = _Set(loaded=loaded, by_name=by_name, strict=self._strict, signature=signature)
        new.default.sni_callback = new.pick
        return new

    def _load_one(self, files: CertificateFiles) -> LoadedCertificate:
        try:
            one = load_certificate(files, roots=self._roots, check_dates=self._check_dates)
            if self._configure is not None:
                self._configure(one.context)
        except CertificateRefused:
            raise
        except Exception as error:  # of the user's functions: whatever it is, the old set must stay
            raise CertificateRefused(f"{files}: {type(error).__name__}: {error}") from error
        if files is not self._files[0] and not one.names:
            raise CertificateRefused(f"{files}: the certificate names no server, and names=[…] says none")
        if self._protocols:
            one.context.set_alpn_protocols(list(self._protocols))
        return one


async def context_for_handshake(certificates: Certificates, emitter: Emitter | None) -> ssl.SSLContext:
    """Return the context for a handshake that begins now; look at the files first if it is time for that. A
    checkpoint only if files are loaded.
    """
    if certificates.is_due():
        news = await trio.to_thread.run_sync(certificates.load_changed)
        if isinstance(news, CertificateRefused):
            if emitter is not None:
                emitter.emit(CertificatesRefused, error=news)
        elif news:
            _tell_reloaded(certificates, emitter)
    return certificates.context


def _tell_reloaded(certificates: Certificates, emitter: Emitter | None) -> None:
    if emitter is not None:
        names = dict.fromkeys(name for one in certificates.loaded for name in one.names)
        not_after = min(one.not_after for one in certificates.loaded)
        emitter.emit(CertificatesReloaded, names=tuple(names), not_after=not_after)
