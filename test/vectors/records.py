"""Makes records.json from docs/formats.md alone, in another language than the server: python3 records.py > records.json

Needs the package `cryptography`. Everything is derived from fixed seeds, so the output is always the same.
"""

import base64
import hashlib
import hmac
import json
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

MAGIC = bytes.fromhex("c14b4553")
ADMIN = "a" * 64
BY = "b" * 64


def seed(text, size=32):
    return hashlib.sha512(text.encode()).digest()[:size]


def varint(value):
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value) if value else b""


def data(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def text(field, value):
    return data(field, value.encode()) if value else b""


def time(field, seconds, nanos=0):
    return data(field, number(1, seconds) + number(2, nanos))


def key_version(name, cipher=1, created=1_700_000_000, has_hmac=True):
    secret = data(1, data(1, seed(name)) + number(2, cipher))
    mac = data(2, data(1, seed(name + " hmac")) + number(2, 1)) if has_hmac else b""
    return secret + mac + time(3, created, 5) + text(4, ADMIN)


def b64(value):
    return base64.b64encode(value).decode()


def sha(value):
    return hashlib.sha256(value).digest()


def record(n, owner, predecessor=None, state=b"", rest=b"", versions=(), fmt=1, checksum=None):
    message = number(1, fmt) + number(2, n) + data(3, owner)
    message += b"" if predecessor is None else data(4, predecessor)
    message += time(5, 1_700_000_000 + n) + text(6, BY) + state + rest
    message += b"".join(data(13, version) for version in versions)
    return b64(message + data(14, sha(message) if checksum is None else checksum))


def quarter(s, a, b, c, d):
    for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & 0xFFFFFFFF
        t = s[z] ^ s[x]
        s[z] = ((t << bits) | (t >> (32 - bits))) & 0xFFFFFFFF


def hchacha20(key, iv):
    s = list(struct.unpack("<4I", b"expand 32-byte k")) + list(struct.unpack("<8I", key))
    s += list(struct.unpack("<4I", iv))
    for _ in range(10):
        for i in range(4):
            quarter(s, i, i + 4, i + 8, i + 12)
        for i in range(4):
            quarter(s, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<8I", *(s[0:4] + s[12:16]))


def seal(name, version, plaintext, context, cipher=1, header=None):
    if header is None:
        header = b"" if version == 1 else MAGIC + b"\x01" + struct.pack(">I", version)
    iv, nonce = seed(name + " iv", 16), seed(name + " nonce", 12)
    if cipher == 1:
        subkey = hmac.new(seed(name), iv, "sha256").digest()
        body = AESGCM(subkey).encrypt(nonce, plaintext, header + context)
    else:
        body = ChaCha20Poly1305(hchacha20(seed(name), iv)).encrypt(nonce, plaintext, header + context)
    return header + body + iv + nonce


def name_of(n, owner, key):
    return f"-{n}-{owner.hex()[:8]}-{key}"


cases = []


def case(ident, records, expect, cipher=1, key="a", entry=None, more=None, ciphertexts=(), **facts):
    own = b64(key_version(ident + " 1", cipher)) if entry is None else entry
    owner = sha(own.encode())
    entries = {key: own}
    for n, value in records(owner):
        entries[name_of(n, owner, key)] = value
    entries.update(more(owner) if more else {})
    cases.append({"id": ident, "key": key, "entries": entries, "expect": expect, **facts})
    if ciphertexts:
        cases[-1]["ciphertexts"] = [
            {"plaintext": None if p is None else b64(p), "context": b64(c), "ciphertext": b64(s)}
            for p, c, s in ciphertexts
        ]


def chain(*makers):
    """Records that know each other: each maker gets number, owner and predecessor."""

    def records(owner):
        out, before = [], None
        for n, make in enumerate(makers, 1):
            value = make(n, owner, before)
            out.append((n, value))
            before = sha(value.encode())
        return out

    return records


def plain(n, owner, before):
    return record(n, owner, before)


def disabled(n, owner, before):
    return record(n, owner, before, number(7, 1))


def at(n_wanted, make):
    """A chain of five of which one is made otherwise."""
    return chain(*[make if n == n_wanted else plain for n in range(1, 6)])


HELLO, CONTEXT = b"hello", b"context"
DATE = 1_800_000_000

# What is read.
case("no-records", chain(), "enabled", version=1)
case("neutral", chain(plain), "enabled", version=1)
case("disabled", chain(disabled), "disabled", version=1)
case("deny", chain(lambda n, o, b: record(n, o, b, number(7, 1) + number(8, 1))), "disabled", version=1, deny_decrypt=True)
case("enabled-again", chain(disabled, plain), "enabled", version=1)
case("pending", chain(lambda n, o, b: record(n, o, b, time(9, DATE, 7))), "pending-deletion", version=1, deletion_date="2027-01-15T08:00:00.000000007Z")
case("pending-disabled", chain(lambda n, o, b: record(n, o, b, number(7, 1) + time(9, DATE))), "pending-deletion", version=1, deletion_date="2027-01-15T08:00:00Z")
case("described", chain(lambda n, o, b: record(n, o, b, rest=text(11, "Größe") + data(12, text(1, "a") + text(2, "1")) + data(12, text(1, "b")))), "enabled", version=1, description="Größe", tags={"a": "1", "b": ""})
for ident, cipher in (("rotated", 1), ("rotated-chacha", 2)):
    second, third = key_version(ident + " 2", cipher), key_version(ident + " 3", cipher)
    case(
        ident,
        chain(lambda n, o, b: record(n, o, b, versions=[second]), lambda n, o, b: record(n, o, b, versions=[second, third])),
        "enabled",
        cipher=cipher,
        version=3,
        ciphertexts=[
            *[(HELLO, CONTEXT, seal(f"{ident} {v}", v, HELLO, CONTEXT, cipher)) for v in (1, 2, 3)],
            (b"", b"", seal(f"{ident} 2", 2, b"", b"", cipher)),
            # A raw ciphertext of version 1 with a header in front is none of it.
            (None, CONTEXT, seal(f"{ident} 2", 2, HELLO, b"other", cipher)),
            (None, CONTEXT, seal(f"{ident} 2", 4, HELLO, CONTEXT, cipher)),
            (None, CONTEXT, seal(f"{ident} 3", 2, HELLO, CONTEXT, cipher)),
            (None, CONTEXT, seal(f"{ident} 2", 1, HELLO, CONTEXT, cipher)),
            (None, CONTEXT, seal(f"{ident} 2", 2, HELLO, CONTEXT, cipher)[:-1]),
            (None, CONTEXT, seal(f"{ident} 2", 2, HELLO, CONTEXT, cipher, MAGIC + b"\x02" + struct.pack(">I", 2))),
            (None, CONTEXT, seal(f"{ident} 1", 1, HELLO, CONTEXT, cipher, MAGIC + b"\x01" + struct.pack(">I", 1))),
        ],
    )
case("hundred", chain(*[plain] * 100), "enabled", version=1)
case("of-another-owner", chain(), "enabled", version=1, more=lambda o: {name_of(1, seed("x"), "a"): record(1, seed("x"), state=number(7, 1))})
case("destroying", chain(lambda n, o, b: record(n, o, b, time(9, DATE)), lambda n, o, b: record(n, o, b, time(9, DATE) + number(10, 1))), "absent")

# What is damaged.
case("wrong-number", at(3, lambda n, o, b: record(4, o, b)), "damaged")
case("wrong-owner", at(3, lambda n, o, b: record(n, seed("x"), b)), "damaged")
case("wrong-predecessor", at(3, lambda n, o, b: record(n, o, seed("x"))), "damaged")
case("no-predecessor", at(3, lambda n, o, b: record(n, o)), "damaged")
case("first-with-predecessor", at(1, lambda n, o, b: record(n, o, seed("x"))), "damaged")
case("missing", lambda o: [r for r in chain(*[plain] * 5)(o) if r[0] != 3], "damaged")
case("first-missing-of-17", lambda o: [r for r in chain(*[plain] * 17)(o) if r[0] != 2], "damaged")
case("moved", lambda o: [(n, chain(*[plain] * 5)(o)[{3: 3, 4: 2}.get(n, n - 1)][1]) for n in range(1, 6)], "damaged")
case("same-prefix-of-owner", chain(lambda n, o, b: record(n, o[:4] + seed("x")[4:], b)), "damaged")
for ident, last in {
    "unknown-format": lambda n, o, b: record(n, o, b, fmt=2),
    "no-format": lambda n, o, b: record(n, o, b, fmt=0),
    "no-checksum": lambda n, o, b: record(n, o, b, checksum=b""),
    "wrong-checksum": lambda n, o, b: record(n, o, b, checksum=seed("x")),
    "unknown-field": lambda n, o, b: record(n, o, b, rest=number(15, 1)),
    "false-written": lambda n, o, b: record(n, o, b, state=varint(7 << 3) + b"\x00"),
    "true-as-two": lambda n, o, b: record(n, o, b, state=number(7, 2)),
    "long-varint": lambda n, o, b: record(n, o, b, state=varint(7 << 3) + b"\x81\x00"),
    "deny-of-enabled": lambda n, o, b: record(n, o, b, number(8, 1)),
    "destroying-without-date": lambda n, o, b: record(n, o, b, number(10, 1)),
    "date-out-of-range": lambda n, o, b: record(n, o, b, time(9, DATE, 1_000_000_000)),
    "description-too-long": lambda n, o, b: record(n, o, b, rest=text(11, "x" * 8193)),
    "description-no-utf8": lambda n, o, b: record(n, o, b, rest=data(11, b"\xff")),
    "tags-out-of-order": lambda n, o, b: record(n, o, b, rest=data(12, text(1, "b")) + data(12, text(1, "a"))),
    "tag-twice": lambda n, o, b: record(n, o, b, rest=data(12, text(1, "a")) * 2),
    "tag-without-name": lambda n, o, b: record(n, o, b, rest=data(12, text(2, "x"))),
    "too-many-tags": lambda n, o, b: record(n, o, b, rest=b"".join(data(12, text(1, f"t{i:02}")) for i in range(51))),
    "version-without-hmac": lambda n, o, b: record(n, o, b, versions=[key_version("v", has_hmac=False)]),
    "version-of-unknown-cipher": lambda n, o, b: record(n, o, b, versions=[key_version("v", cipher=3)]),
    "more-versions-than-changes": lambda n, o, b: record(n, o, b, versions=[key_version("v")] * 2),
    "line-feed": lambda n, o, b: record(n, o, b) + "\n",
    "no-base64": lambda n, o, b: record(n, o, b)[:-1] + "!",
    "empty": lambda n, o, b: "",
    "cut-between-fields": lambda n, o, b: b64(base64.b64decode(record(n, o, b))[:-34]),
}.items():
    case(ident, chain(last), "damaged")

print(json.dumps({"origin": "records.py", "count": len(cases), "cases": cases}, indent=1, ensure_ascii=False))
