#!/usr/bin/env python3
"""Source addresses, pools and groups of MX hosts, end to end: pmtad, pmta-sink, and a zone on nsd."""
import os
import shutil
import socket
import subprocess
import threading
import unittest

from pmta import Directory, Pmta, Sink, free_port, wait_until

NSD = shutil.which('nsd') or '/usr/sbin/nsd'
VMTAS = '''
[virtual-mta one]
smtp-source-host = 127.0.0.21 one.test.example
[virtual-mta two]
smtp-source-host = 127.0.0.22 two.test.example
smtp-source-host = 198.51.100.7 gone.test.example
[virtual-mta net]
smtp-source-host = 127.0.0.24/31 net%i.test.example
[virtual-mta none]
smtp-source-host = 198.51.100.8 none.test.example
[virtual-mta six]
smtp-source-host = ::1 six.test.example
smtp-source-host = 127.0.0.26 four.test.example
[virtual-mta-pool pool]
virtual-mta = one 3
virtual-mta = two
virtual-mta = none 5
[virtual-mta warm]
smtp-source-host = 127.0.0.27 warm.test.example
cold-virtual-mta = cold
max-cold-virtual-mta-msg = 2/d
[virtual-mta cold]
smtp-source-host = 127.0.0.28 cold.test.example
'''


class Peers(threading.Thread):
    """A receiving side that remembers which address each recipient's mail came from."""

    def __init__(self, address='127.0.0.1', family=socket.AF_INET):
        super().__init__(daemon=True)
        self.seen = {}
        self.listener = socket.socket(family)
        self.listener.bind((address, 0))
        self.listener.listen(50)
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                conn, peer = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(conn, peer[0]), daemon=True).start()

    def talk(self, conn, peer):
        try:
            self.dialogue(conn, peer)
        except ConnectionError:
            pass  # it went without QUIT

    def dialogue(self, conn, peer):
        data, rcpts = False, []
        with conn, conn.makefile('rwb', buffering=0) as f:
            f.write(b'220 peers\r\n')
            for line in f:
                word = line.strip().upper()
                if data and word != b'.':
                    continue
                if data:
                    self.seen.update({r: peer for r in rcpts})
                    data, rcpts = False, []
                elif word.startswith(b'RCPT'):
                    rcpts.append(line.decode().split('<')[1].split('>')[0])
                elif word == b'DATA':
                    data = True
                    f.write(b'354 go on\r\n')
                    continue
                f.write(b'250 ok\r\n')

    def stop(self):
        self.listener.close()


class World(unittest.TestCase):
    def make(self, extra='', sink=None, **more):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        self.sink = Sink(self.dir, args=sink) if sink else Peers()
        self.addCleanup(self.sink.stop)
        self.pmta = Pmta(self.dir, self.sink.port, extra=VMTAS + extra, **more)
        self.addCleanup(self.pmta.kill)
        self.pmta.start()

    def send(self, rcpts, vmta):
        return self.pmta.send(rcpts, pipe='bulk', headers=f'X-Virtual-MTA: {vmta}\r\n')

    def sources(self, count):
        """{recipient: our address} of that many recipients."""
        wait_until(lambda: len(self.sink.seen) >= count, f'{count} recipients')
        return self.sink.seen

    def vmtas(self):
        return {o['vmta']: o for o in self.pmta.admin('show-vmtas pipe/bulk') if 'vmta' in o}


class Sources(World):
    def test_mail_leaves_from_the_addresses_of_its_virtual_mta(self):
        self.make()
        for i in range(8):
            self.send(f'p{i}@pool.example', 'pool')
        for i in range(4):
            self.send(f'n{i}@net.example', 'net')
        seen = self.sources(12)
        pool = [seen[f'p{i}@pool.example'] for i in range(8)]
        self.assertEqual(pool.count('127.0.0.21'), 6)
        self.assertEqual(pool.count('127.0.0.22'), 2)
        self.assertLessEqual({seen[f'n{i}@net.example'] for i in range(4)},
                             {'127.0.0.24', '127.0.0.25'})

    def test_missing_addresses_are_told_and_skipped(self):
        self.make()
        text = self.pmta.log_text()
        conf = os.path.join(self.pmta.conf, '10-test.conf')
        with open(conf) as f:
            line = f.read().split('\n').index('smtp-source-host = 198.51.100.7 gone.test.example') + 1
        self.assertIn(f'10-test.conf:{line} virtual-mta=two ip=198.51.100.7', text)
        two, none = self.vmtas()['two'], self.vmtas()['none']
        self.assertEqual((two['addresses'], two['missing'], two['state']), (2, 1, 'idle'))
        self.assertEqual([(s['ip'], s['missing'], s['line']) for s in two['sources']][1],
                         ('198.51.100.7', True, line))
        self.assertEqual(none['state'], 'no-address')

        for i in range(4):
            self.send(f'x{i}@two.example', 'two')
        self.assertEqual(set(self.sources(4).values()), {'127.0.0.22'})

    def test_without_any_address_mail_waits_and_why_says_so(self):
        self.make()
        identity = self.send('x@none.example', 'none')
        why = [o for o in self.pmta.admin('why pipe/bulk {"id":"%s"}' % identity) if 'rcpts' in o]
        self.assertIn("none of the source addresses of virtual MTA 'none'",
                      why[0]['rcpts'][0]['waits_for'])
        self.assertIn('10-test.conf:', why[0]['rcpts'][0]['where'])
        self.assertEqual(self.pmta.records(), [r for r in self.pmta.records() if r['type'] == 'r'])

        # the operator corrects it
        path = os.path.join(self.pmta.conf, '10-test.conf')
        with open(path) as f:
            text = f.read()
        with open(path, 'w') as f:
            f.write(text.replace('198.51.100.8 none', '127.0.0.29 none'))
        self.assertTrue(self.pmta.admin('reload root')[-1]['ok'])
        self.assertEqual(self.sources(1), {'x@none.example': '127.0.0.29'})

    @unittest.skipUnless(os.path.exists('/proc/net/if_inet6'), 'no IPv6 here')
    def test_ipv6_from_end_to_end(self):
        six = Peers('::1', socket.AF_INET6)
        self.addCleanup(six.stop)
        self.make(f'[domain six.example]\nsmtp-hosts = [IPv6:::1]:{six.port}\n')
        for i in range(2):
            self.send(f'a{i}@six.example', 'six')
            self.send(f'b{i}@four.example', 'six')
        self.assertEqual(self.sources(2), {f'b{i}@four.example': '127.0.0.26' for i in range(2)})
        wait_until(lambda: len(six.seen) == 2, 'two recipients by IPv6')
        self.assertEqual(six.seen, {f'a{i}@six.example': '::1' for i in range(2)})


class Kept(World):
    def test_choice_and_cold_share_survive_kill_and_restart(self):
        self.make()
        self.pmta.admin('pause-pipe pipe/bulk')
        for i in range(6):
            self.send(f'c{i}@cold.example', 'warm')
        for i in range(4):
            self.send(f'p{i}@pool.example', 'pool')
        before = {n: v['queued'] for n, v in self.vmtas().items()}
        self.assertEqual((before['cold'], before['warm']), (2, 4))
        self.assertEqual((before['one'], before['two']), (3, 1))
        wait_until(lambda: os.path.exists(os.path.join(self.pmta.spool, 'bulk', 'cold')),
                   'the state file of cold shares')
        self.pmta.kill()
        # the pool is another one now
        path = os.path.join(self.pmta.conf, '10-test.conf')
        with open(path) as f:
            text = f.read()
        with open(path, 'w') as f:
            f.write(text.replace('virtual-mta = one 3\n', ''))
        self.pmta.start()
        after = {n: v['queued'] for n, v in self.vmtas().items()}
        self.assertEqual(before, after)
        self.send('late@cold.example', 'warm')  # today's share is used up
        self.assertEqual(self.vmtas()['cold']['queued'], 2)
        self.assertEqual(self.vmtas()['warm']['cold'], [{'vmta': 'cold', 'today': 2}])


ZONE = """$ORIGIN dns.test.
$TTL 300
@ IN SOA ns hostmaster 1 3600 900 86400 60
@ IN NS ns
ns IN A 127.0.0.1
a IN MX 5 in1.big
a IN MX 10 elsewhere
b IN MX 5 in2.big
other IN MX 5 elsewhere
exact IN MX 5 listed
exact IN MX 5 unlisted
in1.big IN A 127.0.0.1
in2.big IN A 127.0.0.1
elsewhere IN A 127.0.0.1
listed IN A 127.0.0.1
unlisted IN A 127.0.0.1
"""


@unittest.skipUnless(os.path.exists(NSD), 'nsd is not installed')
class Groups(World):
    def setUp(self):
        self.zone = Directory()
        self.addCleanup(self.zone.remove)
        d, port = self.zone.path, free_port()
        with open(f'{d}/zone', 'w') as f:
            f.write(ZONE)
        with open(f'{d}/nsd.conf', 'w') as f:
            f.write(f'server:\n ip-address: 127.0.0.1@{port}\n username: ""\n chroot: ""\n'
                    f' server-count: 1\n zonesdir: "{d}"\n database: ""\n'
                    f' zonelistfile: "{d}/zone.list"\n xfrdfile: "{d}/xfrd"\n xfrdir: "{d}"\n'
                    f' pidfile: "{d}/pid"\n logfile: "{d}/log"\n rrl-ratelimit: 0\n'
                    'remote-control:\n control-enable: no\n'
                    'zone:\n name: dns.test\n zonefile: zone\n')
        nsd = subprocess.Popen([NSD, '-d', '-c', f'{d}/nsd.conf'], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: (nsd.terminate(), nsd.wait(10)))
        self.make(pmta=f'name-server = 127.0.0.1:{port}\n',
                  sink=('--fault', 'rcpt:451:100'),
                  extra='[mx-rollup big]\nmx = *.big.dns.test\n'
                        '[mx-rollup exact]\nmx = listed.dns.test\n'
                        '[domain *.dns.test]\nsmtp-hosts = ""\nretry-after = 1h\n'
                        '[domain big.rollup]\nbounce-after = 1d\n')
        path = os.path.join(self.pmta.conf, '20-port.conf')
        with open(path, 'w') as f:
            f.write(f'[domain *.dns.test]\nsmtp-port = {self.sink.port}\n')
        self.assertTrue(self.pmta.admin('reload root')[-1]['ok'])

    def queues(self, count):
        def asked():
            found = {o['queue']: o for o in self.pmta.admin('show-queues pipe/bulk') if 'queue' in o}
            return found if len(found) == count and \
                all(q['deferred'] for q in found.values()) else None
        return wait_until(asked, f'{count} queues with deferred mail')

    def hosts(self, count):
        """{recipient: host that deferred it}; records are written a moment after the queue moves."""
        def recorded():
            found = {r['rcpt']: r['dsnMta'] for r in self.pmta.records() if r['type'] == 't'}
            return found if len(found) == count else None
        return wait_until(recorded, f'records of {count} deferrals')

    def test_domains_of_one_operator_are_counted_as_one(self):
        self.send(['x@a.dns.test', 'x@b.dns.test', 'x@other.dns.test', 'x@exact.dns.test'], 'one')
        found = self.queues(4)
        group = {name: q.get('group') for name, q in found.items()}
        self.assertEqual(group, {'a.dns.test/one': 'big.rollup/one', 'b.dns.test/one': 'big.rollup/one',
                                 'other.dns.test/one': None, 'exact.dns.test/one': 'exact.rollup/one'})
        mta = self.hosts(4)
        self.assertEqual(mta['x@a.dns.test'], 'in1.big.dns.test (127.0.0.1)')
        self.assertEqual(mta['x@b.dns.test'], 'in2.big.dns.test (127.0.0.1)')
        self.assertEqual(mta['x@exact.dns.test'], 'listed.dns.test (127.0.0.1)')

        # one member can be paused alone, or all by the name of the group
        self.pmta.admin('pause-queue pipe/bulk {"queue":"a.dns.test/*"}')
        state = {o['queue']: o['state'] for o in self.pmta.admin('show-queues pipe/bulk')
                 if 'queue' in o}
        self.assertEqual(state['a.dns.test/one'], 'paused')
        self.assertNotEqual(state['b.dns.test/one'], 'paused')
        self.pmta.admin('pause-queue pipe/bulk {"queue":"big.rollup/one"}')
        names = {o['queue']: o['state'] for o in
                 self.pmta.admin('show-queues pipe/bulk {"queue":"big.rollup/*"}') if 'queue' in o}
        self.assertEqual(names, {'a.dns.test/one': 'paused', 'b.dns.test/one': 'paused'})


if __name__ == '__main__':
    unittest.main()
