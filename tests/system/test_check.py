#!/usr/bin/env python3
"""pmtactl check sender and check spf through the real processes, with zones on nsd in which everything
is right, and in which everything is wrong; and the warnings at the start."""
import json
import os
import shutil
import subprocess
import time
import unittest

from pmta import BIN, Directory, Pmta, free_port, wait_until

NSD = shutil.which('nsd') or '/usr/sbin/nsd'
HEAD = '$TTL 60\n@ SOA ns.invalid. root.invalid. 1 3600 600 86400 5\n@ NS ns.invalid.\n'


def txt(text):
    """A TXT record's strings of 255 bytes at most."""
    return ' '.join(f'"{text[i:i + 255]}"' for i in range(0, len(text), 255))


def zones(key):
    return {
        'right.example': f'''
@ TXT "v=spf1 include:_spf.right.example -all"
@ TXT "unrelated"
_spf TXT "v=spf1 ip4:127.0.0.31 ip4:192.0.2.55 -all"
@ MX 10 mx
mx A 127.0.0.9
out A 127.0.0.31
out A 192.0.2.55
out TXT "v=spf1 a -all"
_dmarc TXT "v=DMARC1; p=reject; rua=mailto:dmarc@right.example"
s1._domainkey TXT {txt('v=DKIM1; k=rsa; p=' + key)}
default._bimi TXT "v=BIMI1; l=https://right.example/l.svg; a=https://right.example/l.pem"
_25._tcp.mx TLSA 3 1 1 aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899
''',
        'wrong.example': f'''
@ TXT "v=spf1 ip4:198.51.100.0/24 -all exp=why.wrong.example"
why TXT "%{{i}} is not one of ours"
@ MX 10 nowhere
s1._domainkey TXT "v=DKIM1; p="
s2._domainkey TXT {txt('v=DKIM1; k=rsa; p=' + key[:-8] + 'AAAAAAAA')}
_dmarc TXT "v=DMARC1; p=maybe"
brand._bimi TXT "v=BIMI1; l=http://wrong.example/l.svg"
''',
        '0.0.127.in-addr.arpa': '31 PTR out.right.example.\n32 PTR liar.right.example.\n',
        '2.0.192.in-addr.arpa': '55 PTR out.right.example.\n56 PTR liar.right.example.\n',
    }


def make_key(path, bits=2048):
    """A private key file; returns p=."""
    subprocess.run(['openssl', 'genrsa', '-out', path, str(bits)], check=True, capture_output=True)
    os.chmod(path, 0o600)
    pem = subprocess.run(['openssl', 'rsa', '-in', path, '-pubout'], check=True,
                         capture_output=True, text=True).stdout
    return ''.join(line for line in pem.split('\n') if line and '-' not in line)


class Nsd:
    def __init__(self, directory, all_zones):
        d = directory.sub('nsd')
        self.port = free_port()
        for name, text in all_zones.items():
            with open(f'{d}/{name}', 'w') as f:
                f.write(f'$ORIGIN {name}.\n{HEAD}{text}')
        with open(f'{d}/nsd.conf', 'w') as f:
            f.write(f'''server:
  ip-address: 127.0.0.1@{self.port}
  username: ""
  chroot: ""
  server-count: 1
  zonesdir: "{d}"
  database: ""
  zonelistfile: "{d}/zone.list"
  xfrdfile: "{d}/xfrd.state"
  xfrdir: "{d}"
  pidfile: "{d}/nsd.pid"
  logfile: "{d}/log"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
''' + ''.join(f'zone:\n  name: {name}\n  zonefile: {name}\n' for name in all_zones))
        self.process = subprocess.Popen([NSD, '-d', '-c', f'{d}/nsd.conf'],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


class Checks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.path.exists(NSD):
            raise unittest.SkipTest('nsd is not installed')
        cls.dir = Directory()
        cls.addClassCleanup(cls.dir.remove)
        keys = cls.dir.sub('keys')
        key = make_key(f'{keys}/k.pem')
        cls.nsd = Nsd(cls.dir, zones(key))
        cls.addClassCleanup(cls.nsd.stop)
        cls.pmta = Pmta(cls.dir, free_port(), pmta=f'name-server = 127.0.0.1:{cls.nsd.port}\n',
                        extra=f'''
[virtual-mta good]
smtp-source-host = 127.0.0.31 out.right.example
domain-key = s1,right.example,{keys}/k.pem
[virtual-mta bad]
smtp-source-host = 127.0.0.32 bad.right.example
smtp-source-host = 127.0.0.33 alone.right.example
domain-key = s1,wrong.example,{keys}/k.pem
domain-key = s2,wrong.example,{keys}/k.pem
bimi-selector = brand
[virtual-mta watched]
smtp-source-host = 192.0.2.55 out.right.example
smtp-source-host = 192.0.2.56 other.right.example
domain-key = s1,right.example,{keys}/k.pem
[virtual-mta-pool both]
virtual-mta = good
virtual-mta = bad
''')
        cls.addClassCleanup(cls.pmta.kill)
        cls.pmta.start()
        wait_until(lambda: 'pass' in cls.ctl('check', 'spf', '127.0.0.31', 'x.example',
                                             'a@right.example')[1], 'an answer of nsd')

    @classmethod
    def ctl(cls, *args):
        out = subprocess.run([os.path.join(BIN, 'pmtactl'), '-s', cls.pmta.socket, *args],
                             capture_output=True, text=True, timeout=60)
        return out.returncode, out.stdout, out.stderr

    def objects(self, *args):
        status, out, err = self.ctl('--json', *args)
        return status, [json.loads(line) for line in out.splitlines() if '"end"' not in line]

    def sender(self, *args):
        """Exit status and {(topic, level): [finding]}."""
        status, objects = self.objects('check', 'sender', '--pipe', 'bulk', *args)
        found = {}
        for o in objects:
            found.setdefault((o['topic'], o['level']), []).append(o)
        return status, found

    def test_all_right(self):
        status, found = self.sender('right.example', '--vmta', 'good', '--private')
        self.assertEqual([k for k in found if k[1] in ('warn', 'fail')], [], found)
        self.assertEqual(status, 0)
        for topic in 'spf', 'helo', 'reverse-dns', 'dkim', 'dmarc', 'bimi', 'bounces':
            self.assertIn((topic, 'ok'), found)
        self.assertIn('include:_spf.right.example', found['spf', 'ok'][0]['text'])
        self.assertEqual(found['dkim', 'ok'][0]['subject'], 's1._domainkey.right.example')
        self.assertIn('passes by SPF and by DKIM', [f['text'] for f in found['dmarc', 'ok']])

    def test_all_wrong(self):
        status, found = self.sender('wrong.example', '--vmta', 'bad', '--private')
        self.assertEqual(status, 1)
        for topic in 'spf', 'reverse-dns', 'dkim', 'dmarc', 'bimi', 'bounces':
            self.assertIn((topic, 'fail'), found)
        self.assertEqual(len(found['spf', 'fail']), 2)
        self.assertEqual(found['spf', 'fail'][0]['record'],
                         'v=spf1 ip4:198.51.100.0/24 ip4:127.0.0.32 ip4:127.0.0.33 -all '
                         'exp=why.wrong.example')
        names = {f['subject']: f for f in found['reverse-dns', 'fail']}
        self.assertIn('does not lead back', names['127.0.0.32 (bad)']['text'])
        self.assertIn('no host name is known', names['127.0.0.33 (bad)']['text'])
        self.assertEqual(names['127.0.0.33 (bad)']['record_name'], '33.0.0.127.in-addr.arpa')
        keys = {f['subject'].split('.')[0]: f['text'] for f in found['dkim', 'fail']}
        self.assertIn('revoked', keys['s1'])
        self.assertIn('another key', keys['s2'])
        self.assertIn('v=DKIM1; k=rsa; p=', found['dkim', 'fail'][0]['record'])

    def test_pools_and_return_paths(self):
        status, found = self.sender('right.example', '--pool', 'both', '--private')
        self.assertEqual(status, 1)
        self.assertEqual([f['subject'] for f in found['spf', 'ok']], ['127.0.0.31 (good)'])
        self.assertEqual(len(found['spf', 'fail']), 2)
        status, found = self.sender('right.example', '--vmta', 'good', '--private', '--mail-from',
                                    'a@wrong.example')
        self.assertEqual(status, 1)
        self.assertIn('not aligned', found['dmarc', 'warn'][0]['text'])

    def test_private_addresses_only_when_asked(self):
        status, found = self.sender('right.example', '--vmta', 'good')
        self.assertEqual(status, 0)
        self.assertIn('private address', found['spf', 'note'][0]['text'])
        self.assertNotIn(('reverse-dns', 'ok'), found)

    def test_page(self):
        status, out, err = self.ctl('check', 'sender', 'wrong.example', '--vmta', 'bad', '--private')
        self.assertEqual(status, 1)
        self.assertIn('failed', err)
        self.assertIn('FAIL  127.0.0.32 (bad): fail: -all of wrong.example', out)
        self.assertIn('publish: wrong.example. IN TXT "v=spf1', out)
        self.assertEqual(out.count('FAIL  127.0.0.32 (bad): fail'), 1)  # both pipes say so
        self.assertNotIn('\x1b', out)
        long = [line for line in out.split('\n') if 's1._domainkey.wrong.example. IN TXT' in line]
        self.assertTrue(long and all(len(s) <= 255 for s in long[0].split('"')[1::2]), long)

    def test_bad_arguments(self):
        for args, what in ((['no_domain'], 'no domain'),
                           (['right.example', '--vmta', 'gone'], "no virtual MTA 'gone'"),
                           (['right.example', '--pool', 'gone'], "no virtual MTA pool 'gone'")):
            status, out, err = self.ctl('check', 'sender', *args)
            self.assertNotEqual(status, 0)
            self.assertIn(what, err)
        self.assertNotEqual(self.ctl('check', 'spf', '1.2.3', 'x.example')[0], 0)

    def test_spf(self):
        status, objects = self.objects('check', 'spf', '127.0.0.31', 'x.example',
                                       'news@right.example')
        self.assertEqual(status, 0)
        o = objects[0]
        self.assertEqual(len(objects), 1)
        self.assertEqual((o['result'], o['term'], o['term_domain'], o['lookups']),
                         ('pass', 'ip4:127.0.0.31', '_spf.right.example', 1))
        self.assertEqual([(r['depth'], r['by'], r['domain']) for r in o['records']],
                         [(0, 'domain', 'right.example'), (1, 'include', '_spf.right.example')])
        status, objects = self.objects('check', 'spf', '2001:db8::1', 'x.example',
                                       'a@wrong.example')
        self.assertEqual(objects[0]['result'], 'fail')
        self.assertEqual(objects[0]['explanation'].count('.'), 31)  # nibbles of an IPv6 address
        # without a return path the greeting is checked
        self.assertEqual(self.objects('check', 'spf', '127.0.0.31', 'out.right.example')[1][0][
            'result'], 'pass')
        out = self.ctl('check', 'spf', '127.0.0.31', 'x.example', 'a@right.example')[1]
        self.assertIn('include _spf.right.example: v=spf1', out)

    def test_warnings_at_the_start(self):
        self.pmta.wait_log('reverse name of 192.0.2.56 (watched)')
        self.pmta.wait_log("SPF of 'right.example' does not let 1 of 2 source addresses pass, as "
                           '192.0.2.56 (watched)')
        text = self.pmta.log_text()
        self.assertEqual(text.count('reverse name of'), 1)  # by one pipe, of public addresses
        self.assertNotIn('reverse name of 127.', text)


class Off(unittest.TestCase):
    def test_no_warning_when_switched_off(self):
        """Nothing can be awaited for what does not come: longer than the pause at the start."""
        d = Directory()
        self.addCleanup(d.remove)
        nsd = Nsd(d, zones('AAAA'))
        self.addCleanup(nsd.stop)
        extra = '[virtual-mta watched]\nsmtp-source-host = 192.0.2.56 other.right.example\n'
        pmta = Pmta(d, free_port(), extra=extra, pmta=f'''
name-server = 127.0.0.1:{nsd.port}
check-senders = no
''')
        self.addCleanup(pmta.kill)
        pmta.start()
        path = os.path.join(pmta.conf, '10-test.conf')
        with open(path) as f:
            text = f.read()
        time.sleep(7)
        self.assertNotIn('reverse name of', pmta.log_text())
        with open(path, 'w') as f:
            f.write(text.replace('check-senders = no', 'check-senders = yes'))
        pmta.admin('reload root')
        pmta.wait_log('reverse name of 192.0.2.56 (watched)')
        self.assertEqual(pmta.log_text().count('reverse name of'), 1)


if __name__ == '__main__':
    unittest.main()
