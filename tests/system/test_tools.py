#!/usr/bin/env python3
"""pmta-flood against pmta-sink: what one says it sent is what the other says it got."""
import base64
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

SINK = os.environ.get("PMTA_SINK", "build/tools/pmta-sink")
FLOOD = os.environ.get("PMTA_FLOOD", "build/tools/pmta-flood")


class Sink:
    """A running pmta-sink; stop() gives its summary."""

    def __init__(self, *options):
        self.process = subprocess.Popen(
            [SINK, "--listen", "127.0.0.1:0", "--print-port", "--json", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            raise AssertionError(f"sink said {line!r}: {self.process.communicate()}")
        self.address = line.split()[-1]
        self.port = int(self.address.rsplit(":", 1)[1])

    def stop(self, number=signal.SIGTERM, expect=0):
        if self.process.poll() is None and number:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        if self.process.returncode != expect:
            raise AssertionError(f"sink ended with {self.process.returncode}: {err}")
        return json.loads(out.splitlines()[-1])

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Smtp:
    """A raw connection to the sink."""

    def __init__(self, port, greet=True):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.file = self.socket.makefile("rb")
        if greet:
            self.reply()

    def reply(self):
        lines = []
        while True:
            line = self.file.readline()
            lines.append(line.decode().rstrip("\r\n"))
            if line[3:4] != b"-":
                return "\n".join(lines)

    def say(self, data):
        self.socket.sendall(data.encode() + b"\r\n")
        return self.reply()

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
        self.file.close()
        self.socket.close()


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def sink(self, *options):
        s = Sink(*options)
        self.addCleanup(s.kill)
        return s

    def smtp(self, sink, greet=True):
        s = Smtp(sink.port, greet)
        self.addCleanup(s.close)
        return s

    def flood(self, to, *options, expect=0):
        run = subprocess.run([FLOOD, "--to", getattr(to, "address", to), "--json", *options],
                             capture_output=True, text=True, timeout=60)
        self.assertEqual(run.returncode, expect, run.stderr + run.stdout)
        return json.loads(run.stdout) if run.stdout else run.stderr

    def records(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            lines = f.read().splitlines()
        self.assertTrue(lines[0].startswith("#message-id\t"))
        return [tuple(line.split("\t")) for line in lines[1:]]


class FloodToSink(Case):
    def both(self, *flood_options, sink_options=(), expect=0, messages=1000):
        sink = self.sink(*sink_options)
        f = self.flood(sink, "--messages", str(messages), *flood_options, expect=expect)
        s = sink.stop()
        settled = f["accepted"] + f["refused"] + f["unanswered"] + f["given_up"] + f["not_sent"]
        self.assertEqual(settled, messages)
        self.assertEqual(s["duplicates"], 0)
        self.assertEqual(s["messages"], f["accepted"] + s_lost(s, f))
        return f, s

    def test_every_message_arrives_once_in_both_styles(self):
        for style in "yes", "no":
            with self.subTest(pipelining=style):
                f, s = self.both("--pipelining", style, "--rcpts-per-message", "3")
                self.assertEqual(f["accepted"], 1000)
                self.assertEqual(f["recipients_accepted"], 3000)
                self.assertEqual((s["distinct"], s["recipients_distinct"]), (1000, 3000))
                self.assertEqual(s["bytes"], 4096 * 1000)
                self.assertEqual(f["bytes"], s["bytes"])
                self.assertEqual(set(s["hygiene"].values()), {0})
                self.assertEqual(s["connections"], 10)

    def test_every_size_is_exact_and_clean(self):
        low, high = 400, 600  # from below a line of the body to several
        sizes = ",".join(str(n) for n in range(low, high))
        f, s = self.both("--size", sizes, "--record", self.path("f"),
                         sink_options=("--strict", "--record", self.path("s")), messages=3000)
        self.assertEqual(f["accepted"], 3000)
        self.assertEqual(set(s["hygiene"].values()), {0})
        mine = {r[0]: int(r[3]) for r in self.records("f")}
        theirs = {r[0]: int(r[3]) for r in self.records("s")}
        self.assertEqual(mine, theirs)
        self.assertGreaterEqual(len(set(mine.values())), 150)
        self.assertTrue(all(low <= n < high for n in mine.values()))

    def test_records_agree(self):
        self.both("--record", self.path("f"), "--rcpts-per-message", "3", "--domains", "a.test:3,b.test",
                  "--seed", "7", "--from", "me@s.test",
                  sink_options=("--fault", "rcpt:550:20", "--record", self.path("s")), expect=1)
        mine, theirs = self.records("f"), self.records("s")
        self.assertEqual(sorted(r[:4] for r in mine), sorted(r[:4] for r in theirs))
        self.assertEqual({r[2] for r in mine}, {"me@s.test"})
        self.assertEqual({r[1].split("@")[1] for r in mine}, {"a.test", "b.test"})
        self.assertIn("<7.0@flood.example>", {r[0] for r in mine})
        in_a = sum(r[1].endswith("@a.test") for r in mine) / len(mine)
        self.assertAlmostEqual(in_a, 0.75, delta=0.05)

    def test_same_seed_same_messages(self):
        for name in "one", "two":
            self.both("--seed", "3", "--record", self.path(name), "--size", "1k,2k,3k")
        one, two = ([r[:4] for r in self.records(n)] for n in ("one", "two"))
        self.assertEqual(sorted(one), sorted(two))

    def test_refusals_are_counted_by_code(self):
        for fault, where in (("mail:451:30", "mail"), ("rcpt:550:30", "rcpt"), ("data:452:30", "data"),
                             ("eod:552:30", "eod")):
            for style in "yes", "no":
                with self.subTest(fault=fault, pipelining=style):
                    f, s = self.both("--pipelining", style, sink_options=("--fault", fault), expect=1)
                    code = fault.split(":")[1]
                    self.assertEqual(f["refused_codes"], {code: f["refused"]})
                    self.assertEqual(s["refused"][where], {code: f["refused"]})
                    self.assertTrue(200 < f["refused"] < 400)

    def test_lost_answers_are_never_sent_again(self):
        for style in "yes", "no":
            f, s = self.both("--pipelining", style, sink_options=("--fault", "eod:lost:10"), expect=1)
            self.assertEqual(f["unanswered"], s["faults"])
            self.assertEqual(s["distinct"], 1000)

    def test_connections_that_break_before_the_body_lose_nothing(self):
        for fault in ("mail:drop:5", "rcpt:drop:5", "data:drop:5", "rcpt:421:5", "helo:drop:30",
                      "connect:421:30", "connect:drop:30", "connect:554:30", "data:hang:1"):
            for style in "yes", "no":
                with self.subTest(fault=fault, pipelining=style):
                    f, _ = self.both("--pipelining", style, "--timeout", "300ms", "--tries", "50",
                                     "--messages-per-connection", "50", "--patience", "20s",
                                     sink_options=("--fault", fault))
                    self.assertEqual(f["accepted"], 1000)
                    self.assertGreater(f["connection_errors"], 0)

    def test_drop_at_the_end_of_data_is_unanswered(self):
        f, s = self.both(sink_options=("--fault", "eod:drop:10"), expect=1)
        self.assertEqual(f["unanswered"], s["faults"])
        self.assertEqual(s["messages"], f["accepted"])

    def test_messages_per_connection(self):
        f, s = self.both("--messages-per-connection", "10", "--connections", "4")
        self.assertGreaterEqual(s["connections"], 100)
        self.assertEqual(f["connection_errors"], 0)

    def test_the_limit_of_the_sink(self):
        f, s = self.both("--connections", "4", sink_options=("--max-messages-per-connection", "10"))
        self.assertEqual(f["accepted"], 1000)
        self.assertEqual(f["connection_codes"], {"421": f["connections_421"]})
        self.assertGreaterEqual(s["connections"], 100)

    def test_old_servers(self):
        options = ("--no-pipelining", "--no-8bitmime", "--no-size", "--no-smtputf8", "--no-dsn",
                   "--no-chunking", "--no-enhancedstatuscodes", "--strict")
        f, s = self.both(sink_options=options)
        self.assertEqual(f["accepted"], 1000)
        self.assertEqual(s["hygiene"]["early"], 0)

    def test_greylist_refuses_new_pairs(self):
        f, s = self.both(sink_options=("--greylist", "1h"), expect=1)
        self.assertEqual(f["refused_codes"], {"451": 1000})
        self.assertEqual(s["greylisted"], 1000)

    def test_personalities(self):
        with open(self.path("p"), "w", encoding="utf-8") as file:
            file.write("# one bad, one slow\n[bad.test]\nfault = rcpt:550:100:5.1.1 nobody\n"
                       "[slow.test]\ndelay = eod:30ms\n")
        f, s = self.both("--domains", "bad.test,slow.test,good.test", "--connections", "50",
                         sink_options=("--personality", self.path("p"), "--latency-header",
                                       "X-Flood-Sent"), expect=1, messages=300)
        self.assertEqual(s["refused"]["rcpt"], {"550": f["refused"]})
        self.assertEqual(set(s["latency"]["domains"]), {"slow.test", "good.test"})
        self.assertGreater(f["latency"]["end_of_data"]["max_us"], 29000)

    def test_rate_is_exact_and_latency_counts_from_the_intended_time(self):
        sink = self.sink("--delay", "eod:100ms", "--latency-header", "X-Flood-Sent")
        f = self.flood(sink, "--for", "1s", "--rate", "50/s", "--connections", "1")
        s = sink.stop()
        self.assertEqual(f["accepted"], 50)
        # One connection takes at most ten a second: the last one is about four seconds late.
        self.assertGreater(f["latency"]["transaction"]["max_us"], 3500000)
        self.assertLess(f["latency"]["end_of_data"]["max_us"], 2000000)
        self.assertEqual(s["latency"]["all"]["count"], 50)
        self.assertGreater(s["latency"]["all"]["max_us"], 3300000)

    def test_rate_is_kept(self):
        sink = self.sink()
        f = self.flood(sink, "--messages", "500", "--rate", "500/s")
        self.assertEqual(f["accepted"], 500)
        self.assertGreater(f["seconds"], 0.99)
        self.assertLess(f["seconds"], 2.5)

    def test_headers(self):
        os.mkdir(self.path("mail"))
        self.both("--pipe", "bulk:1", "--job", "j1", "--vmta", "v1", "--from", "<>", messages=3,
                  sink_options=("--save", self.path("mail")))
        names = sorted(os.listdir(self.path("mail")))
        self.assertEqual(names, ["00000001.eml", "00000002.eml", "00000003.eml"])
        with open(os.path.join(self.path("mail"), names[0]), "rb") as file:
            header = file.read().split(b"\r\n\r\n")[0].decode().split("\r\n")
        for line in ("X-Sink-Sender: <>", "X-Pipe: bulk", "X-Job: j1", "X-Virtual-MTA: v1"):
            self.assertIn(line, header)
        self.assertTrue(any(line.startswith("X-Flood-Sent: ") for line in header))

    def test_pipes_are_timed_apart(self):
        f, _ = self.both("--pipe", "a:3,b:1")
        pipes = f["latency"]["pipes"]
        self.assertEqual(pipes["a"]["count"] + pipes["b"]["count"], 1000)
        self.assertTrue(650 < pipes["a"]["count"] < 850)


def s_lost(summary, report):
    """Messages that the sink took without answering."""
    return summary["messages"] - report["accepted"] if report["unanswered"] else 0


class FloodAlone(Case):
    def test_usage(self):
        for options in ((), ("--messages", "0"), ("--messages", "x"), ("--mesages", "1"), ("--size",),
                        ("--messages", "1", "--size", "1x"), ("--messages", "1", "--rate", "0x"),
                        ("--messages", "1", "--pipelining", "maybe"),
                        ("--messages", "1", "--auth", "nobody"), ("--messages", "1", "--to", "host"),
                        ("--messages", "1", "--job", "a\r\nb"), ("--messages", "1", "--pipe", "a b"),
                        ("--messages", "1", "--domains", "a:0"), ("extra",),
                        ("--messages", "1", "--record", self.path("no/such"))):
            with self.subTest(options=options):
                run = subprocess.run([FLOOD, *options], capture_output=True, text=True, timeout=20)
                self.assertEqual(run.returncode, 2, run)
                self.assertTrue(run.stderr.startswith("pmta-flood: "), run.stderr)

    def test_help(self):
        for tool in SINK, FLOOD:
            run = subprocess.run([tool, "--help"], capture_output=True, text=True, timeout=20)
            self.assertEqual(run.returncode, 0)
            self.assertIn("Exit status:", run.stdout)
            self.assertLessEqual(max(map(len, run.stdout.splitlines())), 100)
            run = subprocess.run([tool, "--version"], capture_output=True, text=True, timeout=20)
            self.assertIn("(PipeMTA)", run.stdout)

    def test_nobody_listens(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            f = self.flood(f"127.0.0.1:{s.getsockname()[1]}", "--messages", "5", "--patience", "200ms",
                           expect=1)
        self.assertEqual((f["not_sent"], f["sent"]), (5, 0))
        self.assertGreater(f["connect_failed"], 0)

    def test_interrupt_finishes_what_is_under_way(self):
        sink = self.sink()
        flood = subprocess.Popen([FLOOD, "--to", sink.address, "--for", "1h", "--rate", "200/s",
                                  "--json", "--record", self.path("f")],
                                 stdout=subprocess.PIPE, text=True)
        while not os.path.exists(self.path("f")) or os.path.getsize(self.path("f")) < 100:
            self.assertIsNone(flood.poll())
        flood.send_signal(signal.SIGINT)
        out, _ = flood.communicate(timeout=30)
        self.assertEqual(flood.returncode, 0, out)
        self.assertEqual(json.loads(out)["accepted"], sink.stop()["messages"])

    def serve(self, script):
        """A server for one connection; script(reader, send) is its side."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def run():
            peer, _ = listener.accept()
            listener.close()
            with peer, peer.makefile("rb") as reader:
                script(reader, peer.sendall)
        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)
        return f"127.0.0.1:{listener.getsockname()[1]}"

    def test_auth_plain(self):
        seen = []

        def script(reader, send):
            send(b"220 hi\r\n")
            reader.readline()
            send(b"250-me\r\n250 AUTH PLAIN\r\n")
            seen.append(reader.readline())
            send(b"535 5.7.8 no\r\n")
        address = self.serve(script)
        f = self.flood(address, "--messages", "1", "--connections", "1", "--auth", "user:pa:ss",
                       "--patience", "200ms", expect=1)
        word = base64.b64encode(b"\0user\0pa:ss").decode()
        self.assertEqual(seen, [f"AUTH PLAIN {word}\r\n".encode()])
        self.assertEqual(f["connection_codes"], {"535": 1})

    def test_helo_after_ehlo_is_refused(self):
        lines = []

        def script(reader, send):
            send(b"220 hi\r\n")
            for answer in (b"502 what", b"250 me", b"250 ok", b"250 ok", b"354 go"):
                lines.append(reader.readline())
                send(answer + b"\r\n")
            while reader.readline() != b".\r\n":
                pass
            send(b"250 taken\r\n")
            lines.append(reader.readline())
            send(b"221 bye\r\n")
        f = self.flood(self.serve(script), "--messages", "1", "--connections", "1")
        self.assertEqual(f["accepted"], 1)
        self.assertEqual([line.split()[0] for line in lines],
                         [b"EHLO", b"HELO", b"MAIL", b"RCPT", b"DATA", b"QUIT"])

    def test_replies_out_of_turn_end_the_connection(self):
        for noise in b"220 a\r\n250 b\r\n", b"220 a\r\nnonsense\r\n", b"x" * 100000 + b"\r\n":
            with self.subTest(noise=noise[:20]):
                def script(reader, send, noise=noise):
                    try:
                        send(noise)
                        reader.read()
                    except ConnectionError:
                        pass
                f = self.flood(self.serve(script), "--messages", "1", "--connections", "1",
                               "--patience", "200ms", expect=1)
                self.assertEqual(f["protocol_errors"], 1)


class SinkAlone(Case):
    def mail(self, c, message_id="1", body="", rcpt="b@x.test"):
        c.say("MAIL FROM:<a@x.test>")
        c.say(f"RCPT TO:<{rcpt}>")
        c.say("DATA")
        return c.say(f"Message-Id: <{message_id}>\r\n\r\n{body}\r\n.")

    def test_duplicates_are_listed(self):
        sink = self.sink("--list-duplicates")
        c = self.smtp(sink)
        c.say("EHLO x")
        for n in "1", "2", "1":
            self.assertTrue(self.mail(c, n).startswith("250 "))
        s = sink.stop()
        self.assertEqual((s["messages"], s["distinct"], s["duplicates"]), (3, 2, 1))
        self.assertEqual(s["duplicate_list"], ["<1> b@x.test"])

    def test_expect_ends_it(self):
        sink = self.sink("--expect", "2")
        c = self.smtp(sink)
        c.say("EHLO x")
        self.mail(c, "1")
        self.mail(c, "2")
        self.assertEqual(sink.stop(number=None)["distinct"], 2)

    def test_too_few(self):
        sink = self.sink("--expect", "2", "--for", "50ms")
        self.assertEqual(sink.stop(number=None, expect=1)["messages"], 0)
        sink = self.sink("--expect-recipients", "2")
        sink.stop(expect=1)

    def test_hidden_rate_refuses_what_is_above_it(self):
        sink = self.sink("--limit-rate", "3/h", "--limit-window", "fixed",
                         "--limit-reply", "451 4.7.1 Not so fast")
        c = self.smtp(sink)
        c.say("EHLO x")
        for _ in range(3):
            self.assertTrue(self.mail(c).startswith("250 "))
        self.assertEqual(c.say("MAIL FROM:<a@x.test>"), "451 4.7.1 Not so fast")
        self.assertEqual(c.say("NOOP")[:3], "250")  # anything but 421 leaves the connection open
        s = sink.stop()
        self.assertEqual((s["messages"], s["limited"]), (3, 1))

    def test_hidden_rate_holds_a_second_and_fills_evenly(self):
        sink = self.sink("--limit-rate", "5/s")
        c = self.smtp(sink)
        c.say("EHLO x")
        accepted, begin = 0, time.monotonic()
        while time.monotonic() - begin < 1.5:
            if not c.say("MAIL FROM:<a@x.test>").startswith("250"):
                c = self.smtp(sink)  # 421 ended the other
                c.say("EHLO x")
            else:
                accepted += 1
                c.say("RSET")
        took = time.monotonic() - begin
        self.assertGreaterEqual(accepted, 5 + 5)
        self.assertLessEqual(accepted, 5 + 5 * took + 1)
        self.assertGreater(sink.stop()["limited"], 0)

    def test_hidden_rate_by_recipient_and_address(self):
        sink = self.sink("--limit-rate", "2/h", "--limit-window", "fixed", "--limit-phase", "rcpt",
                         "--limit-reply", "452 4.2.1 Enough", "--limit-per-address")
        for address in "127.0.0.51", "127.0.0.52":  # each has its own
            s = socket.create_connection(("127.0.0.1", sink.port), 20, (address, 0))
            with s, s.makefile("rwb", buffering=0) as f:
                f.write(b"".join(x + b"\r\n" for x in (
                    b"EHLO x", b"MAIL FROM:<a@x.test>", b"RCPT TO:<1@x.test>", b"RCPT TO:<2@x.test>",
                    b"RCPT TO:<3@x.test>", b"QUIT")))
                replies = [line[:3] for line in f.read().split(b"\r\n") if line[3:4] == b" "]
            self.assertEqual(replies, [b"220", b"250", b"250", b"250", b"250", b"452", b"221"])
        self.assertEqual(sink.stop()["limited"], 2)

    def test_hidden_rate_is_checked_at_the_start(self):
        for bad in (("--limit-rate", "fast"), ("--limit-window", "none"), ("--limit-phase", "eod"),
                    ("--limit-reply", "250 yes"), ("--limit-reply", "451")):
            run = subprocess.run([SINK, *bad], capture_output=True, text=True, timeout=20)
            self.assertEqual(run.returncode, 2, bad)
            self.assertIn("expected", run.stderr)

    def test_usr1_prints_the_summary(self):
        sink = self.sink()
        sink.process.send_signal(signal.SIGUSR1)
        self.assertEqual(json.loads(sink.process.stdout.readline())["messages"], 0)
        c = self.smtp(sink)
        c.say("EHLO x")
        self.mail(c)
        self.assertEqual(sink.stop(signal.SIGINT)["messages"], 1)

    def test_bdat(self):
        sink = self.sink("--record", self.path("s"))
        c = self.smtp(sink)
        self.assertIn("CHUNKING", c.say("EHLO x"))
        c.say("MAIL FROM:<a@x.test>")
        c.say("RCPT TO:<b@x.test>")
        c.send(b"BDAT 18\r\nMessage-Id: <1>\r\n\r")
        self.assertTrue(c.reply().startswith("250 "))
        c.send(b"BDAT 8 LAST\r\n\n.\r\nx\r\n.")
        self.assertTrue(c.reply().startswith("250 "))
        c.send(b"BDAT 3 LAST\r\nabc")
        self.assertTrue(c.reply().startswith("503 "))
        self.assertTrue(c.say("BDAT x").startswith("501 "))
        sink.stop()
        self.assertEqual([r[:4] for r in self.records("s")], [("<1>", "b@x.test", "a@x.test", "26")])

    def test_strict(self):
        sink = self.sink("--strict")
        c = self.smtp(sink)
        c.say("EHLO x")
        self.assertTrue(self.mail(c, body="a\nb").startswith("554 "))
        self.assertTrue(self.mail(c, body="x" * 999).startswith("554 "))
        self.assertTrue(self.mail(c, body="x" * 998).startswith("250 "))
        self.assertTrue(self.mail(c, body="a\n.\r\nb").startswith("554 "))
        c.send(b"NOOP\n")
        self.assertTrue(c.reply().startswith("500 "))
        c.send(b"EHLO x\r\nMAIL FROM:<a@x.test>\r\n")
        self.assertTrue(c.reply().startswith("503 "))
        hygiene = sink.stop()["hygiene"]
        self.assertEqual((hygiene["bare_lf"], hygiene["long_lines"], hygiene["odd_ends"],
                          hygiene["early"]), (3, 1, 1, 1))

    def test_limits(self):
        sink = self.sink("--max-size", "1k", "--max-recipients", "1", "--max-connections", "1")
        c = self.smtp(sink)
        self.assertIn("SIZE 1024", c.say("EHLO x"))
        self.assertTrue(c.say("MAIL FROM:<a@x.test> SIZE=1025").startswith("552 "))
        self.assertTrue(self.mail(c, body=("y" * 70 + "\r\n") * 20).startswith("552 "))
        c.say("MAIL FROM:<a@x.test>")
        c.say("RCPT TO:<b@x.test>")
        self.assertTrue(c.say("RCPT TO:<c@x.test>").startswith("452 "))
        other = self.smtp(sink, greet=False)
        self.assertTrue(other.reply().startswith("421 "))
        self.assertTrue(c.say("NOOP " + "x" * 5000).startswith("500 "))
        s = sink.stop()
        self.assertEqual((s["connections_refused"], s["hygiene"]["long_commands"]), (1, 1))

    def test_a_refused_greeting_waits_for_quit(self):
        sink = self.sink("--fault", "connect:554")
        c = self.smtp(sink, greet=False)
        self.assertTrue(c.reply().startswith("554 "))
        self.assertTrue(c.say("EHLO x").startswith("503 "))
        self.assertTrue(c.say("QUIT").startswith("221 "))
        self.assertEqual(c.file.read(), b"")

    def test_a_hung_connection_stays_open(self):
        for phase in "connect", "helo":
            sink = self.sink("--fault", f"{phase}:hang")
            c = self.smtp(sink, greet=phase != "connect")
            c.send(b"EHLO x\r\n")
            c.socket.settimeout(0.3)
            with self.assertRaises(TimeoutError):
                c.socket.recv(1)
            self.assertEqual(sink.stop()["faults"], 1)

    def test_input_before_the_greeting(self):
        sink = self.sink("--delay", "connect:200ms", "--strict")
        c = self.smtp(sink, greet=False)
        c.send(b"EHLO x\r\n")
        self.assertTrue(c.reply().startswith("554 "))
        self.assertEqual(sink.stop()["hygiene"]["early"], 1)

    def test_a_peer_that_leaves_inside_data(self):
        sink = self.sink()
        c = self.smtp(sink)
        c.say("EHLO x")
        c.say("MAIL FROM:<a@x.test>")
        c.say("RCPT TO:<b@x.test>")
        c.say("DATA")
        c.send(b"Subject: x\r\n")
        c.socket.shutdown(socket.SHUT_RDWR)
        other = self.smtp(sink)
        other.say("EHLO x")
        self.mail(other)
        s = sink.stop()
        self.assertEqual((s["messages"], s["hygiene"]["cut_off"]), (1, 1))

    def test_usage(self):
        with open(self.path("p"), "w", encoding="utf-8") as file:
            file.write("[a]\nfault = rcpt:200\n")
        for options in (("--fault", "rcpt"), ("--fault", "rcpt:250"), ("--fault", "rcpt:lost"),
                        ("--fault", "rcpt:450:101"), ("--delay", "x:1s"), ("--greylist", "soon"),
                        ("--personality", self.path("p")), ("--personality", self.path("none")),
                        ("--max-size", "5g"), ("--record", self.path("no/such")),
                        ("--listen", "127.0.0.1:99999"), ("--listen", "192.0.2.1:1")):
            with self.subTest(options=options):
                run = subprocess.run([SINK, *options], capture_output=True, text=True, timeout=20)
                self.assertEqual(run.returncode, 2, run)
                self.assertTrue(run.stderr.startswith("pmta-sink: "), run.stderr)


if __name__ == "__main__":
    unittest.main()
