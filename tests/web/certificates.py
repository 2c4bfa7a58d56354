"""A self-signed certificate, made with nothing but the standard library.

The tests of TLS need one, and neither a program nor a package that makes one can be assumed.
Knows the few corners of DER, X.509 and P-256 that it takes; never meant to guard anything.
Source: RFC 5280, RFC 5915, SEC 1.
"""

import base64
import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

Point = tuple[int, int]

PRIME = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
GENERATOR: Point = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)

EC_PUBLIC_KEY = bytes.fromhex("2a8648ce3d0201")
P_256 = bytes.fromhex("2a8648ce3d030107")
ECDSA_SHA_256 = bytes.fromhex("2a8648ce3d040302")
COMMON_NAME = bytes.fromhex("550403")
SUBJECT_KEY_ID = bytes.fromhex("551d0e")
KEY_USAGE = bytes.fromhex("551d0f")
ALTERNATIVE_NAME = bytes.fromhex("551d11")
BASIC_CONSTRAINTS = bytes.fromhex("551d13")

BOOLEAN, INTEGER, BITS, OCTETS, OID, UTF8, UTC_TIME = 0x01, 0x02, 0x03, 0x04, 0x06, 0x0C, 0x17
SEQUENCE, SET, PART_0, PART_1, PART_3, IP_NAME = 0x30, 0x31, 0xA0, 0xA1, 0xA3, 0x87
TRUE = b"\x01\x01\xff"


def write_certificate(folder: Path, *, address: str = "127.0.0.1") -> tuple[Path, Path]:
    """Write `cert.pem` and `key.pem` for a server at this address; give their paths."""
    secret = secrets.randbelow(ORDER - 1) + 1
    x, y = _times(secret, GENERATOR)
    public = b"\x04" + x.to_bytes(32) + y.to_bytes(32)
    body = _body(public, address)
    certificate = der(SEQUENCE, body, _algorithm(), der(BITS, b"\0", _signature(secret, body)))
    key = der(
        SEQUENCE,
        der(INTEGER, b"\1"),
        der(OCTETS, secret.to_bytes(32)),
        der(PART_0, der(OID, P_256)),
        der(PART_1, der(BITS, b"\0", public)),
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_text(_pem("CERTIFICATE", certificate))
    key_file.write_text(_pem("EC PRIVATE KEY", key))
    return cert_file, key_file


def der(tag: int, *parts: bytes) -> bytes:
    """Write one DER value."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + content


def _body(public: bytes, address: str) -> bytes:
    name = der(SEQUENCE, der(SET, der(SEQUENCE, der(OID, COMMON_NAME), der(UTF8, b"test"))))
    now = datetime.now(UTC)
    key_id = hashlib.sha256(public).digest()[:20]
    packed = ip_address(address).packed
    return der(
        SEQUENCE,
        der(PART_0, der(INTEGER, b"\2")),
        _integer(secrets.randbits(64)),
        _algorithm(),
        name,
        der(SEQUENCE, _instant(now - timedelta(hours=1)), _instant(now + timedelta(days=1))),
        name,
        der(
            SEQUENCE,
            der(SEQUENCE, der(OID, EC_PUBLIC_KEY), der(OID, P_256)),
            der(BITS, b"\0", public),
        ),
        der(
            PART_3,
            der(
                SEQUENCE,
                _extension(BASIC_CONSTRAINTS, TRUE, der(SEQUENCE, TRUE)),
                # It signs itself and its handshakes.
                _extension(KEY_USAGE, TRUE, der(BITS, b"\2\x84")),
                _extension(SUBJECT_KEY_ID, b"", der(OCTETS, key_id)),
                _extension(ALTERNATIVE_NAME, b"", der(SEQUENCE, der(IP_NAME, packed))),
            ),
        ),
    )


def _signature(secret: int, message: bytes) -> bytes:
    digest = int.from_bytes(hashlib.sha256(message).digest())
    nonce = secrets.randbelow(ORDER - 1) + 1
    r = _times(nonce, GENERATOR)[0] % ORDER
    s = pow(nonce, -1, ORDER) * (digest + r * secret) % ORDER
    return der(SEQUENCE, _integer(r), _integer(s))


def _times(factor: int, point: Point) -> Point:
    total: Point | None = None
    while factor:
        if factor & 1:
            total = point if total is None else _plus(total, point)
        point = _plus(point, point)
        factor >>= 1
    assert total is not None
    return total


def _plus(one: Point, other: Point) -> Point:
    if one == other:
        slope = 3 * (one[0] * one[0] - 1) * pow(2 * one[1], -1, PRIME) % PRIME
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, PRIME) % PRIME
    x = (slope * slope - one[0] - other[0]) % PRIME
    return x, (slope * (one[0] - x) - one[1]) % PRIME


def _algorithm() -> bytes:
    return der(SEQUENCE, der(OID, ECDSA_SHA_256))


def _extension(name: bytes, critical: bytes, value: bytes) -> bytes:
    return der(SEQUENCE, der(OID, name), critical, der(OCTETS, value))


def _integer(value: int) -> bytes:
    return der(INTEGER, value.to_bytes(value.bit_length() // 8 + 1))


def _instant(moment: datetime) -> bytes:
    return der(UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())


def _pem(label: str, content: bytes) -> str:
    text = base64.encodebytes(content).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n"
