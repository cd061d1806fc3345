#!/usr/bin/env python3
"""Reads and writes Kith's messages (docs/wire/message.md, session.md) with none of Kith's code: strict JSON, signatures, a session.

Needs only the standard library and python3-cryptography. As a program it answers one JSON line with another, until stdin ends:

    {"do": "canonical", "texts": […]}     {"do": "read", "message": …}             {"do": "write", "message": {…}, "payload": …}
    {"do": "begin", "to": …}              {"do": "finish", "message": …}           as the initiator
    {"do": "answer", "message": …}        {"do": "confirm", "message": …}          as the responder
    {"do": "seal", "type": …, "payload": …}   {"do": "open", "message": …}         in the session
    {"do": "legacy", "message": …}        signed as before version 1.1
"""
import base64
import binascii
import datetime
import hashlib
import hmac
import json
import os
import re
import struct
import sys
import uuid
from decimal import Decimal

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MAX_BYTES, MAX_DEPTH, MAX_SAFE = 1024 * 1024, 64, 2**53 - 1
MESSAGE, HANDSHAKE = b"kith/message/1\0", b"kith/handshake/1\0"
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Refused(Exception):
    """Its text is the code."""


def need(condition, code):
    if not condition:
        raise Refused(code)


# --- message.md section 1 ---

def number_text(value):
    """ECMAScript's Number::toString."""
    if isinstance(value, int):
        need(abs(value) <= MAX_SAFE, "MALFORMED_JSON")
        return str(value)
    need(value == value and value not in (float("inf"), float("-inf")), "MALFORMED_JSON")
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(abs(value))).normalize().as_tuple()
    digits = "".join(map(str, digits))
    point = len(digits) + exponent
    if 0 < point <= 21:
        text = digits.ljust(point, "0")
        text = text[:point] + ("." + text[point:] if len(text) > point else "")
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        text = digits[0] + ("." + digits[1:] if len(digits) > 1 else "") + "e" + ("+" if point > 0 else "-") + str(abs(point - 1))
    return ("-" if value < 0 else "") + text


def quoted(text):
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Refused("MALFORMED_JSON") from None
    return json.dumps(text, ensure_ascii=False)


def canonical(value, depth=MAX_DEPTH):
    """RFC 8785."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return number_text(value)
    if isinstance(value, str):
        return quoted(value)
    need(depth > 0, "TOO_DEEP")
    if isinstance(value, list):
        return "[" + ",".join(canonical(v, depth - 1) for v in value) + "]"
    members = sorted(value.items(), key=lambda m: m[0].encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join(quoted(k) + ":" + canonical(v, depth - 1) for k, v in members) + "}"


def strict_number(kind):
    def read(text):
        need(len(text) <= 25, "MALFORMED_JSON")
        value = kind(text)
        need(number_text(value) == text, "MALFORMED_JSON")
        return value

    return read


def members(pairs):
    out = dict(pairs)
    need(len(out) == len(pairs) and "__proto__" not in out, "MALFORMED_JSON")
    return out


def constant(_):
    raise Refused("MALFORMED_JSON")


def depth_of(text):
    depth = deepest = 0
    for bracket in re.findall(r'"(?:[^"\\]|\\.)*"|[][{}]', text, re.S):
        depth += 1 if bracket in "[{" else -1 if bracket in "]}" else 0
        deepest = max(deepest, depth)
    return deepest


def parse(data, int_reader=strict_number(int), float_reader=strict_number(float)):
    need(len(data) <= MAX_BYTES, "TOO_LARGE")
    try:
        text = data.decode("utf-8", "strict")
        need(depth_of(text) <= MAX_DEPTH, "TOO_DEEP")
        value = json.loads(text, object_pairs_hook=members, parse_int=int_reader, parse_float=float_reader, parse_constant=constant)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate has no UTF-8 form
        return value
    except (ValueError, RecursionError):
        raise Refused("MALFORMED_JSON") from None


# --- section 2 ---

def did(key):
    n, out = int.from_bytes(b"\xed\x01" + key, "big"), ""
    while n:
        n, digit = divmod(n, 58)
        out = ALPHABET[digit] + out
    return "did:key:z" + out


def key_of(text, code):
    need(isinstance(text, str) and re.fullmatch(r"did:key:z6Mk[1-9A-HJ-NP-Za-km-z]{44}", text), code)
    n = 0
    for c in text[9:]:
        n = n * 58 + ALPHABET.index(c)
    data = n.to_bytes(35, "big")
    need(data[:3] == b"\0\xed\x01", code)
    return data[3:]


def unhex(text, length, code="MALFORMED"):
    need(isinstance(text, str) and re.fullmatch(r"[0-9a-f]{%d}" % (2 * length), text), code)
    return bytes.fromhex(text)


def unbase64(text, code="MALFORMED"):
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Refused(code) from None
    need(base64.b64encode(data).decode() == text, code)
    return data


def is_uuid4(text):
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text) is not None


def is_time(text):
    if not (isinstance(text, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z", text)):
        return False
    try:
        return datetime.datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").year >= 1970 and text[17:19] < "60"
    except ValueError:
        return False


def check_header(m):
    need(m.get("version") in ("1.0", "1.1"), "INVALID_VERSION")
    need(isinstance(m.get("msg_type"), str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", m["msg_type"]), "MALFORMED")
    need(isinstance(m.get("sender_id"), str), "MALFORMED")
    key = key_of(m["sender_id"], "UNKNOWN_SENDER")
    need(isinstance(m.get("recipient_id"), str), "MALFORMED")
    need(re.fullmatch(r"did:key:z6Mk[1-9A-HJ-NP-Za-km-z]{44}", m["recipient_id"]), "MALFORMED")
    need(is_uuid4(m.get("session_id")), "MALFORMED")
    sequence = m.get("sequence_num")
    need(isinstance(sequence, int) and not isinstance(sequence, bool) and 0 <= sequence <= MAX_SAFE, "MALFORMED")
    need(sequence < MAX_SAFE, "SEQUENCE_ERROR")
    need(is_time(m.get("timestamp")), "MALFORMED")
    unhex(m.get("nonce"), 32)
    critical = m.get("critical", [])
    need(isinstance(critical, list) and all(isinstance(c, str) for c in critical), "MALFORMED")
    need(not critical, "UNSUPPORTED")
    return key


def without(m, *names):
    return {k: v for k, v in m.items() if k not in names}


def signed_bytes(m):
    return MESSAGE + canonical(without(m, "signature")).encode()


def header_bytes(m):
    return canonical(without(m, "signature", "payload")).encode()


def verify(key, data, signature, code="INVALID_SIGNATURE"):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except InvalidSignature:
        raise Refused(code) from None


def read(data):
    """The message and the bytes of its payload; its signature is right."""
    m = parse(data)
    need(isinstance(m, dict), "MALFORMED_JSON")
    need(isinstance(m.get("payload"), dict), "MALFORMED")
    key = check_header(m)
    payload = m["payload"]
    body = unbase64(payload.get("data"))
    need(len(payload) == 2 and isinstance(payload.get("encrypted"), bool), "MALFORMED")
    verify(key, signed_bytes(m), unhex(m.get("signature"), 64, "INVALID_SIGNATURE"))
    return m, body


class Instance:
    def __init__(self, seed):
        self.secret = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self.secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = did(self.public)

    def write(self, message, body, encrypted=False):
        """A message as bytes: header as given, sender and signature ours."""
        m = {**message, "sender_id": self.id, "payload": {"data": base64.b64encode(body).decode(), "encrypted": encrypted}}
        m["signature"] = self.secret.sign(signed_bytes(m)).hex()
        check_header(m)
        return canonical(m).encode()


def new_header(msg_type, to, session, sequence, time):
    return {"version": "1.1", "msg_type": msg_type, "recipient_id": to, "session_id": session, "sequence_num": sequence, "timestamp": time,
            "nonce": os.urandom(32).hex()}


# --- session.md ---

def sha256(data):
    return hashlib.sha256(data).digest()


def lp(data):
    return struct.pack(">I", len(data)) + data


def hkdf(ikm, salt, info):
    return hmac.new(hmac.new(salt, ikm, hashlib.sha256).digest(), info + b"\1", hashlib.sha256).digest()


class Session:
    """One handshake and the session after it. Numbers are expected in order."""

    def __init__(self, me, network, time):
        self.me, self.network, self.time = me, network, time
        self.exchange = X25519PrivateKey.generate()
        self.sent = self.received = 0

    def hello(self):
        public = self.exchange.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"public_key": self.me.public.hex(), "ephemeral_key": public.hex(), "challenge": os.urandom(32).hex()}

    def head(self, msg_type, sequence=0):
        return new_header(msg_type, self.peer, self.id, sequence, self.time)

    def begin(self, to):
        self.role, self.peer, self.id = "initiator", to, str(uuid.uuid4())
        tag = sha256(b"kith/network/1\0" + self.network.encode())[:8].hex()
        body = canonical({"versions": ["1.1"], "network": tag, **self.hello()}).encode()
        self.handshake = self.me.write(self.head("handshake"), body)
        return self.handshake

    def transcript(self, handshake, ack, payload):
        parts = [self.network.encode(), signed_bytes(parse(handshake)), header_bytes(ack), canonical(payload).encode()]
        return sha256(HANDSHAKE + b"".join(lp(p) for p in parts))

    def derive(self, theirs, t1, response):
        self.t2 = sha256(HANDSHAKE + t1 + response)
        shared = self.exchange.exchange(X25519PublicKey.from_public_bytes(theirs))
        self.keys = {role: AESGCM(hkdf(shared, self.t2, b"kith/session/1 " + role.encode())) for role in ("initiator", "responder")}

    def answer(self, data):
        m, body = read(data)
        need(m["msg_type"] == "handshake" and m["recipient_id"] == self.me.id, "MISROUTED")
        offer = parse(body)
        need("1.1" in offer["versions"] and unhex(offer["public_key"], 32) == key_of(m["sender_id"], "MALFORMED"), "IDENTITY_MISMATCH")
        self.role, self.peer, self.id = "responder", m["sender_id"], m["session_id"]
        payload = {"selected_version": "1.1", **self.hello()}
        head = self.head("handshake_ack")
        t1 = self.transcript(data, {**head, "sender_id": self.me.id}, payload)
        response = self.me.secret.sign(HANDSHAKE + b"responder\0" + t1)
        self.derive(unhex(offer["ephemeral_key"], 32), t1, response)
        return self.me.write(head, canonical({**payload, "challenge_response": response.hex()}).encode())

    def finish(self, data):
        m, body = read(data)
        need(m["msg_type"] == "handshake_ack" and m["session_id"] == self.id and m["sender_id"] == self.peer, "SEQUENCE_ERROR")
        answer = parse(body)
        response = unhex(answer["challenge_response"], 64)
        payload = without(answer, "challenge_response")
        t1 = self.transcript(self.handshake, m, payload)
        verify(key_of(self.peer, "MALFORMED"), HANDSHAKE + b"responder\0" + t1, response)
        self.derive(unhex(answer["ephemeral_key"], 32), t1, response)
        mine = self.me.secret.sign(HANDSHAKE + b"initiator\0" + self.t2)
        return self.me.write(self.head("handshake_confirm"), canonical({"challenge_response": mine.hex()}).encode())

    def confirm(self, data):
        m, body = read(data)
        need(m["msg_type"] == "handshake_confirm" and m["session_id"] == self.id and m["sender_id"] == self.peer, "SEQUENCE_ERROR")
        verify(key_of(self.peer, "MALFORMED"), HANDSHAKE + b"initiator\0" + self.t2, unhex(parse(body)["challenge_response"], 64))

    def seal(self, msg_type, body):
        self.sent += 1
        head = self.head(msg_type, self.sent)
        nonce = struct.pack(">IQ", 0, self.sent)
        return self.me.write(head, self.keys[self.role].encrypt(nonce, body, header_bytes({**head, "sender_id": self.me.id})), True)

    def open(self, data):
        m, body = read(data)
        need(m["session_id"] == self.id and m["sender_id"] == self.peer, "SESSION_EXPIRED")
        need(m["payload"]["encrypted"], "DOWNGRADE")
        need(m["sequence_num"] == self.received + 1, "SEQUENCE_ERROR")
        theirs = "responder" if self.role == "initiator" else "initiator"
        try:
            plain = self.keys[theirs].decrypt(struct.pack(">IQ", 0, m["sequence_num"]), body, header_bytes(m))
        except InvalidTag:
            raise Refused("DECRYPTION_FAILED") from None
        self.received += 1
        return {"type": m["msg_type"], "payload": plain.decode()}


# --- message.md section 6: this program's own json, as the origin used it ---

LEGACY = ("version", "msg_type", "sender_id", "payload", "timestamp", "nonce")


def legacy_bytes(m):
    return json.dumps({k: m[k] for k in LEGACY}, sort_keys=True, separators=(",", ":")).encode()


class Program:
    def __init__(self):
        self.me = Instance(b"\x21" * 32)

    def canonical(self, c):
        def one(text):
            try:
                return canonical(parse(text.encode()))
            except Refused as refused:
                return str(refused)

        return {"canonical": [one(text) for text in c["texts"]]}

    def read(self, c):
        m, body = read(c["message"].encode())
        return {"header": header_bytes(m).decode(), "payload": body.hex(), "encrypted": m["payload"]["encrypted"]}

    def write(self, c):
        return {"message": self.me.write(c["message"], bytes.fromhex(c["payload"])).decode()}

    def begin(self, c):
        self.session = Session(self.me, c["network"], c["time"])
        return {"message": self.session.begin(c["to"]).decode()}

    def answer(self, c):
        self.session = Session(self.me, c["network"], c["time"])
        return {"message": self.session.answer(c["message"].encode()).decode()}

    def finish(self, c):
        return {"message": self.session.finish(c["message"].encode()).decode()}

    def confirm(self, c):
        self.session.confirm(c["message"].encode())
        return {}

    def seal(self, c):
        return {"message": self.session.seal(c["type"], c["payload"].encode()).decode()}

    def open(self, c):
        return self.session.open(c["message"].encode())

    def legacy(self, c):
        m = {**json.loads(c["message"]), "sender_id": self.me.id}
        return {"message": json.dumps({**m, "signature": base64.b64encode(self.me.secret.sign(legacy_bytes(m))).decode()})}

    def answer_to(self, line):
        command = json.loads(line)
        try:
            return {"me": self.me.id, "key": self.me.public.hex(), **getattr(self, command["do"])(command)}
        except Refused as refused:
            return {"refused": str(refused)}


if __name__ == "__main__":
    program = Program()
    for line in sys.stdin:
        print(json.dumps(program.answer_to(line)), flush=True)
