"""A client of POST /message that shares no code with Kith: standard library and python3-cryptography (Debian).

usage: message_http.py URL NETWORK SEED_HEX   Writes one JSON object per step to stdout.
Spec: docs/wire/message-http.md, docs/wire/session.md, docs/wire/message.md
"""
import base64
import hashlib
import http.client
import json
import os
import struct
import sys
import urllib.parse
import uuid
from datetime import datetime, timezone

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

url, network, seed = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2], bytes.fromhex(sys.argv[3])
B58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
RAW = (Encoding.Raw, PublicFormat.Raw)


def did(public_key):
    n, text = int.from_bytes(b"\xed\x01" + public_key, "big"), ""
    while n:
        n, digit = divmod(n, 58)
        text = B58[digit] + text
    return "did:key:z" + text


def canonical(value):
    """RFC 8785 for what we write: no floats, ASCII keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


key = Ed25519PrivateKey.from_private_bytes(seed)
me = did(key.public_key().public_bytes(*RAW))
connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)


def call(method, path, body=None):
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def tell(step, **facts):
    print(json.dumps({"step": step, **facts}), flush=True)


def signed_part(message):
    rest = {k: v for k, v in message.items() if k != "signature"}
    return b"kith/message/1\0" + canonical(rest)


def write(msg_type, session_id, sequence_num, data, encrypted=False, version="1.1"):
    """`data`: bytes, or a function of the associated data."""
    message = {
        "version": version, "msg_type": msg_type, "sender_id": me, "recipient_id": server, "session_id": session_id,
        "sequence_num": sequence_num, "nonce": os.urandom(32).hex(),
        "timestamp": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if callable(data):
        data = data(canonical(message))
    message["payload"] = {"encrypted": encrypted, "data": base64.b64encode(data).decode()}
    message["signature"] = key.sign(signed_part(message)).hex()
    return message


status, about = call("GET", "/public-key")
server, server_key = about["entity_id"], Ed25519PublicKey.from_public_bytes(bytes.fromhex(about["public_key"]))
assert did(bytes.fromhex(about["public_key"])) == server
tell("public-key", status=status)


def check(message):
    server_key.verify(bytes.fromhex(message["signature"]), signed_part(message))
    assert message["sender_id"] == server and message["recipient_id"] == me
    return base64.b64decode(message["payload"]["data"])


# The handshake.
session_id, ephemeral = str(uuid.uuid4()), X25519PrivateKey.generate()
hello = write("handshake", session_id, 0, canonical({
    "versions": ["1.1", "1.0"],
    "public_key": key.public_key().public_bytes(*RAW).hex(),
    "ephemeral_key": ephemeral.public_key().public_bytes(*RAW).hex(),
    "challenge": os.urandom(32).hex(),
}))
status, answer = call("POST", "/message", json.dumps(hello))
tell("handshake", status=status, verification=answer["verification"], reply=[m["msg_type"] for m in answer["reply"]])
ack = answer["reply"][0]
payload = json.loads(check(ack))
response = bytes.fromhex(payload.pop("challenge_response"))
DOMAIN = b"kith/handshake/1\0"
header = canonical({k: v for k, v in ack.items() if k not in ("payload", "signature")})
parts = [network.encode(), signed_part(hello), header, canonical(payload)]
answered = hashlib.sha256(DOMAIN + b"".join(struct.pack(">I", len(p)) + p for p in parts)).digest()
server_key.verify(response, DOMAIN + b"responder\0" + answered)
final = hashlib.sha256(DOMAIN + answered + response).digest()
shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(payload["ephemeral_key"])))


def direction(role):
    return AESGCM(HKDF(hashes.SHA256(), 32, final, b"kith/session/1 " + role).derive(shared))


ours, theirs = direction(b"initiator"), direction(b"responder")
proof = key.sign(DOMAIN + b"initiator\0" + final)
confirm = write("handshake_confirm", session_id, 0, canonical({"challenge_response": proof.hex()}), version=payload["selected_version"])
status, answer = call("POST", "/message", json.dumps(confirm))
tell("confirm", status=status)


def nonce(sequence_num):
    return struct.pack(">IQ", 0, sequence_num)


def encrypted(msg_type, sequence_num, body):
    def seal(aad):
        return ours.encrypt(nonce(sequence_num), canonical(body), aad)
    return write(msg_type, session_id, sequence_num, seal, True, payload["selected_version"])


def opened(message):
    data = check(message)
    aad = canonical({k: v for k, v in message.items() if k not in ("payload", "signature")})
    return json.loads(theirs.decrypt(nonce(message["sequence_num"]), data, aad))


def replies(answer):
    return [[m["msg_type"], opened(m)] for m in answer.get("reply", [])]


def note(text):
    return {"message_id": str(uuid.uuid4()), "from": "a", "to": "b", "content": {"type": "discussion", "data": {"text": text}}}


# Three messages, then what must be refused.
sent = None
for n in (1, 2, 3):
    sent = encrypted("agent_message", n, note("grüezi %d" % n))
    status, answer = call("POST", "/message", json.dumps(sent))
    tell("message", status=status, reply=replies(answer))
status, answer = call("POST", "/message", json.dumps(sent))
tell("replay", status=status, code=answer.get("error_code"))
forged = encrypted("agent_message", 4, note("forged"))
forged["signature"] = "00" * 64
status, answer = call("POST", "/message", json.dumps(forged))
tell("forged", status=status, code=answer.get("error_code"))
status, answer = call("POST", "/message", json.dumps(encrypted("agent_message", 4, note("after all"))))
tell("message", status=status, reply=replies(answer))
status, answer = call("GET", "/peers")
tell("peers", status=status, code=answer.get("error_code"))
