#!/usr/bin/env python3
"""Reports that come back, over the real processes: Postfix and Exim from Debian take mail from verp
addresses, write reports of what they cannot deliver, and send those back to the inbound address; and
complaints, unsubscribe mail, forged and unusable reports by a client."""
import csv
import glob
import json
import os
import re
import signal
import subprocess
import sys
import unittest
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import peers  # noqa: E402
from pmta import BIN, Directory, Pmta, Sink, wait_until  # noqa: E402

CONFIG = '''
[bounce-processor bounces]
inbound-address = b+*@back.test.example
inbound-address = plain@back.test.example
pipe = bulk
{bounce}
[feedback-loop-processor complaints]
inbound-address = fbl@back.test.example
pipe = bulk
{feedback}
[acct-file {files}/all.csv]
records = r,d,b,rb,rs,f
record-fields = *,header_X-Campaign,feedbackType,format
'''

DOMAIN = '''verp = yes
bounce-address = b@back.test.example
unsubscribe-address = u@back.test.example
list-unsubscribe = header
'''


class World(unittest.TestCase):
    bounce = ''
    feedback = ''
    routes = {}

    def setUp(self):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        self.files = self.dir.sub('files')
        self.saved = self.dir.sub('saved')
        self.sink = Sink(self.dir, args=['--save', self.saved])
        self.addCleanup(self.sink.stop)
        self.pmta = Pmta(self.dir, self.sink.port, domain=DOMAIN,
                         extra=CONFIG.format(files=self.files, bounce=self.bounce,
                                             feedback=self.feedback))
        self.addCleanup(self.pmta.kill)

    def start(self, routes=None):
        if routes:
            with open(os.path.join(self.pmta.conf, '20-routes.conf'), 'w') as f:
                for domain, port in routes.items():
                    f.write(f'[domain {domain}]\nsmtp-hosts = [127.0.0.1]:{port}\n')
        self.pmta.start()

    def rows(self, *types):
        rows = []
        for path in sorted(glob.glob(os.path.join(self.files, 'all-*.csv'))):
            with open(path, newline='') as f:
                rows += [r for r in csv.DictReader(f) if r['type'] in types]
        return rows

    def wait_rows(self, count, *types):
        return wait_until(lambda: len(r := self.rows(*types)) >= count and r,
                          f'{count} records {types}', 60)

    def ctl(self, *words):
        return subprocess.run([os.path.join(BIN, 'pmtactl'), '-s', self.pmta.socket, *words],
                              capture_output=True, text=True, timeout=60)

    def suppressed(self, address):
        done = self.ctl('suppress', 'find', address, '--json')
        return [o for o in (json.loads(x) for x in done.stdout.splitlines()) if 'reason' in o]

    def inbound(self):
        """What `show inbound` says of the pipe that reads the reports."""
        done = self.ctl('show', 'inbound', '--pipe', 'bulk', '--json')
        found = [o for o in map(json.loads, done.stdout.splitlines()) if 'reports' in o]
        return found[0] if found else {}

    def send_one(self, rcpt, headers='X-Job: j1\r\n'):
        return self.pmta.send(rcpt, pipe='bulk', headers='From: n@sender.example\r\nTo: ' + rcpt +
                              '\r\nX-Campaign: c1\r\n' + headers)

    def delivered(self):
        """Messages that the sink took: (reverse path, text)."""
        found = []
        for name in sorted(n for n in os.listdir(self.saved) if n.endswith('.eml')):
            with open(os.path.join(self.saved, name), errors='replace') as f:
                found.append(f.read())
        return found

    def token_address(self, rcpt):
        """The bounce address that a message to rcpt went out with, and its text."""
        self.send_one(rcpt)
        row = wait_until(lambda: [r for r in self.sink.rows() if r[1] == rcpt], 'a delivery')[0]
        text = wait_until(lambda: [t for t in self.delivered() if rcpt in t], 'a saved message')[-1]
        return row[2], text

    def report(self, to, text, sender=''):
        with self.pmta.smtp() as s:
            s.ehlo('mx.peer.example')
            code, reply = s.mail(sender)
            self.assertEqual(code, 250, reply)
            code, reply = s.rcpt(to)
            if code != 250:
                return code
            code, reply = s.data(text.encode())
            self.assertEqual(code, 250, reply)
            return code


def dsn(rcpt, action='failed', status='5.1.1', code='550 5.1.1 no such user'):
    return f'''From: MAILER-DAEMON@mx.peer.example
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b

It failed.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.peer.example

Final-Recipient: rfc822; {rcpt}
Action: {action}
Status: {status}
Diagnostic-Code: smtp; {code}
--b--
'''.replace('\n', '\r\n')


class RealPeers(World):
    def peer(self, kind):
        if kind.missing():
            self.skipTest(kind.missing())
        refusing = Sink(self.dir, args=['--fault', 'rcpt:550:100:5.1.1 nobody of that name'],
                        name='refusing')
        self.addCleanup(refusing.stop)
        peer = kind(self.dir, {'back.test.example': self.pmta.port, 'refuses.example': refusing.port})
        self.addCleanup(peer.stop)
        self.start({'peer.example': peer.port, 'refuses.example': peer.port})
        return peer

    def play(self, kind):
        self.peer(kind)
        local = [f'gone{i}@peer.example' for i in range(6)]
        remote = [f'user{i}@refuses.example' for i in range(6)]
        for rcpt in local + remote:
            self.send_one(rcpt)
        rows = self.wait_rows(12, 'rb')
        self.pmta.wait_empty()
        self.assertEqual(len(rows), 12)
        self.assertEqual({r['rcpt'] for r in rows}, set(local + remote))
        for r in rows:
            self.assertEqual(r['format'], 'dsn')
            self.assertEqual(r['orig'], 'from@sender.example')
            self.assertEqual(r['jobId'], 'j1')
            self.assertEqual(r['vmta'], 'default')
            self.assertEqual(r['dsnAction'], 'failed')
            self.assertEqual(r['header_X-Campaign'], 'c1')
            self.assertTrue(r['msgId'])
            if r['rcpt'] in remote:
                self.assertEqual(r['dsnStatus'], '5.1.1')
                self.assertEqual(r['bounceCat'], 'bad-mailbox')
                self.assertIn('nobody of that name', r['dsnDiag'])
            else:
                self.assertIn('no such person here', r['dsnDiag'])
        taken = [r for r in self.rows('d') if r['dlvType'] == 'bounce-processor']
        self.assertEqual(len(taken), 12)
        for r in rows:
            if r['bounceCat'] == 'bad-mailbox':
                self.assertTrue(self.suppressed(r['rcpt']), r['rcpt'])
        return rows

    def test_postfix(self):
        rows = self.play(peers.Postfix)
        self.assertEqual({r['dsnStatus'] for r in rows}, {'5.1.1'})

    def test_exim(self):
        self.play(peers.Exim)


def arf(address, text, rcpt):
    """A complaint about the message `text`, which went out to rcpt with that return path."""
    return ('From: fbl@isp.example\r\nSubject: complaint\r\nMIME-Version: 1.0\r\n'
            'Content-Type: multipart/report; report-type=feedback-report; boundary=q\r\n\r\n'
            '--q\r\n\r\nabuse\r\n--q\r\nContent-Type: message/feedback-report\r\n\r\n'
            'Feedback-Type: abuse\r\nUser-Agent: isp/1\r\nVersion: 1\r\nSource-IP: 127.0.0.1\r\n'
            '--q\r\nContent-Type: message/rfc822\r\n\r\n'
            f'Return-Path: <{address}>\r\n' +
            '\r\n'.join(text.splitlines()).replace('To: ' + rcpt, 'To: redacted') + '\r\n--q--\r\n')


class Reports(World):
    def test_a_bounce_of_a_token_counts_and_a_forged_one_does_not(self):
        self.start()
        address, _ = self.token_address('lost@dest.example')
        self.assertEqual(self.report(address, dsn('other@dest.example')), 250)
        rb = self.wait_rows(1, 'rb')[0]
        self.assertEqual((rb['rcpt'], rb['jobId'], rb['bounceCat']),
                         ('lost@dest.example', 'j1', 'bad-mailbox'))
        wait_until(lambda: self.suppressed('lost@dest.example'), 'a suppression')
        local, domain = address.split('@')
        last = 'a' if local[-1] != 'a' else 'b'
        self.assertGreaterEqual(self.report(f'{local[:-1]}{last}@{domain}', dsn('x@dest.example')),
                                500)
        # anybody can write to the plain address: recorded, and nobody is suppressed
        self.assertEqual(self.report('plain@back.test.example', dsn('victim@dest.example')), 250)
        rows = self.wait_rows(2, 'rb')
        self.assertEqual(rows[1]['rcpt'], 'victim@dest.example')
        self.assertEqual(rows[1]['jobId'], '')
        self.pmta.wait_empty()
        self.assertEqual(self.suppressed('victim@dest.example'), [])

    def test_a_delay_and_other_mail(self):
        self.start()
        address, _ = self.token_address('slow@dest.example')
        self.report(address, dsn('slow@dest.example', 'delayed', '4.4.1', '451 4.4.1 later'))
        rs = self.wait_rows(1, 'rs')[0]
        self.assertEqual((rs['rcpt'], rs['dsnAction'], rs['dsnStatus']),
                         ('slow@dest.example', 'delayed', '4.4.1'))
        self.report(address, 'From: p@dest.example\r\nSubject: Automatic reply: x\r\n'
                             'Auto-Submitted: auto-replied\r\n\r\nI am away.\r\n')
        wait_until(lambda: len([r for r in self.rows('d') if r['dlvType'] == 'bounce-processor']) == 2,
                   'the second one to end')
        self.assertEqual(len(self.rows('rb', 'rs', 'f')), 1)
        self.assertIn('an automatic answer (auto-reply): dropped',
                      [r for r in self.rows('d') if r['dlvType'] == 'bounce-processor'][1]['dsnDiag'])
        books = self.pmta.ledger()['bulk']
        self.assertEqual(books['queued'], 0)
        self.assertEqual(books['received'], books['delivered'])

    def test_a_complaint_finds_its_recipient_by_the_token(self):
        self.start()
        address, text = self.token_address('angry@dest.example')
        self.assertEqual(self.report('fbl@back.test.example', arf(address, text, 'angry@dest.example'),
                                     'fbl@isp.example'), 250)
        f = self.wait_rows(1, 'f')[0]
        self.assertEqual((f['rcpt'], f['jobId'], f['feedbackType'], f['format']),
                         ('angry@dest.example', 'j1', 'abuse', 'arf'))
        wait_until(lambda: self.suppressed('angry@dest.example'), 'a suppression')

    def test_unsubscribing_by_mail(self):
        self.start()
        _, text = self.token_address('leaver@dest.example')
        flat = re.sub(r'\r?\n[ \t]+', ' ', text)
        found = re.search(r'^List-Unsubscribe:.*<mailto:([^>?]+)', flat, re.M | re.I)
        self.assertTrue(found, text)
        self.assertEqual(self.report(urllib.parse.unquote(found.group(1)), 'From: leaver@dest.example\r\n'
                                     'Subject: unsubscribe\r\n\r\n\r\n', 'leaver@dest.example'), 250)
        f = self.wait_rows(1, 'f')[0]
        self.assertEqual((f['rcpt'], f['feedbackType'], f['format']),
                         ('leaver@dest.example', 'opt-out', 'mailto'))
        found = wait_until(lambda: self.suppressed('leaver@dest.example'), 'a suppression')
        self.assertEqual(found[0]['reason'], 'unsubscribe')
        self.assertEqual([r['dlvType'] for r in self.rows('d')][-1], 'unsubscribe')

    def test_the_queue_can_be_looked_at_paused_and_killed(self):
        self.start()
        address, _ = self.token_address('lost@dest.example')
        self.assertEqual(self.ctl('pause', 'queue', '{bounce}').returncode, 0)
        for i in range(20):
            self.report(address, dsn('lost@dest.example'))
        shown = self.ctl('show', 'queues', '--json').stdout
        mine = [o for o in map(json.loads, shown.splitlines()) if o.get('queue') == '{bounce}/default']
        self.assertEqual((mine[0]['queued'], mine[0]['state']), (20, 'paused'))
        self.pmta.kill()
        self.pmta.start()
        self.assertEqual(self.rows('rb'), [])
        self.assertEqual(self.ctl('resume', 'queue', '{bounce}').returncode, 0)
        self.wait_rows(5, 'rb')
        self.pmta.kill()
        self.pmta.start()
        self.pmta.wait_empty()
        rows = wait_until(lambda: len({r['msgId'] for r in self.rows('rb')}) == 20 and self.rows('rb'),
                          '20 records')
        ended = {r['msgId'] for r in self.rows('d') if r['dlvType'] == 'bounce-processor'}
        self.assertEqual({r['msgId'].rsplit('.', 1)[0] for r in rows}, ended)


class Shown(World):
    def test_what_the_processors_did(self):
        self.start()
        self.assertEqual((self.inbound()['reports'], self.inbound()['queued']), (0, 0))
        address, text = self.token_address('lost@dest.example')
        self.report(address, dsn('lost@dest.example'))
        self.report(address, dsn('lost@dest.example', 'delayed', '4.4.1', '451 4.4.1 later'))
        self.report(address, 'From: p@dest.example\r\nSubject: Automatic reply: x\r\n'
                             'Auto-Submitted: auto-replied\r\n\r\nI am away.\r\n')
        self.report('plain@back.test.example', 'From: p@dest.example\r\nSubject: hi\r\n\r\nhi\r\n')
        self.report('fbl@back.test.example', arf(address, text, 'lost@dest.example'), 'f@isp.example')
        self.report('fbl@back.test.example', 'From: f@isp.example\r\nSubject: x\r\nContent-Type: '
                    'multipart/report; report-type=feedback-report; boundary=nowhere\r\n\r\nx\r\n')
        flat = re.sub(r'\r?\n[ \t]+', ' ', text)
        leave = re.search(r'^List-Unsubscribe:.*<mailto:([^>?]+)', flat, re.M | re.I).group(1)
        self.report(urllib.parse.unquote(leave), 'From: lost@dest.example\r\nSubject: unsubscribe'
                    '\r\n\r\n\r\n', 'lost@dest.example')
        self.pmta.wait_empty()
        got = self.inbound()
        want = {'pipe': 'bulk', 'reports': 4, 'unmatched': 3, 'errors': 1, 'records': 4,
                'suppressed': 3, 'forwarded': 0, 'bounces': 1, 'statuses': 1, 'unsubscriptions': 1,
                'auto_replies': 1, 'challenges': 0, 'read_notices': 0, 'queued': 0, 'under_way': 0,
                'waiting': 0}
        self.assertEqual({k: got.get(k) for k in want}, want)
        # each message is of one kind
        self.assertEqual(sum(got[k] for k in ('bounces', 'statuses', 'complaints', 'unsubscriptions',
                                              'auto_replies', 'others')), 7)
        page = self.ctl('show', 'inbound').stdout
        self.assertRegex(page, r'(?m)^PIPE +REPORTS +UNMATCHED +UNREADABLE +RECORDS +SUPPRESSED')
        self.assertRegex(page, r'(?m)^bulk +4 +3 +1 +4 +3 +0 +0 +0$')
        self.assertRegex(page, r'(?m)^transactional +0 +0 ')
        self.assertNotIn('suppression list', page)
        self.assertEqual(self.pmta.stop(), 0)
        self.pmta.start()
        again = self.inbound()
        self.assertEqual({k: again.get(k) for k in want}, want, 'a restart forgets nothing')
        self.assertEqual(again['since_ms'], got['since_ms'])
        # what waits is seen, too
        self.ctl('pause', 'queue', '{bounce}')
        self.report(address, dsn('lost@dest.example'))
        wait_until(lambda: self.inbound()['queued'] == 1, 'a queued report')


class SuppressionIsDown(World):
    """A complaint that has to suppress somebody, while pmta-suppress does not answer or is dead."""

    def complain(self):
        self.start()
        address, text = self.token_address('angry@dest.example')
        self.pid = self.pmta.pids()['suppress']
        os.kill(self.pid, signal.SIGSTOP)  # not dead for root, so that nobody starts it again
        self.assertEqual(self.report('fbl@back.test.example',
                                     arf(address, text, 'angry@dest.example'), 'fbl@isp.example'), 250)
        wait_until(lambda: self.inbound()['waiting'] == 1, 'a report that waits')
        self.assertIn('1 message waits for the suppression list', self.ctl('show', 'inbound').stdout)

    def check_nothing_is_written(self):
        self.assertEqual(self.rows('f'), [])
        self.assertEqual(self.pmta.ledger()['bulk']['queued'], 1)
        got = self.inbound()
        self.assertEqual((got['reports'], got['suppressed'], got['queued']), (0, 0, 1))

    def check_it_ended(self):
        self.wait_rows(1, 'f')
        books = self.pmta.wait_empty()['bulk']
        self.assertEqual(books['received'], books['delivered'])
        found = wait_until(lambda: self.suppressed('angry@dest.example'), 'a suppression')
        self.assertEqual([o['reason'] for o in found], ['complaint'])
        ended = [r for r in self.rows('d') if r['dlvType'] == 'feedback-loop-processor']
        self.assertEqual(len(ended), 1)
        self.assertEqual([r['rcpt'] for r in self.rows('f')], ['angry@dest.example'])
        got = self.inbound()
        self.assertEqual((got['reports'], got['records'], got['suppressed'], got['waiting'],
                          got['under_way'], got['queued']), (1, 1, 1, 0, 0, 0))

    def restarted(self):
        wait_until(lambda: self.pmta.pids().get('suppress') not in (None, self.pid),
                   'another pmta-suppress')

    def test_it_goes_on_when_the_process_is_back(self):
        self.complain()
        self.check_nothing_is_written()
        os.kill(self.pid, signal.SIGKILL)
        self.restarted()
        self.check_it_ended()

    def test_it_is_tried_again_when_that_takes_long(self):
        self.complain()
        wait_until(lambda: 'the suppression list does not answer' in self.pmta.log_text(),
                   'a deferral', 60)
        # with its second attempt it waits again
        wait_until(lambda: self.inbound()['waiting'] == 1, 'the next attempt')
        self.check_nothing_is_written()
        os.kill(self.pid, signal.SIGKILL)
        self.restarted()
        self.check_it_ended()

    def test_the_pipe_dies_meanwhile(self):
        self.complain()
        pipe = self.pmta.pids()['pipe/bulk']
        os.kill(pipe, signal.SIGKILL)
        wait_until(lambda: self.pmta.pids().get('pipe/bulk') not in (None, pipe), 'another pipe')
        wait_until(lambda: self.inbound().get('waiting') == 1, 'the report to wait again')
        self.assertEqual(self.rows('f'), [])
        os.kill(self.pid, signal.SIGKILL)
        self.restarted()
        self.wait_rows(1, 'f')
        self.pmta.wait_empty()
        self.assertEqual([r['rcpt'] for r in self.rows('f')], ['angry@dest.example'])
        wait_until(lambda: self.suppressed('angry@dest.example'), 'a suppression')


class Forwarding(World):
    bounce = 'forward-unmatched-to = human@desk.example, second@desk.example\ndeliver-matched-email = yes\n'
    feedback = 'forward-errors-to = broken@desk.example\ntrust-plain-reports = yes\n'

    def test_unmatched_mail_goes_to_somebody(self):
        self.start()
        text = 'From: p@dest.example\r\nSubject: hello there\r\n\r\n.a line with a dot\r\n'
        self.report('plain@back.test.example', text, 'p@dest.example')
        wait_until(lambda: {r[1] for r in self.sink.rows()} >= {'human@desk.example',
                                                                'second@desk.example'}, 'both copies')
        copy = [t for t in self.delivered() if 'hello there' in t][0]
        self.assertIn('X-Inbound: bounce-processor bounces; no report', copy)
        self.assertIn('.a line with a dot', copy)
        self.assertEqual([r[2] for r in self.sink.rows() if 'desk.example' in r[1]], ['', ''])
        self.pmta.wait_empty()

    def test_large_unmatched_mail_too(self):
        self.start()
        text = ('From: p@dest.example\r\nSubject: large one\r\n\r\n' + ('x' * 70 + '\r\n') * 30000 +
                'the last line\r\n')
        self.report('plain@back.test.example', text, 'p@dest.example')
        wait_until(lambda: {r[1] for r in self.sink.rows()} >= {'human@desk.example'}, 'a copy')
        self.pmta.wait_empty()
        copy = [t for t in self.delivered() if 'large one' in t][0]
        self.assertIn('the last line', copy)
        self.assertEqual(copy.count('x' * 70), 30000)

    def test_a_report_can_go_on_too(self):
        self.start()
        self.report('plain@back.test.example', dsn('a@dest.example'))
        self.wait_rows(1, 'rb')
        wait_until(lambda: [r for r in self.sink.rows() if r[1] == 'plain@back.test.example'],
                   'the report itself')

    def test_what_cannot_be_read(self):
        self.start()
        text = ('From: fbl@isp.example\r\nSubject: x\r\nContent-Type: multipart/report; '
                'report-type=feedback-report; boundary=nowhere\r\n\r\nnothing\r\n')
        self.report('fbl@back.test.example', text, 'fbl@isp.example')
        wait_until(lambda: [r for r in self.sink.rows() if r[1] == 'broken@desk.example'], 'a copy')

    def test_plain_complaints_count_when_they_are_trusted(self):
        self.start()
        text = ('From: staff@hotmail.com\r\nSubject: complaint about message from 127.0.0.1\r\n'
                'MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n'
                'X-HmXmrOriginalRecipient: angry@dest.example\r\nFrom: n@sender.example\r\n\r\nx\r\n')
        self.report('fbl@back.test.example', text, 'staff@hotmail.com')
        f = self.wait_rows(1, 'f')[0]
        self.assertEqual((f['rcpt'], f['format']), ('angry@dest.example', 'jmrp'))
        wait_until(lambda: self.suppressed('angry@dest.example'), 'a suppression')


if __name__ == '__main__':
    unittest.main()
