#!/usr/bin/python3
"""TLS reports (RFC 8460) as they really arrive: sessions with real peers are counted by two pipes, the
reports go to an HTTPS server and by mail, signed, and are taken apart again."""
import email
import gzip
import http.server
import json
import os
import re
import shutil
import ssl
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'system')]
import test_policy  # noqa: E402
import verifiers  # noqa: E402
from pmta import Directory, Pmta, Sink, wait_until  # noqa: E402
from test_dkim import make_key, record_of  # noqa: E402
from tls_peer import Authority, Peer  # noqa: E402

DAY = 86400


class Reports:
    """An HTTPS server that takes reports; `answers` are the statuses of the first requests."""

    def __init__(self, context, answers=()):
        self.answers = list(answers)
        self.taken = []
        world = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_POST(self):
                body = self.rfile.read(int(self.headers['Content-Length']))
                status = world.answers.pop(0) if world.answers else 201
                world.taken.append((status, self.path, dict(self.headers), body))
                self.send_response(status)
                if status == 307:
                    self.send_header('Location', f'https://elsewhere.plain.test:{world.port}/moved')
                self.send_header('Content-Length', '0')
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def get_request(self):
                sock, addr = super().get_request()
                sock.settimeout(30)
                return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), addr

            def handle_error(self, *_):
                pass

        self.server = Server(('127.0.0.1', 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class TlsReports(unittest.TestCase):
    def setUp(self):
        for program in (test_policy.NSD, test_policy.UNBOUND):
            if not os.path.exists(program):
                raise unittest.SkipTest(f'{program} is not installed')
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        self.authority = test_policy.Authority(self.dir)
        self.web = Reports(self.authority.context('reports.plain.test'), [503])
        self.addCleanup(self.web.stop)
        self.wrong = Reports(self.authority.context('somebody.else.test'))
        self.addCleanup(self.wrong.stop)
        self.turned = Reports(self.authority.context('elsewhere.plain.test'), [307] * 9)
        self.addCleanup(self.turned.stop)
        zone = test_policy.POLICY_HOSTS
        for host in ('reports', 'wrong', 'elsewhere'):
            zone += f'{host} A 127.0.0.1\n'
        for domain, rua in (('good', f'https://reports.plain.test:{self.web.port}/in?x=y, mailto:tls@mail.plain.test'),
                            ('testing', f'mailto:tls@mail.plain.test,https://wrong.plain.test:{self.wrong.port}/, '
                                        f'https://elsewhere.plain.test:{self.turned.port}/')):
            zone += f'_smtp._tls.{domain} TXT "v=TLSRPTv1; rua={rua}"\n'
        self.names = test_policy.Names(self.dir, zone)
        self.addCleanup(self.names.stop)
        self.policies = test_policy.Web(self.authority)
        self.addCleanup(self.policies.stop)
        for d in ('good', 'testing'):
            host = f'mta-sts.{d}.plain.test'
            self.policies.serve(host, self.authority.context(host),
                                test_policy.policy('enforce' if d == 'good' else 'testing'))
        self.ca = Authority(os.path.join(self.dir.path, 'smtp-ca'))
        self.good = Peer(self.ca.issue('good', ['mx1.plain.test']))
        self.addCleanup(self.good.stop)
        self.bad = Peer(self.ca.issue('bad', ['other.plain.test']))
        self.addCleanup(self.bad.stop)
        self.saved = self.dir.sub('saved')
        self.sink = Sink(self.dir, args=['--save', self.saved])
        self.addCleanup(self.sink.stop)

    def start(self):
        self.pmta = Pmta(self.dir, 9, domain='smtp-hosts = ""\nretry-after-dns-error = 300ms\n'
                         f'tls-ca-file = {self.ca.cert}\n', extra=f'''
[domain good.plain.test]
smtp-port = {self.good.port}
[domain testing.plain.test]
smtp-port = {self.bad.port}
[domain mail.plain.test]
smtp-hosts = [127.0.0.1]:{self.sink.port}
''', pmta=f'''
name-server = 127.0.0.1:{self.names.port}
dns-timeout = 3s
mta-sts-ca-file = {self.authority.ca}
mta-sts-port = {self.policies.port}
tls-report = yes
tls-report-from = tls-reports@reporter.example
domain-key = s1,reporter.example,keys/k.pem
''')
        self.addCleanup(self.pmta.kill)
        keys = os.path.join(self.pmta.conf, 'keys')
        os.mkdir(keys)
        key = make_key(os.path.join(keys, 'k.pem'))
        self.keys = verifiers.Keys(os.path.join(self.dir.path, 'keys.txt'),
                                   {'s1._domainkey.reporter.example': record_of(key)})
        self.pmta.start()

    def counted(self):
        return {(o['pipe'], o['domain']): (o['ok'], o['failed']) for o in self.pmta.admin('show-tls-report *')
                if 'domain' in o and o['wanted'] == 'yes'}

    def let_days_pass(self):
        """What was counted today becomes what was counted two days ago."""
        self.assertEqual(self.pmta.stop(), 0)
        for pipe in ('bulk', 'transactional'):
            path = os.path.join(self.pmta.spool, pipe, 'tls-reports')
            with open(path) as f:
                lines = [json.loads(x) for x in f if x.strip()]
            for o in lines:
                o['day'] -= 2
            with open(path, 'w') as f:
                f.writelines(json.dumps(o) + '\n' for o in lines)
        self.pmta.start()

    def mails(self):
        result = []
        for name in sorted(n for n in os.listdir(self.saved) if n.endswith('.eml')):
            with open(os.path.join(self.saved, name), 'rb') as f:
                result.append(f.read())
        return result

    def report(self, gz):
        r = json.loads(gzip.decompress(gz))
        self.assertEqual(r['organization-name'], 'mta.test.example')
        self.assertEqual(r['contact-info'], 'tls-reports@reporter.example')
        begin, end = r['date-range']['start-datetime'], r['date-range']['end-datetime']
        self.assertTrue(begin.endswith('T00:00:00Z') and end.endswith('T23:59:59Z'), r['date-range'])
        self.assertEqual(begin[:10], end[:10])
        return r

    def test_they_arrive(self):
        self.start()
        for pipe, count in (('bulk', 3), ('transactional', 2)):
            for n in range(count):
                self.pmta.send(f'x{n}@good.plain.test', pipe=pipe)
                self.pmta.wait_empty()
                time.sleep(0.3)  # idle-timeout-out: each goes in a session of its own
        self.pmta.send('x@testing.plain.test', pipe='bulk')
        self.pmta.wait_empty()
        expect = {('bulk', 'good.plain.test'): (3, 0), ('transactional', 'good.plain.test'): (2, 0),
                  ('bulk', 'testing.plain.test'): (0, 1)}
        wait_until(lambda: self.counted() == expect, f'these counts: {expect}, not {self.counted()}', 10)
        self.let_days_pass()
        wait_until(lambda: len(self.web.taken) == 2 and len(self.mails()) == 3,
                   'two POSTs and three mails', 40)

        # by HTTPS: one was refused and comes again later, one was taken
        self.assertEqual(sorted(x[0] for x in self.web.taken), [201, 503])
        seen = set()
        for _, path, headers, body in self.web.taken:
            self.assertEqual((path, headers['Content-Type']), ('/in?x=y', 'application/tlsrpt+gzip'))
            r = self.report(body)
            seen.add(r['report-id'])
            (p,) = r['policies']
            self.assertEqual((p['policy']['policy-type'], p['policy']['policy-domain'], p['policy']['mx-host']),
                             ('sts', 'good.plain.test', ['mx1.plain.test']))
            self.assertIn('mode: enforce', p['policy']['policy-string'])
            count = 3 if '.bulk.' in r['report-id'] else 2
            self.assertEqual(p['summary'], {'total-successful-session-count': count,
                                            'total-failure-session-count': 0})
        self.assertEqual(len(seen), 2, 'a report of each pipe, each with an id of its own')
        self.pmta.wait_log('HTTP status 503')

        # nothing is sent to a server that cannot prove its name, and nothing is followed
        wait_until(lambda: 'HTTP status 307' in self.pmta.log_text(), 'the redirect to be told')
        self.pmta.wait_log("'https://wrong.plain.test")
        self.assertEqual(self.wrong.taken, [])
        self.assertEqual([x[1] for x in self.turned.taken], ['/'])

        # by mail
        got = {}
        for raw in self.mails():
            self.assertTrue(verifiers.dkimpy(raw, self.keys, 1), raw[:500])
            m = email.message_from_bytes(raw)
            domain = m['TLS-Report-Domain']
            self.assertEqual(m['TLS-Report-Submitter'], 'mta.test.example')
            self.assertEqual((m['From'], m['To']), ('<tls-reports@reporter.example>', '<tls@mail.plain.test>'))
            self.assertIn('d=reporter.example', re.sub(r'\s', '', m['DKIM-Signature']))
            self.assertNotIn(';l=', re.sub(r'\s', '', m['DKIM-Signature']))
            self.assertEqual((m.get_content_type(), m.get_param('report-type')), ('multipart/report', 'tlsrpt'))
            text, part = m.get_payload()
            self.assertEqual((text.get_content_type(), part.get_content_type()),
                             ('text/plain', 'application/tlsrpt+gzip'))
            r = self.report(part.get_payload(decode=True))
            subject = re.sub(r'\s+', ' ', m['Subject'])
            self.assertEqual(subject, f"Report Domain: {domain} Submitter: mta.test.example "
                                      f"Report-ID: <{r['report-id']}>")
            name = part.get_filename().split('!')
            self.assertEqual((name[0], name[1], int(name[3]) - int(name[2])),
                             ('mta.test.example', domain, DAY - 1))
            got.setdefault(domain, []).append(r)
        self.assertEqual({d: len(x) for d, x in got.items()}, {'good.plain.test': 2, 'testing.plain.test': 1})
        (p,) = got['testing.plain.test'][0]['policies']
        self.assertEqual(p['summary'], {'total-successful-session-count': 0, 'total-failure-session-count': 1})
        (d,) = p['failure-details']
        self.assertEqual((d['result-type'], d['receiving-mx-hostname'], d['receiving-ip'], d['failed-session-count']),
                         ('certificate-host-mismatch', 'mx1.plain.test', '127.0.0.1', 1))

        # the mail of reports is not counted itself
        self.assertFalse([k for k in self.counted() if k[1] == 'mail.plain.test'])


if __name__ == '__main__':
    unittest.main()
