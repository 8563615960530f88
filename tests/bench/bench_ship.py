#!/usr/bin/env python3
"""A million accounting records to each kind of receiver, which is killed and started again meanwhile
(--quiet: it is not). Prints how long that took, and checks that none is missing and that what came
again has the id that it had.

The webhook is a small Python server that writes what it takes to a file before it answers; Redis is a
real one with appendfsync always; Kafka is librdkafka's mock cluster in a process of its own, whose
brokers go away and come back. It keeps the last few MiB of records only, so they are counted as they
are acknowledged, and not checked; tests/system/test_ship.py checks a smaller number."""
import argparse
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'system'))
from ports import free_port  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get('PMTA_BUILD', os.path.join(ROOT, 'build'))
SHIP = os.path.join(BUILD, 'bin', 'pmta-ship')
CLUSTER = os.path.join(BUILD, 'tests', 'system', 'kafka_cluster')
HEADER = ('type,timeLogged,timeQueued,orig,rcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,srcMta,vmta,pipe,queue,'
          'jobId,dlvSize,dlvTlsProtocol,dlvTlsCipher,dlvTlsVerified,msgId,attempt\r\n')


KILLS = 8


def receiver(port, path):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_POST(self):
            body = self.rfile.read(int(self.headers['Content-Length']))
            with lock:
                out.write(body + b'\n')
                out.flush()
            self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')

        def log_message(self, *args):
            pass

    lock = threading.Lock()
    with open(path, 'ab') as out:
        if out.tell():
            out.write(b'\n')  # the one that was killed may have left half a line
        http.server.ThreadingHTTPServer(('127.0.0.1', port), Handler).serve_forever()


def write_files(path, count, pipes):
    """Four files per pipe, as after three rotations."""
    per_file = count // (4 * pipes)
    made = 0
    for p in range(pipes):
        for number in range(4):
            with open(f'{path}/acct-p{p}-2026-11-21-{number:04d}.csv', 'w', newline='') as f:
                f.write(HEADER)
                for _ in range(per_file):
                    f.write(f'd,2026-11-21 04:05:06+0000,2026-11-21 04:05:05+0000,from@sender.example,'
                            f'user{made}@example.com,relayed,2.0.0,smtp;250 2.0.0 OK queued as {made:08x},'
                            f'mx.example.com (192.0.2.1),client.example,mta1,p{p},example.com/mta1,job-1,'
                            f'4096,TLSv1.3,TLS_AES_128_GCM_SHA256,trusted,{made:013d}.0,1\r\n')
                    made += 1
            os.utime(f.name, (time.time() - 60,) * 2)
    return made


class Check:
    def __init__(self):
        self.records = {}
        self.count = self.wrong = 0

    def add(self, text):
        record = json.loads(text)
        key = hash(text if isinstance(text, bytes) else text.encode())
        self.count += 1
        if self.records.setdefault(record['eventId'], key) != key:
            self.wrong += 1

    def verdict(self, wanted):
        return len(self.records) == wanted and not self.wrong, (
            f'{wanted - len(self.records)} missing, {self.count - len(self.records)} repeats with '
            f'equal ids, {self.wrong} with other content')


class Http:
    name = 'webhook'

    def __init__(self, path):
        self.port, self.path = free_port(), os.path.join(path, 'taken')
        self.url = f'http://127.0.0.1:{self.port}/'
        self.options = []

    def start(self):
        self.process = subprocess.Popen([sys.executable, __file__, '--receiver', str(self.port),
                                         self.path])

    def kill(self):
        self.process.kill()
        self.process.wait()

    def wait(self):
        pass

    def finish(self, check):
        self.kill()
        with open(self.path, 'rb') as f:
            for body in f:
                if not body.endswith(b']\n'):
                    continue  # the receiver died while it wrote, and had not answered
                for one in body[2:-3].split(b'},{'):
                    check.add(b'{' + one + b'}')


class Redis:
    name = 'redis'

    def __init__(self, path):
        self.path, self.port = path, free_port()
        self.url = f'redis://127.0.0.1:{self.port}/mail'
        self.options = ['--redis-max-length', '0']

    def start(self):
        self.process = subprocess.Popen(
            ['redis-server', '--bind', '127.0.0.1', '--port', str(self.port), '--dir', self.path,
             '--save', '', '--appendonly', 'yes', '--appendfsync', 'always'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def wait(self):
        while b'PONG' not in subprocess.run(['redis-cli', '-p', str(self.port), 'PING'],
                                            capture_output=True).stdout:
            time.sleep(0.1)

    def call(self, *words):
        return subprocess.run(['redis-cli', '-p', str(self.port), *words], capture_output=True,
                              check=True).stdout

    def finish(self, check):
        self.wait()
        last = '-'
        while True:
            rows = self.call('XRANGE', 'mail', last, '+', 'COUNT', '20000').split(b'\n')
            entry = None
            for i, row in enumerate(rows):
                if row.startswith(b'{"eventId"'):
                    check.add(row)
                if row == b'id':
                    entry = rows[i - 1].decode()
            if not entry:
                break
            last = '(' + entry
        self.kill()


class Kafka:
    name = 'kafka (mock)'

    def __init__(self, path):
        self.process = subprocess.Popen([CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.url = f'kafka://{self.process.stdout.readline().split()[1].decode()}/mail'
        self.options = ['--kafka-option', 'reconnect.backoff.max.ms=200']
        self.first = True

    def tell(self, what):
        self.process.stdin.write(what + b'\n')
        self.process.stdin.flush()
        self.process.stdout.readline()

    def start(self):
        if not self.first:
            self.tell(b'up')
        self.first = False

    def kill(self):
        self.tell(b'down')

    def wait(self):
        pass

    def finish(self, check):
        self.process.stdin.close()
        self.process.wait()


def cpu(process):
    with open(f'/proc/{process.pid}/stat') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    with open(f'/proc/{process.pid}/status') as f:
        peak = next(x for x in f if x.startswith('VmHWM')).split()[1]
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK'), int(peak) / 1024


def measure(kind, acct, count, quiet, base):
    path = tempfile.mkdtemp(dir=base)
    state = os.path.join(path, 'state')
    os.mkdir(state)
    target = kind(path)
    target.start()
    log = open(os.path.join(path, 'log'), 'w')
    begin = time.monotonic()
    ship = subprocess.Popen([SHIP, '--follow', acct + '/acct.csv', '--to', target.url, '--state', state,
                             '--once', '--dead-letter-after', '1000', '--retry-min', '50ms',
                             '--retry-max', '500ms', *target.options], stderr=log)
    kills, seconds, peak = 0, 0.0, 0.0
    next_kill = begin + 0.7
    while ship.poll() is None:
        time.sleep(0.02)
        try:
            seconds, peak = cpu(ship)
        except (OSError, StopIteration):
            pass
        if not quiet and kills < KILLS and time.monotonic() >= next_kill and ship.poll() is None:
            target.kill()
            kills += 1
            time.sleep(0.3)
            target.start()
            target.wait()  # Redis reads its file first
            next_kill = time.monotonic() + 0.5
    taken = time.monotonic() - begin
    check = Check()
    target.finish(check)
    good, text = check.verdict(count) if kind is not Kafka else (True, 'all acknowledged')
    good = good and ship.returncode == 0
    print(f'{kind.name:14} {count / taken:10,.0f} records/s  {taken:6.1f} s  {seconds:5.1f} s CPU  '
          f'{peak:5.0f} MiB peak  killed {kills} times: {text}{"" if good else "   FAILED"}', flush=True)
    shutil.rmtree(path)
    return good


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--records', type=int, default=1000000)
    p.add_argument('--pipes', type=int, default=2)
    p.add_argument('--quiet', action='store_true', help='nothing is killed')
    p.add_argument('--only', help='webhook, redis or kafka')
    p.add_argument('--receiver', nargs=2, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.receiver:
        receiver(int(a.receiver[0]), a.receiver[1])
        return 0
    base = tempfile.mkdtemp(prefix='pmta-bench-ship-', dir=os.environ.get('PMTA_TEST_DIR', '/var/tmp'))
    acct = os.path.join(base, 'acct')
    os.mkdir(acct)
    good = True
    try:
        count = write_files(acct, a.records, a.pipes)
        for kind in (Http, Redis, Kafka):
            if a.only and not kind.name.startswith(a.only):
                continue
            if (kind is Redis and not shutil.which('redis-server')) or (
                    kind is Kafka and not os.path.exists(CLUSTER)):
                print(f'{kind.name:14} left out: it is not there')
                continue
            good &= measure(kind, acct, count, a.quiet, base)
    finally:
        shutil.rmtree(base)
    return not good


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
