"""Check certificate files for HTTPS, and create certificates for machines that have none."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from onetrainer_gradio.atomic_file import write_atomic
from onetrainer_gradio.errors import CertificateError
from onetrainer_gradio.service.host.access import is_address
from onetrainer_gradio.service.host.atomic import raising_storage_error

if TYPE_CHECKING:
    from cryptography import x509

log = logging.getLogger(__name__)

# Apple's devices accept no certificate that is valid for longer than 825 days, others 398.
VALID_FOR = timedelta(days=397)
RENEWED_BEFORE = timedelta(days=30)
ANY_ADDRESS = frozenset({"", "0.0.0.0", "::"})


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key as files (PEM). ``names`` are the host names and addresses it is valid for.

    ``own``: created by the panel, so that browsers ask whether to trust it.
    """

    certfile: Path
    keyfile: Path
    password: str
    fingerprint: str
    names: tuple[str, ...]
    expires_at: datetime
    own: bool = False

    def described(self) -> dict[str, Any]:
        """Return what everyone who uses the panel may see."""
        return {
            "fingerprint": self.fingerprint,
            "names": list(self.names),
            "expires_at": self.expires_at.timestamp(),
            "own": self.own,
        }

    def covers(self, name: str) -> bool:
        """Return whether a browser accepts the certificate for a host name or address."""
        return any(_matches(pattern, name.strip("[]").lower()) for pattern in self.names)

    def mark(self) -> tuple[int, ...]:
        """Return what changes when the files are replaced, such as by certbot."""
        return tuple(path.stat().st_mtime_ns for path in (self.certfile, self.keyfile))


def read_certificate(certfile: Path, keyfile: Path | None = None, password: str = "", now: datetime | None = None) -> Certificate:
    """Check the files of a certificate before the server starts. Without ``keyfile``, ``certfile`` contains the key too.

    :raises CertificateError: if a file can't be read, they don't belong together, or the certificate isn't valid now.
    """
    keyfile = keyfile or certfile
    leaf = _leaf(certfile)
    _check_key(leaf, keyfile, password)
    now = now or datetime.now(UTC)
    if now >= leaf.not_valid_after_utc:
        raise CertificateError(
            f"The certificate {certfile} expired on {leaf.not_valid_after_utc:%Y-%m-%d}.",
            suggestion="Use a renewed one, then start the panel again.",
        )
    if now < leaf.not_valid_before_utc:
        raise CertificateError(
            f"The certificate {certfile} isn't valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC.",
            suggestion="Check the clock of this machine.",
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise CertificateError(f"The certificate {certfile} can't be used for HTTPS: {error}") from error
    return Certificate(certfile, keyfile, password, _fingerprint(leaf), _names(leaf), leaf.not_valid_after_utc)


def own_certificate(folder: Path, names: Iterable[str], now: datetime | None = None) -> Certificate:
    """Return the certificate that the panel created in ``folder``; create it if it is missing, damaged, or soon expires, or if
    it isn't valid for one of ``names``. Only the owner can read the files.

    :raises StorageError: if it can't be written.
    """
    now = now or datetime.now(UTC)
    wanted = tuple(dict.fromkeys(name.strip("[]").lower() for name in names))
    certfile, keyfile = folder / "certificate.pem", folder / "key.pem"
    try:
        known = read_certificate(certfile, keyfile, now=now)
    except CertificateError as error:
        if certfile.exists():
            log.warning("%s A new one is created.", error.message)
    else:
        missing = [name for name in wanted if not known.covers(name)]
        if not missing and now < known.expires_at - RENEWED_BEFORE:
            return _owned(known)
        reason = f"isn't valid for {', '.join(missing)}" if missing else f"expires on {known.expires_at:%Y-%m-%d}"
        log.warning("The panel's certificate %s. A new one with another fingerprint is created.", reason)
    with raising_storage_error("the certificate"):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        _create(certfile, keyfile, wanted, now)
    return _owned(read_certificate(certfile, keyfile, now=now))


def names_of_machine(host: str, public_hosts: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the names and addresses that the panel can be reached at when it listens on ``host``."""
    names = ["localhost", "127.0.0.1", "::1", *public_hosts]
    if host in ANY_ADDRESS:
        machine = socket.gethostname().lower()
        names += [machine] if "." in machine else [machine, f"{machine}.local"]
        names += sorted(_addresses())
    else:
        names.append(host)
    return tuple(dict.fromkeys(name.strip("[]").lower() for name in names if _is_name(name.strip("[]"))))


def _addresses() -> Iterable[str]:
    for interface in psutil.net_if_addrs().values():
        for address in interface:
            if address.family in (socket.AF_INET, socket.AF_INET6):
                plain = address.address.partition("%")[0]
                if not ipaddress.ip_address(plain).is_link_local:
                    yield plain


def _is_name(name: str) -> bool:
    return bool(name) and len(name) <= 253 and all(letter.isalnum() or letter in ".-:_" for letter in name) and name.isascii()


def _owned(certificate: Certificate) -> Certificate:
    return Certificate(**{**vars(certificate), "own": True})


def _leaf(certfile: Path) -> x509.Certificate:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(certfile.read_bytes())[0]
    except OSError as error:
        raise CertificateError(f"Can't read the certificate {certfile}: {error.strerror}.") from error
    except ValueError as error:
        raise CertificateError(
            f"{certfile} isn't a certificate in PEM format.", expected="a file that begins with -----BEGIN CERTIFICATE-----"
        ) from error


def _check_key(leaf: x509.Certificate, keyfile: Path, password: str) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        data = keyfile.read_bytes()
    except OSError as error:
        raise CertificateError(f"Can't read the private key {keyfile}: {error.strerror}.") from error
    encrypted = b"ENCRYPTED" in data
    try:
        key = load_pem_private_key(data, password.encode() if encrypted and password else None)
    except TypeError as error:
        raise CertificateError(
            f"The private key {keyfile} is encrypted.", suggestion="Set ONETRAINER_GRADIO_SSL_PASSWORD or --ssl-keyfile-password."
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        wrong = "can't be decrypted with this password" if encrypted else "isn't a private key in PEM format"
        raise CertificateError(f"{keyfile} {wrong}.", expected="a file that contains -----BEGIN PRIVATE KEY-----") from error
    if key.public_key() != leaf.public_key():
        raise CertificateError(
            f"The private key {keyfile} doesn't belong to the certificate.",
            suggestion="Use the key that the certificate was requested with.",
        )


def _fingerprint(leaf: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.hashes import SHA256

    return leaf.fingerprint(SHA256()).hex(":").upper()


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    names = [str(name).lower() for name in found.get_values_for_type(x509.DNSName)]
    return (*names, *(str(address) for address in found.get_values_for_type(x509.IPAddress)))


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("*."):
        return "." in name and name.partition(".")[2] == pattern[2:] and not is_address(name)
    if is_address(pattern) and is_address(name):
        return ipaddress.ip_address(pattern) == ipaddress.ip_address(name)
    return pattern == name


def _create(certfile: Path, keyfile: Path, names: tuple[str, ...], now: datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "OneTrainer panel")])
    entries = [x509.IPAddress(ipaddress.ip_address(name)) if is_address(name) else x509.DNSName(name) for name in names]
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(entries), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    certfile.unlink(missing_ok=True)  # after a crash in between, no certificate has another one's key
    write_atomic(keyfile, private, mode=0o600)
    write_atomic(certfile, certificate.public_bytes(Encoding.PEM), mode=0o600)
    os.chmod(keyfile, 0o600)
