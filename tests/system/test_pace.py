#!/usr/bin/env python3
"""Adaptive against a sink with a hidden rate, and the daily budget of a warm-up over a restart: the
real binaries."""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

import pmta


def objects(m, verb, **arguments):
    """The answers of one verb, without the end lines."""
    return [o for o in m.admin(f'{verb} pipe/bulk {json.dumps(arguments)}') if 'queue' in o]


def delivered(m):
    ledger = m.ledger()
    return ledger['bulk']['delivered'] if ledger else 0


class Pace(unittest.TestCase):
    def setUp(self):
        self.dir = pmta.Directory()
        self.addCleanup(self.dir.remove)

    def start(self, sink, domain):
        m = pmta.Pmta(self.dir, sink.port, domain=domain)
        self.addCleanup(m.kill)
        m.start()
        return m

    def flood(self, m, count, vmta=None, pipe='bulk'):
        if vmta:
            for i in range(0, count, 2):
                m.send([f'a{i}@hidden.example', f'b{i}@hidden.example'], pipe='bulk',
                       headers=f'X-Virtual-MTA: {vmta}\r\n')
            return
        subprocess.run([f'{pmta.BIN}/pmta-flood', '--to', f'127.0.0.1:{m.port}', '--messages',
                        str(count), '--size', '1k', '--domains', 'hidden.example', '--pipe', pipe],
                       check=True, timeout=60, stdout=subprocess.DEVNULL)

    def rows(self, sink, least):
        """What arrived at the sink, once that is at least so much; it writes when it comes to it."""
        pmta.wait_until(lambda: len(sink.rows()) >= least, f'{least} rows')
        return len(sink.rows())

    def test_adaptive_finds_a_hidden_rate(self):
        sink = pmta.Sink(self.dir, args=['--limit-rate', '40/s', '--limit-reply',
                                         '451 4.7.1 Too many messages, slow down', '--json'])
        self.addCleanup(sink.stop)
        m = self.start(sink, 'adaptive = yes\nadaptive-start-rate = 20/s\nmax-smtp-out = 4\n')
        self.flood(m, 900)
        pmta.wait_until(lambda: delivered(m) >= 600, '600 deliveries', 60)
        found = objects(m, 'show-adaptive', queue='hidden.example*')
        self.assertEqual(len(found), 1)
        self.assertGreater(found[0]['throttled'], 0)
        self.assertGreater(found[0]['failed_at'], 20)
        self.assertTrue(any('slow down' in e.get('reply', '') for e in found[0]['history']))
        explained = {o['directive']: o for o in m.admin(
            'config-explain pipe/bulk {"domain":"hidden.example"}') if 'directive' in o}
        self.assertRegex(explained['adaptive']['now'],
                         r"^any address: [\d.]+/s, lowered at \d\d:\d\d:\d\dZ by reply '451 4.7.1 ")
        self.assertNotIn('now', explained['warmup'])
        shown = [o['limit'] for o in m.admin('show-limits pipe/bulk {"domain":"hidden.example"}')
                 if 'limit' in o]
        self.assertIn('adaptive rate of any address to hidden.example/default', shown)
        out = json.loads(sink.stop().strip().splitlines()[-1])
        self.assertLess(out['limited'], 0.25 * out['messages'])
        self.assertLessEqual(out['connections_most_address'], 4)

    def queue_rests(self, m, pipe='bulk'):
        """The queue has looked at its mail and waits for its budget."""
        def rests():
            found = [o for o in m.admin(f'show-queues pipe/{pipe}') if 'queue' in o]
            return found and found[0]['connections'] == 0 and found[0].get('held_by', '')
        return pmta.wait_until(rests, 'the queue to wait for its budget')

    def test_budget_survives_kill_of_the_pipe_and_of_everything(self):
        sink = pmta.Sink(self.dir, args=['--json', '--delay', 'data:20ms'])
        self.addCleanup(sink.stop)
        m = self.start(sink, 'warmup-schedule = 200/d\nmax-smtp-out = 2\n')
        self.flood(m, 400)
        for i in range(3):  # in the middle of the day, while mail flows
            pmta.wait_until(lambda: delivered(m) >= 40 * (i + 1), 'some deliveries')
            pid = m.pids()['pipe/bulk']
            os.kill(pid, signal.SIGKILL)
            pmta.wait_until(lambda: m.pids().get('pipe/bulk', pid) != pid and m.ledger(),
                            'another pipe')
        held = self.queue_rests(m)
        self.assertRegex(held, r'^warm-up of any address to hidden.example/default: '
                               r'200 of 200 sent today, day 1, next at midnight \(\d{4}-')
        self.assertEqual(objects(m, 'show-warmup')[0]['used'], 200)
        time.sleep(1.2)  # levels are on disk within that time
        m.kill()
        m.start()
        self.queue_rests(m)
        self.assertEqual(objects(m, 'show-warmup')[0]['used'], 200)
        # what was on its way at a kill is counted, and may be lost
        arrived = json.loads(sink.stop().strip().splitlines()[-1])['messages']
        self.assertGreaterEqual(arrived, 180)
        self.assertLessEqual(arrived, 200)

    def test_budget_of_the_day_survives_a_restart(self):
        sink = pmta.Sink(self.dir, args=['--json'])
        self.addCleanup(sink.stop)
        m = self.start(sink, 'warmup-schedule = 25/d, 60/d\nmax-smtp-out = 8\n')
        self.flood(m, 100)
        pmta.wait_until(lambda: delivered(m) >= 25, 'the budget to be used up')
        m.stop()
        m.start()
        seen = pmta.wait_until(lambda: objects(m, 'show-warmup'), 'the warm-up to be known')
        self.assertEqual((seen[0]['step'], seen[0]['budget'], seen[0]['used']), (1, 25, 25))
        self.assertEqual(self.rows(sink, 25), 25)
        m.admin('warmup-set-day pipe/bulk {"queue":"hidden.example*","day":2}')
        pmta.wait_until(lambda: delivered(m) >= 60, 'the budget of the next day')
        self.assertEqual(objects(m, 'show-warmup')[0]['used'], 60)
        plan = objects(m, 'warmup-plan', queue='hidden.example*', days=3)[0]['days']
        self.assertEqual([d['budget'] for d in plan], [60, 60, 60])
        self.assertEqual(self.rows(sink, 60), 60)

    def test_two_pipes_share_one_budget(self):
        sink = pmta.Sink(self.dir, args=['--json', '--delay', 'data:30ms'])
        self.addCleanup(sink.stop)
        m = pmta.Pmta(self.dir, sink.port, domain='warmup-schedule = 60/d\nmax-smtp-out = 4\n')
        m.write_config('20-places.conf', '[pipe bulk]\nmax-smtp-out = 2\n')  # half of them
        self.addCleanup(m.kill)
        m.start()
        for pipe in 'bulk', 'transactional':
            m.admin(f'pause-pipe pipe/{pipe}')
            self.flood(m, 100, pipe=pipe)
        for pipe in 'bulk', 'transactional':
            m.admin(f'resume-pipe pipe/{pipe}')

        def both():
            books = m.ledger()
            return books and sum(b['delivered'] for b in books.values()) >= 60
        pmta.wait_until(both, 'the budget to be used up')
        self.queue_rests(m)
        self.queue_rests(m, 'transactional')
        books = m.ledger()
        self.assertEqual(sum(b['delivered'] for b in books.values()), 60)
        self.assertTrue(all(b['delivered'] for b in books.values()))
        self.assertEqual(self.rows(sink, 60), 60)
        self.assertEqual(objects(m, 'show-warmup')[0]['used'], 60)

    TWO = '''
[virtual-mta two]
smtp-source-host = 127.0.0.41 one.test.example
smtp-source-host = 127.0.0.42 two.test.example
'''

    def two_addresses(self, text, args=()):
        """A virtual MTA of two addresses; the text sets limits for all domains."""
        sink = pmta.Sink(self.dir, args=['--json', *args])
        self.addCleanup(sink.stop)
        m = pmta.Pmta(self.dir, sink.port, extra=self.TWO, domain=text)
        self.addCleanup(m.kill)
        m.start()
        return sink, m

    def used(self, m):
        return {o['source']: o['used'] for o in objects(m, 'show-warmup')}

    def test_what_an_address_may_not_send_goes_to_the_other(self):
        """Both warm up, with a connection each that ends after a few messages."""
        sink, m = self.two_addresses('warmup-schedule = 20/d, 40/d\nmax-smtp-out = 2\n'
                                     'max-msg-per-connection = 7\nsource-ip-max-smtp-out = 1\n')
        self.flood(m, 100, vmta='two')
        pmta.wait_until(lambda: delivered(m) >= 40, 'both budgets to be used up')
        self.assertEqual(self.used(m), {'127.0.0.41': 20, '127.0.0.42': 20})
        # one goes on with its next day: all of the rest may leave from it
        m.admin('warmup-set-day pipe/bulk {"queue":"*","source":"127.0.0.42","day":2}')
        pmta.wait_until(lambda: delivered(m) >= 60, 'the next day of one address')
        self.assertEqual(self.used(m), {'127.0.0.41': 20, '127.0.0.42': 40})
        self.assertEqual(self.rows(sink, 60), 60)

    def test_a_warm_address_takes_what_a_cold_one_may_not(self):
        """The budget of the other is hardly one."""
        sink, m = self.two_addresses('warmup-schedule = 10/d, 5000/d\nmax-smtp-out = 1\n'
                                     'max-msg-per-connection = 4\n')
        self.flood(m, 2, vmta='two')
        pmta.wait_until(lambda: len(self.used(m)) == 2 or delivered(m) == 2, 'both addresses to send')
        self.flood(m, 12, vmta='two')
        pmta.wait_until(lambda: len(self.used(m)) == 2, 'both addresses to send')
        m.admin('warmup-set-day pipe/bulk {"queue":"*","source":"127.0.0.42","day":2}')
        self.flood(m, 100, vmta='two')
        pmta.wait_until(lambda: delivered(m) >= 114, 'all mail')
        self.assertLessEqual(self.used(m)['127.0.0.41'], 10)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], '-v'])
