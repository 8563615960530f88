#!/usr/bin/env python3
"""The figures of DKIM signing, from one run on one machine. `make bench-dkim` runs it as it is.

  raw       RSA-2048 signatures of BoringSSL and Ed25519 signatures of libsodium per second, one thread
            per core and nothing else going on: the ceiling
  rates     messages per second end to end through PipeMTA, durable: unsigned, signed with RSA-2048,
            signed with Ed25519; three runs in alternation, each with the raw rate measured beside it
  latency   p99 of a 20/s stream through a pipe that does not sign: while the other pipe is paused, and
            while it signs a backlog as fast as it can; beside that, of the same stream without an
            engine between client and sink, which is the machine's own part. Medians of five rounds

Sink, source, directories and table are those of bench.py.
"""
import argparse
import contextlib
import json
import os
import shutil
import signal
import smtplib
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import bench  # noqa: E402
import pmta  # noqa: E402

PARTS = ("rates", "latency")
KINDS = ("unsigned", "rsa", "ed25519")
SIGN = os.path.join(bench.TOP, "build", "tests", "bench", "bench_sign")


def raw(kind, seconds):
    done = subprocess.run([SIGN, kind, str(seconds)], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def add_keys(e):
    """Keys for the senders of the kinds; unsigned.example has none."""
    keys = os.path.join(e.conf, "keys")
    os.mkdir(keys)
    rows = ""
    for kind, more in (("rsa", ["-pkeyopt", "rsa_keygen_bits:2048"]), ("ed25519", [])):
        path = os.path.join(keys, kind + ".pem")
        subprocess.run(["openssl", "genpkey", "-algorithm", kind, *more, "-out", path], check=True,
                       stderr=subprocess.DEVNULL)
        os.chmod(path, 0o600)
        rows += f"domain-key = s,{kind}.example,{path}\n"
    e.write_config("20-keys.conf", f"[pipe bulk]\n{rows}")


@contextlib.contextmanager
def engine(b, sink, other=None):
    """bench.engine with keys for the pipe bulk."""
    directory = pmta.Directory(prefix="pmta-")
    e = bench.Engine(directory, sink, other)
    add_keys(e)
    try:
        yield e.start()
    except BaseException:
        b.keep(e.log)
        raise
    finally:
        bench.stop(e)
        directory.remove()


def command(port, messages, kind, sessions=bench.SESSIONS):
    words = bench.source_command(port, messages, 4 * bench.KIB, sessions=sessions)
    words[words.index("-f") + 1] = f"from@{kind}.example"
    return words


class BenchDkim(bench.Bench):
    def send(self, e, messages, kind):
        """smtp-source to its end."""
        done = subprocess.run(command(e.port, messages, kind), stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, timeout=900)
        if done.returncode != 0:
            raise AssertionError("smtp-source failed")

    def relay(self, e, messages, kind):
        before = e.book()
        began = bench.time.monotonic()
        self.send(e, messages, kind)
        e.wait_final(messages, before)
        return messages / (bench.time.monotonic() - began)

    def rates(self):
        n = {"unsigned": self.count(30000, 3000), "rsa": self.count(36000, 36000),
             "ed25519": self.count(30000, 3000)}
        seconds = self.count(3, 1)
        ceiling = {"rsa": [], "ed25519": []}
        got = {kind: [] for kind in KINDS}
        with bench.smtp_sink() as sink, engine(self, sink) as e:
            self.relay(e, n["unsigned"] // 10, "unsigned")  # warm
            for i in range(1 if self.quick else bench.RUNS):
                self.say(f"rates, run {i + 1}")
                for kind in ceiling:
                    ceiling[kind].append(raw(kind, seconds))
                for kind in KINDS:
                    got[kind].append(self.relay(e, n[kind], kind))
            self.signed_arrived(e)
        self.results["rates"] = {"raw": ceiling, "end_to_end": got}
        median = {k: statistics.median(v) for k, v in got.items()}
        of_rsa = [g / c for g, c in zip(got["rsa"], ceiling["rsa"])]
        of_plain = [s / u for s, u in zip(got["ed25519"], got["unsigned"])]
        for kind, name in (("rsa", "RSA-2048, BoringSSL"), ("ed25519", "Ed25519, libsodium")):
            self.row(f"raw signatures, {name}, one thread per core",
                     bench.per_s(statistics.median(ceiling[kind]), ceiling[kind]))
        for kind, name in (("unsigned", "unsigned"), ("rsa", "signed with RSA-2048"),
                           ("ed25519", "signed with Ed25519")):
            self.row(f"through PipeMTA end to end, 4 KiB, {name}", bench.per_s(median[kind], got[kind]))
        a, b = statistics.median(of_rsa), statistics.median(of_plain)
        self.row("RSA-2048 end to end against raw", f"{a:.2f} ({min(of_rsa):.2f} .. {max(of_rsa):.2f})",
                 ">= 0.80", a >= 0.8)
        self.row("Ed25519 end to end against unsigned",
                 f"{b:.2f} ({min(of_plain):.2f} .. {max(of_plain):.2f})", ">= 0.85", b >= 0.85)

    def signed_arrived(self, e):
        """The figures are of signed mail: one more message of each kind, seen at a pmta-sink."""
        for kind in KINDS:
            saved = e.dir.sub("saved-" + kind)
            sink = pmta.Sink(e.dir, args=["--save", saved], name="see-" + kind)
            try:
                e.write_config("30-see.conf",
                               f"[domain see.example]\nsmtp-hosts = [127.0.0.1]:{sink.port}\n")
                e.admin("reload root")
                e.send("user@see.example", pipe="bulk", headers=f"From: a@{kind}.example\r\n")
                pmta.wait_until(lambda: os.listdir(saved), "the message to look at", 20)
                path = os.path.join(saved, os.listdir(saved)[0])
                with open(path, "rb") as f:
                    signed = f.read().count(b"DKIM-Signature:")
            finally:
                sink.stop()
            if signed != (kind != "unsigned"):
                raise AssertionError(f"{kind}: {signed} signatures")

    def latency(self):
        """Rounds of: bulk paused, bulk signing, bulk signing and no engine between client and sink."""
        seconds, rounds = self.count(10, 3), self.count(5, 1)
        other, hop = pmta.free_port(), pmta.free_port()
        n = rounds * seconds * self.count(8000, 12000)
        got = {"idle": [], "signing": [], "control": []}
        with engine(self, hop, other) as e:
            self.latency_of(e.port, other, 2)
            self.say(f"latency, queueing {n}")
            self.send(e, n, "rsa")
            with bench.smtp_sink(hop):
                signed = busy = 0
                for i in range(rounds):
                    self.say(f"latency, round {i + 1}")
                    e.admin("pause-pipe pipe/bulk")
                    got["idle"].append(self.latency_of(e.port, other, seconds))
                    e.admin("resume-pipe pipe/bulk")
                    e.admin('schedule pipe/bulk {"queue":"*"}')
                    first = e.book()
                    pmta.wait_until(lambda: (e.book() or first)["delivered"] > first["delivered"] + 500,
                                    "signing", 30)
                    first, began = e.book(), bench.time.monotonic()
                    got["signing"].append(self.latency_of(e.port, other, seconds))
                    got["control"].append(self.latency_of(other, other, seconds))
                    last = e.book()
                    signed += last["delivered"] - first["delivered"]
                    busy += bench.time.monotonic() - began
                    if not last["queued"]:
                        raise AssertionError("the backlog was signed before the measurement ended")
        self.results["latency"] = {**got, "signed_per_s": signed / busy}
        p99 = {k: statistics.median(h["p99_us"] for h in v) / 1000 for k, v in got.items()}
        for kind, name in (("idle", "alone"), ("signing", f"while bulk signs {signed / busy:,.0f}/s"),
                           ("control", "meanwhile, client straight into sink")):
            rows = [h["p99_us"] / 1000 for h in got[kind]]
            p50 = statistics.median(h["p50_us"] for h in got[kind]) / 1000
            self.row(f"transactional 20/s, {name}: p50, p99",
                     f"{p50:.2f} ms, {p99[kind]:.2f} ms ({min(rows):.2f} .. {max(rows):.2f})")
        times = p99["signing"] / p99["idle"]
        self.row("p99 while another pipe signs against alone", f"{times:.1f} times", "<= 1.5 times",
                 times <= 1.5)

    def run(self):
        fine = True
        for name in self.parts:
            try:
                getattr(self, name)()
            except (AssertionError, OSError, smtplib.SMTPException, subprocess.SubprocessError) as e:
                self.row(name, f"failed: {e}", "", False)
                fine = False
        return fine


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", default=",".join(PARTS), metavar="A,B", help="parts to run (default: all)")
    p.add_argument("--quick", action="store_true", help="small counts, one run: to try it")
    p.add_argument("--out", metavar="FILE", help="write all figures as JSON")
    p.add_argument("--dir", default=os.path.join(bench.TOP, "build", "bench"),
                   help="where spools are, on a real disk (default: build/bench)")
    options = p.parse_args()
    options.only = [x for x in options.only.split(",") if x]
    for part in options.only:
        if part not in PARTS:
            p.error(f"no part '{part}'; there are {', '.join(PARTS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.makedirs(options.dir, exist_ok=True)
    directory = tempfile.mkdtemp(prefix="run-", dir=os.path.abspath(options.dir))
    os.chmod(directory, 0o755)
    os.environ["PMTA_TEST_DIR"] = directory
    b = BenchDkim(options)
    try:
        m = bench.machine(directory)
        fine = b.run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    bench.print_table(b.rows, m)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as f:
            json.dump({"machine": m, "quick": options.quick, "results": b.results}, f, indent=2)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
