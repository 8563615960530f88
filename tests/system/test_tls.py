"""TLS of outgoing and incoming sessions with real peers: versions, certificates of all sorts, stripping,
injection, broken TLS that is remembered, client certificates, names asked for, reloads."""
import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import unittest
import unittest.mock
import warnings

import test_policy
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
        self.assertIn('cannot be opened', str(answer))
        self.assertIn('90-bad.conf:2', str(answer))

    def test_keys_that_others_can_read(self):
        """As with DKIM keys: refused with file and line, and what is in force stays."""
        self.start({'x.example': (self.peer(self.good), '')})
        cert, key = self.ca.issue('open', ['open.example'])
        both = os.path.join(self.ca.path, 'open-both.pem')
        with open(both, 'w') as f:
            for part in (cert, key):
                with open(part) as g:
                    f.write(g.read())
        os.chmod(key, 0o644)
        os.chmod(both, 0o644)
        for text, line in ((f'[domain y.example]\ntls-client-certificate = {cert}\ntls-client-key = {key}\n', 3),
                           (f'[domain y.example]\ntls-client-certificate = {both}\n', 2),
                           (f'[listener z]\naddress = 127.0.0.1:0\ntls-certificate = {cert}\ntls-key = {key}\n', 4),
                           (f'[listener in]\ntls-certificate = {cert}\ntls-key = {cert}\n'
                            f'tls-certificate-for = open.example {both}\n', 4)):
            self.pmta.write_config('90-bad.conf', text)
            answer = str(self.pmta.admin('reload root'))
            self.assertIn(f'90-bad.conf:{line}', answer)
            self.assertIn('with a private key is open to others, mode 0644', answer)


class In(Base):
    """Sessions of applications."""

    def start_listener(self, listener, extra='', **kw):
        cert, key = self.good
        self.start({'x.example': (self.peer(self.good), '')},
                   listener=f'tls-certificate = {cert}\ntls-key = {key}\n{listener}', extra=extra, **kw)

    def context(self, version=None, certificate=None):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.load_verify_locations(self.ca.cert)
        c.check_hostname = False
        if version:
            c.set_ciphers('ALL:@SECLEVEL=0')
            with warnings.catch_warnings():
                warnings.simplefilter('ignore', DeprecationWarning)
                c.minimum_version, c.maximum_version = version
        if certificate:
            c.load_cert_chain(*certificate)
        return c

    def session(self, context, name=None):
        """An smtplib session after STARTTLS, which asked for this name."""
        s = self.pmta.smtp()
        self.addCleanup(s.close)
        s._host = name or '127.0.0.1'
        s.ehlo('c.example')
        s.starttls(context=context)
        s.ehlo('c.example')
        return s

    def names(self, s):
        return [v for _, v in s.sock.getpeercert()['subjectAltName']]

    def test_certificate_by_name(self):
        one, two = self.ca.issue('one', ['one.example']), self.ca.issue('two', ['a.two.example'])
        with open(os.path.join(self.ca.path, 'both.pem'), 'w') as f:
            for part in one:
                with open(part) as g:
                    f.write(g.read())
        os.chmod(f.name, 0o600)
        self.start_listener(f'tls-certificate-for = one.example {f.name}\n'
                            f'tls-certificate-for = *.two.example {two[0]} {two[1]}\n')
        for asked, shown in [('one.example', 'one.example'), ('a.two.example', 'a.two.example'),
                             ('three.example', 'mx.example'), ('127.0.0.1', 'mx.example')]:
            self.assertIn(shown, self.names(self.session(self.context(), asked)), asked)

    def test_versions(self):
        self.start_listener('')
        for version, name in ((TLS12, 'TLSv1.2'), (TLS13, 'TLSv1.3')):
            self.assertEqual(self.session(self.context(version)).sock.version(), name)
        with self.assertRaises((ssl.SSLError, OSError)):
            self.session(self.context(TLS10))

    def test_old_versions_where_they_are_allowed(self):
        self.start_listener('tls-min-version = TLSv1')
        self.assertEqual(self.session(self.context(TLS10)).sock.version(), 'TLSv1')

    def test_reload_with_an_open_session(self):
        file = os.path.join(self.ca.path, 'changing.pem')

        def use(names):
            cert, key = self.ca.issue('changing-' + names[0], names)
            with open(file + '.new', 'w') as f:
                for part in (cert, key):
                    with open(part) as g:
                        f.write(g.read())
            os.chmod(file + '.new', 0o600)
            os.rename(file + '.new', file)
        use(['before.example'])
        self.start({'x.example': (self.peer(self.good), '')}, source='pipe = bulk\n', listener=
                   f'tls-certificate = {file}\ntls-certificate-for = sni.example {file}\n')
        old = self.session(self.context(), 'sni.example')
        self.assertIn('before.example', self.names(old))
        use(['after.example'])
        self.pmta.admin('reload root')
        for name in ('sni.example', None):
            self.assertIn('after.example', self.names(self.session(self.context(), name)))
        self.assertEqual(old.sendmail('a@s.example', ['x@x.example'], b'Subject: x\r\n\r\nhello\r\n'), {})
        self.assertEqual(self.record('x@x.example')['type'], 'd')
        # a file that cannot be used changes nothing
        with open(file, 'w') as f:
            f.write('nonsense')
        self.pmta.admin('reload root')
        self.pmta.wait_log('going on with the ones of before')
        self.assertIn('after.example', self.names(self.session(self.context())))

    def test_injected_commands(self):
        """What comes in clear behind STARTTLS is thrown away, not run inside TLS."""
        self.start_listener('')
        with socket.create_connection(('127.0.0.1', self.pmta.port), 20) as raw:
            f = raw.makefile('rb')
            f.readline()
            raw.sendall(b'EHLO c.example\r\n')
            while f.readline()[3:4] == b'-':
                pass
            raw.sendall(b'STARTTLS\r\nEHLO evil.example\r\nMAIL FROM:<evil@x.example>\r\n')
            self.assertTrue(f.readline().startswith(b'220'))
            with self.context().wrap_socket(raw) as tls:
                tls.sendall(b'NOOP\r\n')
                self.assertTrue(tls.recv(1000).startswith(b'250 2.0.0'))
                tls.sendall(b'RCPT TO:<x@x.example>\r\n')
                self.assertTrue(tls.recv(1000).startswith(b'503'))

    def test_client_certificate_names_the_source(self):
        app = self.ca.issue('app', ['app.example'], client=True)
        nameless = self.ca.issue('nobody', ['nobody.example'], client=True)
        stranger = self.other.issue('app2', ['app.example'], client=True)
        self.start_listener(f'tls-client-ca = {self.ca.cert}\n', source='pipe = bulk\n', extra=
                            '[source app]\ntls-client-name = other.example\ntls-client-name = app.example\n'
                            'always-allow-relaying = yes\npipe = transactional\n')
        for n, (certificate, pipe) in enumerate([(app, 'transactional'), (nameless, 'bulk'), (stranger, 'bulk'),
                                                 (None, 'bulk')]):
            s = self.session(self.context(certificate=certificate))
            s.sendmail('a@s.example', [f'n{n}@x.example'], b'Subject: x\r\n\r\nhello\r\n')
            wait_until(lambda: any(r['rcpt'] == f'n{n}@x.example' for r in self.pmta.records(pipe)),
                       f'mail {n} in pipe {pipe}')
        self.pmta.wait_log("the client's certificate is not used")

    def test_client_certificates_of_another_ca_by_reload(self):
        """Its file is read beside the loop; meanwhile the listener goes on as before."""
        old = self.ca.issue('old', ['app.example'], client=True)
        new = self.other.issue('new', ['app.example'], client=True)
        trusted = os.path.join(self.ca.path, 'clients.pem')
        shutil.copy(self.ca.cert, trusted)
        self.start_listener(f'tls-client-ca = {trusted}\n', source='pipe = bulk\n', extra=
                            '[source app]\ntls-client-name = app.example\nalways-allow-relaying = yes\n'
                            'pipe = transactional\n')
        count = 0

        def lands_in(certificate):
            nonlocal count
            count += 1
            s = self.session(self.context(certificate=certificate))
            s.sendmail('a@s.example', [f'r{count}@x.example'], b'Subject: x\r\n\r\nhello\r\n')
            s.quit()
            return wait_until(lambda: next((p for p in ('bulk', 'transactional') for r in self.pmta.records(p)
                                            if r['rcpt'] == f'r{count}@x.example'), None), 'a record')
        self.assertEqual((lands_in(old), lands_in(new)), ('transactional', 'bulk'))
        with open(trusted, 'wb') as out:
            for path in ('/etc/ssl/certs/ca-certificates.crt', self.other.cert):
                if os.path.exists(path):
                    with open(path, 'rb') as f:
                        out.write(f.read())
        for _ in range(3):  # what comes while it is read is for the last one
            self.pmta.admin('reload root')
        wait_until(lambda: lands_in(new) == 'transactional', 'the new one to count')
        self.assertEqual(lands_in(old), 'bulk')
        with open(trusted, 'w') as out:
            out.write('nothing\n')
        self.pmta.admin('reload root')
        self.pmta.wait_log('going on with the ones of before')
        self.assertEqual((lands_in(old), lands_in(new)), ('bulk', 'transactional'))

    def test_requiretls(self):
        """RFC 8689 from the application to the next hop."""
        must = f'tls-verify = mandatory\ntls-ca-file = {self.ca.cert}\n'
        offers = self.peer(self.good, offers=['REQUIRETLS'])
        self.start({'yes.example': (offers, must),
                    'no.example': (self.peer(self.good), must),
                    'unproven.example': (self.peer(self.good, offers=['REQUIRETLS']), '')},
                   source='pipe = bulk\n', listener='tls-certificate = {}\ntls-key = {}\n'.format(*self.good))
        s = self.session(self.context())
        self.assertTrue(s.has_extn('requiretls'))
        for d in ('yes', 'no', 'unproven'):
            s.sendmail('a@s.example', [f'x@{d}.example'], b'Subject: x\r\n\r\nhello\r\n', ['REQUIRETLS'])
        row = self.record('x@yes.example', 'db')
        self.assertEqual((row['type'], row['dlvTlsVerified']), ('d', 'trusted'))
        self.assertTrue(any(c.endswith(' REQUIRETLS') for c in offers.sessions[0]['commands']))
        for d in ('no', 'unproven'):
            row = self.record(f'x@{d}.example', 'db')
            self.assertEqual((row['type'], row['dsnStatus']), ('b', '5.7.30' if d == 'no' else '5.7.10'), row)


class Policies(Base):
    """DANE and MTA-STS through the real resolver: nsd, unbound, an HTTPS server."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for program in (test_policy.NSD, test_policy.UNBOUND):
            if not os.path.exists(program):
                raise unittest.SkipTest(f'{program} is not installed')
        cls.peers = {}
        cls.addClassCleanup(lambda: [p.stop() for p in cls.peers.values()])
        sts = cls.ca.issue('sts', ['mx1.plain.test'])
        dane = cls.ca.issue('dane', ['whatever.example'], expired=True, self_signed=True)
        rolled = cls.ca.issue('rolled', ['whatever.example'])
        wrong = cls.ca.issue('stswrong', ['mx2.plain.test'])
        for name, certificate in [('dgood', dane), ('dwrong', rolled), ('dclear', None), ('dunusable', dane),
                                  ('dnone', rolled), ('good', sts), ('changes', wrong), ('type', None),
                                  ('testing', wrong), ('missing', wrong)]:
            cls.peers[name] = Peer(certificate)
        cls.directory = Directory()
        cls.addClassCleanup(cls.directory.remove)
        signed = test_policy.SIGNED
        for d in ('dgood', 'dwrong', 'dclear', 'dunusable', 'dnone'):
            data = '1 1 1' if d == 'dunusable' else '3 1 1'
            signed += (f'{d} MX 10 mx{d}\nmx{d} A 127.0.0.1\n'
                       f'_{cls.peers[d].port}._tcp.mx{d} TLSA {data} {cls.spki(dane[0])}\n')
        with unittest.mock.patch.object(test_policy, 'SIGNED', signed):
            cls.dns = test_policy.Names(cls.directory, test_policy.POLICY_HOSTS)
        cls.addClassCleanup(cls.dns.stop)
        cls.authority = test_policy.Authority(cls.directory)
        cls.web = test_policy.Web(cls.authority)
        cls.addClassCleanup(cls.web.stop)
        for d in ('good', 'changes', 'type', 'testing', 'missing'):
            host = f'mta-sts.{d}.plain.test'
            mode = 'testing' if d == 'testing' else 'enforce'
            mx = 'other.plain.test' if d == 'dmx' else 'mx1.plain.test'
            cls.web.serve(host, cls.authority.context(host), test_policy.policy(mode, mx))

    @classmethod
    def spki(cls, cert):
        key = subprocess.run(['openssl', 'x509', '-in', cert, '-noout', '-pubkey'], check=True, capture_output=True)
        der = subprocess.run(['openssl', 'pkey', '-pubin', '-outform', 'DER'], input=key.stdout, check=True,
                             capture_output=True)
        return hashlib.sha256(der.stdout).hexdigest()

    def start_with_dns(self):
        text = ''
        for name, peer in self.peers.items():
            zone = 'signed.test' if name.startswith('d') else 'plain.test'
            text += f'[domain {name}.{zone}]\nsmtp-port = {peer.port}\n'
        for name in ('good', 'changes'):
            text += (f'[domain {name}.off.test]\nqueue-to = {name}.plain.test\nsmtp-port = {self.peers[name].port}\n'
                     'use-mta-sts = no\n')
        self.pmta = Pmta(self.dir, 9, domain='smtp-hosts = ""\nretry-after-dns-error = 300ms\n'
                         f'tls-ca-file = {self.ca.cert}\n', extra=text, pmta=f'''
name-server = 127.0.0.1:{self.dns.port}
name-server-validates = yes
dns-timeout = 3s
mta-sts-ca-file = {self.authority.ca}
mta-sts-port = {self.web.port}
''')
        self.addCleanup(self.pmta.kill)
        self.pmta.start()

    def test_tls_required_no_against_a_policy(self):
        """Policies that the host fails: mail waits for a host that satisfies them, and mail that says that
        it need not is sent meanwhile (RFC 8689 section 5)."""
        self.start_with_dns()
        for d, text in (('missing.plain.test', "is not for 'mx1.plain.test' (sts)"),
                        ('dnone.signed.test', 'no TLSA record matches')):
            peer = self.peers[d.split('.')[0]]
            with self.subTest(d):
                self.pmta.send(f'waits@{d}', pipe='bulk')
                row = self.record(f'waits@{d}')
                self.assertEqual((row['type'], row['dsnStatus'], row['queue']), ('tq', '4.7.5', f'{d}/default'), row)
                self.assertIn(text, row['dsnDiag'])
                self.assertEqual(peer.messages, [])
                self.pmta.send(f'goes@{d}', pipe='bulk', headers='TLS-Required: No\r\n')
                sent = wait_until(lambda: [r for r in self.pmta.records() if r['rcpt'] == f'goes@{d}'
                                           and r['type'] == 'd'], f'mail to {d} to be sent')[0]
                self.assertEqual(sent['queue'], f'{d}/default+tls-optional')
                # in TLS all the same, which is there, with nothing proven
                self.assertEqual((sent['dlvTlsVerified'], sent['dlvTlsProtocol']), ('unchecked', 'TLSv1.3'))
                self.assertEqual(len(peer.messages), 1)
                self.assertIn(b'TLS-Required: No', peer.messages[0][1])
                self.assertFalse([r for r in self.pmta.records() if r['rcpt'] == f'waits@{d}'
                                  and r['type'] in 'db'])
        self.assertEqual(self.pmta.ledger()['bulk']['queued'], 2)

    def test_connections_with_a_policy_that_is_not_configured(self):
        """`pmtactl resolve --connect --use-mta-sts` tells what would become of mail."""
        self.start_with_dns()

        def session(domain, **options):
            objects = self.pmta.admin('resolve pipe/bulk ' + json.dumps({'domain': domain, 'connect': True, **options}))
            return [o for o in objects if 'sessions' in o][0]['sessions'][0]
        for d, result, verified in (('good', 'ok', 'sts'), ('changes', 'certificate-host-mismatch', '')):
            s = session(d + '.off.test')
            self.assertEqual((s['status'], s['tls_result'], s['tls_verify']), ('ok', 'ok', 'unchecked'), s)
            s = session(d + '.off.test', use_mta_sts=True)
            self.assertEqual((s['status'], s['tls_result'], s.get('tls_verify', '')),
                             ('ok' if verified else 'failed', result, verified), s)

    def test_policies(self):
        self.start_with_dns()
        expect = {
            'dgood.signed.test': ('d', 'dane', ''),
            'dwrong.signed.test': ('tq', '', 'no TLSA record matches'),
            'dclear.signed.test': ('tq', '', 'does not offer STARTTLS'),
            'dunusable.signed.test': ('d', 'unchecked', ''),
            'good.plain.test': ('d', 'sts', ''),
            'changes.plain.test': ('tq', '', "is not for 'mx1.plain.test' (sts)"),
            'type.plain.test': ('tq', '', 'does not offer STARTTLS'),
            'testing.plain.test': ('d', 'certificate-host-mismatch', ''),
        }
        for d in expect:
            self.pmta.send(f'x@{d}', pipe='bulk')
        for d, (kind, verified, text) in expect.items():
            with self.subTest(d):
                row = self.record(f'x@{d}')
                self.assertEqual((row['type'], row['dlvTlsVerified']), (kind, verified), row)
                self.assertIn(text, row['dsnDiag'])
                if kind == 'tq':
                    self.assertEqual(row['dsnStatus'], '4.7.5')
        self.assertEqual(self.peers['dgood'].sessions[0]['sni'], 'mxdgood.signed.test')
        self.assertIn('result=certificate-host-mismatch policy=sts-testing', self.pmta.log_text())
        for name in ('dwrong', 'dclear', 'changes', 'type'):
            self.assertEqual(self.peers[name].messages, [], name)


if __name__ == '__main__':
    unittest.main()
