#!/usr/bin/env python3
"""TLS with peers that are not ours: openssl s_server and Postfix for versions and certificates, Postfix also
as a client; what messages ask for themselves (RFC 8689) when a domain has several hosts; `pmtactl resolve
--connect`."""
import json
import os
import smtplib
import socket
import subprocess
import threading
import unittest

import peers
from pmta import BIN, Directory, free_port, wait_until
from test_tls import Base


class SServer:
    """`openssl s_server` behind a few lines that speak SMTP until STARTTLS: the TLS session is the openssl
    command's, whose terminal is our dialogue inside of it."""

    def __init__(self, certificate, *args, offers=()):
        self.messages = 0
        self.offers = list(offers)
        self.inner = free_port()
        # OpenSSL's default security level leaves the oldest versions out
        self.process = subprocess.Popen(
            ['openssl', 's_server', '-accept', f'127.0.0.1:{self.inner}', '-cert', certificate[0], '-key',
             certificate[1], '-quiet', '-cipher', 'ALL:@SECLEVEL=0', *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        wait_until(self._listens, 'openssl s_server to listen')
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        threading.Thread(target=self._dialogue, daemon=True).start()

    def _listens(self):
        """Without connecting: it serves one at a time."""
        wanted = f'0100007F:{self.inner:04X} 00000000:0000 0A'
        with open('/proc/net/tcp') as f:
            return any(wanted in line for line in f)

    def _dialogue(self):
        def say(text):
            self.process.stdin.write(text.encode() + b'\r\n')
            self.process.stdin.flush()
        in_data = False
        for line in self.process.stdout:
            line = line.rstrip(b'\r\n')
            verb = line[:4].upper()
            if in_data:
                in_data = line != b'.'
                if not in_data:
                    self.messages += 1
                    say('250 2.0.0 taken')
            elif verb == b'EHLO':
                words = ['openssl.example', *self.offers]
                for i, w in enumerate(words):
                    say(f'250{" " if i == len(words) - 1 else "-"}{w}')
            elif verb == b'DATA':
                in_data = True
                say('354 go')
            elif verb == b'QUIT':
                say('221 bye')
            elif line:
                say('250 ok')

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        try:
            s.settimeout(20)
            lines = s.makefile('rb', buffering=0)
            s.sendall(b'220 openssl.example ESMTP\r\n')
            while True:
                line = lines.readline()
                if line[:4].upper() == b'EHLO':
                    s.sendall(b'250-openssl.example\r\n250 STARTTLS\r\n')
                elif line[:8].upper() == b'STARTTLS':
                    break
                elif line:
                    s.sendall(b'221 in clear\r\n')
                if not line or line[:4].upper() == b'QUIT':
                    return
            inner = socket.create_connection(('127.0.0.1', self.inner), 20)
            s.sendall(b'220 go ahead\r\n')
            back = threading.Thread(target=self._pump, args=(inner, s), daemon=True)
            back.start()
            self._pump(s, inner)
            back.join()
            inner.close()
        except OSError:
            pass
        finally:
            lines.close()
            s.close()

    @staticmethod
    def _pump(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        for x in (a, b):
            try:
                x.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        self.listener.close()
        self.process.kill()
        self.process.communicate()


class Openssl(Base):
    def server(self, certificate, *args, **kw):
        s = SServer(certificate, *args, **kw)
        self.addCleanup(s.stop)
        return s

    def test_versions_and_certificates(self):
        ca, key = self.ca, self.ca.issue
        must = f'tls-verify = mandatory\ntls-ca-file = {ca.cert}\ntls-match = mx.example\n'
        enc = 'require-starttls = yes\n'
        mine = key('mine', ['out.example'], client=True)
        client = f'tls-client-certificate = {mine[0]}\ntls-client-key = {mine[1]}\n'
        cases = {
            'v10': ((self.good, '-tls1'), enc, 'tq', 'TLS handshake failed'),
            'v11': ((self.good, '-tls1_1'), enc, 'tq', 'TLS handshake failed'),
            'v12': ((self.good, '-tls1_2'), enc, 'd', 'TLSv1.2'),
            'v13': ((self.good, '-tls1_3'), enc, 'd', 'TLSv1.3'),
            'v10ok': ((self.good, '-tls1'), enc + 'tls-min-version = TLSv1\n', 'd', 'TLSv1'),
            'v11ok': ((self.good, '-tls1_1'), enc + 'tls-min-version = TLSv1.1\n', 'd', 'TLSv1.1'),
            'right': ((self.good,), must, 'd', 'TLSv1.3'),
            'wrong': ((key('wrong', ['no.example']),), must, 'tq', 'not for'),
            'late': ((key('late', ['mx.example'], expired=True),), must, 'tq', 'expired'),
            'self': ((key('self', ['mx.example'], self_signed=True),), must, 'tq', 'not valid'),
            'other': ((self.other.issue('other', ['mx.example']),), must, 'tq', 'not valid'),
            'asks12': ((self.good, '-tls1_2', '-Verify', '1', '-verify_return_error', '-CAfile', ca.cert), enc, 'tq', ''),
            'asks': ((self.good, '-Verify', '1', '-verify_return_error', '-CAfile', ca.cert), enc + client, 'd', 'TLSv1.3'),
        }
        servers = {d: self.server(*args) for d, (args, _, _, _) in cases.items()}
        self.start({d + '.example': (servers[d], text) for d, (_, text, _, _) in cases.items()})
        for d in cases:
            self.pmta.send(f'x@{d}.example', pipe='bulk')
        for d, (_, _, kind, text) in cases.items():
            with self.subTest(d):
                r = self.record(f'x@{d}.example')
                self.assertEqual(r['type'], kind, r)
                if kind == 'd':
                    self.assertEqual(r['dlvTlsProtocol'], text, r)
                    self.assertEqual(servers[d].messages, 1)
                else:
                    self.assertIn(text, r['dsnDiag'])
                    self.assertEqual(servers[d].messages, 0)


class Postfix(Base):
    """Debian's, in both directions."""

    def setUp(self):
        super().setUp()
        if peers.Postfix.missing():
            self.skipTest(peers.Postfix.missing())

    def postfix(self, routes, main):
        directory = Directory('pmta-postfix-')
        self.addCleanup(directory.remove)
        p = peers.Postfix(directory, routes, main)
        self.addCleanup(p.stop)
        return p

    def taken(self, peer, count):
        """Header of the first message that came through, unfolded."""
        wait_until(lambda: len(peer.messages) >= count, f'{count} messages from Postfix')
        head = peer.messages[count - 1][1].split(b'\r\n\r\n')[0].decode()
        return head.replace('\r\n\t', ' ').replace('\r\n ', ' ')

    def test_delivery_to_postfix(self):
        """What Postfix writes into Received is what was spoken."""
        behind = self.peer(None)
        cert, key = self.good
        must = f'tls-verify = mandatory\ntls-ca-file = {self.ca.cert}\n'
        domains = {}
        for name, version in (('v12', 'TLSv1.2'), ('v13', 'TLSv1.3')):
            only = f'>={version}, <={version}'
            routes = {f'{d}.example': behind.port for d in (name, name + 'proven')}
            domains[name] = self.postfix(routes, f'''
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_tls_protocols = {only}
smtpd_tls_mandatory_protocols = {only}
smtpd_tls_received_header = yes
''')
        enc = 'require-starttls = yes\n'
        self.start({
            'v12.example': (domains['v12'], enc),
            'v13.example': (domains['v13'], enc),
            'v12proven.example': (domains['v12'], must + 'tls-match = mx.example\n'),
            'v13proven.example': (domains['v13'], must + 'tls-match = mx.example\n'),
            'wrong.example': (domains['v13'], must + 'tls-match = other.example\n'),
            'newer.example': (domains['v12'], enc + 'tls-min-version = TLSv1.3\n'),
        })
        count = 0
        for name, version, verified in (('v12', 'TLSv1.2', 'unchecked'), ('v13', 'TLSv1.3', 'unchecked'),
                                        ('v12proven', 'TLSv1.2', 'trusted'), ('v13proven', 'TLSv1.3', 'trusted')):
            with self.subTest(name):
                self.pmta.send(f'x@{name}.example', pipe='bulk')
                row = self.record(f'x@{name}.example')
                self.assertEqual((row['type'], row['dlvTlsProtocol'], row['dlvTlsVerified']),
                                 ('d', version, verified), row)
                count += 1
                self.assertIn(f'(using {version} with cipher', self.taken(behind, count))
        for name, text in (('wrong', "is not for 'other.example'"), ('newer', 'TLS handshake failed')):
            with self.subTest(name):
                self.pmta.send(f'x@{name}.example', pipe='bulk')
                row = self.record(f'x@{name}.example')
                self.assertEqual((row['type'], row['dsnStatus']), ('tq', '4.7.5'), row)
                self.assertIn(text, row['dsnDiag'])
        self.assertEqual(len(behind.messages), count)

    def test_postfix_submits(self):
        """It insists on TLS of one version and on a certificate of ours that it can verify."""
        cert, key = self.good
        behind = self.peer(self.good)
        self.start({'x.example': (behind, '')}, source='pipe = bulk\n',
                   listener=f'tls-certificate = {cert}\ntls-key = {key}\n')

        def submit(n, version, name='mx.example'):
            p = self.postfix({'x.example': self.pmta.port}, f'''
smtp_tls_security_level = verify
smtp_tls_verify_cert_match = {name}
smtp_tls_CAfile = {self.ca.cert}
smtp_tls_mandatory_protocols = >={version}, <={version}
''')
            with smtplib.SMTP('127.0.0.1', p.port, timeout=60) as s:
                s.sendmail('a@s.example', [f'x{n}@x.example'], b'Subject: x\r\n\r\nhello\r\n')
            return p

        def waits(p, text):
            wait_until(lambda: text in subprocess.run(['postqueue', '-c', p.conf, '-p'], capture_output=True,
                                                      text=True, timeout=20).stdout, 'Postfix to defer: ' + text)
        for n, version in enumerate(('TLSv1.2', 'TLSv1.3')):
            with self.subTest(version):
                submit(n, version)
                head = self.taken(behind, n + 1)
                self.assertRegex(head, r'from postfix\.test\.example .* with ESMTPS ')
                self.assertEqual(self.record(f'x{n}@x.example', 'd')['type'], 'd')
        # it would not have sent without
        waits(submit(2, 'TLSv1.3', 'other.example'), 'Server certificate not verified')
        self.assertEqual(len(behind.messages), 2)


class Asked(Base):
    """REQUIRETLS and TLS-Required: No."""

    def hosts(self, *peers):
        return ', '.join(f'[127.0.0.1]:{p.port}' for p in peers)

    def start_with(self, domains, **kw):
        cert, key = self.good
        extra = ''.join(f'[domain {d}]\nsmtp-hosts = {h}\n{text}\n' for d, (h, text) in domains.items())
        self.start({}, extra=extra, source='pipe = bulk\n',
                   listener=f'tls-certificate = {cert}\ntls-key = {key}\n', **kw)

    def require(self, rcpt):
        s = self.pmta.smtp()
        self.addCleanup(s.close)
        s.ehlo('c.example')
        s.starttls()
        s.ehlo('c.example')
        s.sendmail('a@s.example', [rcpt], b'Subject: x\r\n\r\nhello\r\n', ['REQUIRETLS'])

    def test_other_hosts_are_tried(self):
        ca = f'tls-ca-file = {self.ca.cert}\n'
        without, offers = self.peer(self.good), self.peer(self.good, offers=['REQUIRETLS'])
        clear, bad = self.peer(None), self.peer(self.other.issue('x', ['127.0.0.1']), offers=['REQUIRETLS'])
        with socket.create_server(('127.0.0.1', 0)) as s:
            closed = s.getsockname()[1]
        self.start_with({
            'second.example': (self.hosts(without, clear, bad, offers), ca),
            'none.example': (self.hosts(without, clear), ca),
            'down.example': (self.hosts(without) + f', [127.0.0.1]:{closed}', ca),
        })
        for d in ('second', 'none', 'down'):
            self.require(f'x@{d}.example')
        r = self.record('x@second.example', 'db')
        self.assertEqual((r['type'], r['dlvTlsVerified']), ('d', 'trusted'), r)
        self.assertEqual(len(offers.messages), 1)
        r = self.record('x@none.example', 'db')
        self.assertEqual((r['type'], r['dsnStatus'][:4]), ('b', '5.7.'), r)
        r = self.record('x@down.example', 'db')
        self.assertEqual(r['type'], 'tq', r)
        for p in (without, clear, bad):
            self.assertEqual(p.messages, [])
        # other mail goes to the first host meanwhile
        self.pmta.send('y@none.example', pipe='bulk')
        self.assertEqual(self.record('y@none.example', 'd')['type'], 'd')
        self.assertEqual(len(without.messages), 1)

    def test_tls_required_no(self):
        """It does not stand above what is configured, nor beside REQUIRETLS."""
        clear, offers = self.peer(None), self.peer(self.good, offers=['REQUIRETLS'])
        self.start_with({
            'clear.example': (self.hosts(clear), ''),
            'strict.example': (self.hosts(clear), 'require-starttls = yes\n'),
            'off.example': (self.hosts(offers), 'allow-tls-required-no = no\n'),
        })
        for d in ('clear', 'strict', 'off'):
            self.pmta.send(f'x@{d}.example', pipe='bulk', headers='TLS-Required: No\r\n')
        r = self.record('x@clear.example')
        self.assertEqual((r['type'], r['queue']), ('d', 'clear.example/default+tls-optional'), r)
        self.assertIn(b'TLS-Required: No', b''.join(m if isinstance(m, bytes) else repr(m).encode()
                                                    for m in clear.messages))
        r = self.record('x@strict.example')
        self.assertEqual((r['type'], r['dsnStatus']), ('tq', '4.7.5'), r)
        self.assertEqual(self.record('x@off.example')['queue'], 'off.example/default')
        s = self.pmta.smtp()
        self.addCleanup(s.close)
        s.ehlo('c.example')
        s.starttls()
        s.ehlo('c.example')
        s.sendmail('a@s.example', ['z@clear.example'], b'TLS-Required: No\r\n\r\nhello\r\n', ['REQUIRETLS'])
        r = self.record('z@clear.example', 'db')
        self.assertEqual((r['type'], r['queue']), ('b', 'clear.example/default+requiretls'), r)


class Connect(Base):
    def resolve(self, domain, *args):
        done = subprocess.run([os.path.join(BIN, 'pmtactl'), '--socket', self.pmta.socket, *args, 'resolve', '--pipe', 'bulk',
                               '--connect', domain], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_connect(self):
        must = f'tls-verify = mandatory\ntls-ca-file = {self.ca.cert}\n'
        with socket.create_server(('127.0.0.1', 0)) as s:
            closed = s.getsockname()[1]
        good, clear = self.peer(self.good, offers=['REQUIRETLS', 'DSN']), self.peer(None)
        wrong = self.peer(self.ca.issue('w', ['w.example']))
        broken = self.peer(self.good, break_tls=True)
        self.start({'good.example': (good, must), 'clear.example': (clear, ''), 'wrong.example': (wrong, must),
                    'strict.example': (clear, 'require-starttls = yes'), 'broken.example': (broken, '')},
                   extra=f'[domain down.example]\nsmtp-hosts = [127.0.0.1]:{closed}\n')
        got = {}
        for d in ('good', 'clear', 'wrong', 'strict', 'broken', 'down'):
            o = [json.loads(x) for x in self.resolve(d + '.example', '--json').splitlines()]
            o = [x for x in o if 'sessions' in x]
            self.assertEqual((len(o), len(o[0]['sessions'])), (1, 1), o)
            got[d] = dict(o[0]['sessions'][0], asks=o[0]['hosts'][0]['asks'])
        s = got['good']
        self.assertEqual((s['status'], s['address'], s['tls_verify'], s['tls_result']),
                         ('ok', '127.0.0.1', 'trusted', 'ok'))
        self.assertTrue(s['tls'].startswith('TLSv1.3/'), s)
        self.assertEqual(s['keywords'], ['SIZE 1000000', 'DSN', 'REQUIRETLS'])
        self.assertEqual(s['asks'], 'TLS, and a valid certificate for 127.0.0.1')
        self.assertEqual((got['clear']['status'], got['clear']['tls'], got['clear']['tls_result'], got['clear']['asks']),
                         ('ok', '', 'starttls-not-supported', 'nothing'))
        self.assertEqual((got['wrong']['status'], got['wrong']['tls_result']), ('failed', 'certificate-host-mismatch'))
        self.assertEqual((got['strict']['status'], got['strict']['asks']),
                         ('failed', 'TLS, with any certificate (require-starttls)'))
        self.assertIn('does not offer STARTTLS', got['strict']['text'])
        self.assertEqual((got['broken']['status'], got['broken']['tls']), ('ok', ''))
        self.assertIn('handshake failed', got['broken']['tls_text'])
        self.assertEqual((got['down']['status'], got['down']['phase']), ('failed', 'connect'))
        for p in (good, clear, wrong):
            self.assertEqual(p.messages, [])
            self.assertFalse([c for x in p.sessions for c in x['commands'] if c.startswith('MAIL')])
        page = self.resolve('good.example')
        self.assertRegex(page, r'TLS      TLSv1\.3, TLS_')
        self.assertIn('peer     proven by its certificate', page)
        # a drain does not wait for it
        self.assertEqual(self.pmta.stop(), 0)


if __name__ == '__main__':
    unittest.main()
