#!/usr/bin/env python3
"""Adaptive against a sink with a hidden rate, and the daily budget of a warm-up over a restart: the
real binaries."""
import json
import subprocess
import sys
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

    def flood(self, m, count):
        subprocess.run([f'{pmta.BIN}/pmta-flood', '--to', f'127.0.0.1:{m.port}', '--messages',
                        str(count), '--size', '1k', '--domains', 'hidden.example', '--pipe', 'bulk'],
                       check=True, timeout=60, stdout=subprocess.DEVNULL)

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
        out = json.loads(sink.stop().strip().splitlines()[-1])
        self.assertLess(out['limited'], 0.25 * out['messages'])
        self.assertLessEqual(out['connections_most_address'], 4)

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
        self.assertEqual(len(sink.rows()), 25)
        m.admin('warmup-set-day pipe/bulk {"queue":"hidden.example*","day":2}')
        pmta.wait_until(lambda: delivered(m) >= 60, 'the budget of the next day')
        self.assertEqual(objects(m, 'show-warmup')[0]['used'], 60)
        plan = objects(m, 'warmup-plan', queue='hidden.example*', days=3)[0]['days']
        self.assertEqual([d['budget'] for d in plan], [60, 60, 60])
        self.assertEqual(len(sink.rows()), 60)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], '-v'])
