#!/usr/bin/env python3
"""The figures of PipeMTA, from one run on one machine. `make bench` runs it as it is.

  direct    (a) smtp-source straight into smtp-sink: what the machine gives
  relay     (b) the same through PipeMTA, durable: accept rate, end-to-end rate, (c) ratio to (a)
  postfix   (d) the same through a private Postfix with its defaults and raised concurrency
  sizes     (e) 1 KiB, 64 KiB and 1 MiB, both paths
  latency   (f) a 20/s transactional stream alone, and while bulk is flooded
  backlog   (g) 200,000 recipients queued with the next hop down: memory, start-up, drain

Rates are the median of three runs in alternation. Everything listens on free loopback ports, lives in
one directory on a real disk (build/bench, or --dir), and is stopped by pid at the end.
"""
import argparse
import contextlib
import ctypes
import json
import os
import platform
import pwd
import shutil
import signal
import smtplib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "system"))
import pmta  # noqa: E402

SESSIONS = 50
KIB = 1024
PARTS = ("direct", "relay", "postfix", "sizes", "latency", "backlog")
RUNS = 3


class Skip(Exception):
    """A part that cannot run here; the text says why."""


# --- processes ---

def die_with_parent():
    """In a new child: SIGKILL it when the bench dies without a chance to clean up."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def start(command, **more):
    more.setdefault("stdin", subprocess.DEVNULL)
    more.setdefault("stdout", subprocess.DEVNULL)
    more.setdefault("stderr", subprocess.DEVNULL)
    return subprocess.Popen(command, preexec_fn=die_with_parent, **more)


def end(process, seconds=10):
    """SIGTERM, then SIGKILL; by pid, and waits."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(port):
    """Does an SMTP server greet on this port?"""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as s:
            s.settimeout(2)
            return s.recv(4).startswith(b"220")
    except OSError:
        return False


@contextlib.contextmanager
def smtp_sink(port=0):
    """Debian's smtp-sink; yields its port."""
    port = port or pmta.free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = start(["smtp-sink", *user, f"127.0.0.1:{port}", "1000"])
    try:
        pmta.wait_until(lambda: answers(port), "smtp-sink", 10)
        yield port
    finally:
        end(process)


def source_command(port, messages, size, rcpt="user@bulk.example", sessions=SESSIONS):
    return ["smtp-source", "-d", "-s", str(min(sessions, messages)), "-m", str(messages),
            "-l", str(size), "-f", "from@sender.example", "-t", rcpt, f"127.0.0.1:{port}"]


def smtp_source(port, messages, size, **more):
    """Runs smtp-source to its end; returns seconds."""
    began = time.monotonic()
    done = subprocess.run(source_command(port, messages, size, **more), stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          timeout=900, preexec_fn=die_with_parent)
    seconds = time.monotonic() - began
    if done.returncode != 0:
        raise AssertionError("smtp-source failed: " + done.stderr.strip()[-500:])
    return seconds


# --- PipeMTA ---

CONFIG = """
[pmta]
host-name = bench.example
spool = {spool}
run-dir = {run}
acct-dir = {acct}
default-pipe = bulk
user = {user}
[listener in]
address = 127.0.0.1:{port}
[source 127.0.0.0/8]
always-allow-relaying = yes
process-x-pipe = yes
[pipe transactional]
priority = 90
[pipe bulk]
priority = 30
[domain *]
smtp-hosts = [127.0.0.1]:{sink}
max-smtp-out = 50
[domain transactional.example]
smtp-hosts = [127.0.0.1]:{other}
"""


class Engine(pmta.Pmta):
    """pmtad with two pipes; bulk goes to `sink`, transactional.example to `other`."""

    def __init__(self, directory, sink, other=None):
        super().__init__(directory, sink)
        user = "pmta"
        if os.geteuid() == 0:
            user = "nobody" if reachable(pmta.BIN) else "root"
        self.write_config("10-test.conf", CONFIG.format(
            spool=self.spool, run=self.run, acct=self.acct, user=user, port=self.port, sink=sink,
            other=other or sink))

    def book(self, pipe="bulk"):
        books = self.ledger()
        return books[pipe] if books else None

    def wait_final(self, messages, before, seconds=900):
        """Until all of them have left bulk; returns the ledger. Asks seldom while the end is far:
        the question costs the engine time, too."""
        began = time.monotonic()

        def final():
            b = self.book()
            done = b["delivered"] - before["delivered"] if b else 0
            if b and b["queued"] == 0 and b["received"] - before["received"] >= messages:
                return b
            if 0 < done < messages:
                so_far = time.monotonic() - began
                time.sleep(min(1, so_far * (messages - done) / done / 4))
            return None
        b = pmta.wait_until(final, f"delivery of {messages} messages", seconds)
        lost = messages - (b["delivered"] - before["delivered"])
        if lost or not b["balanced"]:
            raise AssertionError(f"{lost} of {messages} messages were not delivered: {b}")
        return b

    def pipe_object(self, pipe="bulk"):
        return [o for o in self.admin(f"show-pipes pipe/{pipe}") if o.get("pipe") == pipe][0]

    def pipe_pid(self, pipe="bulk"):
        return [pid for name, pid in self.pids().items() if name == f"pipe/{pipe}"][0]

    def rss_kib(self, pipe="bulk"):
        with open(f"/proc/{self.pipe_pid(pipe)}/status", encoding="ascii") as f:
            return int([x for x in f if x.startswith("VmRSS:")][0].split()[1])


def reachable(path):
    """Can any user go into this directory?"""
    while path != "/":
        if not os.stat(path).st_mode & 0o001:
            return False
        path = os.path.dirname(path)
    return True


@contextlib.contextmanager
def engine(bench, sink, other=None, kind=Engine):
    """A running engine in a directory of its own, removed afterwards."""
    if not os.path.exists(os.path.join(pmta.BIN, "pmtad")):
        raise Skip(f"{pmta.BIN}/pmtad is not built")
    directory = pmta.Directory(prefix="pmta-")
    e = kind(directory, sink, other)
    try:
        yield e.start()
    except BaseException:
        bench.keep(e.log)
        raise
    finally:
        stop(e)
        directory.remove()


def stop(e):
    try:
        if e.stop() != 0:
            print(f"bench: pmtad ended with status {e.process.returncode}", file=sys.stderr)
    except subprocess.TimeoutExpired:
        e.kill()


def relay_run(e, messages, size):
    """(accept, end-to-end) in messages/s."""
    before = e.book()
    began = time.monotonic()
    accept = smtp_source(e.port, messages, size)
    e.wait_final(messages, before)
    return messages / accept, messages / (time.monotonic() - began)


# --- Postfix ---

POSTFIX_MAIN = """
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.bench.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
relayhost = [127.0.0.1]:{sink}
smtp_dns_support_level = disabled
default_process_limit = 200
default_destination_concurrency_limit = 50
initial_destination_concurrency = 50
smtpd_client_connection_count_limit = 0
"""


def postfix_config(path, sink, port):
    """A private instance: main.cf of ours, master.cf as Debian ships it but for the port."""
    daemons = subprocess.run(["postconf", "-dh", "daemon_directory"], capture_output=True,
                             text=True, check=True).stdout.strip()
    conf = os.path.join(path, "conf")
    for name in ("conf", "queue", "data"):
        os.makedirs(os.path.join(path, name))
    os.chown(os.path.join(path, "data"), pwd.getpwnam("postfix").pw_uid, -1)
    with open(os.path.join(conf, "main.cf"), "w", encoding="ascii") as f:
        f.write(POSTFIX_MAIN.format(dir=path, daemons=daemons, sink=sink))
    with open("/usr/share/postfix/master.cf.dist", encoding="utf-8") as f:
        rows = f.read().splitlines()
    with open(os.path.join(conf, "master.cf"), "w", encoding="utf-8") as f:
        for row in rows:
            words = row.split()
            if row[:1].isspace() or row.startswith("#") or len(words) < 8:
                if not row[:1].isspace() or "syslog_name" in row:
                    f.write(row + "\n")
                continue
            if words[7] == "pipe":
                continue
            if words[:2] == ["smtp", "inet"]:
                words[0] = f"127.0.0.1:{port}"
            words[4] = "n"  # no chroot: its copy of /etc is not made here
            f.write(" ".join(words) + "\n")
    return conf


def queue_empty(path):
    """Nothing in the queue, by its directories in the order in which a message moves."""
    for name in ("maildrop", "incoming", "active", "deferred"):
        for _, _, files in os.walk(os.path.join(path, "queue", name)):
            if files:
                return False
    return True


@contextlib.contextmanager
def postfix(sink):
    """Yields (port, directory) of a running private Postfix."""
    if os.geteuid() != 0:
        raise Skip("Postfix needs root to start")
    if not shutil.which("postfix") or not os.path.exists("/usr/share/postfix/master.cf.dist"):
        raise Skip("Debian's postfix package is not installed")
    path = tempfile.mkdtemp(prefix="postfix-", dir=os.environ["PMTA_TEST_DIR"])
    os.chmod(path, 0o755)
    port = pmta.free_port()
    conf = postfix_config(path, sink, port)

    def command(verb):
        return subprocess.run(["postfix", "-c", conf, verb], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)
    try:
        done = command("start")
        try:
            pmta.wait_until(lambda: answers(port), "Postfix", 20)
        except AssertionError:
            raise Skip("Postfix did not start: " + (done.stdout + done.stderr).strip()[-300:])
        yield port, path
    finally:
        with contextlib.suppress(OSError, ValueError):
            with open(os.path.join(path, "queue/pid/master.pid"), encoding="ascii") as f:
                master = int(f.read())
            command("stop")
            pmta.wait_until(lambda: not os.path.exists(f"/proc/{master}"), "the end of Postfix", 20)
        shutil.rmtree(path, ignore_errors=True)


def postfix_run(port, path, messages, size):
    began = time.monotonic()
    accept = smtp_source(port, messages, size)
    pmta.wait_until(lambda: queue_empty(path) and queue_empty(path), "Postfix's queue", 900)
    return messages / accept, messages / (time.monotonic() - began)


# --- the bench ---

class Bench:
    def __init__(self, options):
        self.quick = options.quick
        self.parts = options.only
        self.rows = []      # (what, text, target or "", True/False/None)
        self.results = {}
        self.postfix_rates = None

    def count(self, full, quick):
        return quick if self.quick else full

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    def row(self, what, value, target="", good=None):
        self.rows.append((what, value, target, good))

    def keep(self, log):
        """A part failed: the end of the engine's log says why."""
        with contextlib.suppress(OSError), open(log, encoding="utf-8", errors="replace") as f:
            self.say("".join(f.readlines()[-15:]))

    # (a), (b), (c), (d)
    def rates(self):
        size = 4 * KIB
        n = self.count(30000, 3000)
        direct, accept, total, other_accept, other = [], [], [], [], []
        with contextlib.ExitStack() as stack:
            sink = stack.enter_context(smtp_sink())
            e = stack.enter_context(engine(self, sink)) if "relay" in self.parts else None
            p = None
            if "postfix" in self.parts:
                try:
                    p = stack.enter_context(postfix(sink))
                except Skip as why:
                    self.row("(d) through Postfix", f"skipped: {why}")
            for i in range(1 if self.quick else RUNS):
                self.say(f"rates, run {i + 1}")
                direct.append(n / smtp_source(sink, n, size))
                if e:
                    a, t = relay_run(e, n, size)
                    accept.append(a)
                    total.append(t)
                if p:
                    a, t = postfix_run(*p, self.count(6000, 1000), size)
                    other_accept.append(a)
                    other.append(t)
        self.report_rates(direct, accept, total, other_accept, other)

    def report_rates(self, direct, accept, total, other_accept, other):
        a = statistics.median(direct)
        self.results["direct"] = {"msgs_per_s": direct}
        self.row("(a) smtp-source straight into smtp-sink, 4 KiB, 50 sessions", per_s(a, direct))
        if total:
            b = statistics.median(total)
            self.results["relay"] = {"accept_per_s": accept, "end_to_end_per_s": total,
                                     "ratio": b / a}
            self.row("(b) through PipeMTA, accepted (each durable before 250)",
                     per_s(statistics.median(accept), accept))
            self.row("(b) through PipeMTA, end to end", per_s(b, total))
            self.row("(c) end to end against (a)", f"{b / a:.2f}", ">= 0.35", b / a >= 0.35)
        if other:
            d = statistics.median(other)
            self.results["postfix"] = {"accept_per_s": other_accept, "end_to_end_per_s": other}
            self.row("(d) through Postfix, accepted",
                     per_s(statistics.median(other_accept), other_accept))
            self.row("(d) through Postfix, end to end", per_s(d, other))
            if total:
                self.results["postfix"]["times"] = b / d
                self.row("    PipeMTA against Postfix, end to end", f"{b / d:.1f} times",
                         ">= 5 times", b / d >= 5)

    # (e)
    def sizes(self):
        self.results["sizes"] = {}
        plan = ((1, self.count(30000, 3000)), (64, self.count(5000, 500)),
                (1024, self.count(500, 50)))
        with smtp_sink() as sink, engine(self, sink) as e:
            for kib, n in plan:
                self.say(f"sizes, {kib} KiB")
                a = n / smtp_source(sink, n, kib * KIB)
                accept, b = relay_run(e, n, kib * KIB)
                self.results["sizes"][f"{kib}KiB"] = {
                    "direct_per_s": a, "accept_per_s": accept, "end_to_end_per_s": b}
                self.row(f"(e) {kib} KiB: direct, through PipeMTA end to end, ratio",
                         f"{a:,.0f}/s, {b:,.0f}/s ({b * kib / 1024:,.0f} MiB/s), {b / a:.2f}")

    # (f)
    def stream(self, port, seconds, rate=20):
        """Transactional mail at a steady pace. The time of sending is the time it was due, so that a
        late start counts as latency."""
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as s:
            s.ehlo("client.example")
            first = time.time() + 0.05
            for i in range(int(seconds * rate)):
                due = first + i / rate
                time.sleep(max(0.0, due - time.time()))
                s.sendmail("from@sender.example", ["user@transactional.example"],
                           f"X-Pipe: transactional\r\nX-Flood-Sent: {int(due * 1e6)}\r\n"
                           f"Message-Id: <{os.getpid()}.{due:.6f}@bench.example>\r\n"
                           f"Subject: code\r\n\r\n{'123456 ' * 100}\r\n")

    def latency_of(self, to, port, seconds):
        """Latency object of a pmta-sink on `port` that takes exactly one stream, sent to port `to`."""
        expect = int(seconds * 20)
        sink = start([os.path.join(pmta.BIN, "pmta-sink"), "--listen", f"127.0.0.1:{port}",
                      "--latency-header", "X-Flood-Sent", "--json", "--print-port",
                      "--expect", str(expect), "--for", f"{int(seconds) + 120}s"],
                     stdout=subprocess.PIPE, text=True)
        try:
            sink.stdout.readline()
            self.stream(to, seconds)
            out, _ = sink.communicate(timeout=150)
        finally:
            end(sink)
        tally = json.loads(out)
        if sink.returncode != 0:
            raise AssertionError(f"of {expect} transactional messages not all arrived: {out}")
        return tally["latency"]["all"]

    def latency(self):
        seconds = self.count(30, 6)
        other = pmta.free_port()
        with smtp_sink() as sink, engine(self, sink, other) as e:
            self.latency_of(e.port, other, 2)  # warm: connections, caches, the spool's first segment
            self.say("latency, idle")
            idle = self.latency_of(e.port, other, seconds)
            before = e.book()
            flood = start(source_command(e.port, 100000000, 4 * KIB))
            try:
                pmta.wait_until(lambda: (e.book() or before)["received"] > before["received"] + 1000,
                                "the flood", 30)
                self.say("latency, bulk flooded")
                began, first = time.monotonic(), e.book()
                loaded = self.latency_of(e.port, other, seconds)
                last = e.book()
                rate = (last["received"] - first["received"]) / (time.monotonic() - began)
                self.say("latency, straight into the sink beside the flood")
                control = self.latency_of(other, other, seconds)
                if flood.poll() is not None:
                    raise AssertionError("the flood ended before the measurement did")
            finally:
                end(flood)
        self.results["latency"] = {"idle": idle, "flooded": loaded, "control": control,
                                   "flood_per_s": rate}
        times = loaded["p99_us"] / idle["p99_us"]
        for name, h in (("alone", idle), (f"while bulk takes {rate:,.0f}/s", loaded),
                        ("meanwhile, client straight into sink", control)):
            self.row(f"(f) transactional 20/s, {name}: p50, p99",
                     f"{h['p50_us'] / 1000:.2f} ms, {h['p99_us'] / 1000:.2f} ms")
        self.row("(f) p99 under flood against alone", f"{times:.1f} times", "<= 3 times",
                 times <= 3)

    # (g)
    def backlog(self):
        n, size = self.count(200000, 20000), 4 * KIB
        r = self.results["backlog"] = {"recipients": n}
        sink = pmta.free_port()
        with engine(self, sink) as e:
            self.say("backlog, rate at an empty queue")
            with smtp_sink(sink):
                _, r["empty_per_s"] = relay_run(e, n // 4, size)
            r["rss_before_kib"] = e.rss_kib()
            self.say(f"backlog, queueing {n}")
            r["accept_per_s"] = n / smtp_source(e.port, n, size)
            r["rss_after_kib"] = e.rss_kib()
            r["index_bytes_per_rcpt"] = e.pipe_object()["index_bytes_per_rcpt"]
            self.backlog_restart(e, r)
            self.say("backlog, draining")
            before = e.book()
            if before["queued"] < n:
                raise AssertionError(f"only {before['queued']} of {n} are queued")
            with smtp_sink(sink):
                began = time.monotonic()
                e.admin('schedule pipe/bulk {"queue":"*"}')
                pmta.wait_until(lambda: (e.book() or before)["queued"] == 0, "the drain", 600)
                r["drain_per_s"] = before["queued"] / (time.monotonic() - began)
            after = e.book()
            drained = after["delivered"] - before["delivered"]
            if drained != before["queued"] or not after["balanced"]:
                raise AssertionError(f"{drained} of {before['queued']} were delivered: {after}")
        self.report_backlog(r)

    def backlog_restart(self, e, r):
        stop(e)
        began = time.monotonic()
        e.start(wait=False)
        e.wait_log("pipe/bulk is ready", 120)
        r["start_s"] = time.monotonic() - began
        line = [x for x in e.log_text().splitlines() if "pipe/bulk is ready" in x][0]
        words = line.split()
        r["load_s"] = int(words[words.index("in") + 1]) / 1000 if "recovered in" in line else None
        e.wait_log("all processes are ready", 120)
        r["rss_restarted_kib"] = e.rss_kib()

    def report_backlog(self, r):
        n = r["recipients"]
        per = (r["rss_after_kib"] - r["rss_before_kib"]) * KIB / n
        self.row(f"(g) index bytes per recipient, {n:,} queued", f"{r['index_bytes_per_rcpt']}",
                 "<= 256", r["index_bytes_per_rcpt"] <= 256)
        self.row("(g) resident growth of the pipe per recipient", f"{per:.0f} bytes "
                 f"({r['rss_before_kib'] // KIB} -> {r['rss_after_kib'] // KIB} MiB; "
                 f"{r['rss_restarted_kib'] // KIB} MiB after a restart)")
        load = r["load_s"] if r["load_s"] is not None else r["start_s"]
        self.row(f"(g) loading {n:,}; from exec of pmtad to the pipe's ready line",
                 f"{load:.2f} s; {r['start_s']:.2f} s", "< 1 s", r["start_s"] < 1)
        ratio = r["drain_per_s"] / r["empty_per_s"]
        self.row("(g) accept rate while the next hop is down, 4 KiB", f"{r['accept_per_s']:,.0f}/s")
        self.row("(g) drain rate; rate at an empty queue, 4 KiB",
                 f"{r['drain_per_s']:,.0f}/s; {r['empty_per_s']:,.0f}/s = {ratio:.2f}", ">= 0.90",
                 ratio >= 0.9)

    def run(self):
        """True when no part failed."""
        fine = True
        todo = []
        if {"direct", "relay", "postfix"} & set(self.parts):
            todo.append(("rates", self.rates))
        todo += [(p, getattr(self, p)) for p in ("sizes", "latency", "backlog") if p in self.parts]
        for name, part in todo:
            try:
                part()
            except Skip as why:
                self.row(name, f"skipped: {why}")
            except (AssertionError, OSError, smtplib.SMTPException, subprocess.SubprocessError) as e:
                self.row(name, f"failed: {e}", "", False)
                fine = False
        return fine


# --- output ---

def per_s(median, runs):
    spread = f" ({min(runs):,.0f} .. {max(runs):,.0f})" if len(runs) > 1 else ""
    return f"{median:,.0f}/s{spread}"


def sync_ms(directory):
    """Median of fdatasync after a 4 KiB append: what durability costs on this disk."""
    times = []
    with tempfile.TemporaryFile(dir=directory) as f:
        for _ in range(50):
            f.write(b"x" * 4096)
            f.flush()
            began = time.monotonic()
            os.fdatasync(f.fileno())
            times.append((time.monotonic() - began) * 1000)
    return statistics.median(times)


def file_system(path):
    best = ("", "?")
    with open("/proc/mounts", encoding="utf-8") as f:
        for line in f:
            _, mount, kind = line.split()[:3]
            inside = path == mount or path.startswith(mount.rstrip("/") + "/")
            if inside and len(mount) >= len(best[0]):
                best = (mount, kind)
    return best[1]


def machine(directory):
    return {"cores": os.cpu_count(), "kernel": platform.release(),
            "file_system": file_system(directory), "fdatasync_ms": sync_ms(directory),
            "load_before": os.getloadavg()[0]}


def print_table(rows, m):
    print(f"\nPipeMTA bench: {m['cores']} cores, Linux {m['kernel']}, {m['file_system']}, "
          f"fdatasync {m['fdatasync_ms']:.2f} ms, load before {m['load_before']:.1f}\n")
    width = max(len(r[0]) for r in rows)
    middle = max((len(r[1]) for r in rows if len(r[1]) < 60), default=0)
    for what, value, target, good in rows:
        mark = {True: "reached", False: "MISSED", None: ""}[good]
        goal = f"  target {target}: {mark}" if target else ""
        print(f"{what:<{width}}  {value:<{middle}}{goal}".rstrip())


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", default=",".join(PARTS), metavar="A,B",
                   help="parts to run (default: all)")
    p.add_argument("--quick", action="store_true", help="small counts, one run: to try it")
    p.add_argument("--out", metavar="FILE", help="write all figures as JSON")
    p.add_argument("--dir", default=os.path.join(TOP, "build", "bench"),
                   help="where spools are, on a real disk (default: build/bench)")
    options = p.parse_args()
    options.only = [x for x in options.only.split(",") if x]
    for part in options.only:
        if part not in PARTS:
            p.error(f"no part '{part}'; there are {', '.join(PARTS)}")
    return options


def main():
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for tool in ("smtp-source", "smtp-sink"):
        if not shutil.which(tool):
            print(f"bench: {tool} is missing: install Debian's postfix package", file=sys.stderr)
            return 1
    os.makedirs(options.dir, exist_ok=True)
    directory = tempfile.mkdtemp(prefix="run-", dir=os.path.abspath(options.dir))
    os.chmod(directory, 0o755)
    os.environ["PMTA_TEST_DIR"] = directory
    bench = Bench(options)
    try:
        m = machine(directory)
        if m["file_system"] == "tmpfs":
            print(f"bench: {directory} is in memory; durable figures need a disk", file=sys.stderr)
        fine = bench.run()
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print_table(bench.rows, m)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as f:
            json.dump({"machine": m, "quick": options.quick, "results": bench.results,
                       "table": [dict(zip(("what", "value", "target", "reached"), r))
                                 for r in bench.rows]}, f, indent=2)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
