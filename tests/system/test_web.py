#!/usr/bin/env python3
"""List-Unsubscribe from the header of a signed message to the suppression list, by the real processes:
header fields are covered by the signature, a GET changes nothing, a POST is durable when it says so."""
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
import unittest

from pmta import BIN, Directory, Pmta, Sink, free_port, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'dkim'))
from verifiers import Keys, dkimpy  # noqa: E402

EXTRA = '''
[pmta]
http-max-bad-rate = 5/m
[pipe bulk]
domain-key = s1,sender.example,{key}
dkim-headers = From, Subject
list-unsubscribe = one-click
unsubscribe-url = https://u.example.com/u
unsubscribe-address = unsub@bounces.example.com
[pipe transactional]
domain-key = s1,sender.example,{key}
list-unsubscribe = header
list-unsubscribe-replace = yes
unsubscribe-address = unsub@bounces.example.com
[http-listener web]
address = 127.0.0.1:{port}
'''

HEADERS = 'From: news@sender.example\r\n'
CLICK = 'List-Unsubscribe=One-Click'
FORM = {'Content-Type': 'application/x-www-form-urlencoded'}


class Web(unittest.TestCase):
    def setUp(self):
        self.dir = Directory()
        self.save = self.dir.sub('saved')
        self.sink = Sink(self.dir, args=['--save', self.save])
        self.port = free_port()
        conf = self.dir.sub('config.d')
        key = os.path.join(conf, 's1.pem')
        self.run_ctl('dkim', 'keygen', '--ed25519', key)
        dns = self.run_ctl('dkim', 'show-dns', 's1', 'sender.example', key)
        record = ''.join(re.findall(r'"([^"]*)"', dns))
        self.keys = Keys(os.path.join(self.dir.path, 'keys'), {'s1._domainkey.sender.example': record})
        self.mta = Pmta(self.dir, self.sink.port, extra=EXTRA.format(port=self.port, key=key)).start()
        wait_until(lambda: self.up(), 'the web process')

    def tearDown(self):
        self.mta.kill()
        self.sink.stop()
        self.dir.remove()

    def run_ctl(self, *args):
        return subprocess.run([os.path.join(BIN, 'pmtactl'), *args], capture_output=True, text=True,
                              check=True, timeout=30).stdout

    def up(self):
        try:
            return self.ask('GET', '/healthz')[0] == 200
        except OSError:
            return False

    def ask(self, method, path, body=None, headers=None):
        """(status, headers, body)"""
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=40)
        c.request(method, path, body, headers or {})
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        return r.status, r.headers, text

    def message(self, n=1):
        """The n-th message that the sink saved."""
        def saved():
            names = [os.path.join(self.save, x) for x in os.listdir(self.save)
                     if x.endswith('.eml')]
            return sorted(names, key=os.path.getmtime) if len(names) >= n else None
        with open(wait_until(saved, f'{n} saved messages')[n - 1], 'rb') as f:
            return f.read()

    @staticmethod
    def field(message, name):
        head = message.split(b'\r\n\r\n', 1)[0].decode()
        head = re.sub(r'\n[ \t]+', ' ', head.replace('\r\n', '\n'))
        return re.findall(rf'^{name}: (.*)$', head, re.I | re.M)

    def link(self, **kw):
        self.mta.send(kw.pop('rcpt', 'joe@one.example'), pipe='bulk', headers=HEADERS, **kw)
        f, = self.field(self.message(), 'List-Unsubscribe')
        url, = re.findall(r'<https://u\.example\.com(/u/[^>]+)>', f)
        return url

    def is_suppressed(self, rcpt='joe@one.example'):
        """A further message to that address is refused, or ends because of the list."""
        try:
            self.mta.send(rcpt, pipe='bulk', headers=HEADERS)
        except Exception as e:  # noqa: BLE001
            return 'suppression' in str(e)
        return False

    def test_reports_are_of_no_list(self):
        self.mta.send('joe@one.example', pipe='bulk', headers=HEADERS, sender='')
        m = self.message()
        self.assertEqual(self.field(m, 'List-Unsubscribe'), [])
        self.assertEqual(self.field(m, 'List-Unsubscribe-Post'), [])

    def test_header_fields_are_signed(self):
        self.mta.send('Joe@one.example', pipe='bulk', headers=HEADERS)
        m = self.message()
        f, = self.field(m, 'List-Unsubscribe')
        self.assertRegex(f, r'^<https://u\.example\.com/u/[a-z2-7]{28}-joe=one\.example>, '
                            r'<mailto:unsub\+[a-z2-7]{28}-joe%3Done\.example@bounces\.example\.com'
                            r'\?subject=unsubscribe>$')
        self.assertEqual(self.field(m, 'List-Unsubscribe-Post'), ['List-Unsubscribe=One-Click'])
        signature, = self.field(m, 'DKIM-Signature')
        names = re.search(r'\bh=([^;]+)', signature)[1].replace(' ', '').lower().split(':')
        self.assertIn('list-unsubscribe', names)
        self.assertIn('list-unsubscribe-post', names)
        self.assertTrue(dkimpy(m, self.keys, 1))
        self.assertFalse(dkimpy(m.replace(b'one.example>,', b'two.example>,'), self.keys, 1))

    def test_applications_own_is_kept(self):
        own = '<https://app.example/out?x=1>'
        self.mta.send('joe@one.example', pipe='bulk', headers=f'{HEADERS}list-unsubscribe: {own}\r\n')
        m = self.message()
        self.assertEqual(self.field(m, 'List-Unsubscribe'), [own])
        self.assertEqual(self.field(m, 'List-Unsubscribe-Post'), [])
        self.assertTrue(dkimpy(m, self.keys, 1))

    def test_replaced_where_told(self):
        head = (f'{HEADERS}List-Unsubscribe: <https://app.example/a>,\r\n <mailto:x@app.example>\r\n'
                'List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nList-Id: <l.app.example>\r\n')
        self.mta.send('joe@one.example', pipe='transactional', headers=head)
        m = self.message()
        f, = self.field(m, 'List-Unsubscribe')
        self.assertRegex(f, r'^<mailto:unsub\+')
        self.assertEqual(self.field(m, 'List-Unsubscribe-Post'), [])
        self.assertEqual(self.field(m, 'List-Id'), ['<l.app.example>'])
        self.assertTrue(dkimpy(m, self.keys, 1))
        # where ours cannot stand, the application's comes back
        self.mta.send(['a@one.example', 'b@one.example'], pipe='transactional', headers=head)
        m = self.message(2)
        f, = self.field(m, 'List-Unsubscribe')
        self.assertEqual(f.split(), ['<https://app.example/a>,', '<mailto:x@app.example>'])
        self.assertEqual(self.field(m, 'List-Unsubscribe-Post'), ['List-Unsubscribe=One-Click'])
        self.assertTrue(dkimpy(m, self.keys, 1))

    def test_large_message_is_read_from_disk(self):
        self.mta.send('joe@one.example', pipe='bulk', headers=HEADERS, body='x' * 76 + '\r\n' + 20000 *
                      ('y' * 76 + '\r\n'))
        m = self.message()
        self.assertEqual(len(self.field(m, 'List-Unsubscribe')), 1)
        self.assertTrue(dkimpy(m, self.keys, 1))

    def test_several_recipients_have_none(self):
        self.mta.send(['a@one.example', 'b@one.example'], pipe='bulk', headers=HEADERS)
        m = self.message()
        self.assertEqual(self.field(m, 'List-Unsubscribe'), [])

    def test_get_asks_and_changes_nothing(self):
        path = self.link()
        for method in 'GET', 'HEAD':
            status, headers, text = self.ask(method, path)
            self.assertEqual(status, 200)
            self.assertIn("default-src 'none'", headers['Content-Security-Policy'])
            self.assertEqual(headers['Cache-Control'], 'no-store')
            self.assertEqual(headers['Referrer-Policy'], 'no-referrer')
        _, headers, text = self.ask('GET', path)
        self.assertIn('joe@one.example', text)
        self.assertIn('<form method="post">', text)
        self.assertNotIn('<script', text)
        self.assertEqual(self.ask('GET', path.replace('=', '%3D'))[0], 200)
        self.assertFalse(self.is_suppressed())

    def test_one_click(self):
        path = self.link()
        status, _, text = self.ask('POST', path, CLICK, FORM)
        self.assertEqual(status, 200)
        self.assertIn('joe@one.example', text)
        # it is durable: also when everything is killed at once
        self.mta.kill()
        self.mta.start()
        wait_until(lambda: self.up(), 'the web process')
        wait_until(lambda: self.is_suppressed(), 'the address on the list')
        self.assertFalse(self.is_suppressed('jim@one.example'))
        boundary = 'xyz'
        multipart = (f'--{boundary}\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\n'
                     f'One-Click\r\n--{boundary}--\r\n')
        self.assertEqual(self.ask('POST', path, multipart, {
            'Content-Type': f'multipart/form-data; boundary={boundary}'})[0], 200)

    def test_what_is_refused(self):
        path = self.link()
        forged = path[:-1] + ('f' if path[-1] != 'f' else 'g')
        rows = [
            ('POST', path, '', {}, 400),
            ('POST', path, 'List-Unsubscribe=Two', FORM, 400),
            ('POST', path, CLICK + '&x=' + 'y' * 9000, FORM, 413),
            ('PUT', path, CLICK, FORM, 405),
            ('POST', '/healthz', CLICK, FORM, 405),
            ('GET', forged, None, {}, 404),
            ('POST', forged, CLICK, FORM, 404),
            ('GET', '/', None, {}, 404),
            ('GET', '/u/', None, {}, 404),
        ]
        for method, where, body, headers, status in rows:
            self.assertEqual(self.ask(method, where, body, headers)[0], status, (method, where))
        # one more than 5/m for what does not exist; what does exist goes on
        self.ask('GET', '/nothing')
        self.assertEqual(self.ask('GET', '/nothing')[0], 429)
        self.assertEqual(self.ask('GET', '/nothing', None, {'X-Forwarded-For': '192.0.2.9'})[0], 404)
        self.assertEqual(self.ask('GET', path)[0], 200)
        status, = [o for o in self.mta.admin('status *') if o.get('process') == 'web']
        self.assertGreaterEqual(status['forged'], 2)
        self.assertEqual(status['too_large'], 1)
        self.assertEqual(status['unsubscribed'], 0)
        page = subprocess.run([os.path.join(BIN, 'pmtactl'), '-s', self.mta.socket, 'status'],
                              capture_output=True, text=True, timeout=30).stdout
        self.assertRegex(page, r'web +running, [0-9]+ requests, 0 unsubscribed, 3 forged')

    def test_without_the_list_it_is_503(self):
        path = self.link()
        pid = self.mta.pids()['suppress']
        os.kill(pid, signal.SIGSTOP)
        try:
            status, headers, _ = self.ask('POST', path, CLICK, FORM)
        finally:
            os.kill(pid, signal.SIGCONT)
        self.assertEqual(status, 503)
        self.assertEqual(headers['Retry-After'], '60')
        self.assertEqual(self.ask('POST', path, CLICK, FORM)[0], 200)

    def test_slow_and_broken_clients(self):
        path = self.link()
        slow = socket.create_connection(('127.0.0.1', self.port))
        slow.sendall(b'POST ' + path.encode() + b' HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\nList-')
        rude = socket.create_connection(('127.0.0.1', self.port))
        rude.sendall(b'\x16\x03\x01\x00rubbish\r\n\r\n' + b'A' * 30000)
        self.assertEqual(self.ask('GET', path)[0], 200)
        endless = socket.create_connection(('127.0.0.1', self.port))
        endless.sendall(b'POST /u/x HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n')
        with self.assertRaises(OSError):
            for _ in range(10000):
                endless.sendall(b'x' * 65536)
        for s in slow, rude, endless:
            s.close()
        self.assertEqual(self.ask('GET', '/healthz')[0], 200)

    def test_stop_answers_what_is_under_way(self):
        path = self.link()
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=40)
        c.request('POST', path, CLICK, FORM)
        self.assertEqual(c.getresponse().status, 200)
        self.assertEqual(self.mta.stop(), 0)
        c.close()


if __name__ == '__main__':
    unittest.main()
