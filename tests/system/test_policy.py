#!/usr/bin/env python3
"""DANE and MTA-STS as the real processes see them: nsd with a locally signed zone behind a validating
unbound, HTTPS servers with certificates of an authority made here, asked through pmtactl's verb."""
import http.server
import json
import os
import shutil
import ssl
import subprocess
import threading
import time
import unittest

from pmta import Directory, Pmta, wait_until
from test_resolver import NSD, free_port, probe

UNBOUND = shutil.which("unbound") or "/usr/sbin/unbound"
EE = "3 1 1 " + "ab" * 32
TA = "2 0 2 " + "cd" * 64

# In every zone: a domain with two hosts, one of which has records.
ZONE = """$ORIGIN {origin}.
$TTL 300
@ SOA ns root 1 3600 600 86400 2
@ NS ns
ns A 127.0.0.1
@ MX 10 mx1
@ MX 20 mx2
mx1 A 127.0.0.1
mx2 A 127.0.0.2
_25._tcp.mx1 TLSA {ee}
_2525._tcp.mx1 TLSA {ta}
"""

# Only where it is signed.
SIGNED = """unusable MX 10 mx3
mx3 A 127.0.0.3
_25._tcp.mx3 TLSA 1 1 1 {digest}
_25._tcp.mx3 TLSA 3 1 1 abcd
alias MX 10 cname
cname CNAME mx1
implicit A 127.0.0.5
_25._tcp.implicit TLSA {ee}
viainsecure MX 10 out
out CNAME mx1.plain.test.
_25._tcp.out TLSA {ta}
elsewhere MX 10 mx1.plain.test.
next CNAME @
forged MX 10 mx9
forged MX 20 mx1
mx9 A 127.0.0.9
_25._tcp.mx9 TLSA 3 1 1 {forged}
"""


def run(*args, cwd=None):
    done = subprocess.run(args, cwd=cwd, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise AssertionError(f"{args} failed: {done.stderr}{done.stdout}")
    return done.stdout.strip()


class Names:
    """nsd with zones signed.test (signed), expired.test (its signatures are over), plain.test, and an
    unbound in front that validates, and one that does not."""

    def __init__(self, directory, policy_hosts):
        self.dir = directory.sub("dns")
        self.nsd_port, self.port, self.blind_port = free_port(), free_port(), free_port()
        self.anchors = ""
        self.text = {}
        self.zone("signed.test", SIGNED, sign=())
        self.zone("expired.test", "", sign=("-i", "20200101000000", "-e", "20200201000000"))
        self.zone("plain.test", policy_hosts)
        self.processes = []
        self.start_nsd()
        self.start_unbound(self.port, True)
        self.start_unbound(self.blind_port, False)

    def path(self, name):
        return os.path.join(self.dir, name)

    def zone(self, origin, more, sign=None):
        values = {"origin": origin, "ee": EE, "ta": TA, "digest": "ef" * 32,
                  "forged": "11" * 32}
        self.text[origin] = (ZONE + more).format(**values)
        with open(self.path(origin), "w") as f:
            f.write(self.text[origin])
        if sign is None:
            return
        key = run("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", origin, cwd=self.dir)
        run("ldns-signzone", *sign, "-f", self.path(origin + ".signed"), self.path(origin), key,
            cwd=self.dir)
        with open(self.path(origin + ".signed")) as f:  # one record is not what was signed
            signed = f.read().replace("11" * 32, "12" * 32)
        with open(self.path(origin), "w") as f:
            f.write(signed)
        with open(self.path(key + ".key")) as f:
            self.anchors += f"  trust-anchor: \"{' '.join(f.read().split(';')[0].split())}\"\n"

    def start(self, name, *args):
        with open(self.path(name + ".out"), "wb") as log:
            self.processes.append(subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log,
                                                   stderr=log))

    def start_nsd(self):
        d = self.dir
        zones = "".join(f"zone:\n  name: {z}\n  zonefile: {z}\n" for z in self.text)
        with open(self.path("nsd.conf"), "w") as f:
            f.write(f"""server:
  ip-address: 127.0.0.1@{self.nsd_port}
  username: ""
  chroot: ""
  server-count: 1
  zonesdir: "{d}"
  database: ""
  zonelistfile: "{d}/zone.list"
  xfrdfile: "{d}/xfrd.state"
  xfrdir: "{d}"
  pidfile: "{d}/nsd.pid"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
{zones}""")
        self.start("nsd", NSD, "-d", "-c", self.path("nsd.conf"))

    def start_unbound(self, port, validates):
        d = self.dir
        conf = self.path(f"unbound-{port}.conf")
        stubs = "".join(f"stub-zone:\n  name: {z}\n  stub-addr: 127.0.0.1@{self.nsd_port}\n"
                        for z in self.text)
        modules = "validator iterator" if validates else "iterator"
        with open(conf, "w") as f:
            f.write(f"""server:
  interface: 127.0.0.1@{port}
  username: ""
  chroot: ""
  directory: "{d}"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  do-not-query-localhost: no
  local-zone: "test." nodefault
  module-config: "{modules}"
  num-threads: 1
  cache-max-ttl: 0
  cache-max-negative-ttl: 0
  domain-insecure: "plain.test"
{self.anchors}remote-control:
  control-enable: no
{stubs}""")
        self.start(f"unbound-{port}", UNBOUND, "-d", "-c", conf)

        def answers():
            routes, _ = probe([f"127.0.0.1:{port}"], "plain.test")
            return routes[0]["status"] == "ok"
        wait_until(answers, "unbound to answer")

    def change(self, origin, old, new):
        """Another text of an unsigned zone, and nsd started again with it."""
        self.text[origin] = self.text[origin].replace(old, new)
        with open(self.path(origin), "w") as f:
            f.write(self.text[origin])
        nsd = self.processes.pop(0)
        nsd.terminate()
        nsd.wait(10)
        self.start_nsd()
        self.processes.insert(0, self.processes.pop())

    def stop(self):
        for p in self.processes:
            p.terminate()
            p.wait(10)


class Authority:
    """Makes certificates with openssl."""

    def __init__(self, directory):
        self.dir = directory.sub("ca")
        self.ca = self.path("ca.pem")
        with open(self.path("ca.cnf"), "w") as f:
            f.write("[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\n"
                    "default_md=sha256\npolicy=p\nunique_subject=no\ncopy_extensions=copy\n"
                    "[p]\ncommonName=supplied\n")
        open(self.path("index"), "w").close()
        with open(self.path("serial"), "w") as f:
            f.write("1000\n")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", self.path("ca.key"), "-out", self.ca, "-days", "30", "-subj",
            "/CN=Test authority")
        os.chmod(self.ca, 0o644)

    def path(self, name):
        return os.path.join(self.dir, name)

    def context(self, name, expired=False):
        csr, key, cert = (self.path(f"{name}{x}") for x in (".csr", ".key", ".pem"))
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", key, "-out", csr, "-subj", "/CN=x", "-addext",
            f"subjectAltName=DNS:{name}")
        dates = ("200101000000Z", "200201000000Z") if expired else ("240101000000Z", "491231000000Z")
        run("openssl", "ca", "-batch", "-config", "ca.cnf", "-cert", self.ca, "-keyfile",
            self.path("ca.key"), "-startdate", dates[0], "-enddate", dates[1], "-in", csr, "-out",
            cert, "-notext", cwd=self.dir)
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(cert, key)
        return ctx


def policy(mode="enforce", mx="mx1.plain.test", max_age=86400):
    return f"version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: {max_age}\r\n"


class Web:
    """An HTTPS server for mta-sts.* names, by SNI: each has a certificate and an answer of its own."""

    def __init__(self, authority):
        self.answers = {}  # host: (status, {header: value}, body)
        self.contexts = {}
        self.requests = []
        self.hold = threading.Event()
        self.hold.set()
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                host = self.headers["Host"].split(":")[0]
                web.requests.append((host, self.path))
                if host.startswith("mta-sts.slow."):
                    web.hold.wait(30)
                status, headers, body = web.answers.get(host, (404, {}, "no"))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def get_request(self):
                sock, addr = super().get_request()
                sock.settimeout(30)
                return web.outer.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), addr

            def handle_error(self, *_):
                pass

        self.outer = authority.context("fallback.test")
        self.outer.sni_callback = self.choose
        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def choose(self, sock, name, _):
        if name in self.contexts:
            sock.context = self.contexts[name]

    def serve(self, host, context, body=None, status=200, headers=None):
        self.contexts[host] = context
        self.answers[host] = (status, headers or {"Content-Type": "text/plain"},
                              policy() if body is None else body)

    def count(self, host):
        return sum(h == host for h, _ in self.requests)

    def stop(self):
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


# Domains below plain.test with an MTA-STS record; the two last have odd ones.
POLICY_DOMAINS = ("good", "testing", "none", "oldcert", "wrongname", "redirect", "large", "type",
                  "broken", "changes", "down", "slow", "missing")
POLICY_HOSTS = "".join(f"{d} MX 10 mx1\n_mta-sts.{d} TXT \"v=STSv1; id=1{d};\"\nmta-sts.{d} A 127.0.0.1\n"
                       for d in POLICY_DOMAINS) + """two MX 10 mx1
_mta-sts.two TXT "v=STSv1; id=1;"
_mta-sts.two TXT "v=STSv1; id=2;"
noid MX 10 mx1
_mta-sts.noid TXT "v=STSv1;"
texts TXT "one " "record" "" " in pieces"
texts TXT "another"
back PTR mx1
"""


class Fixture(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for program in (NSD, UNBOUND):
            if not os.path.exists(program):
                raise unittest.SkipTest(f"{program} is not installed")
        cls.dir = Directory()
        cls.addClassCleanup(cls.dir.remove)
        cls.names = Names(cls.dir, POLICY_HOSTS)
        cls.addClassCleanup(cls.names.stop)
        authority = Authority(cls.dir)
        cls.authority = authority
        cls.web = Web(authority)
        cls.addClassCleanup(cls.web.stop)
        for d in POLICY_DOMAINS:
            host = f"mta-sts.{d}.plain.test"
            if d != "wrongname":
                cls.web.serve(host, authority.context(host, expired=d == "oldcert"))
        cls.answer("testing", policy("testing", "*.plain.test"))
        cls.answer("none", policy("none"))
        cls.answer("missing", "not here", 404)
        cls.answer("redirect", "", 301, {"Location": "https://mta-sts.good.plain.test/"
                                         ".well-known/mta-sts.txt", "Content-Type": "text/plain"})
        cls.answer("large", policy() + "x: y\r\n" * 12000)
        cls.answer("type", policy(), 200, {"Content-Type": "text/html"})
        cls.answer("broken", "version: STSv1\r\nmode: sometimes\r\n")
        cls.pmta = Pmta(cls.dir, 1, domain="smtp-hosts = \"\"\n", pmta=f"""
name-server = 127.0.0.1:{cls.names.port}
name-server-validates = yes
dns-timeout = 3s
mta-sts-ca-file = {authority.ca}
mta-sts-port = {cls.web.port}
[domain otherport.signed.test]
smtp-hosts = lookup-mx:signed.test, mx1.signed.test:25
smtp-port = 2525
[domain off.signed.test]
queue-to = signed.test
use-dane = no
use-mta-sts = no
[domain asked.plain.test]
queue-to = good.plain.test
use-dane = no
use-mta-sts = no
[domain unchecked.signed.test]
queue-to = signed.test
tls-verify = none
use-dane = no
""")
        cls.pmta.start()
        cls.addClassCleanup(cls.pmta.kill)

    @classmethod
    def answer(cls, domain, body, status=200, headers=None):
        cls.web.answers[f"mta-sts.{domain}.plain.test"] = (
            status, headers or {"Content-Type": "text/plain; charset=utf-8"}, body)

    def resolve(self, domain, pipe="bulk", **options):
        objects = self.pmta.admin(f"resolve pipe/{pipe} " + json.dumps({"domain": domain, **options}))
        return [o for o in objects if "domain" in o]

    def one(self, domain, **options):
        objects = self.resolve(domain, **options)
        self.assertEqual(len(objects), 1, objects)
        return objects[0]

    def dane(self, domain):
        o = self.one(domain)
        self.assertEqual(o["status"], "ok", o)
        return {h["host"]: h["dane"] for h in o["hosts"]}

    def sts(self, domain):
        o = self.one(domain + ".plain.test")
        self.assertEqual(o["status"], "ok", o)
        return o.get("mta_sts")



class Policies(Fixture):
    # --- DANE ---

    def test_validated_records_are_used(self):
        o = self.one("signed.test")
        self.assertTrue(o["mx_secure"])
        self.assertEqual([(h["host"], h["dane"]) for h in o["hosts"]],
                         [("mx1.signed.test", "usable"), ("mx2.signed.test", "none")])
        self.assertEqual(o["hosts"][0]["tlsa"],
                         [{"usage": 3, "selector": 1, "matching": 1, "data": "ab" * 32}])
        self.assertNotIn("tlsa_base", o["hosts"][0])

    def test_unsigned_zone_has_no_dane(self):
        o = self.one("plain.test")
        self.assertFalse(o["mx_secure"])
        self.assertEqual({h["dane"] for h in o["hosts"]}, {"none"})

    def test_expired_signatures_are_a_failure_of_the_dns(self):
        o = self.one("expired.test")
        self.assertEqual((o["status"], o.get("hosts")), ("DNS failure", []), o)

    def test_forged_records_make_the_host_unusable(self):
        self.assertEqual(self.dane("forged.signed.test"),
                         {"mx9.signed.test": "failed", "mx1.signed.test": "usable"})

    def test_records_of_no_use(self):
        self.assertEqual(self.dane("unusable.signed.test"), {"mx3.signed.test": "unusable"})

    def test_alias_of_a_host(self):
        o = self.one("alias.signed.test")
        self.assertEqual(o["hosts"][0]["dane"], "usable")
        self.assertEqual(o["hosts"][0]["tlsa_base"], "mx1.signed.test")

    def test_secure_alias_to_an_insecure_host(self):
        o = self.one("viainsecure.signed.test")
        self.assertEqual((o["hosts"][0]["dane"], o["hosts"][0]["tlsa"][0]["usage"]), ("usable", 2))

    def test_insecure_host_of_a_secure_domain(self):
        o = self.one("elsewhere.signed.test")
        self.assertEqual((o["mx_secure"], o["hosts"][0]["dane"]), (True, "none"))

    def test_domain_without_mx(self):
        self.assertEqual(self.dane("implicit.signed.test"), {"implicit.signed.test": "usable"})

    def test_smtp_hosts_and_their_port(self):
        mx, host = self.resolve("otherport.signed.test")
        self.assertEqual((mx["kind"], mx["port"], mx["hosts"][0]["tlsa"][0]["usage"]),
                         ("mx", 2525, 2))
        self.assertEqual((host["kind"], host["port"], host["hosts"][0]["tlsa"][0]["usage"]),
                         ("host", 25, 3))

    def test_switched_off(self):
        o = self.one("off.signed.test")
        self.assertEqual((o["queue_to"], o["use_dane"]), ("signed.test", False))
        self.assertEqual({h["dane"] for h in o["hosts"]}, {"none"})

    def test_asked_for_where_it_is_switched_off(self):
        """The options of `pmtactl resolve`: what sending would ask for with the directives on."""
        o = self.one("off.signed.test", use_dane=True)
        self.assertEqual((o["use_dane"], o["with_dane"], o.get("with_mta_sts")), (False, True, None))
        self.assertEqual([(h["dane"], len(h["tlsa"])) for h in o["hosts"]], [("usable", 1), ("none", 0)])
        self.assertEqual([h["asks"] for h in o["hosts"]],
                         ["TLS, and a certificate that a TLSA record matches", "nothing"])

        o = self.one("asked.plain.test", use_dane=True)
        self.assertEqual((o.get("mta_sts"), o["hosts"][0]["asks"]), (None, "nothing"))
        o = self.one("asked.plain.test", use_mta_sts=True)
        self.assertEqual((o["use_mta_sts"], o["with_mta_sts"], o.get("with_dane")), (False, True, None))
        self.assertEqual((o["mta_sts"]["mode"], o["hosts"][0]["in_policy"]), ("enforce", True))
        self.assertEqual(o["hosts"][0]["asks"], "TLS, and a valid certificate for mx1.plain.test")

        # nothing stays of the question, and where the directives are on it changes nothing
        self.assertNotIn("mta_sts", self.one("asked.plain.test"))
        o = self.one("signed.test", use_dane=True)
        self.assertEqual((o["use_dane"], o.get("with_dane")), (True, None))
        # tls-verify = none still counts: the records are shown, and are not asked for
        o = self.one("unchecked.signed.test", use_dane=True)
        self.assertEqual([(h["dane"], h["asks"]) for h in o["hosts"]],
                         [("usable", "nothing"), ("none", "nothing")])

    # --- MTA-STS ---

    def test_policy_is_fetched_once(self):
        sts = self.sts("good")
        self.assertEqual((sts["mode"], sts["id"], sts["mx"], sts["max_age_s"], sts["failure"]),
                         ("enforce", "1good", ["mx1.plain.test"], 86400, ""))
        self.assertEqual(self.resolve("good.plain.test", "transactional")[0]["mta_sts"], sts)
        self.assertEqual([p for h, p in self.web.requests if h == "mta-sts.good.plain.test"],
                         ["/.well-known/mta-sts.txt"])

    def test_modes(self):
        self.assertEqual(self.sts("testing")["mode"], "testing")
        self.assertEqual(self.sts("none")["mode"], "none")

    def test_what_is_no_policy(self):
        for domain, reason in (
                ("oldcert", "sts-webpki-invalid: .*expired"),
                ("wrongname", "sts-webpki-invalid: .*(name|match)"),
                ("redirect", "sts-policy-fetch-error: HTTP status 301"),
                ("large", "sts-policy-fetch-error: .*64 KiB"),
                ("type", "sts-policy-fetch-error: .*text/html"),
                ("missing", "sts-policy-fetch-error: HTTP status 404"),
                ("broken", "sts-policy-invalid: mode 'sometimes'")):
            with self.subTest(domain):
                sts = self.sts(domain)
                self.assertEqual(sts["mode"], "none")
                self.assertRegex(sts["failure"], reason)

    def test_odd_records_are_none(self):
        for domain in ("two", "noid"):
            self.assertIsNone(self.sts(domain))
            self.assertEqual(self.web.count(f"mta-sts.{domain}.plain.test"), 0)

    def test_slow_server_holds_up_nobody(self):
        self.web.hold.clear()
        begun = time.monotonic()
        o = self.one("slow.plain.test")
        took = time.monotonic() - begun
        self.assertEqual(o["status"], "ok")
        self.assertNotIn("mta_sts", o)
        self.assertTrue(2 < took < 8, took)
        self.assertLessEqual(o["ttl_s"], 10)
        self.web.hold.set()
        wait_until(lambda: (self.sts("slow") or {}).get("mode") == "enforce", "the policy", 30)

    # --- records ---

    def ask(self, kind, name, port=None):
        answers, _ = probe([f"127.0.0.1:{port or self.names.port}"], name,
                           options=["--validates", "--ask", kind])
        return answers[0]

    def test_records_of_each_type(self):
        a = self.ask("TXT", "texts.plain.test")
        self.assertEqual({bytes.fromhex(x) for x in a["records"]},
                         {b"one record in pieces", b"another"})
        self.assertFalse(a["secure"])
        self.assertEqual(self.ask("PTR", "back.plain.test")["records"], [b"mx1.plain.test".hex()])
        self.assertEqual(self.ask("A", "mx1.plain.test")["records"], ["7f000001"])
        self.assertEqual(set(self.ask("MX", "signed.test")["records"]),
                         {"000a" + b"mx1.signed.test".hex(), "0014" + b"mx2.signed.test".hex()})
        t = self.ask("TLSA", "_25._tcp.mx1.signed.test")
        self.assertEqual((t["records"], t["secure"], t["status"]), (["030101" + "ab" * 32], True, 0))

    def test_no_records(self):
        self.assertEqual(self.ask("TXT", "mx1.plain.test")["status"], 1)
        self.assertEqual(self.ask("TXT", "nobody+x=y.plain.test")["status"], 2)
        self.assertEqual(self.ask("TXT", "a..b")["status"], 2)
        self.assertEqual(self.ask("TXT", "expired.test")["status"], 3)

    def test_server_that_does_not_validate(self):
        t = self.ask("TLSA", "_25._tcp.mx1.signed.test", self.names.blind_port)
        self.assertEqual((t["status"], t["secure"]), (0, False))


class Changes(Fixture):
    """What happens when something changes; a daemon of its own."""

    def test_id_server_and_restart(self):
        host = "mta-sts.changes.plain.test"
        self.assertEqual(self.sts("changes")["mode"], "enforce")
        self.assertEqual(self.sts("down")["mode"], "enforce")
        self.answer("changes", policy("testing"))
        self.answer("down", "", 503)
        for d in ("changes", "down"):
            self.names.change("plain.test", f"id=1{d};", f"id=2{d};")

        # a restart: everything is asked anew, the policies are those of before
        stored = os.path.join(self.pmta.spool, "@mta-sts", "changes.plain.test")
        wait_until(lambda: os.path.exists(stored), "the stored policy")
        self.assertEqual(self.pmta.stop(), 0)
        self.pmta.start()
        sts = self.sts("changes")
        self.assertEqual((sts["mode"], sts["id"]), ("testing", "2changes"))
        self.assertEqual(self.web.count(host), 2)

        # the server is down: the old policy holds
        sts = self.sts("down")
        self.assertEqual((sts["mode"], sts["id"]), ("enforce", "1down"))
        self.assertIn("HTTP status 503", sts["failure"])

        # the record is gone: the policy stays
        self.names.change("plain.test", '_mta-sts.down TXT "v=STSv1; id=2down;"\n', "")
        self.assertEqual(self.pmta.stop(), 0)
        self.pmta.start()
        self.assertEqual(self.sts("down")["mode"], "enforce")

    def test_no_ad_bit_no_dane(self):
        """The same names through a server that does not validate, and without trust in one that does."""
        self.assertEqual(self.dane("signed.test")["mx1.signed.test"], "usable")
        for server, trust in ((self.names.blind_port, "yes"), (self.names.port, "no")):
            self.pmta.write_config("20-dns.conf", "[pmta]\nname-server = \"\"\n"
                                   f"name-server = 127.0.0.1:{server}\n"
                                   f"name-server-validates = {trust}\n")
            self.assertEqual(self.pmta.stop(), 0)
            self.pmta.start()
            o = self.one("signed.test")
            self.assertEqual((o["mx_secure"], {h["dane"] for h in o["hosts"]}), (False, {"none"}))


if __name__ == "__main__":
    unittest.main()
