#!/usr/bin/env python3
"""Replies that mean back-off, through the real processes to a receiving side: the mode changes within
one round trip, the action is listed with its cause, can be cancelled, and survives a restart."""
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pmta import BIN, Directory, Pmta, Sink, wait_until  # noqa: E402

RULES = '''
[smtp-pattern-list test-rules]
reply = /421 4\\.7\\.0/ mode=backoff,backoff-to-normal-after=1h
reply = /all is forgiven/ mode=normal
reply = /the whole queue/ bounce-queue
reply = /wait a day/ retry-after=1d
reply = /no more today/ defer-queue=1h
'''

PERSONALITIES = '''
[slow.example]
fault = rcpt:421:100:4.7.0 too many messages, slow down
[gone.example]
fault = rcpt:450:100:4.2.1 the whole queue
[day.example]
fault = rcpt:450:100:4.2.1 wait a day
[later.example]
fault = rcpt:450:100:4.2.1 no more today
'''


class Backoff(unittest.TestCase):
    def setUp(self):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        people = os.path.join(self.dir.path, 'people')
        with open(people, 'w') as f:
            f.write(PERSONALITIES)
        self.sink = Sink(self.dir, args=['--personality', people])
        self.addCleanup(self.sink.stop)
        self.pmta = Pmta(self.dir, self.sink.port,
                         domain='smtp-pattern-list = test-rules\nmax-smtp-out = 4\n'
                                'backoff-max-smtp-out = 1\nbackoff-retry-after = 1h\n'
                                'backoff-notify = ops@ops.example\n',
                         extra=RULES + '[domain slow.example]\nbackoff-max-msg-rate = 1/h\n')
        self.addCleanup(self.pmta.kill)
        self.pmta.start()

    def actions(self, queue=None):
        argument = '{"queue":"%s"}' % queue if queue else '{}'
        return [o for o in self.pmta.admin(f'show-actions pipe/bulk {argument}') if 'id' in o]

    def ctl(self, *words):
        return subprocess.run([os.path.join(BIN, 'pmtactl'), '-s', self.pmta.socket, *words],
                              capture_output=True, text=True, timeout=30)

    def wait_action(self, kind):
        return wait_until(lambda: next((a for a in self.actions() if a['kind'] == kind), None),
                          f'an action {kind}')

    def test_backoff_is_listed_and_cancelled(self):
        for _ in range(30):
            self.pmta.send('a@slow.example', pipe='bulk')
        action = self.wait_action('backoff')
        self.assertEqual(action['queue'], 'slow.example/default')
        self.assertEqual(action['list'], 'test-rules')
        self.assertIn('421 4.7.0 too many messages', action['reply'])
        self.assertRegex(action['file'], r'10-test\.conf$')
        self.assertGreater(action['line'], 0)
        self.assertAlmostEqual(action['until_ms'] - action['since_ms'], 3600000, delta=60000)

        page = self.ctl('show', 'actions', 'slow.example')
        self.assertEqual(page.returncode, 0, page)
        self.assertIn(action['id'], page.stdout)
        self.assertIn('421 4.7.0', page.stdout)
        self.assertIn('modes of slow.example/default', page.stdout)

        done = self.ctl('cancel', action['id'])
        self.assertEqual(done.returncode, 0, done)
        self.assertIn('cancelled', done.stdout)
        # at once back to the old rate, and to the same reply: that is an action of its own
        self.assertNotIn(action['id'], [a['id'] for a in self.actions()])
        self.assertIn('mode changes queue=slow.example/default mode=normal', self.pmta.log_text())
        again = self.ctl('cancel', action['id'])
        self.assertEqual(again.returncode, 1, again)
        self.assertIn('no action', again.stderr)

    def test_one_round_trip_from_the_reply_to_the_last_message(self):
        self.pmta.admin('pause-pipe pipe/bulk {}')
        for _ in range(60):
            self.pmta.send('a@slow.example', pipe='bulk')
        self.pmta.admin('resume-pipe pipe/bulk {}')
        self.wait_action('backoff')

        def settled():
            queues = [q for q in self.pmta.admin('show-queues pipe/bulk {}') if 'queued' in q]
            return queues and queues[0]['connections'] == 0
        wait_until(settled, 'no connection is open')
        self.assertEqual(len(self.actions()), 1)
        # four connections, each with what it had under way and pipelined when the first reply came
        rows = [r for r in self.pmta.records('bulk') if r['type'] == 't']
        self.assertLessEqual(len(rows), 4 * 3)

    def test_operators_are_told(self):
        self.pmta.send('a@slow.example', pipe='bulk')
        rows = wait_until(lambda: [r for r in self.pmta.records('bulk')
                                   if r['type'] == 'd' and r['rcpt'] == 'ops@ops.example'],
                          'a notice at the receiving side')
        self.assertEqual(len(rows), 1)

    def test_the_reply_is_told_by_why(self):
        self.pmta.send('a@later.example', pipe='bulk')
        self.wait_action('defer-queue')
        message = self.pmta.send('b@later.example', pipe='bulk')
        page = self.ctl('why', message)
        self.assertEqual(page.returncode, 0, page)
        self.assertIn('defer-queue', page.stdout)
        self.assertIn('450 4.2.1 no more today', page.stdout)

    def test_bounce_queue_and_retry_after(self):
        self.pmta.send('a@gone.example', pipe='bulk')
        rows = wait_until(lambda: [r for r in self.pmta.records('bulk') if r['type'] == 'b'],
                          'a b record')
        self.assertIn('the whole queue (bounce-queue)', rows[0]['dsnDiag'])
        message = self.pmta.send('a@day.example', pipe='bulk')

        def next_attempt():
            shown = [o for o in self.pmta.admin('show-message pipe/bulk {"id":"%s"}' % message)
                     if 'rcpts' in o]
            return shown and shown[0]['rcpts'][0].get('next_ms')
        wait = wait_until(next_attempt, 'its next attempt') / 1000 - time.time()
        self.assertTrue(86400 - 60 < wait <= 86400, wait)

    def test_a_restart_keeps_the_mode(self):
        self.pmta.send('a@slow.example', pipe='bulk')
        before = self.wait_action('backoff')
        done = self.ctl('set', 'queue', 'other.example/default', '--mode=backoff')
        self.assertEqual(done.returncode, 0, done)
        self.pmta.stop()
        self.pmta.start()
        after = {a['queue']: a for a in self.actions()}
        self.assertEqual(set(after), {'slow.example/default', 'other.example/default'})
        for field in ('id', 'since_ms', 'until_ms', 'reply', 'regex'):
            self.assertEqual(after['slow.example/default'][field], before[field])
        self.assertEqual(after['other.example/default']['by'], 'operator')
        done = self.ctl('set', 'queue', '*', '--mode=normal')
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(self.actions(), [])


if __name__ == '__main__':
    unittest.main()
