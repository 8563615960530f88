#!/usr/bin/env python3
"""`pmtactl stats` against what really happened: counts, categories, shares, over a restart and over a
kill, for people and as JSON."""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pmta import BIN, Directory, Pmta, Sink, wait_until  # noqa: E402

POOL = '''
[virtual-mta mta1]
smtp-source-host = 127.0.0.1 out1.example
[virtual-mta-pool pool-a]
virtual-mta = mta1
[pipe bulk]
default-virtual-mta = pool-a
'''


class Stats(unittest.TestCase):
    def setUp(self):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        self.sink = Sink(self.dir)
        self.addCleanup(self.sink.stop)
        self.refusing = Sink(self.dir, args=['--fault', 'rcpt:550:100:5.1.1 no such user'], name='refusing')
        self.addCleanup(self.refusing.stop)
        self.pmta = Pmta(self.dir, self.sink.port, extra=POOL + f'''
[domain bad.example]
smtp-hosts = [127.0.0.1]:{self.refusing.port}
''')
        self.addCleanup(self.pmta.kill)
        self.pmta.start()

    def ctl(self, *words):
        out = subprocess.run([os.path.join(BIN, 'pmtactl'), '-s', self.pmta.socket, *words],
                             capture_output=True, text=True, timeout=60)
        self.assertEqual(out.returncode, 0, out.stderr)
        return out.stdout

    def rows(self, *words):
        """{key: object}; the key of the total is None."""
        objects = [json.loads(x) for x in self.ctl('--json', 'stats', '--pipe', 'bulk', *words).splitlines()]
        return {o.get('key'): o for o in objects if 'by' in o}

    def total(self):
        return self.rows()[None]

    def send_some(self):
        self.pmta.send(['a@good.example', 'b@good.example'], pipe='bulk', headers='X-Job: spring\r\n')
        self.pmta.send(['c@other.example'], pipe='bulk')
        self.pmta.send(['d@bad.example'], pipe='bulk', headers='X-Job: spring\r\n')
        self.pmta.wait_empty()

    def test_counts_are_those_of_what_happened(self):
        self.send_some()
        total = self.total()
        self.assertEqual([total[x] for x in ('received', 'delivered', 'bounced', 'expired')], [4, 3, 1, 0])
        self.assertEqual(total['categories'], {'bad-mailbox': 1})
        self.assertEqual(sum(n for _, n in total['delays']), 3)
        self.assertGreaterEqual(total['p99_ms'], total['p50_ms'])
        self.assertGreater(total['bytes'], 0)
        domains = self.rows('--by', 'domain')
        self.assertEqual(set(domains), {'good.example', 'other.example', 'bad.example', None})
        self.assertEqual(domains['good.example']['delivered'], 2)
        self.assertEqual(domains['bad.example']['categories'], {'bad-mailbox': 1})
        jobs = self.rows('--by', 'job')
        self.assertEqual({k: j['received'] for k, j in jobs.items()}, {'spring': 3, '(none)': 1, None: 4})
        self.assertEqual(self.rows('--by', 'vmta')['mta1']['delivered'], 3)
        self.assertEqual(self.rows('--by', 'queue')['good.example/mta1']['delivered'], 2)
        self.assertEqual(self.rows('--by', 'category')['bad-mailbox']['bounced'], 1)
        limited = self.rows('--by', 'domain', '--limit', '1')
        self.assertEqual(limited['(others)']['received'], 2)
        self.assertEqual(limited['(others)']['cut'], 2)
        minutes = [json.loads(x) for x in
                   self.ctl('--json', 'stats', '--pipe', 'bulk', '--by', 'time', '--since', '10m').splitlines()]
        minutes = [m for m in minutes if 'start_ms' in m]
        self.assertEqual(len(minutes), 11)
        self.assertEqual(sum(m['delivered'] for m in minutes), 3)

    def test_people_read_a_table(self):
        self.send_some()
        out = self.ctl('stats')
        self.assertRegex(out, r'since \d{4}-\d\d-\d\d \d\d:\d\d UTC')
        self.assertRegex(out, r'\nbulk +4 +3 +75\.0% +1 +25\.0% .*bad-mailbox 1')
        self.assertRegex(out, r'\ntotal +4 +3 ')
        out = self.ctl('stats', '--by', 'domain')
        self.assertRegex(out, r'bulk, since .*\nDOMAIN +RECEIVED +DELIVERED')
        self.assertRegex(out, r'\ngood\.example +2 +2 +100%')
        self.assertRegex(out, r'\ntotal +4 +3')
        self.assertIn('█', self.ctl('stats', '--by', 'time', '--since', '5m'))
        bad = subprocess.run([os.path.join(BIN, 'pmtactl'), '-s', self.pmta.socket, 'stats', '--by', 'x'],
                             capture_output=True, text=True)
        self.assertEqual(bad.returncode, 1)
        self.assertIn("'by' is not understood", bad.stdout + bad.stderr)

    def test_a_restart_keeps_them(self):
        self.send_some()
        self.assertEqual(self.pmta.stop(), 0)
        self.pmta.start()
        self.send_some()
        for words in ((), ('--since', '1d'), ('--since', '7d')):
            total = self.rows(*words)[None]
            self.assertEqual([total['received'], total['delivered'], total['bounced']], [8, 6, 2])

    def test_a_kill_loses_a_bounded_time(self):
        path = os.path.join(self.pmta.spool, 'bulk', 'stats')
        self.send_some()
        counted = time.time()
        wait_until(lambda: os.path.exists(path) and os.stat(path).st_mtime > counted,
                   'the counters to be written', 60)
        os.kill(self.pmta.pids()['pipe/bulk'], signal.SIGKILL)
        total = wait_until(lambda: self.try_total(), 'the pipe to come back')
        self.assertEqual(total['delivered'], 3)

    def try_total(self):
        objects = self.pmta.admin('stats pipe/bulk')
        return next((o for o in objects if o.get('total')), None)


if __name__ == '__main__':
    unittest.main()
