#!/usr/bin/python3
"""Every signature that the signer makes over the corpus verifies with two verifiers that are not
ours per algorithm, and none of them is so lenient that a changed message still passes."""
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import corpus  # noqa: E402
import verifiers  # noqa: E402

MESSAGES = 300
CANONS = [(h, b) for h in ('relaxed', 'simple') for b in ('relaxed', 'simple')]
DOMAIN, ESP = 'brand.example', 'esp.example'


def run(*args, **kw):
    return subprocess.run(args, check=True, capture_output=True, text=True, **kw).stdout


def make_keys(directory):
    """Key files by openssl, and their records, written independently of our own code."""
    records, files = {}, {}
    for selector, domain, algorithm in (('r', DOMAIN, 'rsa'), ('e', DOMAIN, 'ed25519'),
                                        ('r', ESP, 'rsa'), ('e', ESP, 'ed25519')):
        path = os.path.join(directory, f'{selector}.{domain}.pem')
        extra = ['-pkeyopt', 'rsa_keygen_bits:2048'] if algorithm == 'rsa' else []
        run('openssl', 'genpkey', '-algorithm', algorithm, *extra, '-out', path)
        der = subprocess.run(['openssl', 'pkey', '-in', path, '-pubout', '-outform', 'DER'],
                             check=True, capture_output=True).stdout
        import base64
        public = base64.b64encode(der if algorithm == 'rsa' else der[-32:]).decode()
        records[f'{selector}._domainkey.{domain}'] = f'v=DKIM1; k={algorithm}; p={public}'
        files[selector, domain] = path
    return files, records


class Corpus(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tmp = tempfile.TemporaryDirectory(prefix='pmta-dkim-')
        d = cls.dir = cls.tmp.name
        cls.key_files, records = make_keys(d)
        cls.keys = verifiers.Keys(os.path.join(d, 'keys.txt'), records)
        plans = {'rsa': [('r', DOMAIN)], 'ed25519': [('e', DOMAIN)],
                 'double': [('r', DOMAIN), ('e', DOMAIN), ('r', ESP), ('e', ESP)]}
        cls.sets, lines = {name: [] for name in plans}, []
        for n, message in enumerate(corpus.messages(MESSAGES, DOMAIN)):
            source = os.path.join(d, f'{n}.in')
            with open(source, 'wb') as f:
                f.write(message)
            for h, b in CANONS:
                for name, keys in plans.items():
                    if name == 'double' and n % 5:
                        continue
                    out = os.path.join(d, f'{n}.{h}.{b}.{name}')
                    cls.sets[name].append(out)
                    spec = ';'.join(f'{s},{dom},{cls.key_files[s, dom]}' for s, dom in keys)
                    lines.append(f'{source} {out} {h} {b} {spec}\n')
        subprocess.run([os.environ['DKIM_SIGN']], input=''.join(lines), text=True, check=True)

    @classmethod
    def tearDownClass(cls):
        cls.tmp.cleanup()

    def message(self, path):
        with open(path, 'rb') as f:
            return f.read()

    def test_dkimpy_rsa(self):
        bad = [f for f in self.sets['rsa'] if not verifiers.dkimpy(self.message(f), self.keys, 1)]
        self.assertEqual((len(self.sets['rsa']), bad), (MESSAGES * 4, []))
        print(f'dkimpy: {MESSAGES * 4} rsa-sha256 signatures verified')

    def test_dkimpy_ed25519(self):
        bad = [f for f in self.sets['ed25519'] if not verifiers.dkimpy(self.message(f), self.keys, 1)]
        self.assertEqual((len(self.sets['ed25519']), bad), (MESSAGES * 4, []))
        print(f'dkimpy: {MESSAGES * 4} ed25519-sha256 signatures verified')

    def test_dkimpy_double(self):
        bad = [f for f in self.sets['double'] if not verifiers.dkimpy(self.message(f), self.keys, 4)]
        self.assertEqual(bad, [])
        print(f'dkimpy: {len(self.sets["double"])} messages with four signatures verified')

    def test_opendkim(self):
        for name, signatures in (('rsa', 1), ('ed25519', 1), ('double', 4)):
            files = self.sets[name]
            result = verifiers.opendkim(files, self.keys)
            self.assertEqual([(f, result.get(f)) for f in files
                              if result.get(f) != (signatures, signatures)][:5], [])
            print(f'opendkim: {len(files)} {name} messages verified')

    def test_opendkim_command(self):
        files = [f for name in ('rsa', 'ed25519') for f in self.sets[name] if '.relaxed.' in
                 os.path.basename(f).replace('.simple.relaxed.', '.')]
        result = verifiers.opendkim_command(files, self.keys, os.path.join(self.dir, 'opendkim.conf'))
        self.assertEqual([f for f in files if not result.get(f)][:5], [])
        print(f'opendkim -t: {len(files)} messages verified')

    def test_mail_dkim(self):
        """Debian's Mail::DKIM does not know Ed25519."""
        files = self.sets['rsa']
        result = verifiers.mail_dkim(files, self.keys, self.dir)
        self.assertEqual([(f, result[f]) for f in files if result[f] != {'rsa-sha256': 'pass'}][:5], [])
        print(f'Mail::DKIM: {len(files)} rsa messages verified')

    def test_a_changed_message_fails(self):
        changed = []
        for f in self.sets['rsa'][8:2400:97] + self.sets['ed25519'][8:2400:97]:
            text = self.message(f)
            out = f + '.changed'
            with open(out, 'wb') as g:
                g.write(text.replace(b'\r\n\r\n', b'\r\n\r\nadded\r\n', 1))
            changed.append(out)
            self.assertFalse(verifiers.dkimpy(self.message(out), self.keys, 1))
        result = verifiers.opendkim(changed, self.keys)
        self.assertEqual({f: result.get(f) for f in changed}, {f: (1, 0) for f in changed})

    def test_another_from_fails(self):
        for f in self.sets['rsa'][3:2400:301] + self.sets['ed25519'][3:2400:301]:
            text = b'From: evil@example.org\r\n' + self.message(f)
            with self.subTest(file=f):
                self.assertFalse(verifiers.dkimpy(text, self.keys, 1))


if __name__ == '__main__':
    unittest.main()
