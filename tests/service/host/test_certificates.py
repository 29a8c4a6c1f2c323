"""Certificates for HTTPS: files are checked before the server starts, and the self-signed one works in browsers."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from onetrainer_gradio.errors import CertificateError
from onetrainer_gradio.service.host.certificates import names_of_machine, own_certificate, read_certificate
from onetrainer_gradio.service.host.data_contents import contents_of

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def files(folder, *, begins=NOW - DAY, ends=NOW + DAY, password=b"", names=("panel.example.org",)):
    """Return a certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, begins, ends).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False
    )
    certfile, keyfile = folder / "c.pem", folder / "k.pem"
    certfile.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    locked = BestAvailableEncryption(password) if password else NoEncryption()
    keyfile.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    return certfile, keyfile


@pytest.mark.slow
def test_a_good_pair_is_read(tmp_path):
    found = read_certificate(*files(tmp_path, names=("panel.example.org", "*.lab.example.org")))
    assert len(found.fingerprint.split(":")) == 32
    assert not found.own
    assert found.covers("PANEL.example.org")
    assert found.covers("gpu.lab.example.org")
    assert not found.covers("a.gpu.lab.example.org")
    assert not found.covers("example.org")


def test_one_file_may_have_both(tmp_path):
    certfile, keyfile = files(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(certfile.read_bytes() + keyfile.read_bytes())
    assert read_certificate(both).keyfile == both


@pytest.mark.slow
def test_a_password_opens_an_encrypted_key(tmp_path):
    pair = files(tmp_path, password=b"sesame")
    assert read_certificate(*pair, "sesame").password == "sesame"
    with pytest.raises(CertificateError, match=r"is encrypted.*ONETRAINER_GRADIO_SSL_PASSWORD"):
        read_certificate(*pair)
    with pytest.raises(CertificateError, match="can't be decrypted with this password") as error:
        read_certificate(*pair, "wrong")
    assert "wrong" not in str(error.value)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ({"begins": NOW - 9 * DAY, "ends": NOW - DAY}, "expired on"),
        ({"begins": NOW + DAY, "ends": NOW + 9 * DAY}, "isn't valid before"),
    ],
)
def test_a_certificate_outside_its_time_is_rejected(tmp_path, times, message):
    with pytest.raises(CertificateError, match=message):
        read_certificate(*files(tmp_path, **times))


def test_a_key_of_another_certificate_is_rejected(tmp_path):
    certfile, _ = files(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(CertificateError, match="doesn't belong to the certificate"):
        read_certificate(certfile, files(other)[1])


def test_files_of_another_kind_are_rejected(tmp_path):
    certfile, keyfile = files(tmp_path)
    text = tmp_path / "text"
    text.write_text("hello")
    with pytest.raises(CertificateError, match="isn't a certificate in PEM format"):
        read_certificate(text, keyfile)
    with pytest.raises(CertificateError, match="isn't a private key in PEM format"):
        read_certificate(certfile, text)
    with pytest.raises(CertificateError, match="Can't read the certificate"):
        read_certificate(tmp_path / "missing", keyfile)
    with pytest.raises(CertificateError, match="Can't read the private key"):
        read_certificate(certfile, tmp_path / "missing")


def test_the_panels_own_certificate_is_valid_for_its_names(tmp_path):
    found = own_certificate(tmp_path / "https", ["localhost", "127.0.0.1", "[::1]", "gpu-box.lan"])
    assert found.own
    for name in ("localhost", "127.0.0.1", "::1", "[::1]", "GPU-box.lan"):
        assert found.covers(name), name
    assert not found.covers("127.0.0.2")
    assert NOW + 390 * DAY < found.expires_at < NOW + 398 * DAY


def test_only_the_owner_reads_the_key(tmp_path):
    found = own_certificate(tmp_path / "https", ["localhost"])
    assert stat.S_IMODE(found.keyfile.stat().st_mode) == 0o600
    assert stat.S_IMODE(found.keyfile.parent.stat().st_mode) == 0o700


def test_it_stays_the_same_while_it_is_good(tmp_path):
    first = own_certificate(tmp_path, ["localhost", "gpu-box.lan"])
    assert own_certificate(tmp_path, ["localhost"]) == first


@pytest.mark.slow
@pytest.mark.parametrize("days", [368, 500])
def test_it_is_renewed_before_it_expires(tmp_path, days):
    first = own_certificate(tmp_path, ["localhost"])
    second = own_certificate(tmp_path, ["localhost"], NOW + days * DAY)
    assert second.fingerprint != first.fingerprint
    assert second.expires_at > first.expires_at


@pytest.mark.slow
def test_a_new_name_makes_a_new_one(tmp_path):
    first = own_certificate(tmp_path, ["localhost"])
    assert own_certificate(tmp_path, ["localhost", "gpu-box.lan"]).fingerprint != first.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("damaged", ["key.pem", "certificate.pem"])
def test_damaged_files_are_replaced(tmp_path, damaged):
    first = own_certificate(tmp_path, ["localhost"])
    (tmp_path / damaged).write_text("")
    assert own_certificate(tmp_path, ["localhost"]).fingerprint != first.fingerprint


def test_a_panel_on_all_addresses_has_those_of_its_interfaces():
    names = names_of_machine("0.0.0.0", ("panel.example.org",))
    assert {"localhost", "127.0.0.1", "panel.example.org"} <= set(names)
    assert names_of_machine("192.168.1.20") == ("localhost", "127.0.0.1", "::1", "192.168.1.20")


def test_a_backup_omits_the_key_and_its_certificate(tmp_path):
    """A restored panel creates a new pair for its machine."""
    own_certificate(tmp_path / "https", ["localhost"])
    found = contents_of(tmp_path)
    assert found.files == []
    assert sorted(found.secrets) == ["https/certificate.pem", "https/key.pem"]
    assert "https/key.pem" in contents_of(tmp_path, secrets=True).files
