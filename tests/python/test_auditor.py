"""Tries the auditor's script on logs that make_log.py makes: good ones pass, and every damage is named with its place.

Usage: python3 tests/python/test_auditor.py [-v]. Python's standard library and openssl; nothing is downloaded. AUDITOR_LARGE=N adds a log of N entries.
"""

import functools
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import make_log

SCRIPT = Path(__file__).resolve().parents[2] / "auditor/verify_log.py"
ORIGIN = "log.example/shanghai-1"


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.ledger, self.vkey = self.folder / "ledger", self.folder / "log.vkey"

    def make(self, size, published=(), fork_at=None, seed="a test"):
        self.signer = make_log.Signer(ORIGIN, seed)
        self.entries = make_log.entries_of(size, fork_at=fork_at)
        self.write(published)

    def write(self, published=()):
        shutil.rmtree(self.ledger, ignore_errors=True)
        self.hashes = make_log.write_log(self.ledger, self.entries, self.signer, published)
        self.vkey.write_text(self.signer.vkey + "\n")

    def run_script(self, *arguments):
        command = [sys.executable, SCRIPT, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    def check(self, *arguments, log=None):
        return self.run_script("--log", log or self.ledger, "--vkey", self.vkey, *arguments)

    def holds(self, *arguments, log=None):
        answer = self.check(*arguments, log=log)
        self.assertEqual(answer.returncode, 0, answer.stdout + answer.stderr)
        self.assertTrue(answer.stdout.endswith("OK: all of it holds\n"), answer.stdout)
        return answer.stdout

    def fails(self, *says, arguments=(), answer=None):
        answer = answer or self.check(*arguments)
        self.assertEqual(answer.returncode, 1, answer.stdout + answer.stderr)
        self.assertTrue(answer.stderr.startswith("DOES NOT HOLD: "), answer.stderr)
        self.assertNotIn("OK", answer.stdout)
        for text in says:
            self.assertIn(text, answer.stderr)

    def flip(self, name, at):
        path = self.ledger / name
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    def sign(self, size, root, extension=""):
        (self.ledger / "checkpoint").write_text(make_log.checkpoint(self.signer, size, root, extension))

    def cosign(self, *witnesses, at=None):
        path = self.ledger / "checkpoint"
        note = path.read_text()
        text = note[: note.rindex("\n\n") + 1]
        path.write_text(note + "".join(witness.line(text, at) for witness in witnesses))


class GoodLogs(Case):
    def test_sizes(self):
        for size in (1, 2, 255, 256, 257, 600, 70_000, int(os.environ.get("AUDITOR_LARGE", "0"))):
            if size:
                with self.subTest(size=size):
                    self.make(size)
                    self.assertIn(f"{size} entries\n", self.holds())

    def test_summary_counts_kinds_and_names_the_series(self):
        self.make(600)
        said = self.holds()
        self.assertIn("1 charter, 199 refused, 400 stored from 2026-11-24T20:00Z to 2026-11-24T20:09Z", said)
        self.assertIn("batch of gateway gw-1: 0 to 1999 without a gap, in 200 objects", said)

    def test_vector_of_the_specification(self):
        # The signed note of c2sp.org/signed-note; it is no checkpoint, which is said only after the key was read.
        self.ledger.mkdir()
        signature = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
        (self.ledger / "checkpoint").write_text(f"This is an example message.\n\n— example.com/foo {signature}\n")
        self.vkey.write_text("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
        self.fails("checkpoint: not a checkpoint")
        program = "import runpy,sys; m=runpy.run_path(sys.argv[1]); n=m['Note'](open(sys.argv[2],'rb').read(),'note'); n.check(m['Key'](sys.argv[3],1))"
        subprocess.run([sys.executable, "-c", program, SCRIPT, self.ledger / "checkpoint", self.vkey], check=True)

    def test_superseded_partial_tiles_may_go(self):
        self.make(600, published=(10, 300, 520))
        gone = [*self.ledger.glob("tile/0/*.p/10"), *self.ledger.glob("tile/0/001.p/44"), *self.ledger.glob("tile/entries/00*.p/8")]
        self.assertEqual(len(gone), 3)
        for path in gone:
            path.unlink()
        self.holds()

    def test_a_partial_that_was_collected_is_read_from_the_full_one(self):
        self.make(520)
        older = (self.ledger / "checkpoint").read_bytes()
        self.make(1000, published=(520,))
        for path in [*self.ledger.glob("tile/*/*.p/8"), *self.ledger.glob("tile/*/*.p/2")]:
            if path.parts[-3] != "1":
                path.unlink()
        (self.ledger / "checkpoint").write_bytes(older)
        self.assertIn("520 entries", self.holds())

    def test_unknown_signatures_and_extension_lines_are_no_matter(self):
        self.make(300)
        self.sign(300, self.hashes.mth(0, 300), "an extension\n")
        self.cosign(make_log.Signer("somebody.example/else", "else"), make_log.Signer("w.example/4", "w4", 4))
        self.holds()


class OverHttp(Case):
    def serve(self, folder):
        seen = self.requests = []
        handler = type("Handler", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda this, *_: seen.append(this.path)})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    def test_over_http_with_few_requests(self):
        self.make(600)
        self.holds(log=self.serve(self.ledger))
        self.assertEqual(len(self.requests), 1 + 3 + 3 + 1)

    def test_a_missing_bundle_over_http(self):
        self.make(600)
        (self.ledger / "tile/entries/001").unlink()
        self.fails("tile/entries/001: missing", answer=self.check(log=self.serve(self.ledger)))

    def test_no_redirect_is_followed(self):
        self.make(1)
        elsewhere = self.serve(self.ledger)

        def redirect(this):
            this.send_response(302)
            this.send_header("Location", elsewhere + this.path.lstrip("/"))
            this.end_headers()

        handler = type("Redirect", (http.server.BaseHTTPRequestHandler,), {"do_GET": redirect, "log_message": lambda *_: None})
        server = http.server.HTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.fails("status 302", answer=self.check(log=f"http://127.0.0.1:{server.server_address[1]}"))
        self.assertEqual(self.requests, [])

    def test_a_token_goes_with_every_request_and_not_in_the_clear(self):
        self.make(2)
        tokens, token = [], self.folder / "token"
        token.write_text("secret\n")
        bearer = lambda this, *_: tokens.append(this.headers["Authorization"])
        handler = type("Handler", (http.server.SimpleHTTPRequestHandler,), {"log_message": bearer})
        server = http.server.HTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=self.ledger))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.holds("--bearer", token, log=f"http://127.0.0.1:{server.server_address[1]}")
        self.assertEqual(set(tokens), {"Bearer secret"})
        self.fails("a token goes over https", answer=self.check("--bearer", token, log="http://192.0.2.1/log"))

    def test_nobody_answers(self):
        self.make(1)
        self.fails("checkpoint: cannot be read", answer=self.check(log="http://127.0.0.1:1/"))


class Damage(Case):
    def setUp(self):
        super().setUp()
        self.make(600, published=(10, 300))

    def test_a_flipped_byte_in_an_entry(self):
        self.flip("tile/entries/001", -5)  # within the last entry of the bundle
        self.fails("entry 511")

    def test_a_flipped_byte_in_an_entry_that_stays_json(self):
        bundle = self.ledger / "tile/entries/001"
        bundle.write_bytes(bundle.read_bytes().replace(b'"count":4', b'"count":5', 1))
        changed = next(index for index in range(256, 512) if b'"count":4' in self.entries[index])
        self.fails(f"tile/0/001: hash {changed - 256} differs from tile/entries/001: entry {changed}")

    def test_a_flipped_byte_in_a_length(self):
        self.flip("tile/entries/000", 0)
        self.fails("tile/entries/000: ")

    def test_flipped_bytes_everywhere_are_found(self):
        for path in sorted(self.ledger.rglob("*")):
            name = path.relative_to(self.ledger).as_posix()
            if path.is_file() and not name.endswith((".p/10", ".p/44", "1/000.p/1")):  # those of smaller sizes are not read
                before = path.read_bytes()
                for at in (0, len(before) // 2, len(before) - 1):
                    with self.subTest(name=name, at=at):
                        self.flip(name, at)
                        self.fails("checkpoint" if name == "checkpoint" else name)
                        path.write_bytes(before)

    def test_a_flipped_byte_in_each_level_of_tiles(self):
        self.flip("tile/0/002.p/88", 32 * 7)
        self.fails("tile/0/002.p/88: hash 7 differs from tile/entries/002.p/88: entry 519")
        self.write()
        self.flip("tile/1/000.p/2", 40)
        self.fails("tile/1/000.p/2: hash 1 differs from tile/entries/001: entry 511")

    def test_missing_files(self):
        for name in ("tile/entries/000", "tile/entries/002.p/88", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"):
            with self.subTest(name=name):
                before = (self.ledger / name).read_bytes()
                (self.ledger / name).unlink()
                self.fails(f"{name}: missing")
                (self.ledger / name).write_bytes(before)
        (self.ledger / "checkpoint").unlink()
        self.fails("there is no checkpoint")

    def test_truncated_and_longer_files(self):
        for name, size in (("tile/entries/001", -1), ("tile/0/001", -32), ("tile/0/002.p/88", -1)):
            with self.subTest(name=name):
                before = (self.ledger / name).read_bytes()
                (self.ledger / name).write_bytes(before[:size])
                self.fails(f"{name}: ")
                (self.ledger / name).write_bytes(before + b"\0" * 32)
                self.fails(f"{name}: ")
                (self.ledger / name).write_bytes(before)

    def test_an_edited_size(self):
        path = self.ledger / "checkpoint"
        path.write_text(path.read_text().replace("\n600\n", "\n599\n"))
        self.fails("checkpoint: the signature")

    def test_a_signed_lie_about_the_root_and_the_size(self):
        self.sign(600, self.hashes.mth(0, 599))
        self.fails("checkpoint: its root")
        self.sign(601, self.hashes.mth(0, 600))
        self.fails("tile/entries/002.p/89: missing")

    def test_another_key_another_name_an_altered_key(self):
        self.vkey.write_text(make_log.Signer(ORIGIN, "another").vkey)
        self.fails("checkpoint: not signed by")
        self.vkey.write_text(make_log.Signer("log.example/elsewhere", "a test").vkey)
        self.fails("checkpoint: of the log 'log.example/shanghai-1'")
        vkey = self.signer.vkey
        for altered in (vkey.replace("+A", "+B", 1), vkey[:-6] + "AAAAA=", vkey.replace("log.example", "lag.example"), "nonsense"):
            self.vkey.write_text(altered)
            self.fails("key")

    def test_a_note_that_is_none(self):
        path = self.ledger / "checkpoint"
        good = path.read_text()
        for bad in ("", "\n", good.rstrip("\n"), good.replace("— ", "- "), good.replace("\n\n", "\n"), good + "x\n", good.split("\n\n")[0]):
            path.write_text(bad)
            self.fails("checkpoint")

    def test_forks_and_rollbacks_are_seen_against_an_older_checkpoint(self):
        kept = self.folder / "kept"
        self.holds("--keep", kept)
        self.make(700)
        self.assertIn("1 older checkpoints agree", self.holds("--seen", kept))
        self.make(700, fork_at=599)
        self.fails(f"FORKED: {kept}", "first 600 entries", arguments=["--seen", kept])
        self.make(599)
        self.fails(f"ROLLED BACK: {kept}", arguments=["--seen", kept])
        self.make(600)
        self.holds("--seen", kept)
        kept.write_text(kept.read_text().replace("\n600\n", "\n60\n"))
        self.fails(f"{kept}: the signature", arguments=["--seen", kept])


class EntriesOfALog(Case):
    def with_entry(self, index, data):
        self.make(20)
        self.entries[index] = data
        self.write()

    def test_an_entry_that_is_none(self):
        for data in (b"", b"{}", b"[1]", b'{"v":2,"kind":"x","at":"2026-11-24T20:00Z"}', b'{"kind":"x","v":1}', b'{"v":1,"kind":"x"',
                     b'{"v":1,"kind":"x","at":"24 Nov"}', b'{"v":1,"kind":"\xff"}', b'{"v":1,"kind":"x","deep":' + b"[" * 4000,
                     b'{"v":1,"kind":"x","at":"2026-11-24T20:00Z","long":"' + b"x" * 5000 + b'"}'):
            with self.subTest(data=data[:40]):
                self.with_entry(7, data)
                self.fails("tile/entries/000.p/20: entry 7")

    def test_a_gap_and_an_overlap_in_a_gateways_batches(self):
        for first in (9, 11):
            self.make(20)
            self.with_entry(4, self.entries[4].replace(b'"first":10', b'"first":%d' % first))
            self.fails(f"tile/entries/000.p/20: entry 4: after 9 of the series 'batch of gateway gw-1' comes {first}")

    def test_a_gap_in_numbered_objects(self):
        at = ',"at":"2026-11-24T20:00Z"'
        control = lambda n: f'{{"v":1,"kind":"control"{at},"object":"c/control/{n:020}.json","number":{n},"commitment":""}}'.encode()
        tabled = lambda n: f'{{"v":1,"kind":"tabled"{at},"table":"signals","version":{n},"manifest":"c/manifest/{n}.json","number":{n}}}'.encode()
        expired = f'{{"v":1,"kind":"expired"{at},"ground":"term","manifest":{{"object":"c/manifest/3.json","number":3,"commitment":""}}}}'.encode()
        self.signer = make_log.Signer(ORIGIN, "a test")
        self.entries = [control(1), tabled(1), control(2), tabled(2), expired, tabled(4), control(3)]
        self.write()
        said = self.holds()
        self.assertIn("series      control: 1 to 3 without a gap, in 3 objects", said)
        self.assertIn("series      manifest: 1 to 4 without a gap, in 4 objects", said)
        del self.entries[2]
        self.write()
        self.fails("entry 5: after 1 of the series 'control' comes 3")


class Witnesses(Case):
    def setUp(self):
        super().setUp()
        self.make(300)
        self.witnesses = [make_log.Signer(f"w.example/{n}", f"w{n}", 4) for n in range(3)]

    def asking(self, *numbers, quorum=None):
        named = [text for number in numbers for text in ("--witness", self.witnesses[number].vkey)]
        return named + ([] if quorum is None else ["--quorum", str(quorum)])

    def test_cosignatures_and_quorum(self):
        self.cosign(*self.witnesses[:2])
        self.assertIn("cosigned    by w.example/1 at 20", self.holds(*self.asking(0, 1)))
        self.holds(*self.asking(0, 1, 2, quorum=2))
        self.holds(*self.asking(0, 1, 2, quorum=0))
        self.fails("cosigned by 2 of your 3 witnesses, 3 are asked for", arguments=self.asking(0, 1, 2))
        self.fails("cosigned by 1 of your 1 witnesses, 2 are asked for", arguments=self.asking(0, quorum=2))

    def test_a_witness_counts_once(self):
        self.cosign(self.witnesses[0], self.witnesses[0])
        self.fails("given twice", arguments=self.asking(0, 0))
        self.fails("cosigned by 1 of", arguments=self.asking(0, 1))
        twin = make_log.Signer("w.example/twin", "w0", 4)
        self.fails("given twice", arguments=[*self.asking(0), "--witness", twin.vkey])
        own = make_log.Signer("w.example/own", "a test", 4)
        self.fails("the log's own", arguments=["--witness", own.vkey])

    def test_a_wrong_cosignature(self):
        self.cosign(self.witnesses[0], at=1_795_550_400)
        path = self.ledger / "checkpoint"
        note = path.read_text()
        later = self.witnesses[0].line("another text\n", 1_795_550_400)
        path.write_text(note[: note.rindex("— ")] + later)
        self.fails("checkpoint: the cosignature of w.example/0 is wrong", arguments=self.asking(0))

    def test_a_cosignature_from_the_future(self):
        self.cosign(self.witnesses[0], at=1 << 40)
        self.fails("in the future", arguments=self.asking(0))


class Genesis(Case):
    def test_genesis(self):
        self.make(3)
        country = make_log.Signer("0123456789abcdef0123456789abcdef/country", "country")
        document, signature = self.folder / "genesis.json", self.folder / "genesis.sig"
        text = f'{{"country":"CN","center":"shanghai-1","keys":{{"country":"{country.vkey}","log":"{self.signer.vkey}"}}}}'

        def write(text, signer=country):
            document.write_text(text)
            body = f"domicile genesis v1\n{make_log.b64(hashlib.sha256(text.encode()).digest())}\n"
            signature.write_text(body + "\n" + signer.line(body))

        asked = ["--genesis", document, signature]
        write(text)
        self.assertIn("genesis     CN, center shanghai-1, signed by 0123456789abcdef0123456789abcdef/country+", self.holds(*asked))
        document.write_text(text.replace("CN", "DE"))
        self.fails("signs another text", arguments=asked)
        write(text, make_log.Signer(country.name, "another"))
        self.fails("not signed by", arguments=asked)
        write(text.replace(self.signer.vkey, make_log.Signer(ORIGIN, "another").vkey))
        self.fails("does not name your key", arguments=asked)
        write(text.replace(country.vkey, "x"))
        self.fails("names no key of a country", arguments=asked)


class Proofs(Case):
    def prove(self, size, index, content=b"content", **changed):
        self.make(size)
        opening = hashlib.sha256(f"{index}".encode()).hexdigest()
        name = f"c/batch/2026/11/24/20/gw-{index % 3}-{index // 3 * 10 + 9:020}.parquet"
        extra = {"entry": self.entries[index].decode(), "object": name, "opening": opening, **changed}
        signed = (self.ledger / "checkpoint").read_text()
        (self.folder / "p.tlog-proof").write_text(make_log.proof(self.hashes, self.entries, index, signed, extra))
        (self.folder / "content").write_bytes(content)

    def prove_check(self, *arguments):
        return self.run_script("--proof", self.folder / "p.tlog-proof", "--vkey", self.vkey, *arguments)

    def proven(self, *arguments):
        answer = self.prove_check(*arguments)
        self.assertEqual(answer.returncode, 0, answer.stdout + answer.stderr)
        return answer.stdout

    def test_proofs_of_all_places(self):
        for size, index in [(1, 0), (2, 0), (2, 1), (5, 4), (7, 2), (256, 255), (257, 256), (600, 0), (600, 511), (600, 599)]:
            with self.subTest(size=size, index=index):
                self.prove(size, index)
                self.assertIn(f"entry {index} of {size}: {{", self.proven())

    def test_content(self):
        self.prove(600, 512)
        self.assertIn("content     ", self.proven("--content", self.folder / "content"))
        for changed in ({"content": b"contend"}, {"opening": "00" * 32}, {"object": "c/batch/another"}):
            self.prove(600, 512, **changed)
            self.fails("content: not what the entry committed to", answer=self.prove_check("--content", self.folder / "content"))

    def test_changed_proofs(self):
        self.prove(600, 512, entry=make_log.entry(512, "another").decode())
        self.fails("is not in the tree", answer=self.prove_check())
        path = self.folder / "p.tlog-proof"
        self.prove(600, 512)
        good = path.read_text()
        lines = good.split("\n")
        for bad in (good.replace("index 512", "index 513"), good.replace("index 512", "index 600"), good.replace("\n600\n", "\n601\n"),
                    "\n".join(lines[:3] + lines[4:]), "\n".join(lines[:3] + lines[3:4] + lines[3:]), good.replace("@v1", "@v2"), "", "\n\n",
                    "\n".join([lines[0], *lines[2:]])):
            path.write_text(bad)
            self.fails(answer=self.prove_check())


if __name__ == "__main__":
    unittest.main()
