"""TLS of outgoing and incoming sessions with real peers: versions, certificates of all sorts, stripping,
injection, broken TLS that is remembered, client certificates, names asked for, reloads."""
import os
import ssl
import unittest

from pmta import Directory, Pmta, wait_until
from tls_peer import Authority, Peer

TLS10 = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1)
TLS12 = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
TLS13 = (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.files = Directory('pmta-tls-')
        cls.ca = Authority(os.path.join(cls.files.path, 'ca'))
        cls.other = Authority(os.path.join(cls.files.path, 'other'), 'Somebody Else')
        cls.good = cls.ca.issue('good', ['mx.example', '127.0.0.1'])

    @classmethod
    def tearDownClass(cls):
        cls.files.remove()

    def setUp(self):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)

    def peer(self, *args, **kw):
        p = Peer(*args, **kw)
        self.addCleanup(p.stop)
        return p

    def start(self, peers, domain='', **kw):
        """peers: {domain: (peer, directives)}."""
        extra = kw.pop('extra', '')
        for name, (peer, text) in peers.items():
            extra += f'[domain {name}]\nsmtp-hosts = [127.0.0.1]:{peer.port}\n{text}\n'
        self.pmta = Pmta(self.dir, 9, extra=extra, domain=domain, **kw)
        self.addCleanup(self.pmta.kill)
        self.pmta.start()

    def record(self, rcpt, kinds='dt'):
        def find():
            rows = [r for r in self.pmta.records() if
                    (r['rcpt'] == rcpt and r['type'] in kinds)
                    or (r['type'] == 'tq' and r['queue'].startswith(rcpt.split('@')[1] + '/'))]
            return rows[-1] if rows else None
        return wait_until(find, f'an accounting record for {rcpt}')


class Out(Base):
    def test_versions(self):
        old = self.peer(self.good, TLS10)
        self.start({
            'v12.example': (self.peer(self.good, TLS12), ''),
            'v13.example': (self.peer(self.good, TLS13), ''),
            'old.example': (old, ''),
            'allowed.example': (self.peer(self.good, TLS10), 'tls-min-version = TLSv1'),
            'strict.example': (self.peer(self.good, TLS10), 'require-starttls = yes'),
            'only13.example': (self.peer(self.good, TLS12), 'tls-min-version = TLSv1.3\nrequire-starttls = yes'),
        })
        domains = ['v12', 'v13', 'old', 'allowed', 'strict', 'only13']
        for d in domains:
            self.pmta.send(f'x@{d}.example', pipe='bulk')
        rows = {d: self.record(f'x@{d}.example') for d in domains}
        self.assertEqual(rows['v12']['dlvTlsProtocol'], 'TLSv1.2')
        self.assertTrue(rows['v12']['dlvTlsCipher'].startswith('TLS_ECDHE_'), rows['v12'])
        self.assertEqual(rows['v13']['dlvTlsProtocol'], 'TLSv1.3')
        self.assertEqual(rows['v13']['dlvTlsVerified'], 'unchecked')
        self.assertEqual((rows['old']['type'], rows['old']['dlvTlsProtocol']), ('d', ''))
        self.assertEqual((rows['allowed']['type'], rows['allowed']['dlvTlsProtocol']), ('d', 'TLSv1'))
        for d in ('strict', 'only13'):
            self.assertEqual((rows[d]['type'], rows[d]['dsnStatus']), ('tq', '4.7.5'))
            self.assertIn('TLS handshake failed', rows[d]['dsnDiag'])
        # old.example was tried twice: with TLS, and then in clear; next time in clear at once
        self.assertEqual(len(old.sessions), 2)
        self.pmta.send('y@old.example', pipe='bulk')
        self.assertEqual(self.record('y@old.example')['type'], 'd')
        self.assertNotIn('STARTTLS', old.sessions[-1]['commands'])
        self.assertIn('verify=unchecked', self.pmta.log_text())

    def test_broken_tls_is_not_remembered_for_longer(self):
        peer = self.peer(self.good, break_tls=True)
        self.start({'b.example': (peer, 'tls-broken-for = 0\nmax-msg-per-connection = 1')})
        for i in range(2):
            self.pmta.send(f'x{i}@b.example', pipe='bulk')
            self.assertEqual(self.record(f'x{i}@b.example')['type'], 'd')
            wait_until(lambda: len(peer.sessions) == 2 * i + 2, 'a try with TLS and one without')

    def test_certificates(self):
        must = f'tls-verify = mandatory\ntls-ca-file = {self.ca.cert}\n'
        cases = {  # certificate, directives, what is wrong (None: it is delivered)
            'valid': (self.good, 'tls-match = mx.example', None),
            'address': (self.good, '', None),
            'nexthop': (self.ca.issue('nexthop', ['nexthop.example']), 'tls-match = nexthop', None),
            'wildcard': (self.ca.issue('wild', ['*.wild.example']), 'tls-match = mx.wild.example', None),
            'name': (self.ca.issue('name', ['other.example']), 'tls-match = mx.example', "is not for 'mx.example'"),
            'expired': (self.ca.issue('expired', ['mx.example'], expired=True), 'tls-match = mx.example', 'expired'),
            'unknown': (self.other.issue('unknown', ['mx.example']), 'tls-match = mx.example', 'not valid'),
            'self': (self.ca.issue('self', ['mx.example'], self_signed=True), 'tls-match = mx.example', 'not valid'),
            'client': (self.ca.issue('client', ['mx.example'], client=True), 'tls-match = mx.example', 'not valid'),
            'stripped': (None, '', 'does not offer STARTTLS'),
        }
        self.start({d + '.example': (self.peer(c), must + text) for d, (c, text, _) in cases.items()})
        for d in cases:
            self.pmta.send(f'x@{d}.example', pipe='bulk')
        for d, (_, _, wrong) in cases.items():
            with self.subTest(d):
                r = self.record(f'x@{d}.example')
                if wrong:
                    self.assertEqual((r['type'], r['dsnStatus']), ('tq', '4.7.5'), r)
                    self.assertIn(wrong, r['dsnDiag'])
                else:
                    self.assertEqual((r['type'], r['dlvTlsVerified']), ('d', 'trusted'), r)

    def test_verify_dane_and_sts_need_what_is_not_there(self):
        self.start({'dane.example': (self.peer(self.good), 'tls-verify = dane'),
                    'sts.example': (self.peer(self.good), 'tls-verify = sts'),
                    'none.example': (self.peer(self.good), 'tls-verify = none')})
        for d in ('dane', 'sts', 'none'):
            self.pmta.send(f'x@{d}.example', pipe='bulk')
        self.assertIn('no TLSA records (tls-verify)', self.record('x@dane.example')['dsnDiag'])
        self.assertIn('no TLSA records and its domain no MTA-STS policy', self.record('x@sts.example')['dsnDiag'])
        self.assertEqual(self.record('x@none.example')['dlvTlsVerified'], 'unchecked')

    def test_injected_replies(self):
        """What comes in clear behind the 220 is never taken for a reply inside TLS."""
        peer = self.peer(self.good, inject=b'250-evil\r\n250 AUTH\r\n')
        self.start({'i.example': (peer, 'require-starttls = yes')})
        self.pmta.send('x@i.example', pipe='bulk')
        r = self.record('x@i.example')
        self.assertEqual(r['type'], 'tq')
        self.assertIn('in clear after the reply to STARTTLS', r['dsnDiag'])
        self.assertEqual(peer.messages, [])

    def test_client_certificate(self):
        mine = self.ca.issue('me', ['out.example'], client=True)
        text = f'tls-client-certificate = {mine[0]}\ntls-client-key = {mine[1]}\nrequire-starttls = yes'
        asks = self.peer(self.good, client_ca=self.ca.cert)
        without = self.peer(self.good, TLS12, client_ca=self.ca.cert)
        self.start({'c.example': (asks, text), 'n.example': (without, 'require-starttls = yes')})
        self.pmta.send('x@c.example', pipe='bulk')
        self.pmta.send('x@n.example', pipe='bulk')
        self.assertEqual(self.record('x@c.example')['type'], 'd')
        self.assertIn(('DNS', 'out.example'), asks.sessions[0]['client']['subjectAltName'])
        self.assertEqual(self.record('x@n.example')['type'], 'tq')

    def test_files_that_are_not_there(self):
        self.start({'x.example': (self.peer(self.good), '')})
        self.pmta.write_config('90-bad.conf', '[domain y.example]\ntls-ca-file = no-such-file.pem\n')
        answer = self.pmta.admin('reload root')
        self.assertIn('tls-ca-file: cannot open', str(answer))
        self.assertIn('90-bad.conf:2', str(answer))


if __name__ == '__main__':
    unittest.main()
