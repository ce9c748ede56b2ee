"""Tries the verifiers of others and their scripts of tests/tools on logs that make_log.py makes.

Usage: python3 tests/python/test_tools.py [-v]. Where Go is missing every test says that it was skipped.
"""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import make_log

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tests/tools"
AUDITOR = ROOT / "auditor/verify_log.py"
ORIGIN = "log.example/shanghai-1"


def setUpModule():
    installed = subprocess.run([TOOLS / "install.sh"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if installed.returncode == 3:
        raise unittest.SkipTest(installed.stderr.strip())
    if installed.returncode:
        raise RuntimeError(installed.stderr)


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256  # fsck opens 64 connections at once


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.signer = make_log.Signer(ORIGIN, "a test")
        self.vkey = self.folder / "log.vkey"
        self.vkey.write_text(self.signer.vkey + "\n")

    def make(self, size, published=()):
        self.ledger = self.folder / "ledger"
        shutil.rmtree(self.ledger, ignore_errors=True)
        make_log.write_log(self.ledger, make_log.entries_of(size), self.signer, published)


class Fsck(Case):
    def fsck(self, log=None, seconds=60):
        environment = {**os.environ, "FSCK_SECONDS": str(seconds)}
        command = [TOOLS / "fsck.sh", log or self.ledger, self.vkey]
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        self.assertTrue(all(len(line) <= 260 for line in answer.stdout.splitlines()), answer.stdout)
        return answer

    def accepts(self, log=None):
        answer = self.fsck(log)
        self.assertEqual(answer.returncode, 0, answer.stdout + answer.stderr)
        self.assertIn("Successfully", answer.stdout)

    def rejects(self, **how):
        answer = self.fsck(**how)
        self.assertEqual(answer.returncode, 1, answer.stdout + answer.stderr)
        self.assertTrue(answer.stdout.startswith("fsck: "), answer.stdout)

    def test_accepts_over_file_and_http(self):
        for size in (1, 2, 255, 256, 257, 600, 70_000):
            with self.subTest(size=size):
                self.make(size)
                self.accepts()
                server = Server(("127.0.0.1", 0), functools.partial(Handler, directory=self.ledger))
                threading.Thread(target=server.serve_forever, daemon=True).start()
                self.accepts(f"http://127.0.0.1:{server.server_address[1]}")
                server.shutdown()
                server.server_close()

    def test_rejects_damage(self):
        for name in ("tile/entries/001", "tile/entries/002.p/88", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2", "checkpoint"):
            for damage in ("flip", "remove"):
                with self.subTest(name=name, damage=damage):
                    self.make(600)
                    path = self.ledger / name
                    data = bytearray(path.read_bytes())
                    data[len(data) // 2] ^= 1
                    path.unlink() if damage == "remove" else path.write_bytes(data)
                    self.rejects()

    def test_rejects_when_more_is_damaged_than_it_has_workers(self):
        self.make(40_000)
        for path in self.ledger.glob("tile/0/*"):
            if path.is_file():
                path.write_bytes(b"\0" * 8192)
        self.rejects(seconds=5)  # fsck itself would wait forever

    def test_a_superseded_partial_tile_may_go(self):
        self.make(600, published=(300,))
        (self.ledger / "tile/0/001.p/44").unlink()
        (self.ledger / "tile/entries/001.p/44").unlink()
        self.accepts()

    def test_another_key(self):
        self.make(10)
        self.vkey.write_text(make_log.Signer(ORIGIN, "another").vkey)
        self.rejects()


class Litewitness(Case):
    def setUp(self):
        super().setUp()
        self.addCleanup(subprocess.run, [TOOLS / "litewitness.sh", "stop", self.folder / "witness"], check=True)
        self.start()
        entries = make_log.entries_of(600)
        self.hashes, self.fork = make_log.Hashes(entries), make_log.Hashes(make_log.entries_of(600, fork_at=100))
        self.entries = entries

    def start(self):
        command = [TOOLS / "litewitness.sh", "start", self.folder / "witness", self.vkey]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        self.witness = dict(line.split("=", 1) for line in said.splitlines())

    def ask(self, old, size, hashes=None, signer=None, reverse=False, change=None):
        body = make_log.request(hashes or self.hashes, signer or self.signer, old, size, reverse)
        body = (change(body) if change else body).encode()
        try:
            with urllib.request.urlopen(self.witness["url"] + "/add-checkpoint", data=body, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def test_cosigns_and_refuses_a_rollback_and_a_fork(self):
        code, line = self.ask(0, 300)
        self.assertEqual(code, 200, line)
        self.assertTrue(line.startswith("— regulator.example/w1 "), line)
        make_log.write_log(self.folder / "ledger", self.entries[:300], self.signer)
        with open(self.folder / "ledger/checkpoint", "a") as checkpoint:
            checkpoint.write(line)
        command = [sys.executable, AUDITOR, "--log", self.folder / "ledger", "--vkey", self.vkey, "--witness", self.witness["vkey"]]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        self.assertIn("cosigned    by regulator.example/w1 at ", said)

        self.assertEqual(self.ask(0, 300), (409, "300\n"))
        self.assertEqual(self.ask(300, 600, reverse=True)[0], 422)
        self.assertEqual(self.ask(300, 600, self.fork)[0], 422, "a fork")
        self.assertEqual(self.ask(300, 300, self.fork)[0], 422, "another tree of the same size")
        self.assertEqual(self.ask(300, 600)[0], 200)
        self.assertEqual(self.ask(600, 600)[0], 200, "once more, with a later time")
        self.assertEqual(self.ask(300, 500), (409, "600\n"), "a rollback")
        self.assertEqual(self.ask(600, 500)[0], 400, "a rollback that knows better")

        self.start()  # stops the one that runs, and goes on with what it knew
        self.assertEqual(self.ask(0, 300), (409, "600\n"))

    def test_refuses_what_is_not_of_the_log(self):
        self.assertEqual(self.ask(0, 300, signer=make_log.Signer("log.example/elsewhere", "a test"))[0], 404)
        self.assertEqual(self.ask(0, 300, signer=make_log.Signer(ORIGIN, "another"))[0], 403)
        self.assertEqual(self.ask(0, 300, change=lambda body: body.replace("\n300\n", "\n301\n"))[0], 403)


if __name__ == "__main__":
    unittest.main()
