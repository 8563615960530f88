#!/usr/bin/env python3
"""Jobs, recipient priority and delivery windows through the real processes: what pmta-sink sees, in which
order, and what survives a restart."""
import json
import os
import smtplib
import subprocess
import time
import unittest

import pmta

CTL = os.path.join(pmta.BIN, 'pmtactl')


class Jobs(unittest.TestCase):
    def setUp(self):
        self.dir = pmta.Directory()
        self.addCleanup(self.dir.remove)
        self.sink = pmta.Sink(self.dir)
        self.addCleanup(self.sink.stop)
        self.mta = pmta.Pmta(self.dir, self.sink.port, domain='max-smtp-out = 1\n',
                             source='process-x-schedule = yes\nprocess-x-delivery-priority = yes\n')
        self.mta.start()
        self.addCleanup(self.mta.kill)

    def ctl(self, *words):
        run = subprocess.run([CTL, '--socket', self.mta.socket, *words], capture_output=True,
                             text=True, timeout=30)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def job(self, name):
        """The job as pipe bulk shows it, or None."""
        for line in self.ctl('--json', 'show', 'jobs', '--pipe', 'bulk').splitlines():
            o = json.loads(line)
            if o.get('job') == name:
                return o
        return None

    def send(self, rcpt, headers):
        return self.mta.send(rcpt, pipe='bulk', headers=headers)

    def delivered(self, count):
        """Waits in the books, because each look at the sink makes it print."""
        def so_many():
            books = self.mta.ledger()
            return books and books['bulk']['delivered'] >= count
        pmta.wait_until(so_many, f'{count} delivered')

    def arrived(self, count):
        """The recipients in the order in which the sink took them; its record comes a moment later."""
        pmta.wait_until(lambda: len(self.sink.rows()) >= count, f'{count} in the record of the sink')
        return [row[1] for row in self.sink.rows()]

    def test_pause_lets_others_flow(self):
        self.ctl('pause', 'job', 'stop-1', '--pipe', 'bulk')
        held = [self.send(f'stop{i}@a.example', 'X-Job: stop-1\r\n') for i in range(3)]
        self.send('go@a.example', 'X-Job: go-1\r\n')
        self.send('none@a.example', '')
        self.delivered(2)
        self.assertEqual(sorted(self.arrived(2)), ['go@a.example', 'none@a.example'])
        job = self.job('stop-1')
        self.assertEqual((job['state'], job['queued']), ('paused', 3))
        why = ' '.join(self.ctl('why', held[0]).split())
        self.assertIn("job 'stop-1' is paused since 20", why)
        self.assertIn('stop-1', self.ctl('show', 'jobs'))

        # a restart keeps the pause, and the mail
        self.assertEqual(self.mta.stop(), 0)
        self.mta.start()
        self.send('late@a.example', 'X-Job: stop-1\r\n')
        self.send('go2@a.example', 'X-Job: go-1\r\n')
        self.delivered(3)
        job = self.job('stop-1')
        self.assertEqual((job['state'], job['queued']), ('paused', 4))

        # one is deleted, the rest goes when the job is resumed
        self.ctl('delete', '--job', 'stop-1', '--rcpt', 'stop1@*')
        self.ctl('resume', 'job', 'stop-1', '--pipe', 'bulk')
        self.delivered(6)
        self.assertEqual(self.arrived(6)[3:], ['stop0@a.example', 'stop2@a.example', 'late@a.example'])
        books = self.mta.wait_empty()
        self.assertTrue(books['bulk']['balanced'])
        self.assertEqual(books['bulk']['deleted'], 1)
        self.assertIsNone(self.job('stop-1'))

    def test_order_within_a_queue(self):
        self.ctl('pause', 'queue', 'a.example', '--pipe', 'bulk')
        for name, priority in (('low', 10), ('usual1', None), ('high1', 90), ('usual2', 50), ('high2', 90)):
            headers = '' if priority is None else f'X-Delivery-Priority: {priority}\r\n'
            self.send(f'{name}@a.example', headers)
        self.ctl('resume', 'queue', 'a.example', '--pipe', 'bulk')
        self.mta.wait_empty()
        self.assertEqual([a.split('@')[0] for a in self.arrived(5)],
                         ['high1', 'high2', 'usual1', 'usual2', 'low'])
        for bad in ('101', '-1', 'high'):
            with self.assertRaisesRegex(smtplib.SMTPResponseException, 'X-Delivery-Priority'):
                self.send('x@a.example', f'X-Delivery-Priority: {bad}\r\n')

    def window(self, start, end):
        def text(at):
            return time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(at))
        return f'X-Schedule: {text(start)} / {text(end)}\r\n'

    def test_delivery_windows(self):
        now = time.time()
        opens = int(now) + 5
        waiting = self.send('window@a.example', self.window(opens, opens + 600))
        self.ctl('pause', 'queue', 'b.example', '--pipe', 'bulk')
        over = self.send('over@b.example', self.window(now - 600, int(now) + 3))
        self.send('open@a.example', self.window(now - 60, now + 600))
        self.delivered(1)
        self.assertIn('delivery window', ' '.join(self.ctl('why', waiting).split()))
        self.assertEqual(self.arrived(1), ['open@a.example'])
        self.assertLess(time.time(), opens, 'the machine is too slow for this window')
        self.assertEqual(self.mta.stop(), 0)  # the window is known after a restart
        self.mta.start()
        self.mta.wait_empty()  # the other one's window ends while its queue is paused
        self.assertGreaterEqual(time.time(), opens)
        self.assertEqual(self.arrived(2), ['open@a.example', 'window@a.example'])
        records = {r['rcpt']: r for r in self.mta.records() if r['type'] != 'r'}
        self.assertIn('last delivery window is over', json.dumps(records['over@b.example']), over)
        self.assertIn('5.4.7', json.dumps(records['over@b.example']))
        with self.assertRaisesRegex(smtplib.SMTPResponseException, 'X-Schedule'):
            self.send('x@a.example', 'X-Schedule: tomorrow\r\n')
        with self.assertRaisesRegex(smtplib.SMTPResponseException, 'all windows are over'):
            self.send('x@a.example', self.window(now - 600, now - 300))

    def test_rate_of_a_job(self):
        self.ctl('set', 'job', 'slow', '--max-msg-rate', '1/h', '--pipe', 'bulk')
        for i in range(3):
            self.send(f'slow{i}@a.example', 'X-Job: slow\r\n')
        self.send('other@a.example', 'X-Job: other\r\n')
        self.delivered(2)
        self.assertEqual(sorted(self.arrived(2)), ['other@a.example', 'slow0@a.example'])
        job = self.job('slow')
        self.assertEqual((job['max_msg_rate'], job['state'], job['queued']), ('1/h', 'throttled', 2))
        self.ctl('set', 'job', 'slow', '--max-msg-rate', '0', '--pipe', 'bulk')
        self.mta.wait_empty()
        self.assertEqual(len(self.arrived(4)), 4)


if __name__ == '__main__':
    unittest.main()
