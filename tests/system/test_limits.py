#!/usr/bin/env python3
"""Limits that pipes share, with the real processes: two pipes on one virtual MTA never do more together
than it may, what a killed pipe held is taken back, and a budget survives a restart of everything."""
import collections
import json
import os
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pmta import Directory, Pmta, Sink, wait_until  # noqa: E402

PIPES = ('transactional', 'bulk')


class Shared(unittest.TestCase):
    """Both pipes send through [virtual-mta shared], which has the limits in `limits`."""

    def world(self, limits, sink_args=(), **more):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        self.sink = Sink(self.dir, args=['--json', *sink_args])
        self.addCleanup(self.sink.stop)
        self.pmta = Pmta(self.dir, self.sink.port,
                         extra='[virtual-mta shared]\n' + ''.join(x + '\n' for x in limits), **more)
        self.addCleanup(self.pmta.kill)
        self.pmta.start()

    def send(self, count, pipes=PIPES, domains=4):
        for i in range(count):
            for pipe in pipes:
                self.pmta.send(f'u{i}@d{i % domains}.{pipe}.example', pipe=pipe,
                               headers='X-Virtual-MTA: shared\r\n')

    def arrivals(self):
        """When recipients arrived, in seconds."""
        return [float(row[-1]) for row in self.sink.rows()]

    def summary(self):
        return json.loads(self.sink.stop())


class Connections(Shared):
    def test_two_pipes_never_have_more_connections_than_their_virtual_mta_may(self):
        self.world(['max-smtp-out = 3'], ['--delay', 'eod:60ms'], domain='max-msg-per-connection = 3')
        self.send(40)
        books = self.pmta.wait_empty()
        for pipe in PIPES:
            self.assertEqual(books[pipe]['delivered'], 40)
        summary = self.summary()
        self.assertEqual(summary['connections_most'], 3)
        self.assertGreater(summary['connections'], 20)

    def test_what_a_killed_pipe_held_is_taken_back(self):
        # its connections stay busy for long; the other pipe must not wait for places of the dead
        self.world(['max-smtp-out = 2'], ['--delay', 'eod:500ms'])
        self.send(6, pipes=['bulk'])
        wait_until(lambda: self.open_connections() == 2, 'two connections of bulk')
        for _ in range(3):
            pid = self.pmta.pids()['pipe/bulk']
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: self.pmta.pids().get('pipe/bulk') not in (None, pid), 'a new bulk')
        self.send(3, pipes=['transactional'])
        books = self.pmta.wait_empty()
        self.assertEqual(books['transactional']['delivered'], 3)
        self.assertEqual(books['bulk']['queued'], 0)

    def open_connections(self):
        """Established connections to the receiving side, as the kernel sees them."""
        end = f':{self.sink.port:04X}'
        with open('/proc/net/tcp') as f:
            return sum(1 for x in f if x.split()[2].endswith(end) and x.split()[3] == '01')


class Rates(Shared):
    def test_two_pipes_never_send_faster_than_their_virtual_mta_may(self):
        rate, count = 20, 40
        self.world([f'max-msg-rate = {rate}/s'])
        began = time.monotonic()
        self.send(count)
        books = self.pmta.wait_empty()
        took = time.monotonic() - began
        for pipe in PIPES:
            self.assertEqual(books[pipe]['delivered'], count)
        wait_until(lambda: len(self.arrivals()) >= 2 * count, 'the whole record of the sink')
        times = sorted(self.arrivals())
        self.assertEqual(len(times), 2 * count)
        # in any second: the rate, a burst of 50 ms, and what the machine held up for a moment
        window = collections.deque()
        for at in times:
            window.append(at)
            while window[0] <= at - 1:
                window.popleft()
            self.assertLessEqual(len(window), rate * 1.05 + 1 + 3)
        self.assertGreaterEqual(times[-1] - times[0], (2 * count - 1 - rate * 0.05 - 1) / rate - 0.1)
        self.assertLess(took, 2 * count / rate + 6)

    def test_a_budget_is_not_spent_twice_by_a_restart(self):
        self.world(['max-msg-rate = 2/h'])
        self.send(2, pipes=['bulk'])
        wait_until(lambda: len(self.arrivals()) == 1, 'the first message')
        self.assertEqual(self.pmta.stop(), 0)
        with open(os.path.join(self.pmta.spool, 'bulk', 'limits')) as f:
            self.assertIn('virtual-mta shared', f.read())
        self.pmta.start()
        # the other pipe has nothing of its own to remember, and the limit holds for it as well
        self.send(1)
        self.assertEqual(self.pmta.ledger()['bulk']['queued'], 2)
        self.assertEqual(self.pmta.ledger()['transactional']['queued'], 1)
        self.assertEqual(len(self.arrivals()), 1)
        # a crash of everything loses nothing that is older than a second
        time.sleep(1.2)
        self.pmta.kill()
        self.pmta.start()
        wait_until(lambda: self.pmta.ledger(), 'both pipes')
        time.sleep(0.5)
        self.assertEqual(len(self.arrivals()), 1)

    def test_levels_stay_over_a_reload_and_the_death_of_a_pipe(self):
        self.world(['max-msg-rate = 1/h'])
        self.send(1, pipes=['bulk'])
        wait_until(lambda: len(self.arrivals()) == 1, 'the first message')
        self.send(1)
        self.pmta.admin('reload *')
        pid = self.pmta.pids()['pipe/bulk']
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.pmta.pids().get('pipe/bulk') not in (None, pid), 'a new bulk')
        books = wait_until(lambda: self.pmta.ledger(), 'both pipes')['bulk']
        # the end of the first may not have been durable: then it waits like the other, and is not sent
        self.assertEqual((books['received'], books['queued'] + books['delivered']), (2, 2))
        self.assertGreaterEqual(books['queued'], 1)
        time.sleep(0.5)
        self.assertEqual(len(self.arrivals()), 1)

    def test_nothing_is_written_when_no_such_limit_is_in_use(self):
        self.world(['max-msg-rate = 1000/s'])
        self.send(5)
        self.pmta.wait_empty()
        self.assertEqual(self.pmta.stop(), 0)
        for pipe in PIPES:
            self.assertFalse(os.path.exists(os.path.join(self.pmta.spool, pipe, 'limits')))


if __name__ == '__main__':
    unittest.main()
