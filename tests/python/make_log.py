"""Makes transparency logs in the C2SP formats without Domicile's code, to try the auditor's script and the verifiers of others on.

Usage: make_log.py log FOLDER --size N [--published N,N,...] [--origin NAME] [--seed TEXT] [--fork-at N]
         writes FOLDER/ledger (checkpoint, tiles, bundles; also the partial tiles of the sizes named with --published), FOLDER/log.vkey
       make_log.py request FOLDER --old N [--size N] [--reverse]
         prints the body of a tlog-witness add-checkpoint request about FOLDER's log, at its size or the one that is named
       make_log.py proof FOLDER --index N --object NAME --opening HEX
         prints a tlog-proof@v1

Hashes are worked out by the recursion of RFC 6962, and every signature is openssl's.
"""

import argparse
import base64
import hashlib
import hmac
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def b64(data):
    return base64.b64encode(data).decode()


class Signer:
    """An Ed25519 key whose seed is the hash of a text."""

    def __init__(self, name, seed, kind=1):
        self.name, self.kind = name, kind
        self.private = bytes.fromhex("302e020100300506032b657004220420") + hashlib.sha256(seed.encode()).digest()
        command = ["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"]
        self.public = subprocess.run(command, input=self.private, capture_output=True, check=True).stdout[-32:]
        self.data = bytes([kind]) + self.public
        self.id = hashlib.sha256(name.encode() + b"\n" + self.data).digest()[:4]
        self.vkey = f"{name}+{self.id.hex()}+{b64(self.data)}"

    def raw(self, message):
        with tempfile.TemporaryDirectory() as folder:
            key, text = Path(folder, "key"), Path(folder, "text")
            key.write_bytes(self.private)
            text.write_bytes(message)
            command = ["openssl", "pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-inkey", key, "-in", text]
            return subprocess.run(command, capture_output=True, check=True).stdout

    def line(self, text, at=None):
        """A line of a signature below the text of a note; of a cosignature when the key is one of type 4."""
        if self.kind == 4:
            at = int(time.time()) if at is None else at
            signature = at.to_bytes(8, "big") + self.raw(f"cosignature/v1\ntime {at}\n{text}".encode())
        else:
            signature = self.raw(text.encode())
        return f"— {self.name} {b64(self.id + signature)}\n"


def checkpoint(signer, size, root, extension=""):
    text = f"{signer.name}\n{size}\n{b64(root)}\n{extension}"
    return text + "\n" + signer.line(text)


class Hashes:
    """The tree over some leaves; mth(start, end) is RFC 6962's MTH(D[start:end])."""

    def __init__(self, entries):
        self.leaves = [hashlib.sha256(b"\x00" + entry).digest() for entry in entries]
        self.known = {}

    def mth(self, start, end):
        size = end - start
        if size == 0:
            return hashlib.sha256(b"").digest()
        if size == 1:
            return self.leaves[start]
        if (start, end) not in self.known:
            middle = start + split(size)
            self.known[start, end] = hashlib.sha256(b"\x01" + self.mth(start, middle) + self.mth(middle, end)).digest()
        return self.known[start, end]

    def consistency(self, old, start, end, whole=True):
        """RFC 6962, 2.1.2: SUBPROOF(old, D[start:end], whole)."""
        size = end - start
        if old == size:
            return [] if whole else [self.mth(start, end)]
        k = split(size)
        if old <= k:
            return self.consistency(old, start, start + k, whole) + [self.mth(start + k, end)]
        return self.consistency(old - k, start + k, end, False) + [self.mth(start, start + k)]

    def inclusion(self, index, start, end):
        """RFC 6962, 2.1.1: PATH(index, D[start:end])."""
        size = end - start
        if size == 1:
            return []
        k = split(size)
        if index < k:
            return self.inclusion(index, start, start + k) + [self.mth(start + k, end)]
        return self.inclusion(index - k, start + k, end) + [self.mth(start, start + k)]


def split(size):
    """The largest power of two that is less than the size."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def tile_path(kind, index, width):
    parts = []
    while True:
        index, rest = divmod(index, 1000)
        parts.insert(0, f"{rest:03}" if not parts else f"x{rest:03}")
        if not index:
            break
    return f"tile/{kind}/" + "/".join(parts) + ("" if width == 256 else f".p/{width}")


def commitment(opening, name, content):
    return b64(hmac.new(bytes.fromhex(opening), b"domicile/commitment/v1\n" + name.encode() + b"\n" + content, "sha256").digest())


def entry(index, salt=""):
    """An entry as a center would write it: a charter, then two gateways' batches in turn, and each minute's refusals."""
    at = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(1795550400 + index))
    secret = hashlib.sha256(f"{salt}{index}".encode()).hexdigest()
    if index == 0:
        fields = {"v": 1, "kind": "charter", "at": at, "commitment": commitment(secret, "c/genesis.json", b"")}
    elif index % 3 == 0:
        fields = {"v": 1, "kind": "refused", "at": at, "count": index % 7}
    else:
        gateway, number = f"gw-{index % 3}", index // 3
        name = f"c/batch/2026/11/24/20/{gateway}-{number * 10 + 9:020}.parquet"
        fields = {"v": 1, "kind": "stored", "at": at, "object": name, "gateway": gateway, "first": number * 10, "last": number * 10 + 9,
                  "commitment": commitment(secret, name, b"content")}
    return json.dumps(fields, separators=(",", ":")).encode()


def entries_of(size, salt="", fork_at=None):
    """The entries of a log. From `fork_at` on they differ from those of a log that does not fork."""
    return [entry(index, salt + ("fork" if fork_at is not None and index >= fork_at else "")) for index in range(size)]


def write_log(folder, entries, signer, published=()):
    """Writes the files of each published size in turn, the last being all entries. Gives back the hashes."""
    folder, hashes = Path(folder), Hashes(entries)
    pieces = {}
    for size in [*published, len(entries)]:
        for level in range(5):
            span = 256**level
            for index in range(-(-(size // span) // 256)):
                width = min(256, size // span - index * 256)
                name = tile_path(level, index, width)
                if name not in pieces:
                    starts = [(index * 256 + at) * span for at in range(width)]
                    pieces[name] = b"".join(hashes.mth(start, start + span) for start in starts)
                    if level == 0:
                        bundle = entries[index * 256 : index * 256 + width]
                        pieces[tile_path("entries", index, width)] = b"".join(len(e).to_bytes(2, "big") + e for e in bundle)
    for name, data in pieces.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "checkpoint").write_text(checkpoint(signer, len(entries), hashes.mth(0, len(entries))))
    return hashes


def proof(hashes, entries, index, signed, extra):
    size = len(entries)
    lines = ["c2sp.org/tlog-proof@v1", "extra " + b64(json.dumps(extra).encode()), f"index {index}"]
    lines += [b64(node) for node in hashes.inclusion(index, 0, size)]
    return "\n".join(lines) + "\n\n" + signed


def request(hashes, signer, old, size, reverse=False):
    nodes = hashes.consistency(old, 0, size) if 0 < old <= size else []
    lines = [b64(node) for node in (reversed(nodes) if reverse else nodes)]
    return "\n".join([f"old {old}", *lines]) + "\n\n" + checkpoint(signer, size, hashes.mth(0, size))


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1])
    parser.add_argument("what", choices=["log", "request", "proof"])
    parser.add_argument("folder", type=Path)
    for name in ("--size", "--old", "--index", "--fork-at"):
        parser.add_argument(name, type=int)
    for name in ("--origin", "--seed", "--published", "--object", "--opening"):
        parser.add_argument(name, default="")
    parser.add_argument("--reverse", action="store_true")
    asked = parser.parse_args()
    notes = asked.folder / "made.json"
    if asked.what == "log":
        made = {"size": asked.size, "origin": asked.origin or "log.example/shanghai-1", "seed": asked.seed or "a test", "fork": asked.fork_at}
        signer = Signer(made["origin"], made["seed"])
        published = [int(size) for size in asked.published.split(",") if size]
        write_log(asked.folder / "ledger", entries_of(made["size"], fork_at=made["fork"]), signer, published)
        (asked.folder / "log.vkey").write_text(signer.vkey + "\n")
        notes.write_text(json.dumps(made))
        return
    made = json.loads(notes.read_text())
    entries, signer = entries_of(made["size"], fork_at=made["fork"]), Signer(made["origin"], made["seed"])
    if asked.what == "request":
        sys.stdout.write(request(Hashes(entries), signer, asked.old, asked.size or made["size"], asked.reverse))
    else:
        extra = {"entry": entries[asked.index].decode(), "object": asked.object, "opening": asked.opening}
        signed = (asked.folder / "ledger/checkpoint").read_text()
        sys.stdout.write(proof(Hashes(entries), entries, asked.index, signed, extra))


if __name__ == "__main__":
    main()
