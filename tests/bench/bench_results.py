#!/usr/bin/env python3
"""What accounting costs. `make bench-results` runs it as it is.

The same load through three engines that differ in their accounting, end to end, in alternation:
  none     an [acct-file] that takes only complaints: nothing is written
  default  acct-PIPE.csv, as without any [acct-file]
  full     every record (r, d, b, t, tq) with every column and a header field in CSV, and d in JSON
Prints messages per second (median) and the CPU time that the pipe's process spends on a message. The
time of a run is over when all is delivered and nothing waits for the disk any more (sync): what one
engine puts off is not the next one's. Status 1 when `full` is more than 5 % slower than `none`, by
the median of what it had of `none` in each round.

Statistics (`pmtactl stats`) count every record in all three, two per message here; what one costs is
measured by itself (tests/unit/test_stats.c, when the tests are built) and printed as a share of the
pipe's CPU time.
"""
import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench  # noqa: E402
import pmta  # noqa: E402

KINDS = ("none", "default", "full")
SECTIONS = {
    "none": "[acct-file {acct}/none.csv]\nrecords = f\n",
    "default": "",
    "full": "[acct-file {acct}/all.csv]\nrecords = r,d,b,t,tq\nrecord-fields = *,header_Subject\n"
            "[acct-file {acct}/lines.json]\nformat = json\nrecords = d\n",
}
SIZE = 4096
FLOOR = 0.95


class Keeper:
    """What bench.engine wants of a bench: somewhere to put the log of an engine that failed."""

    def keep(self, log):
        with open(log, encoding="utf-8", errors="replace") as f:
            sys.stderr.write("".join(f.readlines()[-20:]))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def written(directory):
    return sum(os.path.getsize(os.path.join(directory, n)) for n in os.listdir(directory)
               if os.path.isfile(os.path.join(directory, n)))


def engine(kind, sink):
    """A running engine with that accounting, as bench.engine gives one."""
    class Accounting(bench.Engine):
        def __init__(self, *args, **more):
            super().__init__(*args, **more)
            self.write_config("90-acct.conf", SECTIONS[kind].format(acct=self.acct))
    return bench.engine(Keeper(), sink, kind=Accounting)


def run(e, messages):
    """(messages/s, microseconds of CPU in the pipe per message, bytes of records per message)"""
    pid, bytes_before, before = e.pipe_pid(), written(e.acct), cpu_seconds(e.pipe_pid())
    began = time.monotonic()
    bench.relay_run(e, messages, SIZE)
    os.sync()
    rate = messages / (time.monotonic() - began)
    cpu = (cpu_seconds(pid) - before) / messages * 1e6
    return rate, cpu, (written(e.acct) - bytes_before) / messages


def statistics_ns():
    """Nanoseconds that counting one record takes, None where the tests are not built."""
    try:
        out = subprocess.run(["build/tests/unit/test_stats"], capture_output=True, text=True, timeout=60)
    except OSError:
        return None
    found = re.search(r"(\d+) ns per event", out.stdout + out.stderr)
    return int(found.group(1)) if found else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--messages", type=int, default=40000)
    parser.add_argument("--runs", type=int, default=45)
    parser.add_argument("--dir", default="build/bench")
    options = parser.parse_args()
    os.makedirs(options.dir, exist_ok=True)
    os.environ.setdefault("PMTA_TEST_DIR", os.path.abspath(options.dir))
    results = {kind: [] for kind in KINDS}
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(bench.smtp_sink())
        engines = {kind: stack.enter_context(engine(kind, sink)) for kind in KINDS}
        for e in engines.values():
            bench.relay_run(e, max(options.messages // 10, 500), SIZE)  # warm
        for i in range(options.runs):
            for kind in KINDS[i % 3:] + KINDS[:i % 3]:
                results[kind].append(run(engines[kind], options.messages))
    median = {k: [statistics.median(x[i] for x in r) for i in range(3)] for k, r in results.items()}
    print(f"{options.messages} messages of {SIZE} bytes, {options.runs} runs each, medians")
    print(f"{'accounting':<12}{'messages/s':>12}{'of none':>9}{'CPU us/msg':>12}{'of none':>9}"
          f"{'bytes/msg':>11}")
    for kind in KINDS:
        rate, cpu, size = median[kind]
        print(f"{kind:<12}{rate:>12,.0f}{rate / median['none'][0]:>8.1%}{cpu:>12.1f}"
              f"{cpu / median['none'][1]:>9.1%}{size:>11.0f}")
    ns = statistics_ns()
    if ns is not None:
        print(f"statistics: {ns} ns per record, {2 * ns / 1000 / median['none'][1]:.1%} of the pipe's CPU time "
              f"without accounting")
    rounds = [f[0] / n[0] for f, n in zip(results["full"], results["none"])]
    kept = statistics.median(rounds)
    seconds = {k: sum(options.messages / x[0] for x in r) for k, r in results.items()}
    print(f"all rounds together: full {seconds['none'] / seconds['full']:.1%} of none, "
          f"default {seconds['none'] / seconds['default']:.1%}")
    good = kept >= FLOOR
    print(f"full accounting keeps {kept:.1%} of the throughput ({min(rounds):.1%} .. {max(rounds):.1%}), "
          f"at least {FLOOR:.0%} wanted: {'reached' if good else 'MISSED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
