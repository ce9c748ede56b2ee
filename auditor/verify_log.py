#!/usr/bin/env python3
"""Checks the ledger of a data center from outside, with Python's standard library and the openssl program (3.0 or newer) and nothing else.

  verify_log.py --log FOLDER_OR_URL --vkey LOG.VKEY [--seen OLD_CHECKPOINT]... [--witness VKEY]... [--quorum N] [--bearer TOKEN_FILE]
                [--genesis GENESIS.JSON GENESIS.SIG] [--keep FILE]
  verify_log.py --proof FILE.tlog-proof --vkey LOG.VKEY [--content OBJECT] [--witness VKEY]... [--quorum N]
  verify_log.py --certificate ERASURE.note --vkey LOG.VKEY [--subject VIN SALT]

What is checked. The first thing that does not hold is named with its place, and the exit code is 1 (0 when all holds, 2 for wrong use).
  1 The checkpoint, the center's statement "my log has N entries and this root", is signed by the key of this log that you hold.
  2 As many of your --witness as --quorum says have cosigned it; without --quorum, all of them.
  3 Every one of the N entries is there, each is a JSON object of version 1, and the whole tree made of them has the stated root.
  4 Every tile of the log says the same as the entries.
  5 Each older checkpoint that you kept (--seen) states the root that this log had at that size: nothing was changed or taken back.
  6 No series has a gap: each batch of a gateway begins after the last frame of the one before it, each numbered object follows its number.
  7 The genesis document is signed by the country's key that stands in it, and names the key of this log.
With --proof: an entry is in the log of a signed checkpoint (1 and 2 hold too), and --content is the object that the entry speaks of.
With --certificate: the certificate of an erasure is signed by the key of the log, and with --subject it is about this vehicle.
The formats are c2sp.org/tlog-tiles, /signed-note, /tlog-checkpoint, /tlog-cosignature and /tlog-proof; entries: docs/formats/ledger.md.
The network is touched only when --log is an URL: at most two requests for each bundle and tile, and no redirect is followed.
"""
import argparse, base64, collections, hashlib, hmac, http.client, json, re, subprocess, sys, tempfile, time, urllib.request
from pathlib import Path

ENTRY_BYTES_MAX = 4096
FILE_BYTES_MAX = 256 * (2 + 65535)  # a full bundle of the longest entries that the format allows

class Wrong(Exception):
    """Something does not hold; the text says what and where."""

def need(holds, what):
    if not holds:
        raise Wrong(what)

def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def unbase64(text, where):
    data = base64.b64decode(text) if re.fullmatch("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", text) else b""
    need(data and base64.b64encode(data).decode() == text, f"{where}: not base64: {text[:80]!r}")
    return data

# ---- Keys, signed notes, checkpoints ---------------------------------------------------------------------------------------------

class Key:
    """A public key NAME+ID+BASE64 (a "vkey"), or the file that holds it. Keys of type 1 sign, those of type 4 cosign."""
    def __init__(self, vkey, kind):
        parts = (Path(vkey).read_text() if Path(vkey).is_file() else vkey).strip().split("+", 2)
        need(len(parts) == 3, f"not a key NAME+ID+BASE64, and no file: {vkey[:200]!r}")
        self.name, self.data = parts[0], unbase64(parts[2], f"the key of {parts[0]}")
        self.id = sha(self.name.encode(), b"\n", self.data)[:4]
        need(parts[1] == self.id.hex(), f"the key of {self.name} was altered: its id would be {self.id.hex()}, and it says {parts[1]}")
        need(len(self.data) == 33 and self.data[0] == kind, f"the key of {self.name} is not an Ed25519 key of type {kind}")
    def signed(self, message, signature):
        """Asks openssl. Twelve fixed bytes before an Ed25519 public key make it the DER form that openssl reads."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "key").write_bytes(bytes.fromhex("302a300506032b6570032100") + self.data[1:])
            Path(folder, "message").write_bytes(message)
            Path(folder, "signature").write_bytes(signature)
            command = "openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey key -in message -sigfile signature"
            answer = subprocess.run(command.split(), cwd=folder, capture_output=True, text=True)
            return answer.returncode == 0 and "Verified Successfully" in answer.stdout

class Note:
    """A signed note: a text, an empty line, then lines `— NAME BASE64(key id and signature)`."""
    def __init__(self, data, where):
        head, _, tail = data.decode(errors="replace").rpartition("\n\n")
        lines = [re.fullmatch(r"— ([^ +]+) ([A-Za-z0-9+/=]+)", line) for line in tail[:-1].split("\n")]
        need(head and tail.endswith("\n") and all(lines), f"{where}: not a text with lines of signatures after it")
        self.where, self.text = where, head + "\n"
        self.signatures = [(line[1], unbase64(line[2], where)) for line in lines]
    def by(self, key):
        """The signatures that carry this key's name and id. Those of keys that we do not know say nothing to us."""
        return [blob[4:] for name, blob in self.signatures if name == key.name and blob[:4] == key.id]
    def check(self, key):
        names = ", ".join(f"{name}+{blob[:4].hex()}" for name, blob in self.signatures)
        need(self.by(key), f"{self.where}: not signed by {key.name}+{key.id.hex()}, but by {names}")
        need(all(key.signed(self.text.encode(), blob) for blob in self.by(key)), f"{self.where}: the signature of {key.name} is wrong")

class Checkpoint:
    """A signed note whose lines are the log's name (which is its key's name too), the number of entries, and the root of the tree."""
    def __init__(self, data, where, key):
        self.note, self.where, self.key = Note(data, where), where, key
        lines = self.note.text.split("\n")
        need(len(lines) >= 4 and re.fullmatch("[1-9][0-9]{0,17}", lines[1]), f"{where}: not a checkpoint, or one of an empty log")
        need(lines[0] == key.name, f"{where}: of the log {lines[0]!r}, and the key is that of {key.name!r}")
        self.size, self.root = int(lines[1]), unbase64(lines[2], where)
        self.note.check(key)
    def check_witnesses(self, vkeys, quorum):
        """A cosignature is a time (8 bytes) and a signature over that time and the text; a witness counts once."""
        witnesses, count = [Key(vkey, 4) for vkey in vkeys], 0
        different = {key.data[1:] for key in witnesses + [self.key]}
        need(len(different) == len(witnesses) + 1, "a witness's key is given twice, or is the log's own")
        for key in witnesses:
            for blob in self.note.by(key)[:1]:
                at, count = int.from_bytes(blob[:8], "big"), count + 1
                message = f"cosignature/v1\ntime {at}\n{self.note.text}".encode()
                need(len(blob) == 72 and key.signed(message, blob[8:]), f"{self.where}: the cosignature of {key.name} is wrong")
                need(at < time.time() + 3600, f"{self.where}: {key.name} cosigned it in the future")
                print(f"cosigned    by {key.name} at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(at))}, {int(time.time()) - at} s ago")
        asked = len(witnesses) if quorum is None else quorum
        need(count >= asked, f"{self.where}: cosigned by {count} of your {len(witnesses)} witnesses, {asked} are asked for")

# ---- The log's files -------------------------------------------------------------------------------------------------------------

class Log:
    """The files under a folder or an URL."""
    def __init__(self, base, bearer):
        self.base, self.is_url = base.rstrip("/"), base.startswith(("http://", "https://"))
        self.headers = {"Authorization": "Bearer " + Path(bearer).read_text().strip()} if bearer else {}
        need(not bearer or re.match(r"https://|http://(127\.0\.0\.1|localhost)[:/]", base), "a token goes over https, or to this machine")
        self.web = urllib.request.OpenerDirector()  # one that knows neither proxies nor redirects
        self.web.add_handler(urllib.request.HTTPHandler())
        self.web.add_handler(urllib.request.HTTPSHandler())
    def read(self, name):
        """The file's bytes, or None when there is no such file."""
        place = f"{self.base}/{name}"
        try:
            request = urllib.request.Request(place, headers=self.headers) if self.is_url else None
            with self.web.open(request, timeout=30) if self.is_url else open(place, "rb") as file:
                status, data = getattr(file, "status", 200), file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Wrong(f"{name}: cannot be read: {error}") from None
        need(status in (200, 404) and len(data) <= FILE_BYTES_MAX, f"{name}: the answer has the status {status} and {len(data)} bytes")
        return data if status == 200 else None
    def piece(self, kind, index, width):
        """(name, bytes, whether it is just as wide as asked) of a bundle or tile. A partial one may be gone once the full one is there."""
        digits = str(index).zfill((len(str(index)) + 2) // 3 * 3)
        full = f"tile/{kind}/" + re.sub("...(?=.)", r"x\g<0>/", digits)  # 1234067 is x001/x234/067
        names = [full] if width == 256 else [f"{full}.p/{width}", full]
        for name in names:
            data = self.read(name)
            if data is not None:
                return name, data, name == names[0]
        raise Wrong(f"{names[0]}: missing")
    def entries(self, size):
        """Every entry as (place, bytes). In a bundle, each of 256 entries stands behind its length in two bytes."""
        for first in range(0, size, 256):
            width, at = min(256, size - first), 0
            name, data, exact = self.piece("entries", first // 256, width)
            for index in range(first, first + width):
                end = at + 2 + int.from_bytes(data[at:at + 2], "big")
                need(at + 2 <= end <= len(data), f"{name}: ends within entry {index}")
                yield f"{name}: entry {index}", data[at + 2:end]
                at = end
            need(at == len(data) or not exact, f"{name}: goes on after entry {index}, its last")

# ---- The tree (RFC 6962) ---------------------------------------------------------------------------------------------------------

class Tree:
    """Grows leaf by leaf up to a size. It keeps the complete subtrees at its right edge, and holds what stands in tiles against them."""
    def __init__(self, log, size):
        self.log, self.at_end, self.size, self.edge, self.tile, self.tiles = log, size, 0, [], {}, 0
    def add(self, where, entry):
        """Two complete subtrees of a height become one of the next. The nodes of each eighth height stand in tiles."""
        node, height, count = sha(b"\0", entry), 0, self.size
        self.compare(0, node, where)
        while count & 1:
            node, height, count = sha(b"\1", self.edge.pop(), node), height + 1, count >> 1
            if height % 8 == 0:
                self.compare(height // 8, node, where)
        self.edge.append(node)
        self.size += 1
    def compare(self, level, node, where):
        index, at = divmod(self.size // 256 ** level, 256)
        if at == 0:
            width = min(256, self.at_end // 256 ** level - index * 256)
            name, data, exact = self.tile[level] = self.log.piece(level, index, width)
            need(len(data) == 32 * (width if exact else 256), f"{name}: {len(data)} bytes long")
            self.tiles += 1
        name, data, _ = self.tile[level]
        need(data[32 * at:32 * at + 32] == node, f"{name}: hash {at} differs from {where}" + (" and those before it" if level else ""))
    def root(self):
        node = self.edge[-1]
        for left in self.edge[-2::-1]:
            node = sha(b"\1", left, node)
        return node

def root_of_path(node, index, size, path):
    """The root of a tree of `size` leaves in which `node` is leaf `index`; the last hash of the path stands beside the topmost node."""
    need((size > 1) == bool(path), "the proof has a wrong number of hashes")
    half = 1 << (size - 1).bit_length() >> 1  # the left subtree holds the largest power of two that is less than the size
    if size == 1:
        return node
    if index < half:
        return sha(b"\1", root_of_path(node, index, half, path[:-1]), path[-1])
    return sha(b"\1", path[-1], root_of_path(node, index - half, size - half, path[:-1]))

# ---- What the entries say --------------------------------------------------------------------------------------------------------

class Entries:
    def __init__(self):
        self.kinds, self.times, self.series = collections.Counter(), [], {}
    def add(self, where, data):
        need(data.startswith(b'{"v":1,"kind":"') and len(data) <= ENTRY_BYTES_MAX, f"{where} is not an entry of version 1: {data[:60]!r}")
        try:
            entry = json.loads(data.decode())
        except (ValueError, RecursionError):
            raise Wrong(f"{where} is not JSON") from None
        at = str(entry.get("at"))
        need(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", at), f"{where} has the time {at!r}")
        self.kinds[entry["kind"]] += 1
        self.times = [min(self.times + [at]), max(self.times + [at])]
        entry = entry["manifest"] if isinstance(entry.get("manifest"), dict) else entry  # a list of what is destroyed
        name, first, last = entry.get("object", entry.get("manifest")), entry.get("first"), entry.get("last")
        if first is not None:  # a batch holds a gateway's frames from its first to its last sequence
            name = "batch of gateway " + entry["gateway"]
        elif name and "number" in entry:  # the other series are numbered objects in a folder each
            name, first, last = name.split("/")[1], entry["number"], entry["number"]
        else:
            return
        begun, before, count = self.series.get(name, (first, first - 1, 0))
        need(before + 1 == first <= last, f"{where}: after {before} of the series '{name}' comes {first} (to {last})")
        self.series[name] = (begun, last, count + 1)

# ---- The three checks ------------------------------------------------------------------------------------------------------------

def check_log(asked, key):
    log = Log(asked.log, asked.bearer)
    data = log.read("checkpoint")
    need(data, f"there is no checkpoint under {asked.log}")
    checkpoint = Checkpoint(data, "checkpoint", key)
    print(f"log         {key.name}, {checkpoint.size} entries")
    checkpoint.check_witnesses(asked.witness, asked.quorum)
    stated = [Checkpoint(Path(path).read_bytes(), path, key) for path in asked.seen] + [checkpoint]
    for seen in stated:
        need(seen.size <= checkpoint.size, f"ROLLED BACK: {seen.where} has {seen.size} entries, the log's checkpoint {checkpoint.size}")
    tree, entries, roots = Tree(log, checkpoint.size), Entries(), dict.fromkeys(seen.size for seen in stated)
    for where, entry in log.entries(checkpoint.size):
        entries.add(where, entry)
        tree.add(where, entry)
        if tree.size in roots:
            roots[tree.size] = tree.root()
    for seen in stated:
        need(roots[seen.size] == seen.root, f"{'' if seen is checkpoint else 'FORKED: '}{seen.where}: its root is not that of the first"
             f" {seen.size} entries of this log")
    print("entries    ", ", ".join(f"{count} {kind}" for kind, count in sorted(entries.kinds.items())), "from", " to ".join(entries.times))
    for name, (first, last, count) in sorted(entries.series.items()):
        print(f"series      {name}: {first} to {last} without a gap, in {count} objects")
    print(f"tree        root {base64.b64encode(tree.root()).decode()}; {tree.tiles} tiles, {len(stated) - 1} older checkpoints agree")
    if asked.genesis:
        check_genesis(*asked.genesis, key)
    if asked.keep:
        Path(asked.keep).write_bytes(data)

def check_genesis(document, signature, key):
    data, note = Path(document).read_bytes(), Note(Path(signature).read_bytes(), signature)
    keys = [Key(vkey, 1) for vkey in re.findall(r'"([^"\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+)"', data.decode())]
    country = next((other for other in keys if other.name.endswith("/country")), None)
    need(country, f"{document}: names no key of a country")
    note.check(country)
    need(note.text == f"domicile genesis v1\n{base64.b64encode(sha(data)).decode()}\n", f"{signature}: signs another text than {document}")
    need(key.data in [other.data for other in keys], f"{document}: does not name your key of the log")
    genesis = json.loads(data)
    print(f"genesis     {genesis['country']}, center {genesis['center']}, signed by {country.name}+{country.id.hex()}")

def commit(named, content):
    """What commits to an object: the HMAC under its opening, a number that is kept beside the object and is destroyed with it."""
    message = b"domicile/commitment/v1\n" + named["object"].encode() + b"\n" + content
    return base64.b64encode(hmac.new(bytes.fromhex(named["opening"]), message, "sha256").digest()).decode()

def check_proof(asked, key):
    head, _, note = Path(asked.proof).read_bytes().partition(b"\n\n")
    form, extra, index, *path = head.decode().split("\n")
    need(form == "c2sp.org/tlog-proof@v1" and extra[:6] == "extra " and index[:6] == "index ", f"{asked.proof}: no proof with its entry")
    checkpoint, extra, index = Checkpoint(note, asked.proof, key), json.loads(unbase64(extra[6:], asked.proof)), int(index[6:])
    checkpoint.check_witnesses(asked.witness, asked.quorum)
    entry, path = extra["entry"].encode(), [unbase64(line, asked.proof) for line in path]
    need(0 <= index < checkpoint.size and root_of_path(sha(b"\0", entry), index, checkpoint.size, path) == checkpoint.root,
         f"{asked.proof}: this entry is not in the tree of the checkpoint at index {index}")
    print(f"in the log  {key.name}, entry {index} of {checkpoint.size}: {entry.decode()}")
    if asked.content:
        committed, held = json.loads(entry)["commitment"], Path(asked.content).read_bytes()
        if "manifest" in extra:  # a file of a table: the entry commits to the manifest that travels along, and that to its files
            manifest = extra["manifest"]
            listed = unbase64(manifest["content"], asked.proof)
            need(commit(manifest, listed) == committed, f"{asked.proof}: its manifest is not what the entry committed to")
            committed = {file["name"]: file["commitment"] for file in json.loads(listed)["added"]}.get(extra["object"])
        need(commit(extra, held) == committed, f"{asked.content}: not what the entry committed to")
        print(f"content     {asked.content} is {extra['object']}")

def check_certificate(asked, key):
    """A certificate is a signed note too; its first line is one that no checkpoint can have. It names nobody: VIN and salt open its subject."""
    note = Note(Path(asked.certificate).read_bytes(), asked.certificate)
    first, _, body = note.text.partition("\n")
    need(first == "domicile erasure certificate 1", f"{asked.certificate}: not the certificate of an erasure")
    note.check(key)
    certificate = json.loads(body)
    print(f"certificate {key.name}: erasure {certificate['number']} ({certificate['scope']}), asked for {certificate['asked_at']},"
          f" done {certificate['done_at']}, due {certificate['deadline']}")
    for part in ("destroyed", "kept"):
        for item in certificate[part]:
            print(f"{part:<11} {item['what']}: {item['how']}")
    if asked.subject:
        vin, salt = asked.subject
        need(certificate["subject"] == "sha256:" + sha(salt.encode(), b"\n", vin.encode(), b"\n").hex(),
             f"{asked.certificate}: about another vehicle, or the salt is another")
        print("subject     this vehicle")

def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1], add_help=False)
    for name in ("--log", "--proof", "--certificate", "--vkey", "--bearer", "--content", "--keep"):
        parser.add_argument(name)
    parser.add_argument("--seen", action="append", default=[])
    parser.add_argument("--witness", action="append", default=[])
    parser.add_argument("--quorum", type=int)
    parser.add_argument("--genesis", nargs=2)
    parser.add_argument("--subject", nargs=2)
    asked = parser.parse_args()
    checks = [check for check, what in ((check_log, asked.log), (check_proof, asked.proof), (check_certificate, asked.certificate)) if what]
    if not asked.vkey or len(checks) != 1:
        parser.error("--vkey is needed, and one of --log, --proof and --certificate")
    try:
        checks[0](asked, Key(asked.vkey, 1))
    except (Wrong, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f"DOES NOT HOLD: {error if isinstance(error, Wrong) else f'something cannot be read: {error!r}'}")
    print("OK: all of it holds")

if __name__ == "__main__":
    main()
