#!/usr/bin/python3
"""Makes session-vectors.json: a handshake with fixed keys, a message in each direction, and a sealed message.

Written from session.md and message.md with Python's standard library and python3-cryptography, without Kith's code. The TypeScript tests must
produce exactly these frames (src/session/vectors.test.ts).

    python3 docs/wire/session-vectors.py > docs/wire/session-vectors.json
"""
import base64
import hashlib
import hmac
import json
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

sha256 = lambda b: hashlib.sha256(b).digest()
fill = lambda byte, n: bytes([byte]) * n
u32 = lambda n: struct.pack(">I", n)
u64 = lambda n: struct.pack(">Q", n)
lp = lambda b: u32(len(b)) + b
canonical = lambda v: json.dumps(v, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
raw = lambda key: key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
mac = lambda key, data: hmac.new(key, data, hashlib.sha256).digest()

TIME, MS = "2026-02-01T00:00:00.000Z", 1769904000000
NETWORK = "test"
SESSION = "01234567-89ab-4cde-8f01-23456789abcd"
DOMAIN = b"kith/handshake/1\0"


def base58(data):
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    n, out = int.from_bytes(data, "big"), ""
    while n:
        n, digit = divmod(n, 58)
        out = alphabet[digit] + out
    return out


class Instance:
    def __init__(self, seed, ephemeral):
        self.secret = Ed25519PrivateKey.from_private_bytes(fill(seed, 32))
        self.public = raw(self.secret)
        self.id = "did:key:z" + base58(b"\xed\x01" + self.public)
        self.exchange = X25519PrivateKey.from_private_bytes(fill(ephemeral, 32))


def header(msg_type, sender, recipient, sequence, nonce, version="1.1"):
    return {"version": version, "msg_type": msg_type, "sender_id": sender.id, "recipient_id": recipient.id, "session_id": SESSION,
            "sequence_num": sequence, "timestamp": TIME, "nonce": fill(nonce, 32).hex()}


def signed_bytes(head, data, encrypted):
    payload = {"encrypted": encrypted, "data": base64.b64encode(data).decode()}
    return b"kith/message/1\0" + canonical({**head, "payload": payload})


def frame(sender, head, data, encrypted=False):
    payload = {"encrypted": encrypted, "data": base64.b64encode(data).decode()}
    signature = sender.secret.sign(signed_bytes(head, data, encrypted)).hex()
    return canonical({**head, "payload": payload, "signature": signature}).decode()


def hkdf(ikm, salt, info, length=32):
    return mac(mac(salt, ikm), info + b"\1")[:length]


a, b = Instance(1, 0x31), Instance(2, 0x32)

# --- handshake, section 2 and 3 ---

offer = canonical({"versions": ["1.1", "1.0"], "public_key": a.public.hex(), "ephemeral_key": raw(a.exchange).hex(),
                   "challenge": fill(0x41, 32).hex(), "network": sha256(b"kith/network/1\0" + NETWORK.encode())[:8].hex()})
head_1 = header("handshake", a, b, 0, 0x51)
answer = {"selected_version": "1.1", "public_key": b.public.hex(), "ephemeral_key": raw(b.exchange).hex(), "challenge": fill(0x42, 32).hex()}
head_2 = header("handshake_ack", b, a, 0, 0x52)
t1 = sha256(DOMAIN + lp(NETWORK.encode()) + lp(signed_bytes(head_1, offer, False)) + lp(canonical(head_2)) + lp(canonical(answer)))
response_b = b.secret.sign(DOMAIN + b"responder\0" + t1)
t2 = sha256(DOMAIN + t1 + response_b)
response_a = a.secret.sign(DOMAIN + b"initiator\0" + t2)
confirm = canonical({"challenge_response": response_a.hex()})

# --- keys and messages, section 4 and 5 ---

shared = a.exchange.exchange(X25519PublicKey.from_public_bytes(raw(b.exchange)))
keys = {role: hkdf(shared, t2, b"kith/session/1 " + role.encode()) for role in ("initiator", "responder")}


def sealed(sender, recipient, role, nonce, text):
    head = header("ping", sender, recipient, 1, nonce)
    data = AESGCM(keys[role]).encrypt(fill(0, 4) + u64(1), text.encode(), canonical(head))
    return frame(sender, head, data, True)


# --- prekey and sealed message, section 6 (HPKE: RFC 9180) ---

prekey_secret = X25519PrivateKey.from_private_bytes(fill(0x61, 32))
prekey_id = fill(0x62, 8)
body = b"\1" + prekey_id + raw(prekey_secret) + u64(MS) + u64(MS + 7 * 86400 * 1000)
prekey = lp(body) + b.public + b.secret.sign(b"kith/prekey/1\0" + body)

KEM, SUITE = b"KEM\0\x20", b"HPKE\0\x20\0\1\0\2"
extract = lambda suite, salt, label, ikm: mac(salt, b"HPKE-v1" + suite + label + ikm)
expand = lambda suite, prk, label, info, n: mac(prk, struct.pack(">H", n) + b"HPKE-v1" + suite + label + info + b"\1")[:n]

ephemeral = X25519PrivateKey.from_private_bytes(fill(0x63, 32))
enc = raw(ephemeral)
dh = ephemeral.exchange(prekey_secret.public_key())
secret_kem = expand(KEM, extract(KEM, b"", b"eae_prk", dh), b"shared_secret", enc + raw(prekey_secret), 32)
info = b"kith/sealed/1\0" + b.id.encode()
context = b"\0" + extract(SUITE, b"", b"psk_id_hash", b"") + extract(SUITE, b"", b"info_hash", info)
secret = extract(SUITE, secret_kem, b"secret", b"")
inner = '{"a":1}'
ciphertext = AESGCM(expand(SUITE, secret, b"key", context, 32)).encrypt(expand(SUITE, secret, b"base_nonce", context, 12), inner.encode(), b"")

PING, PONG = '{"message_id":"11111111-1111-4111-8111-111111111111"}', '{"message_id":"22222222-2222-4222-8222-222222222222"}'
print(json.dumps({
    "about": "Made by session-vectors.py. Ed25519 seeds 32 x 01 (initiator, sender) and 02 (responder, recipient), X25519 secrets 32 x 31 and 32, "
             "prekey 32 x 61, HPKE's ephemeral 32 x 63. Bytes are hex, frames are text. No certificates.",
    "network": NETWORK, "time": MS, "session_id": SESSION, "initiator": a.id, "responder": b.id,
    "handshake": frame(a, head_1, offer), "handshake_ack": frame(b, head_2, canonical({**answer, "challenge_response": response_b.hex()})),
    "handshake_confirm": frame(a, header("handshake_confirm", a, b, 0, 0x53), confirm),
    "t1": t1.hex(), "t2": t2.hex(), "shared": shared.hex(), "initiator_key": keys["initiator"].hex(), "responder_key": keys["responder"].hex(),
    "message_payload": PING, "message": sealed(a, b, "initiator", 0x54, PING),
    "reply_payload": PONG, "reply": sealed(b, a, "responder", 0x55, PONG),
    "prekey_id": prekey_id.hex(), "prekey": prekey.hex(), "sealed_plaintext": inner,
    "sealed": (b"\1" + prekey_id + enc + lp(ciphertext)).hex(),
}, indent=1))
