#!/usr/bin/env python3
"""Checks a Kith transfer proof (docs/wire/payment.md section 4) with none of Kith's code.

    verify_proof.py proof.json

Needs only the standard library and python3-cryptography. Prints what was proved and ends with 0, or says what is wrong and ends with 1.
It proves what payer and payee signed; whether the named transaction is on the chain is for any block explorer to say.
"""
import bisect
import hashlib
import json
import struct
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_BYTES = 32 * 1024 * 1024
MAX_CHUNKS_IN_FILE = 2**22
MAX_CHUNKS_IN_PROOF = 65536
CHUNK = 262144


class Bad(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Bad(what)


def sha(data):
    return hashlib.sha256(data).digest()


def unhex(text, length=None):
    need(isinstance(text, str) and text == text.lower(), "not lower-case hex")
    try:
        data = bytes.fromhex(text)
    except ValueError:
        raise Bad("not hex") from None
    need(data.hex() == text and (length is None or len(data) == length), "hex of the wrong length")
    return data


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        need(self.at + n <= len(self.data), "the receipt ends early")
        self.at += n
        return self.data[self.at - n : self.at]

    def uint(self, n):
        return int.from_bytes(self.take(n), "big")

    def text(self):
        return self.take(self.uint(2)).decode("utf-8", "strict")


def wei(text):
    need(text.isascii() and text.isdigit() and (text == "0" or text[0] != "0") and len(text) <= 78, "not an amount in wei")
    return int(text)


def read_receipt(body):
    r = Reader(body)
    need(r.uint(1) == 1, "unknown version of the receipt")
    out = {"id": r.take(16), "file": r.take(32), "root": r.take(32), "size": r.uint(8), "offer": r.take(32)}
    out.update(payer=r.take(32), payee=r.take(32), sender=r.take(20), to=r.take(20), chain=r.uint(8))
    out.update(price=wei(r.text()), bytes=r.uint(8), amount=wei(r.text()), time=r.uint(8))
    chunks, protocols = [], []
    for _ in range(r.uint(1)):
        protocols.append(r.text())
        for _ in range(r.uint(2)):
            first, count = r.uint(4), r.uint(4)
            need(0 < count and len(chunks) + count <= MAX_CHUNKS_IN_PROOF, "too many chunks")
            chunks.extend(range(first, first + count))
    need(r.at == len(body), "bytes after the receipt")
    chunks.sort()
    need(len(set(chunks)) == len(chunks) and chunks, "a chunk is named twice, or none is")
    out.update(chunks=chunks, protocols=protocols)
    return out


def check_signature(key, domain, body, signature, who):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, domain + b"\0" + body)
    except InvalidSignature:
        raise Bad(f"the signature of the {who} is wrong") from None


def tree_top(lo, hi, delivered, hashes, nodes):
    """RFC 6962 over [lo, hi): delivered chunks from their hashes, subtrees without any from the list of nodes."""
    inside = delivered[bisect.bisect_left(delivered, lo) : bisect.bisect_left(delivered, hi)]
    if not inside:
        need(nodes, "the Merkle proof is too short")
        return nodes.pop(0)
    if hi - lo == 1:
        return sha(b"\0" + hashes[lo])
    half = 1
    while half * 2 < hi - lo:
        half *= 2
    left = tree_top(lo, lo + half, inside, hashes, nodes)
    return sha(b"\1" + left + tree_top(lo + half, hi, inside, hashes, nodes))


def verify(text):
    need(len(text) <= MAX_BYTES, "the proof is too large")
    proof = json.loads(text)
    need(isinstance(proof, dict) and proof.get("type") == "kith-transfer-proof/1", "not a transfer proof")
    body = unhex(proof["receipt"])
    r = read_receipt(body)
    payer, payee = proof["payer"], proof["payee"]
    need(unhex(payer["key"], 32) == r["payer"] and unhex(payee["key"], 32) == r["payee"], "keys are not those of the receipt")
    check_signature(r["payer"], b"kith/receipt/1", body, unhex(payer["signature"], 64), "payer")
    need(payee["signature"] is not None, "the payee has not countersigned")
    check_signature(r["payee"], b"kith/receipt-countersign/1", body, unhex(payee["signature"], 64), "payee")

    count = (r["size"] + CHUNK - 1) // CHUNK
    need(0 < count <= MAX_CHUNKS_IN_FILE and r["chunks"][-1] < count, "chunks beyond the file")
    sizes = sum(min(CHUNK, r["size"] - c * CHUNK) for c in r["chunks"])
    need(sizes == r["bytes"], "the bytes are not those of the chunks")
    need(r["bytes"] * r["price"] // 2**20 == r["amount"], "the amount does not follow from bytes and price")

    need(proof["chunks_delivered"] == r["chunks"], "the chunks are not those of the receipt")
    need(len(proof["chunk_hashes"]) == len(r["chunks"]), "one hash per chunk is needed")
    hashes = {c: unhex(h, 32) for c, h in zip(r["chunks"], proof["chunk_hashes"])}
    merkle = proof["merkle_proof"]
    need(merkle["leaf_count"] == count, "the tree has another size")
    nodes = [unhex(n, 32) for n in merkle["nodes"]]
    top = tree_top(0, count, r["chunks"], hashes, nodes)
    need(not nodes, "the Merkle proof is too long")
    root = sha(b"\2" + struct.pack(">Q", r["size"]) + top)
    need(root == r["root"] == unhex(merkle["root"], 32), "the chunk hashes do not belong to the file")
    need(unhex(proof["file_hash"], 32) == r["file"] and proof["file_size"] == r["size"], "another file than in the receipt")
    need(proof["timestamp"] == r["time"], "another time than in the receipt")
    for key, value in (("amount", r["amount"]), ("price_per_mb", r["price"])):
        need(proof["payment"][key] == str(value), f"{key} is not that of the receipt")
    for key, value in (("from", r["sender"]), ("to", r["to"])):
        need(proof["payment"][key].lower() == "0x" + value.hex(), f"wallet '{key}' is not that of the receipt")

    settled = proof.get("settlement")
    if settled:
        listed = [unhex(h, 32) for h in settled["receipt_hashes"]]
        need(listed == sorted(set(listed)) and sha(body) in listed, "the settlement does not pay this receipt")
        invoice = sha(b"kith/invoice/1\0" + unhex(settled["salt"], 32) + b"".join(listed))
        need(invoice == unhex(settled["invoice_id"], 32), "the invoice id does not follow from its receipts")
        need(settled["chain_id"] == r["chain"], "settled on another chain")
    return {
        "verified": True,
        "file": r["file"].hex(),
        "chunks": len(r["chunks"]),
        "bytes": r["bytes"],
        "amount_wei": str(r["amount"]),
        "payer": r["payer"].hex(),
        "payee": r["payee"].hex(),
        "transaction": settled["transaction"] if settled else None,
    }


def main(path):
    try:
        with open(path, "rb") as f:
            print(json.dumps(verify(f.read(MAX_BYTES + 1))))
        return 0
    except (Bad, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        print(f"not a valid transfer proof: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(sys.argv[1]))
