#!/usr/bin/python3
"""Makes vectors.json: one example of every layout in src/wire and the Merkle root, with the bytes it must have.

Written from the text of this folder with Python's standard library alone (Ed25519 signatures: python3-cryptography), without Kith's code. Where
protoc is installed it must agree about the protobuf messages.
The TypeScript tests must produce and accept exactly these bytes (src/wire/vectors.test.ts).

    python3 docs/wire/vectors.py > docs/wire/vectors.json
"""
import base64
import hashlib
import json
import os
import shutil
import struct
import subprocess

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CHUNK = 262144
sha256 = lambda b: hashlib.sha256(b).digest()
fill = lambda byte, n: bytes([byte]) * n
u8 = lambda n: struct.pack(">B", n)
u16 = lambda n: struct.pack(">H", n)
u32 = lambda n: struct.pack(">I", n)
u64 = lambda n: struct.pack(">Q", n)
bytes16 = lambda b: u16(len(b)) + b
bytes32 = lambda b: u32(len(b)) + b
text16 = lambda s: bytes16(s.encode())


class Key:
    def __init__(self, byte):
        self.secret = Ed25519PrivateKey.from_private_bytes(fill(byte, 32))
        self.public = self.secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def signed(self, domain, body):
        signature = self.secret.sign(domain.encode() + b"\0" + body)
        return {"body": body, "signer": self.public, "signature": signature}


def signed_bytes(s):
    return bytes32(s["body"]) + s["signer"] + s["signature"]


def ranges(rs):
    return u16(len(rs)) + b"".join(u32(r["first"]) + u32(r["count"]) for r in rs)


# --- Merkle tree (transfer.md section 3) ---

def levels(nodes):
    out = [nodes]
    while len(out[-1]) > 1:
        level = out[-1]
        pairs = [level[i:i + 2] for i in range(0, len(level), 2)]
        out.append([sha256(b"\1" + p[0] + p[1]) if len(p) == 2 else p[0] for p in pairs])
    return out


def top(leaves):
    return levels(leaves)[-1][0] if leaves else sha256(b"")


def root_of(size, hashes):
    return sha256(b"\2" + u64(size) + top([sha256(b"\0" + h) for h in hashes]))


def path_of(nodes, index):
    path = []
    for level in levels(nodes)[:-1]:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        index >>= 1
    return path


def content(size):
    """A file of which byte i is (i * 7 + i // 251) mod 256."""
    return bytes((i * 7 + i // 251) % 256 for i in range(size))


def merkle(size):
    data = content(size)
    hashes = [sha256(data[i:i + CHUNK]) for i in range(0, size, CHUNK)]
    return {"size": size, "fileId": sha256(data), "chunkHashes": hashes, "root": root_of(size, hashes),
            "paths": [path_of([sha256(b"\0" + h) for h in hashes], i) for i in range(len(hashes))]}


def pages(count):
    """A list of `count` made-up hashes, hash i being SHA-256 of u32 i, in pages of 8192."""
    hashes = [sha256(u32(i)) for i in range(count)]
    tops = [top([sha256(b"\0" + h) for h in hashes[i:i + 8192]]) for i in range(0, count, 8192)]
    size = count * CHUNK
    return {"size": size, "count": count, "root": root_of(size, hashes), "paths": [path_of(tops, i) for i in range(len(tops))]}


# --- The cast ---

PERSON, INSTANCE, PEER, PAYER = Key(1), Key(2), Key(3), Key(4)
PEER_ID = bytes.fromhex("002408011220") + PEER.public
T = 1_700_000_000_000
FILE = merkle(3 * CHUNK + 1000)
FILE_ID, ROOT, SIZE = FILE["fileId"], FILE["root"], FILE["size"]
PRICE = 1_000_000_000_000_000

vectors = []


def vector(layout, name, fields, data, domain=None):
    vectors.append({"layout": layout, "name": name, **({"domain": domain} if domain else {}), "fields": fields, "bytes": data})
    return data


def signed_vector(name, key, domain, body):
    s = key.signed(domain, body)
    vector("signed", name, s, signed_bytes(s), domain)
    return s


# --- identity.md ---

instance = {"instance": INSTANCE.public, "encryption": fill(0x22, 32), "issuedAt": T}
instance_body = vector("instanceCertificate", "a person certifies a device", instance,
                       u8(1) + instance["instance"] + instance["encryption"] + u64(T))
peer = {"peerId": PEER_ID, "issuedAt": T}
peer_body = vector("peerCertificate", "a device certifies its libp2p key", peer, u8(1) + bytes16(PEER_ID) + u64(T))
instance_signed = signed_vector("the instance certificate, signed by the person", PERSON, "kith/instance-certificate/1", instance_body)
peer_signed = signed_vector("the peer certificate, signed by the instance", INSTANCE, "kith/peer-certificate/1", peer_body)
chain = vector("peerChain", "peer and instance certificate", {"peer": peer_signed, "instance": instance_signed},
               u8(1) + signed_bytes(peer_signed) + u8(1) + signed_bytes(instance_signed))
vector("peerChain", "no instance certificate", {"peer": peer_signed, "instance": None}, u8(1) + signed_bytes(peer_signed) + u8(0))

# --- transfer.md ---

for name, rs in [("no chunks", []), ("two runs", [{"first": 0, "count": 2}, {"first": 3, "count": 1}]),
                 ("the last possible chunk", [{"first": 2**22 - 1, "count": 1}])]:
    vector("ranges", name, rs, ranges(rs))

manifest = {"fileId": FILE_ID, "root": ROOT, "size": SIZE, "name": "Käse 🧀.bin", "mime": "application/octet-stream", "created": T}
manifest_body = vector("manifest", "a name beyond ASCII", manifest,
                       u8(1) + FILE_ID + ROOT + u64(SIZE) + u32(CHUNK) + text16(manifest["name"]) + text16(manifest["mime"]) + u64(T))
manifest_signed = signed_vector("the manifest, signed by its publisher", INSTANCE, "kith/manifest/1", manifest_body)


def offer_bytes(o):
    chunks = u8(1) if o["chunks"] is None else u8(0) + ranges(o["chunks"])
    protocols = u8(len(o["protocols"])) + b"".join(text16(p["name"]) + u16(p["port"]) + bytes16(p["extra"]) for p in o["protocols"])
    return (u8(1) + o["fileId"] + o["root"] + u64(o["size"]) + bytes16(o["peerId"]) + u64(o["sequence"]) + u64(o["expiresAt"])
            + u64(o["creditBytes"]) + text16(o["pricePerMb"]) + u64(o["chainId"]) + o["wallet"] + chunks + protocols)


free = {"fileId": FILE_ID, "root": ROOT, "size": SIZE, "peerId": PEER_ID, "sequence": 1, "expiresAt": T + 1_800_000, "creditBytes": 0,
        "pricePerMb": "0", "chainId": 0, "wallet": fill(0, 20), "chunks": None,
        "protocols": [{"name": "http", "port": 4803, "extra": b""}, {"name": "bittorrent", "port": 4804, "extra": fill(0xbb, 20)}]}
vector("offer", "free, every chunk, two protocols", free, offer_bytes(free))
paid_offer = {**free, "sequence": 2, "creditBytes": 1048576, "pricePerMb": str(PRICE), "chainId": 98765, "wallet": fill(0xaa, 20),
              "chunks": [{"first": 0, "count": 2}, {"first": 3, "count": 1}], "protocols": free["protocols"][:1]}
offer_body = vector("offer", "paid, some chunks", paid_offer, offer_bytes(paid_offer))
offer_signed = signed_vector("the paid offer, signed by the instance", INSTANCE, "kith/offer/1", offer_body)

vector("offerRequest", "with a wallet", {"fileId": FILE_ID, "wallet": fill(0xcc, 20)}, u8(1) + FILE_ID + fill(0xcc, 20))
vector("offerAnswer", "with a manifest", {"certificate": chain, "offer": offer_signed, "manifest": manifest_signed},
       u8(1) + bytes16(chain) + signed_bytes(offer_signed) + u8(1) + signed_bytes(manifest_signed))
vector("offerAnswer", "without a manifest", {"certificate": chain, "offer": offer_signed, "manifest": None},
       u8(1) + bytes16(chain) + signed_bytes(offer_signed) + u8(0))
vector("hashPageRequest", "the first page", {"root": ROOT, "page": 0}, u8(1) + ROOT + u32(0))
all_hashes = b"".join(FILE["chunkHashes"])
vector("hashPage", "one page is the whole list: no path", {"path": [], "hashes": all_hashes}, u8(1) + u8(0) + u32(4) + all_hashes)
two = [fill(0xd1, 32), fill(0xd2, 32)]
vector("hashPage", "a path of two", {"path": two, "hashes": all_hashes}, u8(1) + u8(2) + b"".join(two) + u32(4) + all_hashes)
ticket_request = {"fileId": FILE_ID, "seeder": PEER_ID, "wallet": fill(0xcc, 20), "time": T}
ticket_body = vector("ticketRequestBody", "for one seeder and file", ticket_request,
                     u8(1) + FILE_ID + bytes16(PEER_ID) + fill(0xcc, 20) + u64(T))
ticket_signed = signed_vector("the ticket request, signed by the downloader", PAYER, "kith/ticket/1", ticket_body)
vector("ticketRequest", "certificate and request", {"certificate": chain, "request": ticket_signed}, bytes16(chain) + signed_bytes(ticket_signed))
vector("ticketAnswer", "id, key, expiry", {"id": fill(0xe1, 16), "key": fill(0xe2, 32), "expiresAt": T + 3_600_000},
       u8(1) + fill(0xe1, 16) + fill(0xe2, 32) + u64(T + 3_600_000))

# --- stream.md ---

PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../proto")


def varint(n):
    return u8(n) if n < 128 else u8(n % 128 | 128) + varint(n // 128)


def proto(kinds, fields):
    """Protobuf: fields in order, defaults left out. kinds: name -> wire type, in the order of their numbers."""
    out = b""
    for number, (name, kind) in enumerate(kinds.items(), 1):
        value = fields[name]
        if kind == 0:
            out += varint(number * 8) + varint(int(value)) if value else b""
        else:
            data = value if isinstance(value, bytes) else value.encode()
            out += varint(number * 8 + 2) + varint(len(data)) + data if data else b""
    return out


def text_format(kinds, names, fields):
    """The same message as `protoc --decode` prints it."""
    lines = []
    for name, key in zip(names, kinds):
        value = fields[key]
        if value in (0, False, "", b""):
            continue
        if isinstance(value, bytes):
            value = '"' + "".join(f"\\{b:03o}" for b in value) + '"'
        elif isinstance(value, str):
            value = '"' + "".join(f"\\{b:03o}" for b in value.encode()) + '"'
        lines.append(f"{name}: {str(value).lower() if isinstance(value, bool) else value}")
    return "\n".join(lines)


def proto_vector(layout, message, kinds, names, name, fields):
    data = proto(kinds, fields)
    if shutil.which("protoc"):  # its own word for the same bytes
        protoc = ["protoc", f"--proto_path={PROTO}", "file_stream.proto"]
        made = subprocess.run([*protoc, f"--encode=kith.{message}"], input=text_format(kinds, names, fields).encode(), capture_output=True)
        read = subprocess.run([*protoc, f"--decode=kith.{message}"], input=data, capture_output=True)
        if made.stdout != data or read.returncode != 0:
            exit(f"protoc writes {name} otherwise: {made.stdout.hex()} {made.stderr.decode()}")
    return vector(layout, name, fields, data)


REQUEST = {"fileHash": 2, "offset": 0, "length": 0}
RESPONSE = {"data": 2, "isLastChunk": 0, "nextChunkHash": 2, "refusal": 2, "reason": 2}
a_request = lambda name, f: proto_vector("fileRequest", "FileRequest", REQUEST, ["file_hash", "offset", "length"], name, f)
a_response = lambda name, f: proto_vector("fileResponse", "FileResponse", RESPONSE,
                                          ["data", "is_last_chunk", "next_chunk_hash", "refusal", "reason"], name, f)
no_data = {"data": b"", "isLastChunk": False, "nextChunkHash": "", "refusal": "", "reason": ""}
file_request = a_request("the second and third chunk", {"fileHash": FILE_ID.hex(), "offset": CHUNK, "length": 2 * CHUNK})
a_request("from the beginning", {"fileHash": FILE_ID.hex(), "offset": 0, "length": 1})
a_request("far into a large file", {"fileHash": FILE_ID.hex(), "offset": 2**53 - 1, "length": 2**32 + 5})
a_response("data in the middle of a run", {**no_data, "data": fill(0xd5, 300)})
file_response = a_response("the last data of a run", {**no_data, "data": b"abc", "isLastChunk": True})
a_response("with a hash that nobody uses", {**no_data, "data": b"abc", "nextChunkHash": FILE["chunkHashes"][0].hex()})
a_response("a refusal", {**no_data, "isLastChunk": True, "refusal": "CHUNK_MISSING", "reason": "noch nicht da: Käse 🧀"})
a_response("nothing at all", no_data)

# --- payment.md ---

parts = [{"protocol": "http", "chunks": [{"first": 0, "count": 2}]}, {"protocol": "bittorrent", "chunks": [{"first": 3, "count": 1}]}]
delivered = 2 * CHUNK + 1000
receipt = {"id": fill(0xf1, 16), "fileId": FILE_ID, "root": ROOT, "size": SIZE, "offerHash": sha256(offer_body), "payer": PAYER.public,
           "payee": INSTANCE.public, "from": fill(0xcc, 20), "to": fill(0xaa, 20), "chainId": 98765, "pricePerMb": str(PRICE),
           "bytes": delivered, "amount": str(delivered * PRICE // 2**20), "time": T, "parts": parts}
receipt_body = vector(
    "receipt", "two chunks by one protocol, the short last one by another", receipt,
    u8(1) + receipt["id"] + FILE_ID + ROOT + u64(SIZE) + receipt["offerHash"] + receipt["payer"] + receipt["payee"] + receipt["from"]
    + receipt["to"] + u64(98765) + text16(receipt["pricePerMb"]) + u64(delivered) + text16(receipt["amount"]) + u64(T)
    + u8(2) + b"".join(text16(p["protocol"]) + ranges(p["chunks"]) for p in parts))
signed_vector("the receipt, signed by the payer", PAYER, "kith/receipt/1", receipt_body)
countersigned = signed_vector("the same body, countersigned by the payee", INSTANCE, "kith/receipt-countersign/1", receipt_body)
vector("countersignAnswer", "a signature", countersigned["signature"], u8(1) + countersigned["signature"])
hashes = sorted([sha256(receipt_body), sha256(b"another receipt")])
paid = {"chainId": 98765, "tx": fill(0x71, 32), "salt": fill(0x72, 32), "receipts": hashes}
vector("paid", "one transaction pays two receipts", paid, u8(1) + u64(98765) + paid["tx"] + paid["salt"] + u16(2) + b"".join(hashes))
for number, state in [(1, "accepted"), (2, "pending")]:
    vector("paidAnswer", state, {"state": state, "creditBytes": 2097152}, u8(1) + u8(number) + u64(2097152))
invoice = {"salt": paid["salt"], "receipts": hashes, "invoiceId": sha256(b"kith/invoice/1\0" + paid["salt"] + b"".join(hashes))}

# --- webtorrent.md §3 ---

INFO_HASH = fill(0x91, 20)
OFFER_SDP = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\na=setup:actpass\r\n"
rtc_offer = u8(1) + INFO_HASH + text16(OFFER_SDP)
vector("rtcOffer", "an offer, cut short", {"infoHash": INFO_HASH, "sdp": OFFER_SDP}, rtc_offer)
vector("rtcAnswer", "an answer, cut short", {"sdp": "v=0\r\na=setup:active\r\n"}, u8(1) + text16("v=0\r\na=setup:active\r\n"))

# --- text ---

b32 = lambda b: base64.b32encode(b).decode().lower().rstrip("=")
b64 = lambda b: base64.urlsafe_b64encode(b).decode().rstrip("=")
cid = "b" + b32(bytes.fromhex("01551220") + FILE_ID)
VIA = "/ip4/192.0.2.7/tcp/4801/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
bare = {"fileId": FILE_ID, "root": None, "size": None, "name": None, "via": []}
links = [
    {"text": f"kith:{cid}", "link": bare},
    {"text": f"kith:{cid}?root={b64(ROOT)}&size={SIZE}&name=K%C3%A4se%20%F0%9F%A7%80.bin&via={VIA}",
     "link": {"fileId": FILE_ID, "root": ROOT, "size": SIZE, "name": manifest["name"], "via": [VIA]}},
]

# --- what a reader must refuse ---

flip = lambda b, at, value: b[:at] + bytes([value]) + b[at + 1:]
replaced = lambda b, old, new: b.replace(old, new) if b.count(old) == 1 else exit("not one place to change")
refused = [
    ("ranges", "out of order", ranges([{"first": 3, "count": 1}, {"first": 0, "count": 2}]), "WIRE_RANGE"),
    ("ranges", "adjacent ranges have another spelling", ranges([{"first": 0, "count": 2}, {"first": 2, "count": 1}]), "WIRE_RANGE"),
    ("ranges", "an empty range", ranges([{"first": 0, "count": 0}]), "WIRE_RANGE"),
    ("ranges", "beyond the largest file", ranges([{"first": 2**22, "count": 1}]), "WIRE_RANGE"),
    ("ranges", "more announced than there is", u16(4096), "WIRE_TRUNCATED"),
    ("ranges", "too many", u16(4097), "WIRE_RANGE"),
    ("manifest", "a version of the future", flip(manifest_body, 0, 2), "WIRE_VERSION"),
    ("manifest", "another chunk size", replaced(manifest_body, u32(CHUNK), u32(CHUNK // 2)), "WIRE_RANGE"),
    ("manifest", "a name that is not UTF-8", replaced(manifest_body, "ä".encode(), b"\xc0\x80"), "WIRE_TEXT"),
    ("manifest", "bytes after the end", manifest_body + b"\0", "WIRE_TRAILING"),
    ("offer", "cut short", offer_body[:-1], "WIRE_TRUNCATED"),
    ("offer", "chunks beyond the file", offer_bytes({**paid_offer, "chunks": [{"first": 4, "count": 1}]}), "WIRE_RANGE"),
    ("offer", "a price with a leading zero", offer_bytes({**paid_offer, "pricePerMb": "01"}), "BAD_PRICE"),
    ("offer", "a price below zero", offer_bytes({**paid_offer, "pricePerMb": "-1"}), "BAD_PRICE"),
    ("offer", "an instant above 2^53", offer_bytes({**paid_offer, "expiresAt": 2**53}), "WIRE_RANGE"),
    ("hashPage", "a path that is too long", u8(1) + u8(23) + fill(0, 32 * 23) + u32(1) + fill(0, 32), "WIRE_RANGE"),
    ("hashPage", "no hashes", u8(1) + u8(0) + u32(0), "WIRE_RANGE"),
    ("receipt", "an amount that is not bytes times price", replaced(receipt_body, text16(receipt["amount"]), text16("1")), "WIRE_RANGE"),
    ("receipt", "bytes that are not those of its chunks", replaced(receipt_body, u64(delivered), u64(delivered + 1)), "WIRE_RANGE"),
    ("paid", "receipts out of order", u8(1) + u64(98765) + paid["tx"] + paid["salt"] + u16(2) + hashes[1] + hashes[0], "WIRE_RANGE"),
    ("paidAnswer", "a state of the future", u8(1) + u8(3) + u64(0), "WIRE_RANGE"),
    ("fileRequest", "fields out of order", file_request[:66] + file_request[70:] + file_request[66:70], "WIRE_RANGE"),
    ("fileRequest", "a field twice", file_request + file_request[-4:], "WIRE_RANGE"),
    ("fileRequest", "an unknown field", file_request + varint(6 * 8) + u8(1), "WIRE_RANGE"),
    ("fileRequest", "no length", file_request[:70], "WIRE_RANGE"),
    ("fileRequest", "a default spelled out", file_request[:66] + b"\x10\x00" + file_request[-4:], "WIRE_RANGE"),
    ("fileRequest", "a varint with a needless byte", file_request[:66] + b"\x10\x81\x00" + file_request[-4:], "WIRE_RANGE"),
    ("fileRequest", "an offset above 2^53", file_request[:66] + b"\x10" + varint(2**53) + file_request[-4:], "WIRE_RANGE"),
    ("fileRequest", "a varint without end", file_request[:66] + b"\x10" + fill(0xff, 11), "WIRE_RANGE"),
    ("fileRequest", "a hash in upper case", file_request[:2] + FILE_ID.hex().upper().encode() + file_request[66:], "WIRE_TEXT"),
    ("fileRequest", "cut short", file_request[:-1], "WIRE_TRUNCATED"),
    ("fileResponse", "data above a chunk", b"\x0a" + varint(CHUNK + 1), "WIRE_RANGE"),
    ("fileResponse", "a bool that is none", replaced(file_response, b"\x10\x01", b"\x10\x02"), "WIRE_RANGE"),
    ("fileResponse", "a refusal with data", file_response + b"\x22\x01A", "WIRE_RANGE"),
    ("fileResponse", "a reason for nothing", file_response + b"\x2a\x01A", "WIRE_RANGE"),
    ("fileResponse", "a refusal that is no code", b"\x22\x02no", "WIRE_TEXT"),
    ("fileResponse", "a reason that is not UTF-8", b"\x22\x01A\x2a\x01\xff", "WIRE_TEXT"),
    ("peerChain", "a flag that is no flag", flip(chain, 1 + len(signed_bytes(peer_signed)), 2), "WIRE_RANGE"),
    ("rtcOffer", "a version of the future", flip(rtc_offer, 0, 2), "WIRE_VERSION"),
    ("rtcOffer", "an empty description", u8(1) + INFO_HASH + u16(0), "WIRE_RANGE"),
    ("rtcOffer", "a description that is not UTF-8", u8(1) + INFO_HASH + u16(2) + b"\xc0\x80", "WIRE_TEXT"),
    ("rtcAnswer", "bytes after the end", u8(1) + text16("v=0") + b"\0", "WIRE_TRAILING"),
    ("rtcAnswer", "cut short", u8(1) + u16(4) + b"v=0", "WIRE_TRUNCATED"),
]

out = {
    "about": "Made by vectors.py. Bytes are hex after 0x, amounts are decimal strings, null is an absent field. "
             "`fields` are named as in src/wire. Keys are the Ed25519 seeds 32 x 01 (person), 02 (instance), 03 (libp2p), 04 (payer).",
    "vectors": vectors,
    "refused": [{"layout": l, "why": w, "bytes": b, "code": c} for l, w, b, c in refused],
    "merkle": [merkle(n) for n in (0, 1, CHUNK, CHUNK + 1, 3 * CHUNK + 1000, 7 * CHUNK)],
    "hashPages": [pages(n) for n in (8192, 8193, 3 * 8192 + 5)],
    "invoice": invoice,
    "links": links,
}


def plain(v):
    if isinstance(v, bytes):
        return "0x" + v.hex()
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items()}
    return [plain(x) for x in v] if isinstance(v, list) else v


print(json.dumps(plain(out), indent=1, ensure_ascii=False))
