#!/usr/bin/env python3
"""How well limits hold, measured at the receiving side. `make bench-shaping` runs it as it is.

  rates      two domains at once, one limited to 1/s, 500/s, 10,000/s, the other as fast as it goes
  clock      2/m and 200/h over a day, by `pmtactl simulate` on a virtual clock
  places     connections at any instant, one pipe
  shared     the same and the rate, two pipes on one virtual MTA
  rest       CPU time of a pipe with 50,000 throttled queues
  backoff    from the first reply that means back-off to the last message at the old rate
  adaptive   a provider with a hidden rate, on an accelerated clock

Everything listens on free loopback ports, lives in one directory (build/bench, or --dir), and is
stopped by pid at the end.
"""
import argparse
import bisect
import contextlib
import json
import os
import re
import shutil
import signal
import smtplib
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(TOP, "tests", "system"))
import bench  # noqa: E402
import pmta  # noqa: E402

PARTS = ("rates", "clock", "places", "shared", "rest", "backoff", "adaptive")


# --- what arrived ---

class Receiver:
    """A pmta-sink that writes down when each recipient arrived."""

    def __init__(self, directory, args=(), name="sink"):
        self.record = os.path.join(directory.path, name + ".tsv")
        self.process = bench.start(
            [os.path.join(pmta.BIN, "pmta-sink"), "--listen", "127.0.0.1:0", "--print-port",
             "--json", "--record", self.record, "--max-connections", "5000", *args],
            stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().strip().rsplit(":", 1)[1])

    def stop(self):
        """The summary object."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=60)
        return json.loads(out)

    def times(self, domain=None):
        """Sorted arrival times in seconds, of recipients in this domain."""
        with open(self.record, encoding="utf-8") as f:
            rows = [x.rstrip("\n").split("\t") for x in f if not x.startswith("#")]
        return sorted(float(when) for _, rcpt, _, _, when in rows
                      if not domain or rcpt.rsplit("@", 1)[1] == domain)


def windows(times, length):
    """(least, most) arrivals in any window of this length that lies inside the run."""
    least, most = None, 0
    for i, t in enumerate(times):
        if t + length > times[-1]:
            break
        n = bisect.bisect_left(times, t + length) - i
        most = max(most, n)
        # the emptiest windows begin just after an arrival
        gap = bisect.bisect_right(times, t + length) - i - 1
        least = gap if least is None else min(least, gap)
    return least, most


# --- the sending side ---

class Shaped(pmta.Pmta):
    """pmtad whose next hop is one port; `text` is the shaping."""

    def __init__(self, directory, port, text):
        super().__init__(directory, port)
        user = "nobody" if os.geteuid() == 0 and bench.reachable(pmta.BIN) else "root"
        self.write_config("10-test.conf", f"""
[pmta]
host-name = bench.example
spool = {self.spool}
run-dir = {self.run}
acct-dir = {self.acct}
default-pipe = bulk
{"user = " + user if os.geteuid() == 0 else ""}
[listener in]
address = 127.0.0.1:{self.port}
[source 127.0.0.0/8]
always-allow-relaying = yes
process-x-pipe = yes
[pipe transactional]
[pipe bulk]
[domain *]
smtp-hosts = [127.0.0.1]:{port}
{text}
""")

    def book(self, pipe="bulk"):
        books = self.ledger()
        return books[pipe] if books else {"queued": -1, "received": 0, "delivered": 0}

    def pid(self, pipe="bulk"):
        return self.pids()[f"pipe/{pipe}"]


@contextlib.contextmanager
def shaped(b, text, sink_args=()):
    """(engine, receiver), stopped and removed afterwards."""
    directory = pmta.Directory(prefix="pmta-")
    sink = Receiver(directory, sink_args)
    e = Shaped(directory, sink.port, text)
    try:
        yield e.start(), sink
    except BaseException:
        b.keep(e.log)
        raise
    finally:
        bench.stop(e)
        bench.end(sink.process)
        directory.remove()


def flood(e, messages, domains, *more):
    done = subprocess.run(
        [os.path.join(pmta.BIN, "pmta-flood"), "--to", f"127.0.0.1:{e.port}", "--messages",
         str(messages), "--size", "1k", "--domains", domains, "--connections", "20", "--quiet",
         *more], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise AssertionError("pmta-flood: " + done.stderr.strip()[-300:])


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        words = f.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def most_at_once(summary):
    """The most connections that were open at any instant, as the receiver counted them."""
    return max(a["connections_most"] for a in summary["addresses"].values())


def attempts(log):
    """(begun, ended, outcome) in seconds of each attempt, from the engine's log."""
    line = re.compile(r"^(\S+) info .* delivery: (delivered|deferred|bounced) .*"
                      r"transmit_ms=(\d+) .*? reply='(\d*)")
    with open(log, encoding="utf-8", errors="replace") as f:
        found = [m.groups() for m in map(line.match, f) if m]
    return [(when(at) - max(0, int(took)) / 1000, when(at), code) for at, _, took, code in found]


# --- the parts ---

class Shaping(bench.Bench):
    def run(self):
        fine = True
        for name in (p for p in PARTS if p in self.parts):
            self.say(name)
            try:
                getattr(self, name)()
            except bench.Skip as why:
                self.row(name, f"skipped: {why}")
            except (AssertionError, OSError, smtplib.SMTPException, KeyError, ValueError,
                    subprocess.SubprocessError) as e:
                self.row(name, f"failed: {e!r}", "", False)
                fine = False
        return fine

    def rates(self):
        self.rate(1, self.count(30, 12), self.count(400000, 50000))
        self.rate(500, self.count(40, 15), self.count(1000000, 100000))
        self.rate(10000, self.count(15, 4), self.count(400000, 50000))
        self.rate(10000, self.count(15, 4), 0)

    def rate(self, rate, length, other):
        """Both domains are queued while the pipe is paused, then it is let go. What counts is the
        time in which both have mail."""
        limited = rate * length + 1
        text = f"max-smtp-out = 20\n[domain limited.example]\nmax-msg-rate = {rate}/s\n"
        with shaped(self, text) as (e, sink):
            e.admin("pause-pipe pipe/bulk {}")
            flood(e, limited, "limited.example")
            if other:
                flood(e, other, "free.example")
            self.say(f"  {rate}/s: {limited} and {other} queued")
            e.admin("resume-pipe pipe/bulk {}")
            pmta.wait_until(lambda: e.book()["queued"] == 0, "the end", 300)
            sink.stop()
            t, f = sink.times("limited.example"), sink.times("free.example")
        if len(t) != limited or len(f) != other:
            raise AssertionError(f"{len(t)} of {limited}, {len(f)} of {other} arrived")
        if other:
            t = [x for x in t if x <= f[-1]]
        achieved = (len(t) - 1) / (t[-1] - t[0])
        span = min(10, max(1, int((t[-1] - t[0]) * 0.7)))
        least, most = windows(t, span)
        want = rate * span
        # a window that begins with an arrival holds one more than one that begins just after it
        off = max(want - 1 - least, most - want - 1, 0) / want * 100
        meanwhile = f"{other / (f[-1] - f[0]):,.0f}/s" if other else "none"
        self.results[f"rate_{rate}_{'both' if other else 'alone'}"] = {
            "achieved": achieved, "least": least, "most": most, "span": span, "off": off,
            "other": other / (f[-1] - f[0]) if other else 0}
        self.row(f"{rate:,}/s configured: achieved; the other domain meanwhile",
                 f"{achieved:,.3f}/s over {t[-1] - t[0]:.1f} s; {meanwhile}")
        good, goal = off <= 1.0, f"+-1% in any {span:g} s"
        if rate == 10000 and other:  # together they want more than the machine has
            good, goal = most <= want * 1.01, "never above"
        self.row(f"{rate:,}/s: fewest and most in any {span:g} s",
                 f"{least:,} and {most:,} of {want:,.0f} ({off:.2f}% off)", goal, good)

    def clock(self):
        for rate, volume in (("2/m", 2880), ("200/h", 4800)):
            with shaped(self, f"[domain slow.example]\nmax-msg-rate = {rate}\n") as (e, _):
                out = subprocess.run(
                    [os.path.join(pmta.BIN, "pmtactl"), "simulate", "--config", e.conf, "--json",
                     "--volume", f"slow.example={volume}"],
                    capture_output=True, text=True, timeout=120)
            if out.returncode:
                raise AssertionError("pmtactl simulate: " + out.stderr.strip()[-300:])
            row = [r for r in map(json.loads, out.stdout.splitlines())
                   if r.get("domain") == "slow.example"][0]
            hours = row["duration_ms"] / 3600000
            exact = 24 - 24 / volume  # the first one goes at once
            self.row(f"{rate}, {volume:,} messages on a virtual clock",
                     f"{hours:.5f} h, by {row['bound_by']}", f"{exact:.5f} h",
                     abs(hours - exact) < 0.0005)

    def places(self):
        n = self.count(20000, 4000)
        with shaped(self, "max-smtp-out = 7\n", ["--delay", "data:5ms"]) as (e, sink):
            flood(e, n, "places.example")
            pmta.wait_until(lambda: e.book()["queued"] == 0, "the end", 300)
            most = most_at_once(sink.stop())
        self.row("max-smtp-out = 7: most connections at any instant", f"{most}", "7", most == 7)

    def shared(self):
        n, rate, places = self.count(4000, 1200), 200, 5
        text = (f"max-smtp-out = 100\n[virtual-mta both]\nsmtp-source-host = 127.0.0.1 a.example\n"
                f"max-smtp-out = {places}\nmax-msg-rate = {rate}/s\n"
                "[pipe bulk]\ndefault-virtual-mta = both\n"
                "[pipe transactional]\ndefault-virtual-mta = both\n")
        with shaped(self, text, ["--delay", "data:10ms"]) as (e, sink):
            for pipe in ("bulk", "transactional"):
                e.admin(f"pause-pipe pipe/{pipe} {{}}")
                flood(e, n // 2, "a.example,b.example,c.example", "--pipe", pipe)
            for pipe in ("bulk", "transactional"):
                e.admin(f"resume-pipe pipe/{pipe} {{}}")
            pmta.wait_until(lambda: all(e.book(p)["queued"] == 0
                                        for p in ("bulk", "transactional")), "the end", 300)
            most = most_at_once(sink.stop())
            t = sink.times()
        _, in_one = windows(t, 1.0)
        achieved = (len(t) - 1) / (t[-1] - t[0])
        burst = rate * 0.05 + places
        self.row(f"two pipes on one virtual MTA, {rate}/s: achieved; most in any second",
                 f"{achieved:.2f}/s; {in_one}", f"+-1%; <= {rate + burst:.0f}",
                 abs(achieved / rate - 1) < 0.01 and in_one <= rate + burst)
        self.row(f"two pipes on one virtual MTA, {places} connections: most at any instant",
                 f"{most}", f"{places}", most == places)

    def rest(self):
        queues, length = self.count(50000, 5000), self.count(20, 5)
        text = ("max-msg-rate = 1/h\nmax-smtp-out = 20\nidle-timeout-out = 0\n"
                "[pipe bulk]\nmax-smtp-out = 500\n")
        with shaped(self, text) as (e, _):
            names = [f"u@d{i}.example" for i in range(queues)]
            for i in range(0, 2 * queues, 1000):
                with e.smtp() as s:
                    s.ehlo("bench.example")
                    s.mail("from@sender.example")
                    for name in names[i % queues:i % queues + 1000]:
                        s.rcpt(name)
                    s.data(f"Subject: {i // queues}\r\n\r\nhello\r\n")
            pmta.wait_until(lambda: e.book()["delivered"] == queues, "one each", 300)
            pmta.wait_until(lambda: not e.admin("show-connections pipe/bulk {}")[:-1],
                            "the end of idle connections", 60)
            pid, began = e.pid(), time.monotonic()
            before = cpu_seconds(pid)
            time.sleep(length)  # the measurement itself
            used = (cpu_seconds(pid) - before) / (time.monotonic() - began) * 100
            left = e.book()["queued"]
        if left != queues:
            raise AssertionError(f"{left} of {queues} still wait")
        self.results["rest_percent"] = used
        self.row(f"{queues:,} throttled queues at rest: CPU of one core", f"{used:.2f}%", "< 1%",
                 used < 1)

    def backoff(self):
        rtt, rate = 0.05, 400
        text = (f"max-smtp-out = 10\nsmtp-pattern-list = bench\n"
                f"[domain strict.example]\nmax-msg-rate = {rate}/s\nbackoff-max-msg-rate = 1/h\n"
                "[smtp-pattern-list bench]\nreply = /^421 4\\.7\\.0/ mode=backoff\n")
        sink_args = ["--limit-rate", "100/s", "--delay", f"mail:{int(rtt * 1000)}ms"]
        with shaped(self, text, sink_args) as (e, _):
            e.admin("pause-pipe pipe/bulk {}")
            flood(e, 4000, "strict.example")
            e.admin("resume-pipe pipe/bulk {}")

            def entered():
                return [a for a in e.admin("show-actions pipe/bulk {}")
                        if a.get("kind") == "backoff"]
            pmta.wait_until(entered, "back-off", 60)
            # a 421 that is not its message's fault is in no record: the action says when it came
            first = min(a["since_ms"] for a in entered()) / 1000
            time.sleep(1)  # what still was under way is counted
            done = attempts(e.log)
        before = [x for x in done if x[1] <= first]
        # times are in whole milliseconds; the first one at the new rate may go at once
        late = sorted(begun - first for begun, _, _ in done if begun > first + 0.001)
        ended = max(x[1] for x in done if x[0] <= first + 0.001) - first
        last = late[-2] if len(late) > 1 else 0.0
        self.results["backoff_ms"] = {"last_begun": last * 1000, "last_ended": ended * 1000}
        self.row(f"back-off, {rate}/s to 1/h after {len(before)} attempts (round trip "
                 f"{rtt * 1000:.0f} ms): begun after the 421; last of those under way",
                 f"{max(0, len(late) - 1)}; {ended * 1000:.0f} ms",
                 "0; one round trip", len(late) <= 1 and ended <= rtt * 1.5)

    def adaptive(self):
        curve = os.path.join(TOP, "build", "tests", "bench", "adaptive_curve")
        if not os.path.exists(curve):
            raise bench.Skip("build/tests/bench/adaptive_curve is not built")
        out = subprocess.run([curve, os.path.join(TOP, "build", "bench", "adaptive.svg")],
                             capture_output=True, text=True, timeout=300)
        if out.returncode not in (0, 1) or not out.stdout:
            raise AssertionError(out.stderr.strip()[-300:])
        for r in map(json.loads, out.stdout.splitlines()):
            moves = "after" in r["name"]  # what it takes to notice is part of the figure
            good = r["goodput_percent"] >= 90 and r["deferred_percent"] < 3
            self.results["adaptive " + r["name"]] = r
            self.row(f"adaptive, {r['name']}: goodput; deferred after two minutes",
                     f"{r['goodput_percent']:.1f}%; {r['deferred_percent']:.2f}%",
                     *(() if moves else (">= 90%; < 3%", good)))
        self.say("  curves: build/bench/adaptive.svg")


def when(text):
    import datetime
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00").replace(" ", "T")).timestamp()


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", default=",".join(PARTS), metavar="A,B")
    p.add_argument("--quick", action="store_true", help="small counts: to try it")
    p.add_argument("--out", metavar="FILE", help="write all figures as JSON")
    p.add_argument("--dir", default=os.path.join(TOP, "build", "bench"))
    options = p.parse_args()
    options.only = [x for x in options.only.split(",") if x]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.makedirs(options.dir, exist_ok=True)
    directory = tempfile.mkdtemp(prefix="run-", dir=os.path.abspath(options.dir))
    os.chmod(directory, 0o755)
    os.environ["PMTA_TEST_DIR"] = directory
    b = Shaping(options)
    try:
        m = bench.machine(directory)
        fine = b.run()
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    bench.print_table(b.rows, m)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as f:
            json.dump({"machine": m, "results": b.results}, f, indent=1)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
