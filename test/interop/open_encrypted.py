#!/usr/bin/python3
"""Opens a file that `kith share --encrypt` made, from docs/wire/encryption.md alone: open_encrypted.py FILE key=HEX|passphrase=TEXT

Prints {"name", "mime", "size", "sha256"} as JSON, after checking the plaintext against the hash in the head.
"""
import hashlib
import json
import struct
import sys
import unicodedata

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

data = open(sys.argv[1], "rb").read()
kind, _, secret = sys.argv[2].partition("=")
clear = data[:36]
magic, version, kdf, iterations, salt, segment, sealed_bytes = struct.unpack(">8sBBI16sIH", clear)
assert magic == b"KITHENC1" and version == 1 and segment == 262144
if kind == "key":
    assert kdf == 0 and iterations == 0
    material = bytes.fromhex(secret)
else:
    assert kdf == 1 and 600_000 <= iterations <= 10_000_000
    material = hashlib.pbkdf2_hmac("sha256", unicodedata.normalize("NFC", secret).encode(), salt, iterations, 32)
cipher = AESGCM(HKDF(SHA256(), 32, salt, b"kith/file-encryption/1").derive(material))
nonce = lambda what, index: struct.pack(">B3xQ", what, index)
head = cipher.decrypt(nonce(2, 0), data[36:36 + sealed_bytes], clear)
sha256, size = struct.unpack(">32sQ", head[:40])
n = struct.unpack(">H", head[40:42])[0]
name, rest = head[42:42 + n].decode(), head[42 + n:]
mime = rest[2:].decode()
body = data[36 + sealed_bytes:]
step = segment + 16
parts = [body[i:i + step] for i in range(0, len(body), step)]
plain = b"".join(cipher.decrypt(nonce(int(i == len(parts) - 1), i), p, clear) for i, p in enumerate(parts))
assert len(plain) == size and hashlib.sha256(plain).digest() == sha256
print(json.dumps({"name": name, "mime": mime, "size": size, "sha256": sha256.hex()}))
