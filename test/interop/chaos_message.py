"""Reads, checks and writes messages of agents from docs/wire/agent-message.md alone, with python3-cryptography.

Arguments: "check HEX" prints what a signed message holds, or fails; "make SEEDHEX" prints a signed announcement as hex;
"login SEEDHEX NONCEHEX FROM TO" prints the did:key and the signature of an agent that logs in.
"""

import json
import sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def varint(n):
    out = b""
    while n > 0x7F:
        out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
    return out + bytes([n])


def field(number, content):
    return varint(number * 8 + 2) + varint(len(content)) + content


def number(field_number, value):
    return varint(field_number * 8) + varint(value) if value else b""


def parse(data):
    """The fields of one message as (number, value); numbers as int, the rest as bytes."""
    at, out = 0, []

    def take():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = take()
        value = take()
        if tag & 7 == 2:
            value, at = data[at : at + value], at + value
        out.append((tag >> 3, value))
    return out


def did(public):
    value = int.from_bytes(b"\xed\x01" + public, "big")
    text = ""
    while value:
        value, rest = divmod(value, 58)
        text = BASE58[rest] + text
    return "did:key:z" + text


def public_of(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def check(data):
    fields = dict(parse(data))
    unsigned = number(1, fields[1]) + b"".join(field(n, v) for n, v in parse(data) if n not in (1, 9))
    Ed25519PublicKey.from_public_bytes(fields[10]).verify(fields[9], b"kith/chaos-message/1\0" + unsigned)
    time, said = dict(parse(fields[3])), dict(parse(fields[6]))
    content = dict(parse(said[8]))
    return {
        "id": fields[2].decode(),
        "from": did(fields[10]),
        "ms": time[1] * 1000 + time.get(2, 0) // 1_000_000,
        "agent": said[1].decode(),
        "type": said[3],
        "title": content[1].decode(),
    }


def make(key):
    time = number(1, 1_700_000_000) + number(2, 250_000_000)
    said = field(1, did(public_of(key)).encode()) + number(3, 5) + field(8, field(1, "Grüße".encode()))
    head = number(1, 1) + field(2, b"6f1c2b6e-5d0a-4c3e-9a55-0b8f6f3f0a11") + field(3, time) + field(6, said)
    sender = field(10, public_of(key))
    return head + field(9, key.sign(b"kith/chaos-message/1\0" + head + sender)) + sender


def login(key, nonce, sender, recipient):
    agent = did(public_of(key))
    parts = b"".join(len(p.encode()).to_bytes(2, "big") + p.encode() for p in (agent, sender, recipient))
    return {"agent": agent, "signature": key.sign(b"kith/agent-login/1\0" + nonce + parts).hex()}


verb, first, *rest = sys.argv[1:]
if verb == "check":
    print(json.dumps(check(bytes.fromhex(first))))
else:
    secret = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(first))
    print(make(secret).hex() if verb == "make" else json.dumps(login(secret, bytes.fromhex(rest[0]), rest[1], rest[2])))
