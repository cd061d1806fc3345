#!/usr/bin/python3
"""Makes reach-vectors.json: a peer record, an envelope, a mailbox's answer, and a group with a message, with fixed keys.

Written from reach.md, groups.md, transfer.md and identity.md with Python's standard library and python3-cryptography, without Kith's code. The
TypeScript tests must read and produce exactly these bytes (src/messaging/reach-vectors.test.ts).

    python3 docs/wire/reach-vectors.py > docs/wire/reach-vectors.json
"""
import hashlib
import hmac
import json
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

sha256 = lambda b: hashlib.sha256(b).digest()
fill = lambda byte, n: bytes([byte]) * n
u8 = lambda n: struct.pack(">B", n)
u16 = lambda n: struct.pack(">H", n)
u32 = lambda n: struct.pack(">I", n)
u64 = lambda n: struct.pack(">Q", n)
bytes16 = lambda b: u16(len(b)) + b
bytes32 = lambda b: u32(len(b)) + b
text16 = lambda t: bytes16(t.encode())
counted = lambda items: u8(len(items)) + b"".join(items)
canonical = lambda v: json.dumps(v, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
mac = lambda key, data: hmac.new(key, data, hashlib.sha256).digest()

MS = 1769904000000
ADMIN, MEMBER = 1, 2


def base58(data):
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    n, out = int.from_bytes(data, "big"), ""
    while n:
        n, digit = divmod(n, 58)
        out = alphabet[digit] + out
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + out


class Instance:
    """An instance whose libp2p key has the seed `peer`."""

    def __init__(self, seed, peer):
        self.secret = Ed25519PrivateKey.from_private_bytes(fill(seed, 32))
        self.key = self.secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = "did:key:z" + base58(b"\xed\x01" + self.key)
        peer_key = Ed25519PrivateKey.from_private_bytes(fill(peer, 32)).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.peer_id = bytes.fromhex("002408011220") + peer_key
        certificate = u8(1) + bytes16(self.peer_id) + u64(MS)
        self.chain = u8(1) + self.signed("kith/peer-certificate/1", certificate) + u8(0)

    def signed(self, domain, body):
        return bytes32(body) + self.key + self.secret.sign(domain.encode() + b"\0" + body)


A, B = Instance(1, 2), Instance(3, 4)


def hkdf(key, salt, info):
    return mac(mac(salt, key), info + b"\1")


def peer_record():
    agent = fill(5, 32) + bytes16(b"certificate") + counted([text16("summarise"), text16("übersetzen")])
    body = (u8(1) + bytes16(A.chain) + u64(7) + u64(MS + 3600000) + u8(2) + counted([agent]) + counted([text16("chat")])
            + bytes16(b"prekey") + counted([bytes16(B.peer_id) + B.key]))
    return A.signed("kith/peer-record/1", body)


def envelope():
    head = u8(1) + fill(6, 16) + B.key + u64(MS + 60000)
    return {"head": head, "bytes": head + bytes32(b"sealed") + counted([bytes16(A.peer_id)])}


def group():
    ops = []

    def op(author, kind, lamport, parents, rest, group_id):
        body = (u8(1) + group_id + u8(kind) + u64(lamport) + u64(MS + lamport) + counted(sorted(parents)) + rest)
        ops.append({"bytes": author.signed("kith/group-op/1", body), "hash": sha256(body + author.key)})
        return ops[-1]["hash"]

    first = op(A, 1, 0, [], fill(7, 16) + text16("Küche"), bytes(32))
    second = op(A, 2, 1, [first], B.key + u8(ADMIN), first)
    left = op(A, 2, 2, [second], fill(8, 32) + u8(MEMBER), first)
    right = op(B, 2, 2, [second], fill(9, 32) + u8(MEMBER), first)
    heads = sorted([left, right])
    epoch_key, salt = fill(10, 32), fill(11, 32)
    epoch = sha256(b"kith/group-epoch/1\0" + epoch_key)[:16]
    transcript = sha256(b"".join(heads))
    post = "01234567-89ab-4cde-8f01-23456789abcd"
    key = hkdf(epoch_key, salt, b"kith/group/1\0" + first + epoch + B.key)
    aad = canonical([first.hex(), post, epoch.hex(), transcript.hex(), B.id])
    data = AESGCM(key).encrypt(bytes(12), canonical({"text": "grüß dich"}), aad)
    return {
        "ops": ops, "group_id": first, "heads": heads, "sender": B.id, "text": "grüß dich", "post_id": post,
        "epoch_key": epoch_key, "epoch": epoch, "transcript": transcript, "salt": salt, "data": data,
    }


def known_tag(owner_key, peer_id):
    return sha256(b"kith/mailbox-known/1\0" + owner_key + peer_id)[:8]


def hexed(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [hexed(v) for v in value]
    return {k: hexed(v) for k, v in value.items()} if isinstance(value, dict) else value


sealed = envelope()
print(json.dumps(hexed({
    "a": {"id": A.id, "peer_id": base58(A.peer_id), "chain": A.chain},
    "b": {"id": B.id, "peer_id": base58(B.peer_id)},
    "now": MS,
    "peer_key": sha256(b"peer:" + A.id.encode()),
    "capability_key": sha256("cap:übersetzen".encode()),
    "peer_record": peer_record(),
    "record_requests": {"you": u8(0) + u64(7), "another": u8(1) + B.key + u8(3)},
    "envelope": sealed,
    "relay_answers": {"delivered": u8(1) + u8(2) + text16(""), "full": u8(3) + u8(0) + text16("QUEUE_FULL")},
    "collect_request": u8(1) + bytes16(B.chain) + u16(2) + u64(4) + u64(9),
    "collect_answer": u32(1) + u16(1) + u64(12) + bytes32(sealed["bytes"]),
    "known_request": u8(1) + bytes16(B.chain) + u16(1) + known_tag(B.key, A.peer_id),
    "group": group(),
}), indent=1, ensure_ascii=False))
