#!/usr/bin/env python3
"""Kills the pipe (SIGKILL) at each fault point of common/base/fault.h, that is between delivery,
accounting and journal and wherever files change hands, lets it come back, and proves by three counts
that are independent of each other (mailbox of the receiving side, accounting files, ledger of the
spool) that nothing acknowledged is lost, that no final record is missing, and that a repeated one
carries the same id. FAULT_POINTS=name,name runs some of the points alone."""
import csv
import glob
import gzip
import os
import re
import shutil
import smtplib
import sys
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'system'))
from pmta import BIN, Directory, Pmta, Sink, wait_until  # noqa: E402

FAULTY_PIPE = os.environ.get('FAULTY_PIPE') or os.path.join(BIN, '..', 'tests', 'crash', 'faulty-pipe')
TABLE = os.path.join(HERE, '..', '..', 'common', 'base', 'fault.h')
# how often a point is passed before it kills: late enough that everything is under way
COUNTS = {'journal-begun': 3, 'collected': 2, 'collect-removed': 2, 'compacted': 1, 'moved': 1,
          'segment-removed': 2, 'acct-turned': 2, 'acct-placed': 1, 'acct-finished': 1}
USUAL_COUNT = 25
CLIENTS = 3
AFTER_KILL = 40       # messages acknowledged after the kill, before the load ends
IN_FLIGHT = 100       # deliveries that a kill may repeat

CONFIG = '''
[acct-file {files}/all.csv]
records = d,b,t,tq,r
record-fields = type,rcpt,dsnStatus,msgId,attempt
move-interval = 1s
compress = gzip
[pipe bulk]
[domain bad.example]
smtp-hosts = [127.0.0.1]:{bad}
[domain slow.example]
smtp-hosts = [127.0.0.1]:{slow}
retry-after = 700ms
'''


def points():
    with open(TABLE) as f:
        names = re.findall(r'^    POINT\(\w+, "([a-z-]+)"', f.read(), re.M)
    wanted = os.environ.get('FAULT_POINTS')
    part, of = map(int, os.environ.get('FAULT_PART', '1/1').split('/'))
    return [n for n in names if not wanted or n in wanted.split(',')][part - 1::of]


class Client(threading.Thread):
    """Sends messages one after another, each to a recipient of its own; keeps what got its 250."""

    def __init__(self, world, number):
        super().__init__(daemon=True)
        self.world, self.number = world, number
        self.acknowledged = {}  # recipient -> queue id
        self.sent = 0

    def one(self, s):
        n, self.sent = self.sent, self.sent + 1
        domain = 'bad' if n % 10 == 3 else 'slow' if n % 10 == 7 else 'good'
        rcpt = f'c{self.number}n{n}@{domain}.example'
        s.mail('load@sender.example')
        s.rcpt(rcpt)
        code, reply = s.data(f'Message-Id: <{rcpt}>\r\nX-Pipe: bulk\r\nSubject: load\r\n\r\n'.encode() +
                             (b'x' * 70 + b'\r\n') * 40)
        if code == 250:
            self.acknowledged[rcpt] = reply.decode().split()[-1]
        else:
            s.rset()

    def run(self):
        while not self.world.stop_event.is_set():
            try:
                with smtplib.SMTP('127.0.0.1', self.world.pmta.port, timeout=10) as s:
                    s.ehlo('load.example')
                    while not self.world.stop_event.is_set():
                        self.one(s)
            except (OSError, smtplib.SMTPException):
                self.world.stop_event.wait(0.02)  # the pipe is being restarted


class World:
    def __init__(self, case, point):
        self.dir = Directory('pmta-fault-')
        case.addCleanup(self.dir.remove)
        self.files = self.dir.sub('files')
        self.fired = os.path.join(self.dir.sub('once'), 'fired')
        self.stop_event = threading.Event()
        bad = self.sink(case, 'bad', ['--fault', 'rcpt:550:100:5.1.1 no such user'])
        slow = self.slow = self.sink(case, 'slow', ['--fault', 'rcpt:451:60:4.3.0 not now'])
        self.good = self.sink(case, 'good', [])
        self.pmta = Pmta(self.dir, self.good.port, program=os.path.join(case.bin, 'pmtad'),
                         extra=CONFIG.format(files=self.files, bad=bad.port, slow=slow.port))
        case.addCleanup(self.pmta.kill)
        os.environ.update(PMTA_FAULT=f'{point}:{COUNTS.get(point, USUAL_COUNT)}',
                          PMTA_FAULT_ONCE=self.fired, PMTA_FAULT_SEGMENT_BYTES='131072',
                          PMTA_FAULT_JOURNAL_BYTES='8192', PMTA_FAULT_SETTLE_MS='1')
        self.pmta.start()

    def sink(self, case, name, args):
        sink = Sink(self.dir, args=['--quiet', *args], name=name)
        case.addCleanup(sink.stop)
        return sink

    def load(self):
        """Until the kill came and some mail went through after it; returns what was acknowledged."""
        clients = [Client(self, i) for i in range(CLIENTS)]
        for c in clients:
            c.start()

        def count():
            return sum(len(c.acknowledged) for c in clients)
        try:
            wait_until(lambda: os.path.exists(self.fired), 'the fault to be reached', 40)
            before = count()
            wait_until(lambda: count() >= before + AFTER_KILL, 'mail to go on', 40)
        finally:
            self.stop_event.set()
            for c in clients:
                c.join(30)
        return {r: q for c in clients for r, q in c.acknowledged.items()}

    def records(self):
        rows = []
        names = [re.sub(r'\.gz$', '', p) for p in glob.glob(os.path.join(self.files, 'all-bulk-*'))]
        if len(names) != len(set(names)):
            raise AssertionError(f'a file is there twice: {sorted(names)}')
        for path in sorted(glob.glob(os.path.join(self.files, 'all-bulk-*'))):
            with (gzip.open if path.endswith('.gz') else open)(path, 'rt', newline='') as f:
                rows += list(csv.DictReader(f))
        # a line that the kill cut off has no id
        return [r for r in rows if r['msgId'] and r['type']]

    def mailbox(self):
        for s in (self.good, self.slow):
            s.stop()  # writes all of its record
        return [r[0].strip('<>') for s in (self.good, self.slow) for r in s.rows() if len(r) > 1]


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.top = Directory('pmta-faulty-')
        cls.bin = os.path.join(cls.top.path, 'bin')
        os.mkdir(cls.bin)
        for name in os.listdir(BIN):
            if name.startswith('pmta') and name != 'pmta-pipe':
                shutil.copy(os.path.join(BIN, name), cls.bin)
        shutil.copy(FAULTY_PIPE, os.path.join(cls.bin, 'pmta-pipe'))

    @classmethod
    def tearDownClass(cls):
        cls.top.remove()

    def test_the_pipe_that_is_installed_has_no_fault_points(self):
        def has(path):
            with open(path, 'rb') as f:
                return b'PMTA_FAULT' in f.read()
        self.assertTrue(has(FAULTY_PIPE))
        for name in os.listdir(BIN):
            if name.startswith('pmta'):
                self.assertFalse(has(os.path.join(BIN, name)), name)

    def test_books_hold_wherever_it_is_killed(self):
        for point in points():
            with self.subTest(point=point):
                try:
                    self.kill_at(point)
                finally:
                    self.doCleanups()

    def kill_at(self, point):
        w = World(self, point)
        acknowledged = w.load()
        book = w.pmta.wait_empty(60)['bulk']
        self.assertEqual(w.pmta.stop(), 0)
        mailbox, rows = w.mailbox(), w.records()
        final, received = {}, {}
        for r in rows:
            if r['type'] in 'db':
                final.setdefault(r['rcpt'], set()).add((r['type'], r['msgId']))
            elif r['type'] == 'r':
                received.setdefault(r['rcpt'], set()).add(r['msgId'])
        repeated = sum(r['type'] in 'db' for r in rows) - len(final)
        print(f'{point}: acknowledged {len(acknowledged)}, arrived {len(set(mailbox))}, final records '
              f'{len(final)} ({repeated} repeated), duplicates {len(mailbox) - len(set(mailbox))}',
              flush=True)
        for rcpt, queue_id in acknowledged.items():
            kind = 'b' if rcpt.endswith('@bad.example') else 'd'
            self.assertEqual(final.get(rcpt), {(kind, queue_id + '.0')}, rcpt)
            self.assertEqual(received.get(rcpt), {queue_id + '.0'}, rcpt)
        arrived = set(mailbox)
        self.assertEqual({r for r in acknowledged if not r.endswith('@bad.example')} - arrived, set())
        # also for what was kept without a 250: one final record each, and only for what arrived
        self.assertTrue(all(len(x) == 1 for x in final.values()))
        self.assertTrue(all(len(x) == 1 for x in received.values()))
        self.assertEqual({r for r, x in final.items() if next(iter(x))[0] == 'd'}, arrived)
        self.assertEqual(set(final), set(received))
        self.assertLessEqual(len(mailbox) - len(arrived), IN_FLIGHT)
        self.assertTrue(book['balanced'], book)
        self.assertEqual(book['received'], len(final))
        self.assertEqual(book['delivered'], len(arrived))
        self.assertEqual(book['bounced'], len(final) - len(arrived))


if __name__ == '__main__':
    unittest.main()
