"""One certificate, from its files into a context of the ssl module, checked before it is used.

The check is a handshake in memory, between the context and a client that trusts the last certificate of the
file (or given roots) and nothing else. So OpenSSL itself checks what a peer would check: the key fits, each
certificate was signed by the one after it, each is for servers, and none has expired or is not valid yet. The
same handshake gives the names and dates, since the ssl module has no other public way to read a certificate
that is not a CA's. It takes 2 to 6 ms.

Rules of this file:

1. **Files that change while they are read are refused**: what was checked is what is served.
2. **No password is asked for on a terminal**: an encrypted key without a password is refused.
3. Dates are compared with the wall clock at the check, and not again afterwards.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, final

import attrs

from ..model.checks import T, check_several
from ..model.errors import CertificateRefused

StrPath: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Password: TypeAlias = str | bytes | Callable[[], str | bytes]

#: X509_V_FLAG_NO_CHECK_TIME of openssl/x509_vfy.h, which the ssl module has no name for.
_NO_CHECK_TIME: Final = 0x200000
#: X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of the same file.
_OUT_OF_TIME: Final = (9, 10)
#: Its errors that an issuer is missing: UNABLE_TO_GET_ISSUER_CERT, DEPTH_ZERO_SELF_SIGNED_CERT,
#: SELF_SIGNED_CERT_IN_CHAIN, UNABLE_TO_GET_ISSUER_CERT_LOCALLY, UNABLE_TO_VERIFY_LEAF_SIGNATURE.
_NO_ISSUER: Final = (2, 18, 19, 20, 21)
_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")

#: What `ssl.SSLSocket.getpeercert()` gives: its fields are of several kinds.
PeerCertificate: TypeAlias = dict[str, Any]

#: Distinguishes a file from one that has replaced it, and from its own earlier content. The modification time
#: alone does not if the clock was set back.
Signature: TypeAlias = tuple[tuple[int, ...] | None, ...]


def _check_path(instance: object, attribute: attrs.Attribute[T], value: T) -> None:
    if value is None and attribute.name == "key":
        return
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise TypeError(f"{attribute.name} must be the path of a PEM file, not {value!r}")


def _check_password(instance: object, attribute: attrs.Attribute[T], value: T) -> None:
    if value is not None and not isinstance(value, (str, bytes)) and not callable(value):
        # The value is not shown, since it may be a password.
        raise TypeError(
            f"password must be a str, bytes, or a function that returns one, not a {type(value).__name__}"
        )


def _to_names(value: Iterable[str]) -> tuple[str, ...]:
    names = check_several(value, "names must be several server names in a list")
    return tuple(check_server_name(name) for name in names)


def check_server_name(name: object) -> str:
    """Return a server's name in the form in which names are compared: lower case, without a dot at the end.

    Raises: TypeError or ValueError unless it is a host name as SNI has it (RFC 6066, 3), or one with ``*`` as
    its first label.
    """
    if not isinstance(name, str):
        raise TypeError(f"a server name must be a str, not {name!r}")
    if not _NAME.fullmatch(found := name.lower().removesuffix(".")):
        raise ValueError(
            f"a server name is a host name in ASCII (bücher.example is xn--bcher-kva.example), or one with * "
            f"as its first label, not {name!r}"
        )
    return found


@final
@attrs.frozen
class CertificateFiles:
    """Where a certificate is.

    Args:
      chain: path of a PEM file: the server's own certificate first, then that of its issuer, and so on. The
        root need not be there.
      key: path of the PEM file with its private key; None if it is in `chain`.
      password: the password of an encrypted key: a str, bytes, or a function without arguments that returns
        one. The function is called at each loading; in a worker thread, if files are loaded during a
      handshake. names: which server names it is for, each exact (``"www.example.org"``) or a wildcard for one
        label (``"*.example.org"``); none for those that the certificate itself names (its subjectAltName; a
        common name counts no more, RFC 9525).

    Raises: TypeError, ValueError. The files are not read before they are loaded.
    """

    chain: StrPath = attrs.field(validator=_check_path)
    key: StrPath | None = attrs.field(default=None, validator=_check_path)
    password: Password | None = attrs.field(default=None, kw_only=True, repr=False, validator=_check_password)
    names: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=_to_names)

    def __str__(self) -> str:
        chain = os.fsdecode(self.chain)
        return chain if self.key is None else f"{chain} and {os.fsdecode(self.key)}"


@final
@attrs.frozen(kw_only=True)
class LoadedCertificate:
    """A certificate that is served: its `files`, the `names` for which it is chosen, and from when to when it
    is valid (`not_before`, `not_after`, in seconds since 1970, as `time.time`).
    """

    files: CertificateFiles
    names: tuple[str, ...]
    not_before: float
    not_after: float
    context: ssl.SSLContext = attrs.field(repr=False, eq=False)


def signature_of(paths: Iterable[StrPath]) -> Signature:
    """Return a value that changes when one of these files does; it has None for a file that stat fails on."""
    return tuple(_look_at(path) for path in paths)


def _look_at(path: StrPath) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def load_certificate(
    files: CertificateFiles, *, roots: StrPath | None, check_dates: bool
) -> LoadedCertificate:
    """Load a certificate into a new context, and check it. Raises: CertificateRefused."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        with open(files.chain, "rb") as file:
            client = _client(_last_certificate(files, file.read()), roots)
        _read_into(context, files)
        try:
            told = _do_handshake(context, client)
        except ssl.SSLCertVerificationError as error:
            told = _ignore_dates(files, context, client, error, check_dates, roots)
    except OSError as error:  # which those of the ssl module are, too
        raise CertificateRefused(f"{files}: {_say(error)}") from error
    names = tuple(value for kind, value in told.get("subjectAltName", ()) if kind == "DNS")
    return LoadedCertificate(
        files=files,
        names=files.names or tuple(name.lower() for name in names if _NAME.fullmatch(name.lower())),
        not_before=ssl.cert_time_to_seconds(told["notBefore"]),
        not_after=ssl.cert_time_to_seconds(told["notAfter"]),
        context=context,
    )


def _last_certificate(files: CertificateFiles, content: bytes) -> str:
    blocks = _BLOCK.findall(content)
    if not blocks:
        raise CertificateRefused(f"{os.fsdecode(files.chain)}: there is no whole certificate (PEM) in it")
    last: bytes = blocks[-1]
    return last.decode("ascii", "replace")


#: Reasons of OpenSSL: the key was read, and is that of another certificate, or of another type.
_MISFITS: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")


def _read_into(context: ssl.SSLContext, files: CertificateFiles) -> None:
    """Have the context read the certificates and then the key. Raises: CertificateRefused, OSError."""
    was_asked = False

    def tell() -> str | bytes:
        nonlocal was_asked
        was_asked = True
        if files.password is None:
            raise CertificateRefused(f"{files}: the key is encrypted, and there is no password for it")
        return files.password() if callable(files.password) else files.password

    try:
        context.load_cert_chain(files.chain, files.key, tell)
    except ssl.SSLError as error:
        if not was_asked or error.reason in _MISFITS:
            raise
        raise CertificateRefused(
            f"{files}: the key cannot be decrypted: the password is wrong, or the key is not whole"
        ) from error


def _say(error: OSError) -> str:
    """Describe what is wrong with the files, for the administrator who can repair them."""
    reason = getattr(error, "reason", None)
    if reason in _MISFITS:
        return "the key does not fit the certificate"
    if isinstance(error, ssl.SSLError):
        # Without a reason the ssl module says no more than "PEM lib".
        words = reason.replace("_", " ").lower() if reason else "no certificate and key in PEM, or not whole"
        return f"cannot be used: {words}"
    return error.strerror or str(error)


def _client(last: str, roots: StrPath | None) -> ssl.SSLContext:
    """Return a client that trusts the roots, or the last certificate of the chain. It checks no host name and
    no security level.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.set_ciphers("ALL:@SECLEVEL=0")
    if roots is None:
        client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        client.load_verify_locations(cadata=last)
    else:
        try:
            client.load_verify_locations(cafile=roots)
        except OSError as error:
            raise CertificateRefused(f"the roots in {os.fsdecode(roots)}: {_say(error)}") from error
    return client


def _do_handshake(server_side: ssl.SSLContext, client_side: ssl.SSLContext) -> PeerCertificate:
    """Shake hands in memory; return what the client has verified. Raises: ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    # A handshake has four flights at most: RFC 5246, 7.3, and RFC 8446, 2.
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            if side is client:
                return client.getpeercert() or {}
    raise ssl.SSLError("the handshake in memory came to no end")


def _ignore_dates(
    files: CertificateFiles,
    context: ssl.SSLContext,
    client: ssl.SSLContext,
    error: ssl.SSLCertVerificationError,
    check_dates: bool,
    roots: StrPath | None,
) -> PeerCertificate:
    """Return what the certificate says, if only its dates are wrong and these are not to be checked;
    otherwise raise CertificateRefused, which says what is wrong.
    """
    if error.verify_code not in _OUT_OF_TIME:
        raise CertificateRefused(f"{files}: {_describe_chain(error, roots)}") from error
    client.verify_flags |= _NO_CHECK_TIME
    try:
        told = _do_handshake(context, client)
    except ssl.SSLCertVerificationError as other:
        raise CertificateRefused(f"{files}: {_describe_chain(other, roots)}") from other
    if check_dates:
        raise CertificateRefused(f"{files}: {_describe_dates(told)}") from error
    return told


def _describe_chain(error: ssl.SSLCertVerificationError, roots: StrPath | None) -> str:
    if error.verify_code not in _NO_ISSUER:
        return str(error.verify_message)
    if roots is not None:
        return f"the chain leads to none of the roots in {os.fsdecode(roots)}: an issuer may be missing"
    return "the chain has a gap: each certificate must be signed by one that comes after it in the file"


def _describe_dates(told: PeerCertificate) -> str:
    """Describe the wrong date that OpenSSL has found in a chain."""
    now = time.time()
    today = f"it is {time.strftime('%b %d %H:%M:%S %Y', time.gmtime(now))} GMT by the clock of this machine"
    if ssl.cert_time_to_seconds(told["notAfter"]) < now:
        return f"the certificate expired at {told['notAfter']}; {today}"
    if ssl.cert_time_to_seconds(told["notBefore"]) > now:
        return f"the certificate is not valid before {told['notBefore']}; {today}"
    return f"a certificate of an issuer has expired, or is not valid yet; {today}"
