#!/usr/bin/env python3
"""pmtactl against an admin server made here: the line it sends, what it shows, how it ends."""
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

PMTACTL = os.environ.get("PMTACTL", "build/tools/ctl/pmtactl")
SOURCE = os.environ.get("PMTA_SOURCE", os.path.join(os.path.dirname(__file__), "..", ".."))
DONE = {"end": True, "ok": True}
NOW = time.time() * 1000


class Server:
    """Answers one connection after the other with the objects (or raw bytes) given."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="pmtactl-test-")
        self.path = os.path.join(self.dir, "admin.sock")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.requests = []
        self.answer = [DONE]
        self.release = threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with conn, conn.makefile("rb") as lines:
                self.requests.append(lines.readline().decode())
                try:
                    for item in self.answer:
                        if item == "wait":
                            self.release.wait(30)
                        elif isinstance(item, bytes):
                            conn.sendall(item)
                        else:
                            conn.sendall(json.dumps(item).encode() + b"\n")
                except OSError:
                    pass

    def close(self):
        self.release.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)
        shutil.rmtree(self.dir)


STATUS = [
    {"process": "root", "pid": 100, "uptime_s": 273600, "version": "0.1.0", "generation": 3,
     "config_dir": "config.d"},
    {"process": "root", "child": "pipe/bulk", "pid": 101, "state": "running", "restarts": 0,
     "uptime_s": 273599},
    {"process": "root", "child": "receiver/0", "pid": 0, "state": "backoff", "restarts": 4,
     "uptime_s": 0},
    {"process": "pipe/bulk", "state": "paused", "queued": 1234567, "connections": 20,
     "received": 2000000, "delivered": 765433, "deferred": 12, "bounced": 0, "uptime_s": 273599},
    {"process": "receiver/0", "sessions": 4, "accepted": 9, "messages": 1000, "recipients": 2000,
     "rejected": 1, "tls": 0, "buffered_bytes": 0, "uptime_s": 12.5, "draining": False},
    {"process": "receiver/1", "sessions": 3, "accepted": 8, "messages": 500, "recipients": 600,
     "rejected": 0, "tls": 0, "buffered_bytes": 0, "uptime_s": 12.5, "draining": False},
    {"process": "resolver", "requests": 200, "from_cache": 150, "pending": 2, "timeouts": 1,
     "servers": [{"address": "127.0.0.1:53", "rtt_ms": 0.42, "failures": 0},
                 {"address": "127.0.0.2:53", "rtt_ms": 1.0, "failures": 5}]},
    DONE,
]

WHY = {"process": "pipe/bulk", "pipe": "bulk", "id": "0123456789abc", "rcpts": [
    {"rcpt": 0, "address": "a@example.com", "queue": "example.com/mta1",
     "waits_for": "its next attempt, after 3 that did not succeed",
     "because": "the peer said: 451 4.7.1 try later", "where": "config.d/30-domains.conf:12",
     "next_ms": int(NOW + 600000), "next": "next attempt (retry-after) in 10m"},
    {"rcpt": 1, "address": "b@example.net", "queue": "example.net/mta1",
     "waits_for": "an operator: pipe 'bulk' is paused", "because": "", "where": "", "next_ms": 0,
     "next": "after 'pmtactl resume pipe bulk'"},
    {"rcpt": 2, "address": "c@example.net", "queue": "example.net/mta1",
     "waits_for": "an operator: pipe 'bulk' is paused", "because": "", "where": "", "next_ms": 0,
     "next": "after 'pmtactl resume pipe bulk'"},
]}


class Base(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.close)

    def run_ctl(self, *words, env=None, stdin=None, use_socket=True):
        environment = {k: v for k, v in os.environ.items() if k != "PMTA_ADMIN_SOCKET"}
        if use_socket:
            environment["PMTA_ADMIN_SOCKET"] = self.server.path
        environment.update(env or {})
        return subprocess.run([PMTACTL, *words], env=environment, input=stdin,
                              stdin=subprocess.DEVNULL if stdin is None else None,
                              capture_output=True, text=True, timeout=60)

    def ask(self, *words, answer=(DONE,), status=0):
        """Standard output of a command that this is answered to; its status is checked."""
        self.server.answer = list(answer)
        done = self.run_ctl(*words)
        self.assertEqual(done.returncode, status, done)
        if status == 0:
            self.assertEqual(done.stderr, "")
        return done.stdout if status == 0 else done.stderr


class Requests(Base):
    TABLE = [
        ("status", "status * {}"),
        ("show pipes", "show-pipes * {}"),
        ("show pipes --pipe bulk", "show-pipes pipe/bulk {}"),
        ("show queues", "show-queues * {}"),
        ("show queues example.com/mta1 --limit 5 --pipe bulk",
         'show-queues pipe/bulk {"queue":"example.com/mta1","limit":5}'),
        ("--limit=7 show queues", 'show-queues * {"limit":7}'),
        ("show connections", "show-connections * {}"),
        ("show vmtas", "show-vmtas * {}"),
        ("pause pipe bulk", "pause-pipe pipe/bulk {}"),
        ("pause pipe *", "pause-pipe * {}"),
        ("resume pipe bulk", "resume-pipe pipe/bulk {}"),
        ("pause queue example.com/*", 'pause-queue * {"queue":"example.com/*"}'),
        ("resume queue */mta1 --pipe bulk", 'resume-queue pipe/bulk {"queue":"*/mta1"}'),
        ("show actions", "show-actions * {}"),
        ("show actions example.com --pipe bulk", 'show-actions pipe/bulk {"queue":"example.com"}'),
        ("set queue */mta1 --mode=backoff", 'set-queue * {"queue":"*/mta1","mode":"backoff"}'),
        ("disable source 192.0.2.1 a.example/mta1 --reenable-after 2h --pipe bulk",
         'disable-source pipe/bulk {"ip":"192.0.2.1","queue":"a.example/mta1",'
         '"reenable_after":"2h"}'),
        ("enable source ::1 *", 'enable-source * {"ip":"::1","queue":"*"}'),
        ("schedule example.com", 'schedule * {"queue":"example.com"}'),
        ("delete --queue example.com/mta1 --dry-run",
         'delete * {"queue":"example.com/mta1","dry_run":true}'),
        ("delete --id 0123456789abc --job j1 --rcpt *@a.example --sender s@b.example --pipe bulk",
         'delete pipe/bulk {"id":"0123456789abc","job":"j1","rcpt":"*@a.example",'
         '"sender":"s@b.example"}'),
        ("reload", "reload * {}"),
        ("ledger", "ledger * {}"),
        ("ledger --pipe bulk", "ledger pipe/bulk {}"),
        ("config explain gmail.com", 'config-explain * {"domain":"gmail.com"}'),
        ("config explain gmail.com --vmta mta1 --pipe bulk",
         'config-explain pipe/bulk {"domain":"gmail.com","vmta":"mta1"}'),
        ("resolve example.com", 'resolve * {"domain":"example.com"}'),
        ("resolve example.com --vmta mta1 --pipe bulk",
         'resolve pipe/bulk {"domain":"example.com","vmta":"mta1"}'),
        ("resolve example.com --use-dane --use-mta-sts",
         'resolve * {"domain":"example.com","use_dane":true,"use_mta_sts":true}'),
        ("debug delivery dns", 'debug * {"subsystems":"delivery,dns"}'),
        ("debug none", 'debug * {"subsystems":"none"}'),
        ("shutdown", "shutdown * {}"),
    ]

    def test_line_for_each_command(self):
        for typed, line in self.TABLE:
            with self.subTest(typed):
                self.ask(*typed.split())
                self.assertEqual(self.server.requests[-1], line + "\n")

    def test_line_for_a_message(self):
        for words, verb in (("show message", "show-message"), ("why", "why")):
            self.ask(*words.split(), "0123456789abc.2", answer=[WHY, DONE])
            self.assertEqual(self.server.requests[-1], verb + ' * {"id":"0123456789abc.2"}\n')

    def test_quotes_and_line_ends_stay_inside_the_json(self):
        self.ask("delete", "--rcpt", 'a"\n\\b@example.com')
        self.assertEqual(self.server.requests[-1],
                         'delete * {"rcpt":"a\\"\\n\\\\b@example.com"}\n')

    def test_socket_option_wins_over_the_environment(self):
        self.assertEqual(self.run_ctl("-s", "/nonexistent/x", "status").returncode, 2)
        done = self.run_ctl("-s", self.server.path, "status",
                            env={"PMTA_ADMIN_SOCKET": "/nonexistent/x"})
        self.assertEqual(done.returncode, 0)
        done = self.run_ctl("status", "-s" + self.server.path, use_socket=False)
        self.assertEqual(done.returncode, 0)


class Usage(Base):
    TABLE = [
        ("staus", "unknown command 'staus', did you mean 'status'?"),
        ("show qeues", "unknown command 'show qeues', did you mean 'show queues'?"),
        ("resume pip bulk", "unknown command 'resume pip', did you mean 'resume pipe'?"),
        ("show", "'show' what? One of: pipes, queues, adaptive, warmup, limits, jobs, connections, vmtas, tls-report, message, actions, events, unclassified, inbound"),
        ("frobnicate", "unknown command 'frobnicate', try 'pmtactl help'"),
        ("status --jsn", "unknown option '--jsn', did you mean '--json'?"),
        ("status -x", "unknown option '-x', try 'pmtactl help'"),
        ("status --pipe bulk", "'status' has no option '--pipe', see 'pmtactl help status'"),
        ("show queues --limit many", "option '--limit' wants a number, not 'many'"),
        ("show queues --limit", "option '--limit' wants N after it"),
        ("show queues --json=yes", "option '--json' takes no value"),
        ("show queues --pipe a --pipe b", "option '--pipe' is given twice"),
        ("show queues a/b c/d", "'show queues' does not know what to do with 'c/d'"),
        ("why", "'why' wants ID, see 'pmtactl help why'"),
        ("pause pipe", "'pause pipe' wants PIPE, see 'pmtactl help pause pipe'"),
        ("pause pipe a/b", "'a/b' is no name of a pipe"),
        ("delete", "say what to delete: --queue, --id, --job, --rcpt or --sender "
                   "(--queue '*' is everything)"),
        ("delete --dry-run", "say what to delete: --queue, --id, --job, --rcpt or --sender "
                             "(--queue '*' is everything)"),
        ("debug delivry", "unknown subsystem 'delivry', did you mean 'delivery'?"),
        ("debug none dns", "'none' stands alone"),
        ("help staus", "unknown command 'staus', did you mean 'status'?"),
    ]

    def test_one_line_and_status_2(self):
        for typed, message in self.TABLE:
            with self.subTest(typed):
                done = self.run_ctl(*typed.split())
                self.assertEqual((done.returncode, done.stdout, done.stderr),
                                 (2, "", f"pmtactl: {message}\n"))
        self.assertEqual(self.server.requests, [])

    def test_a_pipe_name_cannot_break_the_line(self):
        for name in ("bulk {}", "bulk\nshutdown * {}", "a\tb"):
            self.assertEqual(self.run_ctl("ledger", "--pipe", name).returncode, 2)
        self.assertEqual(self.server.requests, [])

    def test_no_command_is_usage(self):
        done = self.run_ctl()
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("usage: pmtactl", done.stderr)

    def test_help_of_everything(self):
        page = self.run_ctl("help")
        self.assertEqual(page.returncode, 0)
        self.assertEqual(page.stdout, self.run_ctl("--help").stdout)
        self.assertLessEqual(max(map(len, page.stdout.splitlines())), 79)
        one = self.run_ctl("help", "delete").stdout
        self.assertIn("usage: pmtactl delete [--pipe PIPE]", one)
        self.assertIn("--dry-run", one)
        self.assertEqual(one, self.run_ctl("delete", "--help").stdout)

    def test_version(self):
        self.assertRegex(self.run_ctl("version").stdout, r"^pmtactl \d+\.\d+\.\d+\n$")
        self.assertEqual(self.run_ctl("--version").stdout, self.run_ctl("version").stdout)


class Rendering(Base):
    def test_status(self):
        page = self.ask("status", answer=STATUS)
        lines = page.splitlines()
        self.assertEqual(lines[0], "pmtad 0.1.0  up 3d 4h  pid 100  configuration 3 from config.d")
        self.assertEqual(lines[2].split(), ["PROCESS", "STATE", "PID", "UPTIME", "RESTARTS"])
        self.assertEqual(lines[3].split(), ["pipe/bulk", "running", "101", "3d", "3h", "0"])
        self.assertEqual(lines[4].split(), ["receiver/0", "backoff", "-", "0s", "4"])
        self.assertEqual(lines[6].split(), ["PIPE", "STATE", "QUEUED", "CONNECTIONS", "RECEIVED",
                                            "DELIVERED", "DEFERRED", "BOUNCED"])
        self.assertEqual(lines[7].split(), ["bulk", "paused", "1,234,567", "20", "2,000,000",
                                            "765,433", "12", "0"])
        self.assertEqual(lines[9], "receivers  2 running, 7 sessions open, 17 accepted, "
                                   "1,500 messages, 2,600 recipients, 1 rejected")
        self.assertEqual(lines[10], "resolver   running, 200 requests (75% from the cache), "
                                    "2 waiting, 1 timeouts; asks 127.0.0.1:53 (0.4 ms), "
                                    "127.0.0.2:53 (does not answer)")
        self.assertEqual(lines[6].index("QUEUED") + 6, lines[7].index("1,234,567") + 9)

    def test_fields_that_are_absent_are_left_out(self):
        page = self.ask("status", answer=[{"process": "root", "pid": 7},
                                          {"process": "pipe/bulk", "queued": 3}, DONE])
        self.assertEqual(page, "pmtad  pid 7\n\nPIPE  QUEUED\nbulk       3\n")

    def test_queues_are_merged_sorted_and_limited(self):
        rows = [{"process": f"pipe/{p}", "pipe": p, "queue": f"d{n}.example/mta1", "queued": n,
                 "ready": n, "deferred": 0, "connections": 2, "max_connections": 2,
                 "state": "active", "next_ms": int(NOW + 250_000 + 5000) if n == 7 else 0,
                 "oldest_ms": int(NOW - 3_725_000)} for p, n in
                (("a", 9), ("a", 3), ("b", 7), ("b", 1))]
        rows[2]["last_text"] = "451 4.7.1 \x1b[31mlater\nplease"
        page = self.ask("show", "queues", "--limit", "3", answer=rows + [DONE])
        lines = page.splitlines()
        self.assertEqual([x.split()[1] for x in lines[1:]],
                         ["d9.example/mta1", "d7.example/mta1", "d3.example/mta1"])
        self.assertIn("2/2", lines[1])
        self.assertIn("1h 2m", lines[1])
        self.assertRegex(lines[2], r"in 4m \d+s  451 4\.7\.1 \?\[31mlater please$")
        self.assertEqual(self.ask("show", "queues"), "no queue holds mail\n")

    def test_pipes(self):
        pipe = {"process": "pipe/bulk", "pipe": "bulk", "state": "running", "queued": 5,
                "queues": 2, "connections": 3, "max_connections": 50, "delivered": 1, "deferred": 2,
                "bounced": 3, "rate_in_1m": 60, "rate_out_1m": 59, "spool_bytes": 1610612736,
                "spool_writable": False, "spool_trouble": "No space left on device",
                "quarantined": 2, "oldest_ms": 0}
        page = self.ask("show", "pipes", answer=[pipe, DONE])
        self.assertIn("1.5 GiB", page)
        self.assertIn("3/50", page)
        self.assertIn("spool of bulk cannot be written, mail is refused for now: "
                      "No space left on device\n", page)
        self.assertIn("spool of bulk has 2 damaged records in quarantine\n", page)
        self.assertNotIn("OLDEST", page)

    def test_actions(self):
        action = {"process": "pipe/bulk", "pipe": "bulk", "id": "bulk.12", "kind": "rate",
                  "queue": "a.example/mta1", "percent": 50, "since_ms": int(NOW - 65000),
                  "until_ms": 0, "times": 1234, "by": "reply", "list": "blocking",
                  "file": "config.d/30-rules.conf", "line": 7, "regex": "4\\.7\\.0",
                  "reply": "421 4.7.0 slow down"}
        changes = {"process": "pipe/bulk", "pipe": "bulk", "queue": "a.example/mta1",
                   "mode_changes": [{"at_ms": int(NOW), "mode": "backoff", "reason": "an operator"}]}
        page = self.ask("show", "actions", "a.example", answer=[action, changes, DONE])
        row = page.splitlines()[1]
        for text in ("bulk.12", "a.example/mta1", "rate 50%", "until cancelled", "1,234",
                     "config.d/30-rules.conf:7", "421 4.7.0 slow down"):
            self.assertIn(text, row)
        self.assertIn("modes of a.example/mta1", page)
        self.assertIn("an operator", page)
        self.assertEqual(self.ask("show", "actions"), "nothing is held or slowed\n")
        self.assertEqual(self.ask("cancel", "bulk.12", answer=[action, DONE]),
                         "bulk.12 cancelled: rate of a.example/mta1\n")
        self.assertEqual(self.ask("cancel", "bulk.13", status=1),
                         "pmtactl: no action 'bulk.13', see 'pmtactl show actions'\n")

    def test_connections(self):
        out = {"process": "pipe/bulk", "direction": "out", "queue": "example.com/mta1",
               "host": "mx.example.com", "phase": "data", "tls": "", "messages": 12,
               "opened_ms": int(NOW - 65000), "peer": "192.0.2.1", "source": "192.0.2.9"}
        inside = {"direction": "in", "session": "0.5", "client": "127.0.0.1:4000",
                  "listener": "local", "source": "127.0.0.0/8", "user": "", "state": "data",
                  "messages": 3, "tls": True, "age_s": 12.25}
        page = self.ask("show", "connections", answer=[inside, out, DONE])
        self.assertRegex(page, r"out: 1\nPIPE .*\nbulk .*mx\.example\.com .* 12 +1m \d+s\n\nin: 1\n")
        self.assertRegex(page, r"0\.5 +127\.0\.0\.1:4000 +local .* data +3 +12s  yes\n")
        self.assertNotIn("USER", page)
        self.assertEqual(self.ask("show", "connections"), "out: 0\n\nin: 0\n")

    def test_message(self):
        message = {"process": "pipe/bulk", "pipe": "bulk", "id": "0123456789abc",
                   "received_ms": int(NOW - 120500), "bytes": 4096, "sender": "", "job": "j7",
                   "envid": "", "peer": "192.0.2.3", "user": "", "rcpts": [
                       {"rcpt": 0, "address": "a@example.com", "state": "done"},
                       {"rcpt": 1, "address": "b@example.com", "state": "deferred", "attempts": 2,
                        "queue": "example.com/mta1", "next_ms": int(NOW - 1), "code": 451,
                        "text": "451 4.7.1 later"}]}
        page = self.ask("show", "message", "0123456789abc", answer=[message, DONE])
        self.assertIn("message 0123456789abc in pipe bulk\n", page)
        self.assertIn("sender    <>\n", page)
        self.assertRegex(page, r"\(2m( \d+s)? ago\)")
        self.assertIn("size      4.0 KiB\n", page)
        self.assertNotIn("envid", page)
        self.assertRegex(page, r"1  b@example\.com  deferred  example\.com/mta1 +2 +now  "
                               r"451 4\.7\.1 later\n")

    def test_why(self):
        page = self.ask("why", "0123456789abc", answer=[WHY, DONE])
        flat = " ".join(page.split())
        self.assertIn("a@example.com Waits in queue example.com/mta1 for its next attempt, after 3 "
                      "that did not succeed. The peer said: 451 4.7.1 try later. Next attempt "
                      "(retry-after) in 10m, at ", flat)
        self.assertIn("See config.d/30-domains.conf:12.", flat)
        self.assertIn("b@example.net and c@example.net Each waits in queue example.net/mta1 for an "
                      "operator: pipe 'bulk' is paused. After 'pmtactl resume pipe bulk'.", flat)

    def test_why_groups_retries_that_are_spread(self):
        rcpts = [dict(WHY["rcpts"][0], rcpt=i, address=f"u{i}@example.com",
                      next_ms=int(NOW + 600000 + i * 5000),
                      next=f"next attempt (retry-after) in 10m{i}s") for i in range(20)]
        page = self.ask("why", "0123456789abc", answer=[dict(WHY, rcpts=rcpts), DONE])
        flat = " ".join(page.split())
        self.assertIn("u0@example.com, u1@example.com, u2@example.com and 17 others Each waits",
                      flat)
        self.assertRegex(flat, r" Next attempt \(retry-after\) at [-: \d]+ to [-: \d]+\. See ")

    def test_no_such_message(self):
        for words in (["why"], ["show", "message"], ["--json", "why"]):
            self.assertEqual(self.ask(*words, "0123456789abc", status=1),
                             "pmtactl: no message '0123456789abc': it was delivered, bounced or "
                             "never here; look into the accounting file\n")

    def test_ledger(self):
        good = {"process": "pipe/a", "pipe": "a", "received": 10, "delivered": 6, "bounced": 1,
                "expired": 1, "deleted": 1, "corrupt": 0, "queued": 1, "balanced": True}
        bad = dict(good, process="pipe/b", pipe="b", received=11, balanced=False)
        page = self.ask("ledger", answer=[good, DONE])
        self.assertEqual(page.splitlines()[1].split(),
                         ["a", "10", "6", "1", "1", "1", "0", "1", "balance"])
        for option in ([], ["--json"]):
            self.assertEqual(self.ask(*option, "ledger", answer=[good, bad, DONE], status=1),
                             "pmtactl: the books of pipe 'b' do not balance\n")

    def test_explain_keeps_one_process(self):
        def row(pipe, value):
            return {"process": f"pipe/{pipe}", "directive": "max-smtp-out", "value": value,
                    "file": "config.d/3.conf", "line": 4, "section": "domain *",
                    "overrode": [{"value": "20"}]}
        unset = {"process": "pipe/b", "directive": "smtp-hosts", "overrode": []}
        late = {"process": "pipe/c", "error": "the pipe is starting"}
        answer = [row("b", "5"), row("a", "6"), unset, late, DONE]
        page = self.ask("config", "explain", "x.example", answer=answer)
        self.assertEqual(page.splitlines(), [
            "as pipe b sees it (--pipe for another)",
            "",
            "DIRECTIVE     VALUE  FROM                          OVERRODE, AND WHAT IT CAME TO",
            "max-smtp-out  5      config.d/3.conf:4 [domain *]  20, default",
            "smtp-hosts    -      default                       -"])
        objects = self.ask("--json", "config", "explain", "x.example", answer=answer).splitlines()
        self.assertEqual([json.loads(x)["process"] for x in objects], ["pipe/b", "pipe/b"])

    def test_resolve_is_a_page_for_people(self):
        tlsa = {"usage": 3, "selector": 1, "matching": 1, "data": "ab" * 32}
        answer = {
            "process": "pipe/b", "pipe": "b", "domain": "x.example", "vmta": "default", "kind": "mx",
            "name": "x.example", "port": 25, "status": "ok", "text": "", "ttl_s": 250,
            "mx_secure": True, "use_starttls": True, "use_dane": True, "use_mta_sts": True,
            "group": "x.rollup",
            "mta_sts": {"mode": "enforce", "id": "7", "max_age_s": 604800, "mx": ["*.x.example"],
                        "failure": ""},
            "hosts": [{"preference": 10, "host": "mx1.x.example", "dane": "usable", "tlsa": [tlsa],
                       "addresses": ["192.0.2.1", "2001:db8::1"], "asks": "TLS, and so on"},
                      {"preference": 20, "host": "mx2.x.example", "dane": "failed", "tlsa": [],
                       "addresses": ["192.0.2.2"], "asks": "not to be used now"}]}
        other = dict(answer, process="pipe/c", pipe="c")
        page = self.ask("resolve", "x.example", answer=[answer, other, DONE])
        self.assertEqual([x.rstrip() for x in page.splitlines()], [
            "as pipe b and virtual MTA default see it",
            "",
            "MX hosts of x.example, port 25, known for 4m 10s",
            "  DNSSEC   the MX answer is validated",
            "  MTA-STS  enforce, id 7, for 7d: *.x.example",
            "  group    x.rollup",
            "",
            "PREF  HOST           ADDRESS      DANE    ASKED FOR",
            "  10  mx1.x.example  192.0.2.1    usable  TLS, and so on",
            "                     2001:db8::1",
            "  20  mx2.x.example  192.0.2.2    failed  not to be used now",
            "",
            "TLSA _25._tcp.mx1.x.example",
            "  DANE-EE, public key, SHA-256   " + "ab" * 32])
        asked = dict(answer, use_dane=False, use_mta_sts=False, with_dane=True, with_mta_sts=True)
        del asked["mta_sts"]
        page = self.ask("resolve", "--use-dane", "--use-mta-sts", "x.example", answer=[asked, DONE])
        self.assertEqual(page.splitlines()[4:7], [
            "  DANE     shown as if it were on; mail has use-dane = no",
            "  MTA-STS  shown as if it were on; mail has use-mta-sts = no",
            "  MTA-STS  no policy"])
        talked = dict(answer, hosts=[], sessions=[
            {"host": "mx1.x.example", "address": "192.0.2.1", "status": "ok", "tls": "TLSv1.3/TLS_AES_128",
             "tls_verify": "dane", "tls_result": "ok", "tls_text": "", "keywords": ["SIZE 1000", "DSN"], "ms": 12},
            {"host": "mx2.x.example", "address": "192.0.2.2", "status": "failed", "phase": "starttls",
             "text": "no \x1b[1m", "tls_result": "certificate-expired", "tls_text": "it is over"}])
        page = self.ask("resolve", "--connect", "x.example", "--pipe", "b", answer=[talked, DONE])
        self.assertEqual([x.rstrip() for x in page.splitlines()][-10:], [
            "",
            "mx1.x.example 192.0.2.1",
            "  SMTP     answered in 12 ms",
            "  TLS      TLSv1.3, TLS_AES_128",
            "  peer     proven by a TLSA record (DANE)",
            "  offers   SIZE 1000, DSN",
            "",
            "mx2.x.example 192.0.2.2",
            "  SMTP     failed: no ?[1m",
            "  peer     certificate-expired: it is over"])
        gone = {"process": "pipe/b", "pipe": "b", "domain": "y", "vmta": "v", "kind": "mx", "name": "y",
                "port": 25, "status": "no such domain", "text": "domain 'y' does not exist", "ttl_s": 60,
                "hosts": []}
        page = self.ask("resolve", "y", "--pipe", "b", answer=[gone, DONE])
        self.assertIn("  no route no such domain: domain 'y' does not exist\n", page)

    def test_what_was_done(self):
        table = [
            ("pause pipe bulk", {"pipe": "bulk", "state": "paused", "changed": 1},
             "pipe bulk: paused\n"),
            ("resume pipe bulk", {"pipe": "bulk", "state": "running", "changed": 0},
             "pipe bulk: running (it was already)\n"),
            ("pause queue a/*", {"pipe": "bulk", "state": "paused", "queue": "a/*", "changed": 2},
             "pipe bulk: paused a/* (2 queues changed)\n"),
            ("schedule a/*", {"pipe": "bulk", "state": "scheduled", "queue": "a/*", "changed": 3},
             "pipe bulk: scheduled a/* (3 queues changed)\n"),
            ("delete --job x", {"pipe": "bulk", "matched": 1200, "deleted": 1199, "dry_run": False},
             "PIPE  MATCHED  DELETED\nbulk    1,200    1,199\n"),
            ("delete --job x --dry-run",
             {"pipe": "bulk", "matched": 1200, "deleted": 0, "dry_run": True},
             "PIPE  WOULD DELETE\nbulk         1,200\n"),
            ("reload", {"process": "root", "generation": 4, "ok": True},
             "configuration 4 is in use\n"),
        ]
        for typed, answer, page in table:
            with self.subTest(typed):
                self.assertEqual(self.ask(*typed.split(), answer=[answer, DONE]), page)
        self.assertEqual(self.ask("debug", "dns"), "debug logging is set\n")

    def test_shutdown_may_end_with_the_connection(self):
        self.assertEqual(self.ask("shutdown", answer=[]), "pmtad drains and stops\n")

    def test_json_prints_the_objects_as_they_came(self):
        raw = b'{"process":"root",  "pid":1}\n{"process":"pipe/a","queued":1.50}\n'
        self.assertEqual(self.ask("--json", "status", answer=[raw, DONE]), raw.decode())


class Failures(Base):
    def test_errors_of_processes(self):
        one = {"process": "pipe/a", "error": "disk on fire"}
        two = {"process": "pipe/b", "error": "disk on fire"}
        other = {"process": "pipe/c", "error": "asleep"}
        self.assertEqual(self.ask("ledger", answer=[one, two, other, {"end": True, "ok": False}],
                                  status=1),
                         "pmtactl: pipe/a, pipe/b: disk on fire\npmtactl: pipe/c: asleep\n")

    def test_what_others_answered_is_still_shown(self):
        self.server.answer = [{"pipe": "a", "received": 1, "balanced": True},
                              {"process": "pipe/b", "error": "asleep"}, DONE]
        done = self.run_ctl("ledger")
        self.assertEqual((done.returncode, done.stderr), (1, "pmtactl: pipe/b: asleep\n"))
        self.assertIn("balance", done.stdout)

    def test_refusal_by_root(self):
        end = {"end": True, "ok": False, "error": "this needs the operator level"}
        self.assertEqual(self.ask("reload", answer=[end], status=1),
                         "pmtactl: this needs the operator level\n")
        self.assertEqual(self.ask("reload", answer=[{"end": True, "ok": False}], status=1),
                         "pmtactl: refused\n")

    def test_reload_shows_each_line_of_the_trouble(self):
        trouble = {"process": "root", "error": "config.d/x.conf:3: no\nconfig.d/y.conf:4: \x07no"}
        self.assertEqual(self.ask("reload", answer=[trouble, DONE], status=1),
                         "pmtactl: config.d/x.conf:3: no\npmtactl: config.d/y.conf:4: ?no\n")

    def test_no_server(self):
        path = os.path.join(self.server.dir, "none.sock")
        done = self.run_ctl("-s", path, "status")
        self.assertEqual((done.returncode, done.stderr),
                         (2, f"pmtactl: cannot connect to '{path}': No such file or directory "
                             "(is pmtad running?)\n"))
        left = socket.socket(socket.AF_UNIX)
        left.bind(path)
        left.close()
        done = self.run_ctl("-s", path, "status")
        self.assertEqual((done.returncode, done.stderr),
                         (2, f"pmtactl: cannot connect to '{path}': Connection refused "
                             "(pmtad is not running)\n"))
        self.assertEqual(self.run_ctl("-s", "/x" * 100, "status").returncode, 2)

    def test_server_closes_early(self):
        message = "pmtactl: pmtad closed the connection before its answer ended\n"
        self.assertEqual(self.ask("status", answer=[], status=1), message)
        self.server.answer = [STATUS[0], b'{"process":"pi']
        done = self.run_ctl("status")
        self.assertEqual((done.returncode, done.stderr), (1, message))
        self.assertIn("pmtad 0.1.0", done.stdout)

    def test_garbage(self):
        for raw, shown in ((b"hello\n", "hello"), (b"[1]\n", "[1]"), (b'{"a":}\n', '{"a":}'),
                           (b"\x1b[2J\n", "?[2J")):
            with self.subTest(raw):
                self.assertEqual(self.ask("status", answer=[raw, DONE], status=1),
                                 f"pmtactl: pmtad sent a line that is no JSON object: '{shown}'\n")
        # JSON of unexpected types is no reason to fall over
        odd = {"process": 5, "state": [], "queued": "x", "uptime_s": {}, "rcpts": 3, "servers": 1}
        for words in (["status"], ["show", "pipes"], ["show", "queues"], ["show", "connections"],
                      ["why", "x"], ["show", "message", "x"], ["ledger"], ["delete", "--id", "x"],
                      ["config", "explain", "x"], ["pause", "pipe", "x"], ["reload"]):
            self.ask(*words, answer=[odd, {"direction": "in"}, {"direction": "out"}, DONE])

    def test_very_long_lines(self):
        big = {"process": "pipe/a", "pipe": "a", "queue": "q", "queued": 1, "last_text": "x" * 5000000}
        self.assertEqual(len(self.ask("show", "queues", answer=[big, DONE]).splitlines()), 2)
        self.assertEqual(self.ask("status", answer=[b"x" * (34 << 20)], status=1),
                         "pmtactl: pmtad sent a line of more than 32 MiB\n")

    def test_too_long_arguments(self):
        done = self.run_ctl("delete", "--job", "x" * 70000)
        self.assertEqual((done.returncode, done.stderr),
                         (2, "pmtactl: the arguments are too long\n"))

    def test_silence(self):
        self.server.answer = ["wait"]
        done = self.run_ctl("--timeout", "1", "status")
        self.assertEqual((done.returncode, done.stderr),
                         (1, "pmtactl: pmtad said nothing for 1 seconds (see --timeout)\n"))

    def test_full_output(self):
        self.server.answer = STATUS
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PMTACTL, "-s", self.server.path, "status"], stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=30)
        self.assertEqual((done.returncode, done.stderr),
                         (1, "pmtactl: cannot write to standard output\n"))


class Terminal(Base):
    def on_terminal(self, *words, typed=(), env=None, columns=60):
        """Exit status and everything a terminal of that width would have shown. typed: pairs of a
        prompt and what is typed then (bytes), or a signal to send."""
        pid, fd = pty.fork()
        if pid == 0:
            os.environ.pop("NO_COLOR", None)
            os.environ.update({"TERM": "xterm", "PMTA_ADMIN_SOCKET": self.server.path,
                               **(env or {})})
            os.execv("/bin/sh", ["sh", "-c", f'stty cols {columns}; exec "$0" "$@"', PMTACTL,
                                 *words])
        shown, typed = b"", list(typed)
        timer = threading.Timer(40, os.kill, (pid, signal.SIGKILL))
        timer.start()
        try:
            while True:
                self.assertTrue(select.select([fd], [], [], 60)[0], shown)
                try:
                    more = os.read(fd, 65536)
                except OSError:
                    break
                if not more:
                    break
                shown += more
                if typed and shown.endswith(typed[0][0]):
                    what = typed.pop(0)[1]
                    if isinstance(what, bytes):
                        os.write(fd, what)
                    else:
                        os.kill(pid, what)
        finally:
            os.close(fd)
            status = os.waitpid(pid, 0)[1]
            timer.cancel()
        return os.waitstatus_to_exitcode(status), shown.decode()

    def test_colour_and_width(self):
        row = {"pipe": "a", "queue": "example.com/mta1", "state": "retry", "queued": 1,
               "last_text": "451 " + "wörd " * 40}
        self.server.answer = [row, DONE]
        status, shown = self.on_terminal("show", "queues")
        self.assertEqual(status, 0)
        self.assertIn("\x1b[31mretry\x1b[0m", shown)
        plain = shown.replace("\x1b[31m", "").replace("\x1b[0m", "").replace("\x1b[2m", "")
        # no room beside the other columns: a line of its own
        self.assertTrue(plain.splitlines()[2].startswith("      why: 451 wörd"))
        self.assertEqual(len(plain.splitlines()[2]), 60)
        self.assertTrue(plain.splitlines()[2].endswith("…"))
        row["queue"] = "a/b"
        status, shown = self.on_terminal("show", "queues", columns=90)
        plain = shown.replace("\x1b[31m", "").replace("\x1b[0m", "").replace("\x1b[2m", "")
        self.assertEqual(len(plain.splitlines()[1]), 90)
        self.assertTrue(plain.splitlines()[1].endswith("…"))
        for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            self.assertNotIn("\x1b", self.on_terminal("show", "queues", env=env)[1])

    def test_hash_password_asks_twice(self):
        status, shown = self.on_terminal("hash-password", typed=[
            (b"Password: ", b"correct horse\n"), (b"Again: ", b"correct horse\n")])
        self.assertEqual(status, 0)
        self.assertIn("$argon2id$v=19$", shown)
        self.assertNotIn("horse", shown)

    def test_hash_password_differs(self):
        status, shown = self.on_terminal("hash-password", typed=[
            (b"Password: ", b"one\n"), (b"Again: ", b"two\n")])
        self.assertEqual(status, 1)
        self.assertIn("pmtactl: the two are not the same", shown)
        self.assertNotIn("argon2", shown)

    def test_hash_password_interrupted(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            status, shown = self.on_terminal("hash-password", typed=[(b"Password: ", number)])
            self.assertEqual(status, -number)
            self.assertNotIn("argon2", shown)


class Password(Base):
    def test_one_line_of_standard_input(self):
        one = self.run_ctl("hash-password", stdin="hunter2\nmore\n")
        two = self.run_ctl("hash-password", stdin="hunter2")
        for done in (one, two):
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertRegex(done.stdout, r"^\$argon2id\$v=19\$m=\d+,t=\d+,p=1\$[^$]+\$[^$]+\n$")
        self.assertNotEqual(one.stdout, two.stdout)

    def test_bad_passwords(self):
        for text, message in (("", "the password is empty"), ("\n", "the password is empty"),
                              ("x" * 1025, "a password has at most 1024 bytes"),
                              ("a\0b\n", "a password cannot contain a NUL byte")):
            done = self.run_ctl("hash-password", stdin=text)
            self.assertEqual((done.returncode, done.stdout, done.stderr),
                             (1, "", f"pmtactl: {message}\n"))


class Generated(Base):
    def test_completion_agrees(self):
        made = self.run_ctl("--completion", "bash").stdout
        with open(os.path.join(SOURCE, "tools/completion/pmtactl.bash")) as f:
            self.assertEqual(f.read(), made, "write it again: pmtactl --completion bash")

    def complete(self, *words):
        script = os.path.join(SOURCE, "tools/completion/pmtactl.bash")
        listed = " ".join(f"'{w}'" for w in ("pmtactl", *words))
        done = subprocess.run(
            ["bash", "-c", f". '{script}'; COMP_WORDS=({listed}); COMP_CWORD={len(words)}; "
                           "_pmtactl; printf '%s\\n' \"${COMPREPLY[@]}\""],
            capture_output=True, text=True, timeout=30,
            env={**os.environ, "PMTA_ADMIN_SOCKET": self.server.path,
                 "PATH": os.path.dirname(os.path.abspath(PMTACTL)) + ":" + os.environ["PATH"]})
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_completion_works(self):
        self.assertEqual(self.complete("sh"), ["show", "shutdown"])
        self.assertEqual(self.complete("show", "p"), ["pipes"])
        self.assertEqual(self.complete("-s", "x", "pause", ""), ["pipe", "queue", "job"])
        self.assertEqual(self.complete("delete", "--d"), ["--dry-run"])
        self.assertEqual(self.complete("debug", "de"), ["delivery"])
        self.server.answer = [b'{"process":"pipe/bulk","pipe":"bulk"}\n', DONE]
        self.assertEqual(self.complete("pause", "pipe", ""), ["bulk"])
        self.assertEqual(self.complete("ledger", "--pipe", "b"), ["bulk"])

    def test_fields_of_the_processes_are_documented(self):
        with open(os.path.join(SOURCE, "docs/admin.md")) as f:
            known = set(re.findall(r"\w+", f.read()))
        for name, least in (("pipe/admin/show.c", 30), ("pipe/admin/why.c", 9),
                            ("pipe/admin/act.c", 6), ("pipe/admin/jobs.c", 12), ("pipe/admin/explain.c", 5),
                            ("root/receiver/receiver_admin.c", 9), ("root/receiver/session.c", 9),
                            ("root/resolver/main.c", 20)):
            with open(os.path.join(SOURCE, name)) as f:
                source = f.read()
            fields = set(re.findall(r'json_object_set_new\(\s*\w+,\s*"(\w+)"', source))
            for pack in re.findall(r'json_pack\((.*?)\);', source, re.S):
                fields |= set(re.findall(r'"(\w+)"', pack))
            self.assertGreaterEqual(len(fields), least, name)
            self.assertEqual(fields - known, set(), f"{name}: no row in tools/ctl/fields.h")

    def test_manual_names_every_command_and_option(self):
        with open(os.path.join(SOURCE, "docs/man/pmtactl.1")) as f:
            manual = f.read().replace("\\-", "-")
        usage = self.run_ctl("help").stdout
        commands = [line.strip().split("  ")[0] for line in
                    usage.split("commands:\n")[1].split("\n\n")[0].splitlines()
                    if line.startswith("  ") and not line.startswith("   ")]
        self.assertGreater(len(commands), 15)
        for command in commands:
            name = " ".join(w for w in command.split() if w.islower() or "-" in w and w.islower())
            self.assertIn(f".B {name}", manual)
            for word in self.run_ctl("help", *name.split()).stdout.split():
                if word.startswith("[--"):
                    self.assertIn(word.strip("[]"), manual)


if __name__ == "__main__":
    unittest.main()
