#!/usr/bin/env python3
"""Bounce addresses of the real processes: what goes out, what the receivers take back from anybody, what
they refuse, and that it is the same after a restart."""
import json
import os
import re
import smtplib
import subprocess
import unittest

from pmta import BIN, Directory, Pmta, Sink, wait_until

EXTRA = '''
[pipe bulk]
verp = yes
bounce-address = b@bounces.example.com
unsubscribe-address = unsub@bounces.example.com
[bounce-processor main]
inbound-address = @bounces.example.com
[feedback-loop-processor loops]
inbound-address = fbl@example.com
pipe = transactional
[source 127.0.0.2]
always-allow-relaying = no
[listener closed]
address = 127.0.0.1:{closed}
inbound-mail = no
'''


class Verp(unittest.TestCase):
    def setUp(self):
        from pmta import free_port
        self.dir = Directory()
        self.sink = Sink(self.dir)
        self.closed = free_port()
        self.mta = Pmta(self.dir, self.sink.port, extra=EXTRA.format(closed=self.closed)).start()

    def tearDown(self):
        self.mta.kill()
        self.sink.stop()
        self.dir.remove()

    def sent(self, count):
        """[(sender, recipient)] that the sink took."""
        rows = wait_until(lambda: (lambda r: r if len(r) >= count else None)(self.sink.rows()),
                          f'{count} messages at the sink')
        return sorted((r[2], r[1]) for r in rows)

    def stranger(self, port=None):
        """A session from an address that may not relay."""
        s = smtplib.SMTP(timeout=20, source_address=('127.0.0.2', 0))
        s.connect('127.0.0.1', port or self.mta.port)
        s.ehlo('mx.example')
        s.mail('<>')
        return s

    def decode(self, address, *args):
        out = subprocess.run([os.path.join(BIN, 'pmtactl'), '-s', self.mta.socket, '--json', *args,
                              'verp', 'decode', address], capture_output=True, text=True, timeout=30)
        return [json.loads(x) for x in out.stdout.splitlines()]

    def test_each_recipient_has_its_own(self):
        self.mta.send(['a@one.example', 'B+x@one.example', 'c@two.example'], pipe='bulk',
                      headers='X-Job: spring\r\n')
        self.mta.send('d@one.example', pipe='bulk', sender='<>')
        self.mta.send('e@one.example', pipe='transactional')
        sent = {rcpt: sender for sender, rcpt in self.sent(5)}
        self.assertEqual(sent.pop('d@one.example'), '')
        self.assertEqual(sent.pop('e@one.example'), 'from@sender.example')
        self.assertEqual(len(set(sent.values())), 3)
        for rcpt, sender in sent.items():
            self.assertRegex(sender, r'^b\+[a-z2-7]{28}-.*@bounces\.example\.com$')
            self.assertLessEqual(len(sender.split('@')[0]), 64)
        self.assertTrue(sent['B+x@one.example'].endswith('-b=2bx=one.example@bounces.example.com'))
        # the sender of record is the application's
        self.mta.wait_empty()
        wait_until(lambda: len(self.mta.records('bulk')) >= 4, 'four records')
        self.assertEqual({r['orig'] for r in self.mta.records('bulk')}, {'from@sender.example', ''})

    def test_who_may_send_to_them(self):
        self.mta.send('joe@one.example', pipe='bulk')
        (address, _), = self.sent(1)
        local, domain = address.split('@')
        forged = local[:-4] + ('aaaa' if local[-4:] != 'aaaa' else 'bbbb') + '@' + domain
        other = 'c' if local[6] != 'c' else 'd'
        s = self.stranger()
        rows = [
            (address, 250, '2.1.5'),
            (address.upper(), 250, '2.1.5'),
            (forged, 550, '5.1.1'),
            (local[:6] + other + local[7:] + '@' + domain, 550, '5.1.1'),
            ('b+x@bounces.example.com', 550, '5.1.1'),
            ('unsub+x@bounces.example.com', 550, '5.1.1'),
            (address.replace('b+', 'unsub+', 1), 550, '5.1.1'),
            ('anything@bounces.example.com', 452, '4.5.3'),  # of no pipe: the default one
            ('joe@one.example', 550, '5.7.1'),
        ]
        for rcpt, code, enhanced in rows:
            got, text = s.rcpt(rcpt)
            self.assertEqual((got, text.decode().split()[0]), (code, enhanced), rcpt)
        s.rset()
        s.mail('<>')
        self.assertEqual(s.rcpt('anything@bounces.example.com')[0], 250)
        self.assertEqual(s.rcpt('fbl@example.com')[0], 250)  # transactional is the default pipe
        self.assertEqual(s.rcpt(address)[0], 452)            # bulk sent that one
        s.quit()
        counts = [o for o in self.mta.admin('status *') if o.get('process', '').startswith('receiver')]
        self.assertEqual(sum(o['inbound_forged'] for o in counts), 5)
        self.assertGreaterEqual(sum(o['inbound'] for o in counts), 4)
        page = subprocess.run([os.path.join(BIN, 'pmtactl'), '-s', self.mta.socket, 'status'],
                              capture_output=True, text=True, timeout=30).stdout
        self.assertIn('5 forged', page)

    def test_a_listener_that_takes_none(self):
        self.mta.send('joe@one.example', pipe='bulk')
        (address, _), = self.sent(1)
        s = self.stranger(self.closed)
        self.assertEqual(s.rcpt(address)[0], 550)
        s.quit()

    def test_decode(self):
        self.mta.send('Joe@one.example', pipe='bulk', headers='X-Job: spring\r\n')
        (address, _), = self.sent(1)
        for o in [o for o in self.decode(address) if 'address' in o]:
            self.assertEqual(o['verdict'], 'ours')
            self.assertEqual(o['rcpt'], 'joe@one.example')
            self.assertEqual(o['pipe'], 'bulk')
            self.assertEqual(o['known'], o['process'] == 'pipe/bulk')
            if o['known']:
                self.assertEqual((o['job'], o['sender'], o['vmta']),
                                 ('spring', 'from@sender.example', 'default'))
        answers = [o for o in self.decode(address) if o.get('process') == 'pipe/bulk']
        self.assertEqual(len(answers), 1)
        bad = [o for o in self.decode('b+forged@bounces.example.com') if 'verdict' in o]
        self.assertEqual({o['verdict'] for o in bad}, {'forged'})
        none = [o for o in self.decode('joe@one.example') if 'verdict' in o]
        self.assertEqual({o['verdict'] for o in none}, {'not-ours'})
        # the origin is still known after everything was stopped and started
        self.assertEqual(self.mta.stop(), 0)
        self.mta.start()
        o, = [o for o in self.decode(address) if o.get('process') == 'pipe/bulk']
        self.assertTrue(o['known'])
        self.assertEqual(o['job'], 'spring')
        text = subprocess.run([os.path.join(BIN, 'pmtactl'), '-s', self.mta.socket, 'verp', 'decode',
                               address], capture_output=True, text=True, timeout=30).stdout
        self.assertIn('joe@one.example', text)
        self.assertIn('spring', text)
        self.assertEqual(text.count('joe@one.example'), 1)

    def test_plain_verp(self):
        with self.mta.smtp() as s:
            s.ehlo('app.example')
            self.assertTrue(s.has_extn('verp'))
            self.assertEqual(s.docmd('MAIL', 'FROM:<u@d.example> VERP')[0], 250)
            s.rcpt('r@e.example')
            s.rcpt('q@e.example')
            self.assertEqual(s.data(b'Subject: x\r\nX-Pipe: transactional\r\n\r\nx\r\n')[0], 250)
        self.assertEqual(self.sent(2), [('u-q=e.example@d.example', 'q@e.example'),
                                        ('u-r=e.example@d.example', 'r@e.example')])


if __name__ == '__main__':
    unittest.main()
