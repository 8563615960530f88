#!/usr/bin/python3
"""Signing through the real processes: what arrives at the receiving side is verified by dkimpy and
OpenDKIM; keys are checked at the start, at a reload and by --check; BIMI-Selector; X-DKIM-Options."""
import base64
import os
import re
import smtplib
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'system')]
import corpus  # noqa: E402
import verifiers  # noqa: E402
from pmta import BIN, Directory, Pmta, Sink, wait_until  # noqa: E402


def openssl(*args):
    return subprocess.run(['openssl', *args], check=True, capture_output=True).stdout


def make_key(path, algorithm='rsa', bits=2048):
    extra = ['-pkeyopt', f'rsa_keygen_bits:{bits}'] if algorithm == 'rsa' else []
    openssl('genpkey', '-algorithm', algorithm, *extra, '-out', path)
    os.chmod(path, 0o600)
    return path


def record_of(path):
    der = openssl('pkey', '-in', path, '-pubout', '-outform', 'DER')
    ed = len(der) == 44
    public = base64.b64encode(der[-32:] if ed else der).decode()
    return f'v=DKIM1; k={"ed25519" if ed else "rsa"}; p={public}'


class World(unittest.TestCase):
    extra = ''
    sink_args = ()
    source = ''

    def setUp(self):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        self.saved = self.dir.sub('saved')
        self.sink = Sink(self.dir, args=['--save', self.saved, *self.sink_args])
        self.addCleanup(self.sink.stop)
        self.pmta = Pmta(self.dir, self.sink.port, extra=self.extra, source=self.source)
        self.addCleanup(self.pmta.kill)
        self.key_dir = os.path.join(self.pmta.conf, 'keys')
        os.mkdir(self.key_dir)
        self.prepare()

    def prepare(self):
        self.pmta.start()

    def key(self, name, *args):
        return make_key(os.path.join(self.key_dir, name), *args)

    def keys(self, **records):
        return verifiers.Keys(os.path.join(self.dir.path, 'keys.txt'), records)

    def saved_messages(self, count):
        def there():
            names = sorted(n for n in os.listdir(self.saved) if n.endswith('.eml'))
            return names if len(names) >= count else None
        return [os.path.join(self.saved, n)
                for n in wait_until(there, f'{count} messages at the receiving side')]

    def one(self, count=1):
        """The newest message."""
        path = max(self.saved_messages(count), key=os.path.getmtime)
        with open(path, 'rb') as f:
            return f.read()

    def send_raw(self, message, rcpt='to@dest.example', size=None):
        with smtplib.SMTP('127.0.0.1', self.pmta.port, timeout=20) as s:
            s.ehlo('client.example')
            self.assertEqual(s.mail('bounce@brand.example')[0], 250)
            self.assertEqual(s.rcpt(rcpt)[0], 250)
            code, reply = s.data(message)
            if code != 250:
                raise smtplib.SMTPResponseException(code, reply)
            return reply.decode().split()[-1]

    def pmtactl(self, *args, check=True):
        return subprocess.run([os.path.join(BIN, 'pmtactl'), '--socket', self.pmta.socket, *args],
                              check=check, capture_output=True, text=True)


def tags(message):
    """The tags of each DKIM-Signature, in order."""
    head = message.split(b'\r\n\r\n')[0].decode('utf-8', 'replace') + '\r\n'
    fields = re.findall(r'^DKIM-Signature:((?:.*\r\n)(?:[ \t].*\r\n)*)', head, re.M)
    return [dict(t.strip().split('=', 1) for t in re.sub(r'\s+', '', f).split(';') if '=' in t)
            for f in fields]


SIMPLE = (b'From: Joe <joe@brand.example>\r\nTo: to@dest.example\r\nSubject: hello\r\n'
          b'\r\nhello\r\n')


class SigningWorld(World):
    extra = '''
[pmta]
domain-key = r1,brand.example,keys/r1.pem
dkim-key = keys/e1.pem e1 brand.example
second-domain-key = esp,esp.example,keys/esp.pem
[domain simple.example]
dkim-canonicalization = simple/simple
domain-key = s1,simple.example,keys/e1.pem
[pipe bulk, domain quiet.example]
dkim-sign = no
'''

    def prepare(self):
        files = {name: self.key(name + '.pem', *kind) for name, kind in
                 (('r1', ()), ('e1', ('ed25519',)), ('esp', ()))}
        self.known = self.keys(**{'r1._domainkey.brand.example': record_of(files['r1']),
                                  'e1._domainkey.brand.example': record_of(files['e1']),
                                  's1._domainkey.simple.example': record_of(files['e1']),
                                  'esp._domainkey.esp.example': record_of(files['esp'])})
        self.pmta.start()


class Signs(SigningWorld):
    def test_corpus(self):
        """Both verifiers on what arrives, for the corpus of hard messages."""
        sent = list(corpus.messages(60, 'brand.example', seed=9)) + \
            list(corpus.messages(30, 'simple.example', seed=10))
        for message in sent:
            self.send_raw(message.replace(b'\r', b'\r'))
        paths = self.saved_messages(len(sent))
        self.pmta.wait_empty()
        found = verifiers.opendkim(paths, self.known)
        for path in paths:
            with open(path, 'rb') as f:
                message = f.read()
            count = len(tags(message))
            self.assertEqual(count, 2 if b'simple.example' in message.split(b'\r\n\r\n')[0] else 3)
            self.assertTrue(verifiers.dkimpy(message, self.known, count), path)
            self.assertEqual(found[path], (count, count))
        print(f'{len(sent)} messages through the processes verified by dkimpy and OpenDKIM')

    def test_large_message_by_file(self):
        body = b''.join(b'line %d of many \t with blanks  \r\n' % i for i in range(60000)) + b'\r\n\r\n'
        self.send_raw(SIMPLE + body)
        message = self.one()
        self.assertEqual(len(tags(message)), 3)
        self.assertTrue(verifiers.dkimpy(message, self.known, 3))

    def test_whose_keys_sign(self):
        self.send_raw(SIMPLE)
        self.assertEqual([(t['d'], t['s'], t['a']) for t in tags(self.one())],
                         [('brand.example', 'r1', 'rsa-sha256'),
                          ('brand.example', 'e1', 'ed25519-sha256'),
                          ('esp.example', 'esp', 'rsa-sha256')])
        self.send_raw(SIMPLE.replace(b'joe@brand', b'joe@mail.brand'))  # below the key's domain
        self.assertEqual([t['d'] for t in tags(self.one(2))],
                         ['brand.example', 'brand.example', 'esp.example'])
        self.send_raw(SIMPLE.replace(b'joe@brand', b'joe@other'))
        self.assertEqual([t['d'] for t in tags(self.one(3))], ['esp.example'])
        self.send_raw(SIMPLE.replace(b'joe@brand', b'joe@quiet'))
        self.assertEqual([t['d'] for t in tags(self.one(4))], ['esp.example'])

    def test_keys_come_and_go(self):
        """A reload takes over changed files and new keys; a broken one changes nothing."""
        self.send_raw(SIMPLE)
        self.one()
        new = self.key('r1.pem')
        self.known.records['r1._domainkey.brand.example'] = record_of(new)
        self.pmtactl('reload')
        self.send_raw(SIMPLE)
        self.assertTrue(verifiers.dkimpy(self.one(2), self.known, 3))
        os.chmod(new, 0o644)
        r = self.pmtactl('reload', check=False)
        self.assertNotEqual(r.returncode, 0)
        self.assertRegex(r.stdout + r.stderr, r"10-test.conf:\d+: domain-key: key file '.*r1.pem' is open to others")
        self.send_raw(SIMPLE)
        self.assertTrue(verifiers.dkimpy(self.one(3), self.known, 3))

class Retries(SigningWorld):
    sink_args = ['--greylist', '3s']


    def test_retries_are_signed_again(self):
        """A retried message has a new time, and it verifies."""
        began = int(time.time())
        self.send_raw(SIMPLE)
        message = self.one()
        self.assertTrue(verifiers.dkimpy(message, self.known, 3))
        self.assertGreaterEqual(int(tags(message)[0]['t']), began + 2)


class Bimi(World):
    source = 'process-x-dkim-options = yes'
    extra = '''
[pmta]
domain-key = r1,brand.example,keys/r1.pem
domain-key = r2,brand.example,keys/r2.pem
dkim-identity-fallback = @brand.example
[domain brand.example]
bimi-selector = logo
'''

    def prepare(self):
        a, b = self.key('r1.pem'), self.key('r2.pem', 'ed25519')
        self.known = self.keys(**{'r1._domainkey.brand.example': record_of(a),
                                  'r2._domainkey.brand.example': record_of(b)})
        self.pmta.start()

    def test_inserted_and_signed(self):
        self.send_raw(b'BIMI-Selector: v=BIMI1; s=mine;\r\n' + SIMPLE)
        message = self.one()
        self.assertEqual(re.findall(rb'^BIMI-Selector:.*\r$', message, re.M), [b'BIMI-Selector: v=BIMI1; s=logo;\r'])
        self.assertIn('BIMI-Selector', tags(message)[0]['h'].split(':'))
        self.assertTrue(verifiers.dkimpy(message, self.known, 2))
        self.assertFalse(verifiers.dkimpy(message.replace(b's=logo', b's=evil'), self.known, 1))

    def test_the_applications_own_stays_elsewhere(self):
        self.send_raw(b'BIMI-Selector: v=BIMI1;\r\n s=mine;\r\n' + SIMPLE.replace(b'@brand', b'@other'))
        message = self.one()
        self.assertEqual(re.findall(rb'^BIMI-Selector:.*\r$', message, re.M), [b'BIMI-Selector: v=BIMI1; s=mine;\r'])
        self.assertEqual([t['d'] for t in tags(message)], ['brand.example'] * 2)
        self.assertTrue(verifiers.dkimpy(message, self.known, 2))

    def test_x_dkim_options(self):
        self.send_raw(b'X-DKIM-Options: s=r2; d=brand.example; i=joe@brand.example\r\n' + SIMPLE)
        message = self.one()
        self.assertEqual([(t['s'], t['i']) for t in tags(message)], [('r2', 'joe@brand.example')])
        self.assertNotIn(b'X-DKIM-Options', message)
        self.assertTrue(verifiers.dkimpy(message, self.known, 1))
        for wrong, code in ((b's=nobody', 550), (b'd=other.example', 550), (b'key=x', 550)):
            with self.assertRaises(smtplib.SMTPResponseException) as e:
                self.send_raw(b'X-DKIM-Options: ' + wrong + b'\r\n' + SIMPLE)
            self.assertEqual(e.exception.smtp_code, code)


class Required(World):
    """Root has checked a file that the library then cannot load: the message waits."""
    required = ''
    extra = '''
[pipe bulk]
domain-key = r1,brand.example,keys/r1.pem
[pipe transactional]
domain-key = r1,brand.example,keys/r1.pem
dkim-required = no
'''

    def prepare(self):
        """A modulus of the right length, and nothing else that is right."""
        def der(tag, body):
            length = len(body)
            head = bytes([length]) if length < 128 else bytes([0x82, length >> 8, length & 255])
            return bytes([tag]) + head + body
        one = der(2, b'\x01')
        text = base64.encodebytes(der(0x30, der(2, b'\0') + der(2, b'\0' + b'\xff' * 256) + one * 7)).decode()
        path = os.path.join(self.key_dir, 'r1.pem')
        with open(path, 'w') as f:
            f.write(f'-----BEGIN RSA PRIVATE KEY-----\n{text}-----END RSA PRIVATE KEY-----\n')
        os.chmod(path, 0o600)
        self.pmta.start()

    def test_waits_or_goes_unsigned(self):
        self.pmta.wait_log('mail that this key has to sign waits')
        waiting = self.send_raw(b'X-Pipe: bulk\r\n' + SIMPLE)
        self.send_raw(b'X-Pipe: transactional\r\n' + SIMPLE)
        self.assertEqual(tags(self.one()), [])
        rows = wait_until(lambda: [r for r in self.pmta.records('bulk') if r['type'] == 't'], 'a t record')
        self.assertIn('4.7.5', str(rows[0]))
        self.assertRegex(str(rows[0]), "DKIM key file '.*keys/r1.pem' cannot be used")
        text = self.pmtactl('why', waiting).stdout
        self.assertIn('r1.pem', text)
        self.key('r1.pem')
        self.pmtactl('reload')
        self.assertEqual(len(tags(self.one(2))), 1)


class Check(unittest.TestCase):
    """pmtad --check names file and line."""

    def check(self, prepare, expect, good=False):
        d = Directory()
        self.addCleanup(d.remove)
        p = Pmta(d, 25, extra='[pmta]\ndomain-key = s1, brand.example, keys/k.pem\n')
        os.mkdir(os.path.join(p.conf, 'keys'))
        path = os.path.join(p.conf, 'keys', 'k.pem')
        prepare(path)
        r = subprocess.run([p.program, '--check', '-c', p.conf], capture_output=True, text=True)
        self.assertEqual(r.returncode == 0, good, r.stderr)
        self.assertRegex(r.stderr, expect)
        if not good:
            p.start(wait=False)
            self.assertEqual(p.process.wait(20), 1)
            self.assertRegex(p.log_text(), expect)

    def write(self, text, mode=0o600):
        def prepare(path):
            with open(path, 'w') as f:
                f.write(text)
            os.chmod(path, mode)
        return prepare

    def test_missing(self):
        self.check(lambda path: None, r"10-test.conf:\d+: domain-key: key file '.*/keys/k.pem' cannot be opened: No such file")

    def test_world_readable(self):
        self.check(lambda path: (make_key(path), os.chmod(path, 0o604)), r'10-test.conf:\d+: .* mode 0604 \(expected 0600')

    def test_not_pem(self):
        self.check(self.write('hello'), r'10-test.conf:\d+: .* holds no RSA or Ed25519 key \(expected PEM')

    def test_other_kind(self):
        self.check(lambda path: (openssl('genpkey', '-algorithm', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
                                         '-out', path), os.chmod(path, 0o600)), r':\d+: .* holds no RSA or Ed25519 key')

    def test_with_password(self):
        self.check(lambda path: (openssl('genpkey', '-algorithm', 'rsa', '-aes256', '-pass', 'pass:x', '-out', path),
                                 os.chmod(path, 0o600)), r':\d+: .* without a password')

    def test_too_short(self):
        def old(path):
            openssl('genrsa', '-traditional', '-out', path, '768')
            os.chmod(path, 0o600)
        self.check(old, r':\d+: .* RSA key of 768 bits \(expected 2048')

    def test_short_is_a_warning(self):
        self.check(lambda path: make_key(path, 'rsa', 1024), r':\d+: .*RSA key of 1024 bits \(expected 2048', good=True)

    def test_group_may_read(self):
        self.check(lambda path: (make_key(path, 'ed25519'), os.chmod(path, 0o640)), r'^$', good=True)


if __name__ == '__main__':
    unittest.main()
