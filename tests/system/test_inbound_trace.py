#!/usr/bin/env python3
"""pmtactl trace inbound: the dialogue of sessions that come in, as it happens: which sessions, with
TLS, without content and credentials, within bounds, and its end."""
import json
import os
import re
import signal
import smtplib
import socket
import ssl
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pmta import free_port, wait_until  # noqa: E402
from test_logs import PASSWORD, Case  # noqa: E402
from tls_peer import Authority  # noqa: E402

SECRET = 'the secret of the content'


class InboundTraces(Case):
    def receivers(self, p):
        """What each receiver says of itself."""
        return [o for o in p.admin('status *') if o.get('process', '').startswith('receiver/') and 'sessions' in o]

    def traces(self, p):
        return sum(o['traces'] for o in self.receivers(p))

    def trace(self, p, *words, others=0):
        """A trace that all receivers have begun, besides so many other ones; those of before have ended."""
        count = len(self.receivers(p))
        wait_until(lambda: self.traces(p) == others * count, 'the end of older traces')
        t = self.started(p.follow('trace', 'inbound', *words))
        wait_until(lambda: self.traces(p) == (others + 1) * count, 'the trace in all receivers')
        return t

    def in_order(self, text, steps):
        at = 0
        for step in steps:
            found = text.find(step, at)
            self.assertGreaterEqual(found, 0, f'{step!r} after {at} in\n{text}')
            at = found + 1

    def connect(self, port, *lines):
        """Sends lines behind EHLO, and reads all that comes; without a QUIT it hangs up behind them."""
        with socket.create_connection(('127.0.0.1', port), timeout=20) as s:
            f = s.makefile('rb')
            f.readline()
            s.sendall(b''.join(x + b'\r\n' for x in (b'EHLO client.example', *lines)))
            if lines[-1] != b'QUIT':
                s.shutdown(socket.SHUT_WR)
            return f.read()

    def test_a_message_with_tls(self):
        ca = Authority(os.path.join(self.dir.path, 'ca'))
        cert = ca.issue('mx', ['127.0.0.1'])
        p = self.pmta(listener=f'tls-certificate = {cert[0]}\ntls-key = {cert[1]}\n')
        t = self.trace(p)
        with smtplib.SMTP('127.0.0.1', p.port, timeout=20) as s:
            s.starttls(context=ssl._create_unverified_context())
            s.sendmail('a@sender.example', ['b@x.example', 'c@x.example'],
                       f'Subject: hidden\r\nX-Pipe: bulk\r\n\r\n{SECRET}\r\n')
        text = t.communicate(timeout=20)[0]
        self.assertEqual(t.returncode, 0, text)
        self.assertRegex(text, r'(?m)^session \d+-[0-9a-f]+ from 127\.0\.0\.1 at in  receiver/\d')
        self.in_order(text, ['waiting for a session', '* connected to 127.0.0.1, source ', '> 220 ', '< ehlo', '> 250-STARTTLS',
                             '< STARTTLS', '> 220', '* TLS is up: TLSv1.3 ', '< ehlo', '> 250 ENHANCED', '< mail FROM:<a@sender.example>',
                             '> 250 2.1.0', '< rcpt TO:<b@x.example>', '< rcpt TO:<c@x.example>', '< data', '> 354',
                             '* content of ', '* handed to pipe/bulk: 2 recipients', '> 250 2.0.0 Queued as ', '< QUIT',
                             '> 221', '* the session is over'])
        self.assertEqual(text.count('waiting for'), 1)
        self.assertNotIn(SECRET, text)
        self.assertNotIn('hidden', text)
        self.assertRegex(text, r'(?m)^ +\d+\.\d{3}s  > 250 2\.0\.0 Queued')
        wait_until(lambda: self.traces(p) == 0, 'the end of the others')

    def test_content_in_the_wrong_place_is_not_shown(self):
        p = self.pmta()
        message = [b'Subject: ' + SECRET.encode(), b'Help ' + SECRET.encode(), b'Mail ' + SECRET.encode(),
                   b'noop ' + SECRET.encode(), SECRET.encode(), b'X: ' + b'x' * 5000 + SECRET.encode(),
                   b'EHLO ' + SECRET.encode(), b'data ' + SECRET.encode()]
        envelope = [b'MAIL FROM:<a@b.example>', b'RCPT TO:<c@x.example>']
        for lines in ([*envelope[:1], b'DATA', *message, b'.'],              # no recipient: DATA is refused
                      [b'DATA', *message, b'.'],
                      [*envelope, b'DATA', b'X-Pipe: bulk', b'', b'x', b'.', *message, b'.'],  # dots not stuffed
                      [*envelope, b'BDAT 3', b'a', *message]):               # a size that is wrong
            t = self.trace(p)
            self.connect(p.port, *lines, b'QUIT')
            text = t.communicate(timeout=20)[0]
            self.assertNotIn(SECRET, text)
            self.assertNotIn(SECRET[:10], text)
            self.assertIn('not shown', text)
            self.assertIn('the session is over', text)
        self.assertIn('< BDAT 3', text)

    def test_only_those_that_fit(self):
        port = free_port()
        p = self.pmta(extra=f'[listener 127.0.0.1:{port}]\n')
        t = self.trace(p, '--listener', f'127.0.0.1:{port}', '--from', '127.0.0.0/8', '--json')
        elsewhere = self.trace(p, '--from', '192.0.2.1', '--timeout', '3s', others=1)
        self.connect(p.port, b'NOOP not-this', b'QUIT')
        self.connect(port, b'NOOP this', b'QUIT')
        steps = [json.loads(x) for x in t.communicate(timeout=20)[0].splitlines()]
        seen = [s for s in steps if 'session' in s]
        self.assertEqual({(s['listener'], s['client']) for s in seen}, {(f'127.0.0.1:{port}', '127.0.0.1')})
        self.assertEqual(len({s['session'] for s in seen}), 1)
        self.assertIn('NOOP this', [s['text'] for s in seen if s['kind'] == 'received'])
        self.assertTrue(seen[-1]['over'])
        self.assertTrue(all(b['at_ms'] >= a['at_ms'] >= 0 for a, b in zip(seen, seen[1:])))
        text = elsewhere.communicate(timeout=20)[0]
        self.assertEqual(elsewhere.returncode, 1)
        self.assertIn('waiting for a session from 192.0.2.1', text)
        self.assertIn('the time is over, there was no session', text)
        for words, complaint in ((('--listener', 'nobody'), 'there is no [listener nobody]'),
                                 (('--from', '127.0.0.1/33'), 'no address'), (('--from', 'x'), 'no address'),
                                 (('--count', '0'), 'expected 1 to 100')):
            text = p.ctl('trace', 'inbound', *words, status=1)
            self.assertEqual(text.count(complaint), 1, text)

    def test_several_sessions_over_all_receivers(self):
        p = self.pmta()
        t = self.trace(p, '--count', '5')
        for i in range(12):
            self.connect(p.port, b'NOOP %d' % i, b'QUIT')
        text = t.communicate(timeout=20)[0]
        self.assertEqual(t.returncode, 0, text)
        self.assertEqual(len(set(re.findall(r'(?m)^session (\S+)', text))), 5)
        self.assertEqual(text.count('* the session is over'), 5)

    def test_what_goes_wrong_is_shown(self):
        ca = Authority(os.path.join(self.dir.path, 'ca'))
        cert = ca.issue('mx', ['127.0.0.1'])
        p = self.pmta(listener=f'tls-certificate = {cert[0]}\ntls-key = {cert[1]}\n')
        t = self.trace(p)
        self.connect(p.port, b'STARTTLS', b'no handshake at all')
        text = t.communicate(timeout=20)[0]
        self.assertRegex(text, r'bytes behind STARTTLS are thrown away|TLS handshake failed')
        t = self.trace(p)
        with socket.create_connection(('127.0.0.1', p.port), timeout=20) as s:
            f = s.makefile('rb')
            f.readline()
            s.sendall(b'STARTTLS\r\n')
            f.readline()
            s.sendall(b'\x16\x03\x01no handshake either\r\n' * 10)
            f.read()
        text = t.communicate(timeout=20)[0]
        self.assertIn('* the TLS handshake failed: ', text)
        t = self.trace(p)
        self.connect(p.port, b'\xff\x1b[31m\x00')
        text = t.communicate(timeout=20)[0]
        self.assertNotIn('\x1b[31m', text)
        self.assertIn('* the client ended the connection in state ready', text)

    def test_bounds_and_an_operator_that_goes(self):
        p = self.pmta()
        runs = [self.trace(p, '--from', '192.0.2.1', others=i) for i in range(8)]
        self.assertIn('under way already', p.ctl('trace', 'inbound', status=1))
        for t in runs:
            t.send_signal(signal.SIGINT)
        wait_until(lambda: self.traces(p) == 0, 'their end', 10)
        t = self.trace(p)
        with socket.create_connection(('127.0.0.1', p.port), timeout=20) as s:
            f = s.makefile('rb')
            f.readline()
            self.read_until(t, '> 220')
            t.send_signal(signal.SIGINT)  # in the middle of the session, which goes on
            wait_until(lambda: self.traces(p) == 0, 'its end', 10)
            s.sendall(b'QUIT\r\n')
            self.assertTrue(f.readline().startswith(b'221'))
        t = self.trace(p, '--json')
        with socket.create_connection(('127.0.0.1', p.port), timeout=20) as s:
            f = s.makefile('rb')
            f.readline()
            self.assertEqual(p.stop(), 0)
        steps = [json.loads(x) for x in t.communicate(timeout=20)[0].splitlines() if x.startswith('{')]
        self.assertTrue(any(s['text'].startswith('421 4.3.2') for s in steps if s['kind'] == 'sent'), steps)


class Refusals(Case):
    """One clear line of fields for what is refused, and not more of them than the log can bear."""

    def lines_of(self, p, message, count=1):
        def found():
            lines = [json.loads(x) for x in p.lines()]
            lines = [x for x in lines if x['message'] == message]
            return lines if len(lines) >= count else None
        return wait_until(found, f'{count} lines {message!r}')

    def session(self, port, *lines):
        with socket.create_connection(('127.0.0.1', port), timeout=20) as s:
            f = s.makefile('rb')
            s.sendall(b''.join(x + b'\r\n' for x in (b'EHLO client.example', *lines, b'QUIT')))
            return f.read()

    def test_each_is_one_line(self):
        ca = Authority(os.path.join(self.dir.path, 'ca'))
        cert = ca.issue('mx', ['127.0.0.1'])
        p = self.pmta('log-format = json', listener=f'tls-certificate = {cert[0]}\ntls-key = {cert[1]}\n'
                      'source = strangers\nallow-plain-auth = yes\n',
                      extra='[source strangers]\nallow-plain-auth = yes\nalways-allow-relaying = no\n'
                            '[smtp-user app]\npassword = $argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$'
                            'Zm9yZ2VkZm9yZ2VkZm9yZ2VkZm9yZ2VkZm9yZ2VkZm8\npipe = bulk\n')
        self.session(p.port, b'MAIL FROM:<>', b'RCPT TO:<b@x.example>', b'RCPT TO:<c@x.example>')
        row = self.lines_of(p, 'refused')[0]
        self.assertEqual([row[x] for x in ('client', 'listener', 'from', 'rcpt', 'state')],
                         ['127.0.0.1', 'in', '<>', 'b@x.example', 'mail'])
        self.assertEqual(row['reply'], '550 5.7.1 Relaying denied')
        with smtplib.SMTP('127.0.0.1', p.port, timeout=20) as s:
            self.assertRaises(smtplib.SMTPAuthenticationError, s.login, 'app', PASSWORD)
        rows = self.lines_of(p, 'authentication failed')
        self.assertEqual([(x['client'], x['listener'], x['user']) for x in rows], [('127.0.0.1', 'in', 'app')] * len(rows))
        with socket.create_connection(('127.0.0.1', p.port), timeout=20) as s:
            f = s.makefile('rb')
            f.readline()
            s.sendall(b'STARTTLS\r\n')
            f.readline()
            s.sendall(b'\x16\x03\x01no handshake\r\n' * 10)
            f.read()
        row = self.lines_of(p, 'TLS handshake failed')[0]
        self.assertEqual((row['client'], row['listener'], row['state']), ('127.0.0.1', 'in', 'starttls'))
        self.assertTrue(row['reply'])
        messages = [json.loads(x)['message'] for x in p.lines()]
        self.assertEqual(messages.count('refused'), 1, messages)  # one per session: nothing is said twice

    def test_a_client_that_comes_again_and_again(self):
        p = self.pmta('log-format = json', listener='source = strangers\n',
                      extra='[source strangers]\nalways-allow-relaying = no\n')
        for _ in range(300):
            self.session(p.port, b'MAIL FROM:<a@b.example>', b'RCPT TO:<b@x.example>')
        receivers = len([o for o in p.admin('status *')
                         if o.get('process', '').startswith('receiver/') and 'sessions' in o])
        p.stop()
        refused = [x for x in p.lines() if '"refused"' in x]
        self.assertGreater(len(refused), 30)
        self.assertLessEqual(len(refused), 2 * 60 * receivers)  # a minute may end meanwhile


del Case  # its tests are those of test_logs

if __name__ == '__main__':
    unittest.main()
