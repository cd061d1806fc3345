"""POST /message as spec 001's origin would serve it: FastAPI, uvicorn, cryptography (Debian packages). Checks form, time, nonce and signature."""
import json
import sys
import time
from datetime import datetime

import uvicorn
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import FastAPI, HTTPException, Request

app = FastAPI()
key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(sys.argv[2]))
nonces, inbox = set(), []


@app.post("/message")
async def message(request: Request):
    m = await request.json()
    signature = m.pop("signature")
    at = datetime.fromisoformat(m["timestamp"].replace("Z", "+00:00")).timestamp()
    if abs(time.time() - at) > 300:
        raise HTTPException(400, "timestamp")
    if m["nonce"] in nonces:
        raise HTTPException(400, "replay")
    try:
        text = json.dumps(m, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        key.verify(bytes.fromhex(signature), b"kith/message/1\0" + text)
    except InvalidSignature:
        raise HTTPException(400, "signature")
    nonces.add(m["nonce"])
    inbox.append(m["payload"])
    return {"status": "received", "entity_id": m["recipient_id"], "verification": "verified"}


@app.get("/health")
async def health():
    return {"status": "healthy"}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
