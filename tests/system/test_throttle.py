#!/usr/bin/env python3
"""Limits in the real processes: what the receiving side sees, and what operators are told."""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pmta import BIN, Directory, Pmta, Sink, wait_until  # noqa: E402


class Throttle(unittest.TestCase):
    def setUp(self):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        self.sink = Sink(self.dir)
        self.addCleanup(self.sink.stop)

    def begin(self, extra):
        self.pmta = Pmta(self.dir, self.sink.port, extra=extra)
        self.addCleanup(self.pmta.kill)
        self.pmta.start()

    def ctl(self, *words):
        done = subprocess.run([os.path.join(BIN, 'pmtactl'), '--socket', self.pmta.socket, *words],
                              capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def rows(self, domain):
        return [r for r in self.pmta.records('bulk')
                if r['type'] == 'd' and r['rcpt'].endswith('@' + domain)]

    def test_rate_holds_and_is_told(self):
        self.begin('[virtual-mta mta1]\nmax-msg-rate = 20/s\n'
                   '[domain slow.example]\nmax-msg-rate = 1/h\nmx-connection-limit = 7\n'
                   '[pipe bulk]\ndefault-virtual-mta = mta1\n')
        for i in range(40):
            self.pmta.send([f'u{i}@{"ab"[i % 2]}.example'], pipe='bulk')
        wait_until(lambda: len(self.rows('a.example')) + len(self.rows('b.example')) == 40,
                   '40 deliveries', 20)
        for _ in range(3):
            self.pmta.send(['x@slow.example'], pipe='bulk')
        wait_until(lambda: len(self.rows('slow.example')) == 1, 'the first of the hour')

        queues = wait_until(lambda: [q for q in self.pmta.admin('show-queues pipe/bulk {}')
                                     if q.get('held_by')], 'a queue that is held')
        self.assertEqual(queues[0]['queue'], 'slow.example/mta1')
        self.assertRegex(queues[0]['held_by'],
                         r'^max-msg-rate of queue slow\.example/mta1: next in (1h|59m)')
        self.assertEqual(queues[0]['mode'], 'normal')
        text = self.ctl('show', 'limits', 'slow.example', '--vmta', 'mta1', '--pipe', 'bulk')
        self.assertRegex(text, r'queue slow\.example/mta1 +max-msg-rate +1/h +next in (1h|59m)')
        self.assertRegex(text, r'virtual-mta mta1 +max-msg-rate +20/s +(\d+ may go now|next within 1s)')
        self.assertRegex(text, r'mx 127\.0\.0\.1 from any +mx-connection-limit +7 +\d of 7')
        self.assertIn('10-test.conf:', text)
        self.assertRegex(self.ctl('show', 'queues'), r'next in (1h|59m)')

    def test_connections_are_shared_by_pipes(self):
        self.begin('[domain a.example]\nmax-smtp-out = 3\n[virtual-mta mta1]\n'
                   '[pmta]\ndefault-virtual-mta = mta1\n')
        for i in range(60):
            self.pmta.send([f'u{i}@a.example'], pipe=('bulk', 'transactional')[i % 2])
        self.pmta.wait_empty()
        limits = [o for pipe in ('bulk', 'transactional')
                  for o in self.pmta.admin('show-limits pipe/%s {"domain":"a.example/mta1"}' % pipe)
                  if o.get('limit') == 'queue a.example/mta1']
        self.assertEqual([o['max'] for o in limits], [3, 3])

    def test_answers_to_wrong_questions(self):
        self.begin('')
        done = subprocess.run([os.path.join(BIN, 'pmtactl'), '--socket', self.pmta.socket, 'show',
                               'limits', 'a.example', '--vmta', 'none'], capture_output=True,
                              text=True, timeout=30)
        self.assertNotEqual(done.returncode, 0)
        self.assertTrue(re.search(r"'vmta' is no virtual MTA", done.stderr), done.stderr)


if __name__ == '__main__':
    unittest.main()
