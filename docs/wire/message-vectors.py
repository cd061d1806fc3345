#!/usr/bin/python3
"""Makes message-vectors.json: JSON in canonical form, messages with the payload of every type, and texts that must be refused.

Without Kith's code: test/interop/secure_message.py is written from message.md with Python's standard library and python3-cryptography. The TypeScript
tests must produce and accept exactly these bytes (src/wire/message-vectors.test.ts).

    python3 docs/wire/message-vectors.py > docs/wire/message-vectors.json
"""
import base64
import hashlib
import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../test/interop"))
import secure_message as sm  # noqa: E402

A, B = sm.Instance(b"\1" * 32), sm.Instance(b"\2" * 32)
SESSION, ID, OTHER = "01234567-89ab-4cde-8f01-23456789abcd", "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
TIME = "2026-02-01T00:00:00.000Z"
DATA = bytes(range(100))

PAYLOADS = {
    "ping": {},
    "heartbeat": {"sequence": 7},
    "status_report": {"state": "BUSY", "load": 0.25, "uptime_seconds": 3600, "tasks": {"waiting": 2, "running": 1}},
    "wake_up": {"reason": "there is work"},
    "error": {"error_code": "UNKNOWN_TASK", "error_message": "no such task", "original_message_id": OTHER},
    "capability_query": {},
    "capability_response": {"reply_to": OTHER, "protocol_version": "1.1", "supported_msg_types": ["ping", "task_delegate"], "crypto_features": ["ed25519"],
                            "endpoints": ["/ip4/192.0.2.1/tcp/4001"], "entity_id": A.id, "skills": [{"name": "summarise", "description": "text in, less text out"}]},
    "discovery": {"query": {"capability": "summarise"}},
    "task_delegate": {"task_id": OTHER, "idempotency_key": "k-1", "skill": "summarise", "description": "", "input": {"text": "日本 \U0001f600"},
                      "priority": "high", "deadline": "2026-02-02T00:00:00.000Z", "path": [A.id]},
    "task_progress": {"task_id": OTHER, "state": "IN_PROGRESS", "progress": 0.5, "note": "half"},
    "task_cancel": {"task_id": OTHER, "reason": "not needed"},
    "task_refuse": {"task_id": OTHER, "error_code": "QUEUE_FULL", "error_message": "later"},
    "agent_message": {"from": "agent-1", "to": "agent-2", "content": {"type": "discussion", "data": {"text": "hello"}}},
    "network_broadcast": {"from": "agent-1", "content": {"type": "announcement", "data": {}}},
    "ack": {"ranges": [[1, 3], [7, 7]], "refused": [{"sequence_num": 5, "error_code": "BAD_PAYLOAD"}]},
}
MORE = {
    "discovery": [{"query": {"entity_id": B.id}}, {"reply_to": OTHER, "peers": [{"entity_id": B.id, "addresses": [], "capabilities": ["summarise"]}]}],
    "ping": [{"reply_to": OTHER}],
    "chunk": [
        {"kind": "init", "transfer_id": OTHER, "original_msg_type": "task_result", "total_bytes": 100, "total_chunks": 2, "sha256": hashlib.sha256(DATA).hexdigest()},
        {"kind": "part", "transfer_id": OTHER, "chunk_index": 1, "total_chunks": 2, "data": base64.b64encode(DATA[50:]).decode(),
         "checksum": hashlib.sha256(DATA[50:]).hexdigest()[:32]},
        {"kind": "resend", "transfer_id": OTHER, "missing": [[0, 0]]},
        {"kind": "complete", "transfer_id": OTHER},
    ],
}


def message(msg_type, body, number, more={}):
    head = {**sm.new_header(msg_type, B.id, SESSION, number, TIME), "nonce": bytes([number % 256]).hex() * 32, **more}
    text = A.write(head, sm.canonical(body).encode())
    m = sm.parse(text)
    return {"type": msg_type, "payload": body, "message": text.decode(), "signed": sm.signed_bytes(m).hex(), "header": sm.header_bytes(m).decode()}


cases = [(t, {**p, "message_id": ID} if t not in ("ack", "heartbeat") else p) for t, p in PAYLOADS.items()]
cases += [(t, {**p, "message_id": ID} if t != "chunk" else p) for t, ps in MORE.items() for p in ps]
messages = [message(t, p, i) for i, (t, p) in enumerate(cases)]
messages.append(message("ping", {"message_id": ID}, 2**53 - 2, {"nonce": "ff" * 32, "trace": ["é", 1e21], "a": None, "critical": []}))

good = sm.parse(messages[0]["message"].encode())


def changed(**change):
    """A message of which members are other ones; without those that are None. The signature is right where it can be made."""
    m = {k: v for k, v in {**good, **change}.items() if v is not None}
    if "signature" not in change:
        m["signature"] = A.secret.sign(sm.MESSAGE + json.dumps(m, sort_keys=True).encode()).hex()
    return json.dumps(m, ensure_ascii=False)


REFUSED = [
    ("MALFORMED_JSON", "a member twice", messages[0]["message"].replace("{", '{"sender_id":"' + B.id + '",', 1)),
    ("INVALID_VERSION", "an old version", changed(version="0.3")),
    ("MALFORMED", "no type", changed(msg_type=None)),
    ("UNKNOWN_SENDER", "a sender without a key", changed(sender_id="entity-a")),
    ("MALFORMED", "no recipient", changed(recipient_id=None)),
    ("MALFORMED", "a session id that is no UUID v4", changed(session_id="01234567-89ab-1cde-8f01-23456789abcd")),
    ("MALFORMED", "half a sequence number", changed(sequence_num=0.5)),
    ("SEQUENCE_ERROR", "the last sequence number", changed(sequence_num=2**53 - 1)),
    ("MALFORMED", "30 February", changed(timestamp="2026-02-30T00:00:00Z")),
    ("MALFORMED", "another zone", changed(timestamp="2026-02-01T00:00:00+00:00")),
    ("MALFORMED", "nonce in capitals", changed(nonce="AB" * 32)),
    ("MALFORMED", "spare bits in base64", changed(payload={"data": "YR==", "encrypted": False})),
    ("INVALID_SIGNATURE", "signature too short", changed(signature="ab" * 63)),
    ("UNSUPPORTED", "an extension that must be known", changed(critical=["trace"], trace=1)),
    ("MALFORMED", "critical is no list", changed(critical="trace")),
]
for code, why, text in REFUSED:
    try:
        sm.read(text.encode())
        raise SystemExit(f"not refused: {why}")
    except sm.Refused as refused:
        assert str(refused) == code, (why, str(refused))

CANONICAL = ['{"b":[1e+21,1e-7,0.1,-3,9007199254740991],"a":null}', '{ "\\ud83d\\ude00" : "\\u000a\\u007f/\\"" , "\ufb33" : true , "" : [ ] }', '"\u20ac$\\u000F\\nA\'B\\"\\\\\\"/"']
BAD_JSON = ['{"a":1,"\\u0061":1}', '{"__proto__":1}', '"\\ud800"', "1.0", "1E2", "-0", "9007199254740992", "1e400", "\ufeff{}", "{}{}", "[1,]", "NaN", "01"]
TOO_DEEP = "[" * 65 + "]" * 65

body = {"version": "1.0", "msg_type": "task_delegate", "sender_id": "entity-a", "payload": {"a": "日本", "b": 1.0, "f": 1e21, "g": 1e-07, "\U0001f600": 1, "\uffff": -0.0},
        "timestamp": "2026-02-01T00:00:00.123456+00:00", "nonce": "0" * 32}
signature = A.secret.sign(sm.legacy_bytes(body))

print(json.dumps({
    "about": "Made by message-vectors.py. The sender's Ed25519 seed is 32 x 01, the recipient's 32 x 02.",
    "sender": A.id, "recipient": B.id,
    "canonical": [{"text": t, "canonical": sm.canonical(sm.parse(t.encode()))} for t in CANONICAL],
    "refused_json": [{"text": t, "code": "MALFORMED_JSON"} for t in BAD_JSON] + [{"text": TOO_DEEP, "code": "TOO_DEEP"}],
    "messages": messages,
    "refused": [{"why": why, "code": code, "message": text} for code, why, text in REFUSED],
    "legacy": {"key": A.public.hex(), "message": json.dumps({**body, "recipient_id": "entity-b", "signature": base64.b64encode(signature).decode()}),
               "signed": sm.legacy_bytes(body).decode()},
}, indent=1))
