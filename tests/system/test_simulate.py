#!/usr/bin/env python3
"""pmtactl simulate: the real engine on a virtual clock. Nothing listens, nothing is sent."""
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest

PMTACTL = os.path.join(os.environ['PMTA_BIN'], 'pmtactl')
START = '2026-11-21T08:00'
BASE = """[pmta]
host-name = me.example
default-pipe = bulk
[listener in]
address = 127.0.0.1:2525
[source 127.0.0.0/8]
always-allow-relaying = yes
[pipe bulk]
[pipe transactional]
"""


class Simulate(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='pmta-simulate-')
        self.addCleanup(shutil.rmtree, self.dir)

    def run_it(self, config, *args, status=0, text=None):
        path = os.path.join(self.dir, 'a.conf')
        with open(path, 'w') as f:
            f.write(BASE + config)
        done = subprocess.run([PMTACTL, 'simulate', '--config', self.dir, '--start', START, *args],
                              input=text, capture_output=True, text=True, timeout=100)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def rows(self, config, *args, **more):
        """{domain: object}; the total under None."""
        out = self.run_it(config, '--json', *args, **more).stdout
        return {r.get('domain'): r for r in map(json.loads, out.splitlines())}

    def line_of(self, config, text):
        lines = (BASE + config).splitlines()
        return os.path.join(self.dir, 'a.conf') + f':{lines.index(text) + 1}'

    def test_rates_are_exact(self):
        config = ('[domain m.example]\nmax-msg-rate = 2/m\n'
                  '[domain h.example]\nmax-msg-rate = 200/h\n'
                  '[domain s.example]\nmax-msg-rate = 500/s\nmax-smtp-out = 300\n')
        rows = self.rows(config, '--volume', 'm.example=2880', '--volume', 'h.example=4800',
                         '--volume', 's.example=30000')
        # the first goes at once, after the time of a connection
        self.assertEqual(rows['m.example']['duration_ms'], 2879 * 30000 + 100)
        self.assertEqual(rows['h.example']['duration_ms'], 4799 * 18000 + 100)
        self.assertAlmostEqual(rows['s.example']['duration_ms'], 60000, delta=300)
        for domain, rate in (('m.example', '2/m'), ('h.example', '200/h'), ('s.example', '500/s')):
            row = rows[domain]
            self.assertEqual(row['delivered'], row['messages'])
            self.assertEqual((row['bound_by'], row['bound_value']), ('max-msg-rate', rate))
            self.assertEqual(row['bound_at'], self.line_of(config, f'max-msg-rate = {rate}'))
            self.assertGreater(row['bound_share'], 0.95)
        self.assertEqual(rows[None]['messages'], 2880 + 4800 + 30000)
        self.assertEqual(rows[None]['last_domain'], 'h.example')

    def test_a_slower_connection_costs_nothing_at_a_slow_rate(self):
        config = '[domain m.example]\nmax-msg-rate = 2/m\n'
        row = self.rows(config, '--volume', 'm.example=100', '--connect-time', '2s',
                        '--latency', '1s')['m.example']
        self.assertEqual(row['duration_ms'], 99 * 30000 + 2000)

    def test_connections_bind(self):
        config = '[domain a.example]\nmax-smtp-out = 4\n'
        row = self.rows(config, '--volume', 'a.example=1000', '--latency', '400ms')['a.example']
        self.assertEqual(row['duration_ms'], 100 + 249 * 400)
        self.assertEqual(row['bound_by'], 'max-smtp-out')
        self.assertEqual(row['bound_at'], self.line_of(config, 'max-smtp-out = 4'))

    def test_a_virtual_mta_binds_both_pipes(self):
        config = ('[virtual-mta out]\nsmtp-source-host = 192.0.2.77 out.example\n'
                  'max-msg-rate = 10/s\n')
        rows = self.rows(config, '--volumes', '-',
                         text='# a comment\na.example 600 out\nb.example 600 out transactional\n')
        self.assertEqual({rows[d]['pipe'] for d in ('a.example', 'b.example')},
                         {'bulk', 'transactional'})
        self.assertAlmostEqual(rows[None]['duration_ms'], 120000, delta=2500)
        for domain in ('a.example', 'b.example'):
            self.assertEqual(rows[domain]['queues'], [domain + '/out'])
            self.assertEqual(rows[domain]['bound_limit'], 'virtual-mta out')
            self.assertEqual(rows[domain]['bound_at'], self.line_of(config, 'max-msg-rate = 10/s'))

    def test_mx_groups_domains(self):
        config = ('[mx-rollup big]\nmx = *.big.example\n'
                  '[domain big.rollup]\nmax-msg-rate = 5/s\n')
        volumes = ['--volume', 'a.example=300', '--volume', 'b.example=300']
        rows = self.rows(config, *volumes, '--mx', 'a.example=mx1.big.example',
                         '--mx', 'b.example=mx2.big.example,mx3.big.example')
        self.assertAlmostEqual(rows[None]['duration_ms'], 120000, delta=1000)
        self.assertEqual(rows['a.example']['queues'], ['big.rollup/default'])
        alone = self.rows(config, *volumes)
        self.assertLess(alone[None]['duration_ms'], 10000)
        self.assertEqual(alone['a.example']['queues'], ['a.example/default'])

    def test_a_peer_with_a_limit(self):
        config = ('[domain strict.example]\nsmtp-pattern-list = slow\n'
                  'backoff-max-msg-rate = 1/s\nbackoff-to-normal-after = 1d\nretry-after = 1m\n'
                  '[smtp-pattern-list slow]\nreply = /^421 4\\.7\\.0/ mode=backoff\n')
        row = self.rows(config, '--volume', 'strict.example=2000',
                        '--accept-rate', 'strict.example=20/s')['strict.example']
        self.assertEqual(row['delivered'], 2000)
        self.assertEqual(row['bound_by'], 'backoff-max-msg-rate')
        self.assertGreater(row['duration_ms'], 1500 * 1000)

    def test_adaptive_finds_the_hidden_rate(self):
        config = '[domain y.example]\nadaptive = yes\nmax-smtp-out = 100\nretry-after = 1m\n'
        row = self.rows(config, '--volume', 'y.example=60000',
                        '--accept-rate', 'y.example=50/s')['y.example']
        self.assertEqual(row['delivered'], 60000)
        self.assertGreater(row['rate'], 45)
        self.assertLessEqual(row['rate'], 50.1)
        self.assertEqual(row['bound_by'], 'adaptive')

    def test_warmup_takes_days(self):
        config = ('[virtual-mta new]\nsmtp-source-host = 198.51.100.5 new.example\n'
                  '[virtual-mta new, domain *]\nwarmup-schedule = 100/d, 200/d, 400/d\n'
                  'bounce-after = 20d\n')
        row = self.rows(config, '--volumes', '-', text='w.example 1000 new -\n')['w.example']
        self.assertEqual(row['delivered'], 1000)
        self.assertEqual(row['bound_by'], 'warmup-schedule')
        # 100 on the first day, 200, 400, and 300 of the 400 of the fourth
        self.assertEqual(row['finished'][:10], '2026-11-24')

    def test_what_takes_too_long_expires(self):
        config = '[domain m.example]\nretry-after = 10m\nbounce-after = 1h\nmax-smtp-out = 1\n'
        row = self.rows(config, '--volume', 'm.example=100',
                        '--accept-rate', 'm.example=1/m')['m.example']
        self.assertEqual(row['delivered'] + row['expired'], 100)
        self.assertGreater(row['expired'], 30)
        self.assertGreater(row['deferrals'], 100)
        self.assertEqual(row['bound_by'], 'retry-after')

    def test_what_does_not_fit_into_the_time_is_told(self):
        config = '[domain m.example]\nmax-msg-rate = 1/m\n'
        done = self.run_it(config, '--volume', 'm.example=100', '--for', '30m', status=1)
        self.assertIn('still queued', done.stdout)

    def test_page_for_people(self):
        config = '[domain m.example]\nmax-msg-rate = 2/m\n'
        out = self.run_it(config, '--volume', 'm.example=2880', '--volume', 'f.example=10').stdout
        self.assertIn('2026-11-22 07:59:30', out)
        self.assertRegex(out, r'max-msg-rate = 2/m +100%')
        self.assertIn(self.line_of(config, 'max-msg-rate = 2/m'), out)
        self.assertIn('2,890 messages for 2 domains take 23h 59m 30s', out)

    def test_a_million_messages(self):
        began = time.monotonic()
        row = self.rows('[domain *]\nmax-smtp-out = 200\n', '--volume', 'a.example=1000000')
        self.assertEqual(row['a.example']['delivered'], 1000000)
        self.assertLess(time.monotonic() - began, 60)

    def test_same_again(self):
        config = '[domain y.example]\nadaptive = yes\n'
        args = ('--volume', 'y.example=5000', '--accept-rate', 'y.example=20/s')
        self.assertEqual(self.rows(config, *args), self.rows(config, *args))

    def test_wrong_usage(self):
        for args, what in ((('--volume', 'a.example'), 'DOMAIN='),
                           (('--volume', 'a.example=0'), 'number of messages'),
                           ((), '--volume'),
                           (('--volume', 'a.example=1', '--start', 'soon'), 'time in UTC'),
                           (('--volume', 'a.example=1', '--accept-rate', 'a.example=x'), 'RATE'),
                           (('--volumes', '/nowhere'), 'cannot read')):
            done = self.run_it('', *args, status=2)
            self.assertIn(what, done.stderr)
        done = self.run_it('', '--volumes', '-', status=2, text='a.example 5 nobody\n')
        self.assertIn("no virtual MTA 'nobody'", done.stderr)
        done = self.run_it('', '--volumes', '-', status=2, text='\na.example 5 - nopipe\n')
        self.assertIn("no pipe 'nopipe'", done.stderr)
        done = self.run_it('', '--volumes', '-', status=2, text='\na.example many\n')
        self.assertIn(':2:', done.stderr)
        done = self.run_it('[domain x\n', '--volume', 'a.example=1', status=2)
        self.assertIn('a.conf:10', done.stderr)


if __name__ == '__main__':
    unittest.main()
