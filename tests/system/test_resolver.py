#!/usr/bin/env python3
"""The resolver's engine and sockets against a real nsd and against name servers that misbehave."""
import json
import os
import shutil
import socket
import socketserver
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from ports import free_port

BIN = os.environ.get("PMTA_BIN") or os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "bin")
PROBE = os.environ.get("RESOLVE_PROBE") or os.path.join(
    os.path.dirname(os.path.abspath(BIN)), "tests", "system", "resolve_probe")
NSD = shutil.which("nsd") or "/usr/sbin/nsd"

ZONE = """$ORIGIN example.test.
$TTL 300
@ SOA ns.example.test. root.example.test. 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
mx MX 10 a.mx
mx MX 10 b.mx
mx MX 5 first.mx
a.mx A 192.0.2.1
b.mx A 192.0.2.2
b.mx AAAA 2001:db8::2
first.mx A 192.0.2.3
first.mx A 192.0.2.4
nomx A 192.0.2.5
nomx AAAA 2001:db8::5
nothing TXT "no address"
null MX 0 .
alias CNAME mx
noaddr MX 10 nothing
noaddr MX 20 missing.mx
half MX 10 nothing
half MX 20 a.mx
mxalias MX 10 toalias.mx
toalias.mx CNAME a.mx
loop1 CNAME loop2
loop2 CNAME loop1
xn--mnchen-3ya MX 10 a.mx
odd MX 10 bad\\032name
""" + "".join(f"big MX 10 host-with-a-rather-long-name-{i:03d}.mx\n"
              f"host-with-a-rather-long-name-{i:03d}.mx A 192.0.2.{100 + i}\n"
              for i in range(60))


def probe(servers, *names, timeout=400, options=()):
    """Routes by name, and the counters."""
    args = [PROBE, "--timeout", str(timeout), *options]
    for s in servers:
        args += ["--server", s]
    out = subprocess.run(args + list(names), capture_output=True, text=True, timeout=60)
    if out.returncode != 0:
        raise AssertionError(f"probe ended with {out.returncode}: {out.stderr}")
    lines = [json.loads(line) for line in out.stdout.splitlines()]
    return lines[:-1], lines[-1]


def one(servers, name, **kw):
    routes, counters = probe(servers, name, **kw)
    return routes[0], counters


class Nsd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.path.exists(NSD):
            raise unittest.SkipTest("nsd is not installed")
        cls.dir = tempfile.TemporaryDirectory(prefix="pmta-nsd-")
        d = cls.dir.name
        cls.port = free_port()
        with open(f"{d}/zone", "w") as f:
            f.write(ZONE)
        with open(f"{d}/nsd.conf", "w") as f:
            f.write(f"""server:
  ip-address: 127.0.0.1@{cls.port}
  username: ""
  chroot: ""
  server-count: 1
  zonesdir: "{d}"
  database: ""
  zonelistfile: "{d}/zone.list"
  xfrdfile: "{d}/xfrd.state"
  xfrdir: "{d}"
  pidfile: "{d}/nsd.pid"
  logfile: "{d}/log"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: example.test
  zonefile: zone
""")
        cls.nsd = subprocess.Popen([NSD, "-d", "-c", f"{d}/nsd.conf"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.server = [f"127.0.0.1:{cls.port}"]
        deadline = time.monotonic() + 15
        while one(cls.server, "mx.example.test")[0]["status"] != "ok":
            if cls.nsd.poll() is not None or time.monotonic() > deadline:
                log = open(f"{d}/log").read() if os.path.exists(f"{d}/log") else "no log"
                raise AssertionError("nsd does not answer: " + log)

    @classmethod
    def tearDownClass(cls):
        cls.nsd.terminate()
        cls.nsd.wait(10)
        cls.dir.cleanup()

    def route(self, name, **kw):
        return one(self.server, name + ".example.test", **kw)[0]

    def addresses(self, name, **kw):
        return [(h["preference"], h["address"]) for h in self.route(name, **kw)["hosts"]]

    def test_mx_by_preference(self):
        r = self.route("mx")
        self.assertEqual(r["status"], "ok")
        self.assertEqual(r["ttl"], 60)  # b.mx and others have no AAAA: the negative TTL is the least
        self.assertEqual([h["preference"] for h in r["hosts"]], [5, 5, 10, 10, 10])
        self.assertEqual({h["address"] for h in r["hosts"] if h["preference"] == 5},
                         {"192.0.2.3", "192.0.2.4"})
        self.assertEqual({(h["host"], h["address"]) for h in r["hosts"] if h["preference"] == 10},
                         {("a.mx.example.test", "192.0.2.1"), ("b.mx.example.test", "192.0.2.2"),
                          ("b.mx.example.test", "2001:db8::2")})

    def test_implicit_mx(self):
        self.assertEqual(self.addresses("nomx"), [(0, "192.0.2.5"), (0, "2001:db8::5")])

    def test_final_failures(self):
        for name, status in (("null", "null MX"), ("missing", "no such domain"),
                             ("nothing", "no usable address"), ("noaddr", "no usable address"),
                             ("odd", "no usable address"), ("loop1", "DNS failure")):
            with self.subTest(name):
                r = self.route(name)
                self.assertEqual((r["status"], r["hosts"]), (status, []), r)
                self.assertTrue(r["text"])

    def test_negative_ttl_is_the_soa_minimum(self):
        self.assertEqual(self.route("missing")["ttl"], 60)

    def test_aliases(self):
        self.assertEqual(len(self.addresses("alias")), 5)
        self.assertEqual(self.route("mxalias")["hosts"], [
            {"preference": 10, "host": "toalias.mx.example.test", "address": "192.0.2.1"}])

    def test_host_without_address_is_skipped(self):
        self.assertEqual(self.addresses("half"), [(20, "192.0.2.1")])

    def test_host_kind(self):
        self.assertEqual(self.addresses("b.mx", options=["--host"]),
                         [(0, "192.0.2.2"), (0, "2001:db8::2")])
        r = one(self.server, "[IPv6:2001:db8::9]")[0]
        self.assertEqual([h["address"] for h in r["hosts"]], ["2001:db8::9"])

    def test_international_domain(self):
        self.assertEqual(self.addresses("MÜNCHEN"), [(10, "192.0.2.1")])

    def test_large_answer_comes_by_tcp(self):
        r, counters = one(self.server, "big.example.test")
        self.assertEqual((r["status"], len(r["hosts"])), ("ok", 20))
        self.assertEqual(counters["tcp"], 1)

    def test_refused_zone_is_temporary(self):
        r = one(self.server, "elsewhere.invalid")[0]
        self.assertEqual(r["status"], "DNS failure")
        self.assertIn("REFUSED", r["text"])

    def test_cache_answers_the_second_time(self):
        routes, counters = probe(self.server, "mx.example.test", "missing.example.test",
                                 options=["--repeat", "3"])
        self.assertEqual([r["cached"] for r in routes].count(False), 2)
        self.assertEqual(len(routes), 6)
        self.assertEqual(counters["queries"], 8)

    def test_equal_questions_are_asked_once(self):
        _, counters = probe(self.server, *["nomx.example.test"] * 50)
        self.assertEqual(counters["queries"], 3)


class Fake:
    """A name server whose answer to a question is made by a function of (query, socket, sender):
    bytes, or None. `udp` and `tcp` count what arrived."""

    def __init__(self, answer, tcp_answer=None):
        self.answer, self.tcp_answer = answer, tcp_answer
        self.udp = self.tcp = 0
        self.stopping = False
        self.port = free_port()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", self.port))
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        self.tcp_server = None
        if tcp_answer:
            self.serve_tcp()

    def serve(self):
        while True:
            data, sender = self.sock.recvfrom(4096)
            if self.stopping:
                return
            self.udp += 1
            reply = self.answer(data, self.sock, sender)
            if reply is not None:
                self.sock.sendto(reply, sender)

    def serve_tcp(self):
        fake = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                size = struct.unpack(">H", self.rfile.read(2))[0]
                data = self.rfile.read(size)
                fake.tcp += 1
                reply = fake.tcp_answer(data)
                raw = struct.pack(">H", len(reply)) + reply
                self.wfile.write(raw[:5])  # a packet in pieces
                self.wfile.flush()
                self.wfile.write(raw[5:])

        socketserver.TCPServer.allow_reuse_address = True
        self.tcp_server = socketserver.ThreadingTCPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.tcp_server.serve_forever, args=(0.05,), daemon=True).start()

    def __str__(self):
        return f"127.0.0.1:{self.port}"

    def stop(self):
        self.stopping = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", ("127.0.0.1", self.port))
        self.thread.join(5)
        self.sock.close()
        if self.tcp_server:
            self.tcp_server.shutdown()
            self.tcp_server.server_close()


def question_end(query):
    at = 12
    while query[at]:
        at += query[at] + 1
    return at + 5


def reply(query, flags=0x8180, records=(), ident=None, question=None):
    """A packet with the query's question; records are (type, rdata) at the question's name."""
    end = question_end(query)
    ident = query[:2] if ident is None else ident
    question = query[12:end] if question is None else question
    out = ident + struct.pack(">5H", flags, 1, len(records), 0, 0) + question
    for rtype, rdata in records:
        out += b"\xc0\x0c" + struct.pack(">HHIH", rtype, 1, 300, len(rdata)) + rdata
    return out


def qtype(query):
    end = question_end(query)
    return struct.unpack(">H", query[end - 4:end - 2])[0]


def good(query, *_):
    """A for everything, no MX, no AAAA."""
    return reply(query, records=[(1, bytes([192, 0, 2, 77]))] if qtype(query) == 1 else [])


def failure(rcode):
    return lambda query, *_: reply(query, flags=0x8180 | rcode)


class Misbehaviour(unittest.TestCase):
    def fake(self, answer, tcp_answer=None):
        f = Fake(answer, tcp_answer)
        self.addCleanup(f.stop)
        return f

    def assert_good(self, route):
        self.assertEqual((route["status"], [h["address"] for h in route["hosts"]]),
                         ("ok", ["192.0.2.77"]), route)

    def ask(self, *servers, **kw):
        return one([str(s) for s in servers], "example.test", **kw)

    def test_lost_packets_are_asked_again(self):
        seen = set()

        def lossy(query, *_):
            key = query[12:]
            if key in seen:
                return good(query)
            seen.add(key)
            return None
        f = self.fake(lossy)
        route, counters = self.ask(f, timeout=200)
        self.assert_good(route)
        self.assertEqual((counters["timeouts"], f.udp), (3, 6))

    def test_silence_is_temporary(self):
        f = self.fake(lambda *_: None)
        route, _ = self.ask(f, timeout=100)
        self.assertEqual(route["status"], "DNS failure")
        self.assertIn("no answer from name server", route["text"])
        self.assertEqual(f.udp, 3)

    def test_foreign_id_and_question_are_passed_over(self):
        def wrong_first(query, sock, sender):
            wrong_id = bytes([query[0] ^ 1, query[1]])
            other = bytearray(query[12:question_end(query)])
            other[1] ^= 1
            evil = [(1, bytes([203, 0, 113, 1]))]
            sock.sendto(reply(query, records=evil, ident=wrong_id), sender)
            sock.sendto(reply(query, records=evil, question=bytes(other)), sender)
            sock.sendto(query, sender)  # not even a response
            sock.sendto(b"", sender)
            sock.sendto(query[:7], sender)
            return good(query)
        route, counters = self.ask(self.fake(wrong_first))
        self.assert_good(route)
        self.assertEqual(counters["timeouts"], 0)

    def test_foreign_source_is_passed_over(self):
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        stranger.bind(("127.0.0.1", 0))
        self.addCleanup(stranger.close)

        def from_elsewhere(query, _, sender):
            stranger.sendto(reply(query, records=[(1, bytes([203, 0, 113, 1]))]), sender)
            return good(query)
        self.assert_good(self.ask(self.fake(from_elsewhere))[0])

    def test_guessed_ids_lead_to_tcp(self):
        def guesses(query, sock, sender):
            for i in range(40):
                sock.sendto(reply(query, ident=bytes([query[0], query[1] ^ (i + 1)])), sender)
        f = self.fake(guesses, good)
        route, counters = self.ask(f)
        self.assert_good(route)
        self.assertEqual((f.tcp, counters["foreign"]), (3, 3))

    def test_servfail_goes_to_the_other_server(self):
        bad, ok = self.fake(failure(2)), self.fake(good)
        self.assert_good(self.ask(bad, ok)[0])

    def test_servfail_everywhere_is_temporary(self):
        a, b = self.fake(failure(2)), self.fake(failure(2))
        route, _ = self.ask(a, b)
        self.assertEqual(route["status"], "DNS failure")
        self.assertIn("SERVFAIL", route["text"])
        self.assertEqual((a.udp, b.udp), (1, 1))

    def test_dead_server_is_left_alone(self):
        dead, ok = self.fake(lambda *_: None), self.fake(good)
        routes, counters = probe([str(dead), str(ok)], *[f"d{i}.test" for i in range(20)],
                                 options=["--repeat", "2"], timeout=200)
        for r in routes:
            self.assert_good(r)
        self.assertLessEqual(dead.udp, 30)  # the first twenty questions, and a few probes

    def test_refused_port_does_not_wait(self):
        ok = self.fake(good)
        closed = f"127.0.0.1:{free_port()}"
        begun = time.monotonic()
        self.assert_good(one([closed, str(ok)], "example.test", timeout=5000)[0])
        self.assertLess(time.monotonic() - begun, 4)

    def test_server_without_edns(self):
        def old(query, *_):
            return reply(query, flags=0x8181) if query[11] else good(query)
        self.assert_good(self.ask(self.fake(old))[0])

        def older(query, *_):
            return query[:2] + struct.pack(">5H", 0x8184, 0, 0, 0, 0) if query[11] else good(query)
        self.assert_good(self.ask(self.fake(older))[0])

    def test_truncated_garbage_leads_to_tcp(self):
        f = self.fake(lambda q, *_: reply(q, flags=0x8380) + b"\xff" * 30, good)
        self.assert_good(self.ask(f)[0])
        self.assertEqual(f.tcp, 3)

    def test_truncated_and_no_tcp_is_temporary(self):
        f = self.fake(lambda q, *_: reply(q, flags=0x8380))
        self.assertEqual(self.ask(f)[0]["status"], "DNS failure")

    def test_broken_packets_lead_to_the_other_server(self):
        def broken(query, *_):
            r = bytearray(good(query))
            r[7] = 9  # records that are not there
            return bytes(r)
        self.assert_good(self.ask(self.fake(broken), self.fake(good))[0])

    def test_broken_tcp_is_temporary(self):
        for answer in (lambda q: b"", lambda q: b"\0" * 3, lambda q: reply(q)[:-2]):
            f = self.fake(lambda q, *_: reply(q, flags=0x8380), answer)
            self.assertEqual(self.ask(f, timeout=200)[0]["status"], "DNS failure")

    def test_referral_is_a_failure(self):
        def refers(query, *_):
            r = bytearray(reply(query, flags=0x8000))
            r[9] = 1
            return bytes(r) + b"\xc0\x0c" + struct.pack(">HHIH", 2, 1, 300, 2) + b"\xc0\x0c"
        route, _ = self.ask(self.fake(refers))
        self.assertEqual(route["status"], "DNS failure")
        self.assertIn("recurse", route["text"])

    def test_alias_out_of_the_packet_is_followed(self):
        def alias(query, *_):
            if query[13:14] == b"e":  # example.test -> xexample.test, and no more
                return reply(query, records=[(5, b"\x08xexample\x04test\x00")])
            return good(query)
        self.assert_good(self.ask(self.fake(alias))[0])

    def test_endless_aliases_end(self):
        def longer(query, *_):
            name = query[12:question_end(query) - 4]
            return reply(query, records=[(5, b"\x01x" + name)])
        f = self.fake(longer)
        self.assertEqual(self.ask(f)[0]["status"], "DNS failure")
        self.assertLess(f.udp, 40)

    def test_one_slow_domain_holds_up_nobody(self):
        f = self.fake(lambda q, *_: None if b"slow" in q else good(q))
        names = [f"slow{i}.test" for i in range(30)] + ["quick.test"]
        routes, _ = probe([str(f)], *names, timeout=300)
        self.assertEqual(routes[0]["name"], "quick.test")
        self.assert_good(routes[0])


if __name__ == "__main__":
    unittest.main()
