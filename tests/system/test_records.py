#!/usr/bin/env python3
"""Real records of the types d, b, t, tq and r with every column: each says which message, pipe, queue
and attempt it is about, where the time went, what TLS there was, its category and the rules that
matched, and has nothing of what its type cannot know."""
import csv
import glob
import os
import re
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pmta import Directory, Pmta, Sink, free_port, wait_until  # noqa: E402
from tls_peer import Authority, Peer  # noqa: E402

CONFIG = '''
[acct-file {files}/all.csv]
records = d,b,t,tq,r
record-fields = *,timeFirstAttempt,rcvDestinationIp,totalSecondsQueued,time,domain,status
[virtual-mta mta1]
smtp-source-host = 127.0.0.1 out1.example
[virtual-mta-pool pool-a]
virtual-mta = mta1
[pipe bulk]
default-virtual-mta = pool-a
smtp-pattern-list = own
[smtp-pattern-list own]
reply = /not now/ retry-after=1s
[bounce-category-patterns]
pattern = /no such person/ gone-person
pattern = /not now/ busy-host
[domain tls.example]
smtp-hosts = [127.0.0.1]:{tls}
[domain bad.example]
smtp-hosts = [127.0.0.1]:{bad}
[domain slow.example]
smtp-hosts = [127.0.0.1]:{slow}
[domain dead.example]
smtp-hosts = [127.0.0.1]:{dead}
'''
TIME = r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+0000$'
NUMBER = r'\d+$'
RULE = r'.*/10-test\.conf:\d+$'
MESSAGE = {'msgId': r'[0-9a-z]{13}\.0$', 'pipe': 'bulk$', 'queue': r'\w+\.example/mta1$', 'vmta': 'mta1$',
           'vmtaPool': 'pool-a$', 'jobId': 'j1$', 'envId': 'env1$', 'orcpt': 'rfc822;x@y$', 'timeLogged': TIME,
           'timeQueued': TIME, 'orig': 'from@sender.example$', 'rcpt': r'u@\w+\.example$', 'dlvSize': NUMBER,
           'srcType': 'smtp$', 'srcMta': 'client.example$', 'rcvSourceIp': r'127\.0\.0\.1$',
           'delayReceive': NUMBER}
TRIED = {**MESSAGE, 'attempt': '[1-9]', 'phase': r'[a-z-]+$', 'delayTotal': NUMBER, 'delayQueue': NUMBER,
         'delayConnect': NUMBER, 'delayTransmit': NUMBER, 'timeFirstAttempt': TIME, 'dlvSourceIp': r'127\.0\.0\.1$',
         'dlvDestinationIp': r'127\.0\.0\.1$', 'dsnStatus': r'\d\.\d+\.\d+$', 'dsnDiag': r'smtp;\d\d\d ',
         'dsnMta': r'.*\(127\.0\.0\.1\)$'}
EXPECTED = {
    'r': {**MESSAGE, 'rcvDestinationIp': r'127\.0\.0\.1$'},
    'd': {**TRIED, 'dsnAction': 'relayed$', 'dlvType': 'smtp$', 'dlvEsmtpAvailable': r'[A-Z0-9]+(,[A-Z0-9]+)*$'},
    'b': {**TRIED, 'dsnAction': 'failed$', 'bounceCat': 'gone-person$', 'bounceRule': RULE},
    't': {**TRIED, 'dsnAction': 'delayed$', 'dlvType': 'smtp$', 'bounceCat': 'busy-host$', 'bounceRule': RULE,
          'replyRule': RULE, 'nextAttempt': TIME, 'dlvEsmtpAvailable': '.*PIPELINING'},
    'tq': {'timeLogged': TIME, 'pipe': 'bulk$', 'queue': 'dead.example/mta1$', 'vmta': 'mta1$', 'phase': 'connect$',
           'dsnAction': 'delayed$', 'dsnStatus': r'4\.4\.1$', 'dsnDiag': 'x-pmta;', 'bounceCat': 'no-answer-from-host$',
           'nextAttempt': TIME},
}
NEVER = {'r': ('dsnAction', 'attempt', 'phase', 'delayTotal', 'bounceCat', 'timeFirstAttempt'),
         'd': ('bounceCat', 'bounceRule', 'nextAttempt', 'rcvDestinationIp'), 'b': ('nextAttempt',), 't': (),
         'tq': ('msgId', 'rcpt', 'attempt', 'timeFirstAttempt')}


class Records(unittest.TestCase):
    def sink(self, name, *args):
        sink = Sink(self.dir, args=args, name=name)
        self.addCleanup(sink.stop)
        return sink.port

    def setUp(self):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        self.files = self.dir.sub('files')
        certificate = Authority(os.path.join(self.dir.path, 'ca')).issue('peer', ['peer.example'])
        peer = Peer(certificate)
        self.pmta = Pmta(self.dir, self.sink('good'), extra=CONFIG.format(
            files=self.files, tls=peer.port, dead=free_port(),
            bad=self.sink('bad', '--fault', 'rcpt:550:100:5.1.1 no such person'),
            slow=self.sink('slow', '--fault', 'rcpt:451:100:4.3.0 not now')))
        self.addCleanup(self.pmta.kill)
        self.pmta.start()

    def rows(self):
        rows = []
        for path in glob.glob(os.path.join(self.files, 'all-bulk-*.csv')):
            with open(path, newline='') as f:
                rows += list(csv.DictReader(f))
        return rows

    def wait_for(self, kind, domain):
        return wait_until(lambda: [r for r in self.rows() if r['type'] == kind and r['domain'] == domain],
                          f'{kind} of {domain}')

    def send(self, domain, pause=0):
        with self.pmta.smtp() as s:
            s.ehlo('client.example')
            s.mail('from@sender.example', ['ENVID=env1'])
            s.rcpt(f'u@{domain}', ['ORCPT=rfc822;x@y'])
            time.sleep(pause)  # a client that takes its time
            code, _ = s.data(b'X-Pipe: bulk\r\nX-Job: j1\r\n\r\nhello\r\n')
            self.assertEqual(code, 250)

    def check(self, kind, row):
        for name, pattern in EXPECTED[kind].items():
            self.assertRegex(row[name], '^' + pattern, f'{kind} {name}')
        for name in NEVER[kind]:
            self.assertEqual(row[name], '', f'{kind} {name}')

    def test_each_type_has_what_it_should(self):
        for domain in ('good', 'bad', 'slow', 'dead', 'tls'):
            self.send(f'{domain}.example')
        for kind, domain in (('r', 'good'), ('d', 'good'), ('d', 'tls'), ('b', 'bad'), ('t', 'slow'), ('tq', 'dead')):
            self.check(kind, self.wait_for(kind, f'{domain}.example')[0])
        tls = self.wait_for('d', 'tls.example')[0]
        self.assertRegex(tls['dlvTlsProtocol'], r'^TLSv1\.[23]$')
        self.assertTrue(tls['dlvTlsCipher'])
        self.assertEqual(tls['dlvTlsVerified'], 'unchecked')
        self.assertEqual(self.wait_for('d', 'good.example')[0]['dlvTlsProtocol'], '')

    def phases(self, row):
        total, *parts = (int(row[f'delay{x}']) for x in ('Total', 'Receive', 'Queue', 'Connect', 'Transmit'))
        self.assertEqual(total, sum(parts), row)
        return parts

    def test_where_the_time_went(self):
        self.send('good.example', pause=0.4)
        receipt = self.wait_for('r', 'good.example')[0]
        self.assertGreaterEqual(int(receipt['delayReceive']), 400)
        row = self.wait_for('d', 'good.example')[0]
        self.assertEqual(row['delayReceive'], receipt['delayReceive'])
        receive, _, connect, transmit = self.phases(row)
        self.assertLess(connect + transmit, receive)
        line = next(x for x in self.pmta.log_text().splitlines() if ' delivered id=' in x)
        self.assertIn(f' receive_ms={receive} ', line)
        names = re.findall(r'(\w+)_ms=', line)
        self.assertEqual(names, ['delay', 'receive', 'queue', 'connect', 'transmit'])
        total, *parts = map(int, re.findall(r'_ms=(\d+)', line))
        self.assertEqual(total, sum(parts), line)

    def test_the_time_before_the_queue_is_known_after_a_crash(self):
        self.send('slow.example', pause=0.4)
        before = self.wait_for('t', 'slow.example')[0]
        self.pmta.kill()
        self.pmta.start()
        after = wait_until(lambda: [r for r in self.rows() if r['type'] == 't' and int(r['attempt']) > int(before['attempt'])],
                           'an attempt after the crash')[-1]
        self.assertGreaterEqual(self.phases(after)[0], 400)
        self.assertLessEqual(int(after['delayReceive']), int(before['delayReceive']))

    def test_the_first_attempt_is_known_after_a_restart(self):
        self.send('slow.example')
        first = wait_until(lambda: [r for r in self.wait_for('t', 'slow.example') if r['attempt'] == '2'],
                           'the second attempt')[0]
        self.assertEqual(self.pmta.stop(), 0)
        self.pmta.start()
        later = wait_until(lambda: [r for r in self.wait_for('t', 'slow.example') if int(r['attempt']) > 3],
                           'attempts after the restart')[0]
        self.assertEqual(later['timeFirstAttempt'], first['timeFirstAttempt'])
        self.assertNotEqual(later['timeLogged'], later['timeFirstAttempt'])


if __name__ == '__main__':
    unittest.main()
