#!/usr/bin/env python3
"""The suppression list with the real processes: recipients refused at RCPT and at the end of the
message, recorded and counted, bounces that feed it, pmtactl suppress in all its forms, restarts."""
import csv
import glob
import io
import os
import signal
import smtplib
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pmta import BIN, Directory, Pmta, Sink, wait_until  # noqa: E402


class World(unittest.TestCase):
    pmta_lines = ''
    source = ''
    extra = '[acct-file {dir}/all.csv]\nrecords = d,b,r\nrecord-fields = *\n'
    sink_args = []

    def setUp(self):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        self.sink = Sink(self.dir, args=self.sink_args)
        self.addCleanup(self.sink.stop)
        self.pmta = Pmta(self.dir, self.sink.port, pmta=self.pmta_lines, source=self.source,
                         extra=self.extra.format(dir=self.dir.sub('files')))
        self.addCleanup(self.pmta.kill)
        self.pmta.start()

    def run_ctl(self, *words, stdin=None):
        return subprocess.run([os.path.join(BIN, 'pmtactl'), '-s', self.pmta.socket, 'suppress', *words],
                              capture_output=True, text=True, timeout=120, input=stdin)

    def ctl(self, *words, stdin=None):
        r = self.run_ctl(*words, stdin=stdin)
        self.assertEqual(r.returncode, 0, r.stderr + r.stdout)
        return r.stdout

    def found(self, address):
        objects = self.pmta.admin(f'suppress-find * {{"address": "{address}"}}')
        self.assertTrue(objects[-1]['ok'], objects)
        return {(o['scope'], o['name']): o for o in objects[:-1]}

    def rcpt(self, address, sender='from@sender.example'):
        with self.pmta.smtp() as s:
            s.ehlo('client.example')
            s.mail(sender)
            code, text = s.rcpt(address)
            return code, text.decode()

    def refused(self, *args, **kw):
        with self.assertRaises(smtplib.SMTPResponseException) as e:
            self.pmta.send(*args, **kw)
        return e.exception.smtp_code, e.exception.smtp_error.decode()

    def bounced(self, pipe='bulk'):
        rows = []
        for path in glob.glob(os.path.join(self.dir.path, 'files', f'all-{pipe}-*.csv')):
            with open(path, newline='') as f:
                rows += list(csv.DictReader(f))
        return [r for r in rows if r['type'] == 'b']

    def restart(self):
        self.assertEqual(self.pmta.stop(), 0)
        self.pmta.start()

    def suppress_pid(self):
        return self.pmta.pids().get('suppress')


class Reject(World):
    def test_a_global_entry_is_refused_at_rcpt_in_any_case_of_letters(self):
        self.assertEqual(self.rcpt('Gone@Example.COM')[0], 250)
        out = self.ctl('add', 'gone@example.com', '--reason', 'complaint', '--note', 'said so')
        self.assertIn('suppressed', out)
        code, text = self.rcpt('Gone@Example.COM')
        self.assertEqual((code, text), (550, '5.7.1 Recipient is on the suppression list (complaint)'))
        self.assertEqual(self.rcpt('other@example.com')[0], 250)
        self.assertEqual(self.rcpt('gone@example.com', sender='')[0], 250, 'a notice is not mail to a list')
        out = self.ctl('find', 'GONE@example.com')
        self.assertIn('complaint', out)
        self.assertIn('said so', out)
        self.assertIn('taken off', self.ctl('del', 'gone@EXAMPLE.com'))
        self.assertEqual(self.rcpt('gone@example.com')[0], 250)
        self.assertIn('not on the suppression list', self.ctl('find', 'gone@example.com'))

    def test_domains_compare_as_a_labels(self):
        self.ctl('add', 'info@b\u00fccher.example')
        self.assertEqual(self.rcpt('info@xn--bcher-kva.example')[0], 550)

    def test_scopes_hold_where_they_say(self):
        self.ctl('add', 'a@good.example', '--scope', 'pipe:bulk')
        self.ctl('add', 'b@good.example', '--scope', 'job:spring')
        self.ctl('add', 'c@good.example', '--scope', 'domain:shop.example')
        self.assertEqual(self.refused('a@good.example', pipe='bulk')[0], 550)
        self.pmta.send('a@good.example', pipe='transactional')
        self.assertEqual(self.refused('b@good.example', headers='X-Job: spring\r\n'),
                         (550, '5.7.1 Recipient is on the suppression list (manual)'))
        self.pmta.send('b@good.example', headers='X-Job: summer\r\n')
        self.pmta.send('b@good.example')
        self.assertEqual(self.rcpt('c@good.example', sender='x@SHOP.example')[0], 550)
        self.assertEqual(self.refused('c@good.example', sender='bounce@mta.example',
                                      headers='From: "Shop" <news@shop.example>\r\n')[0], 550)
        self.pmta.send('c@good.example', sender='bounce@mta.example',
                       headers='From: news@shop2.example\r\n')
        self.assertEqual(set(self.found('b@good.example')), {('job', 'spring')})
        books = self.pmta.wait_empty()
        self.assertEqual(sum(b['delivered'] for b in books.values()), 4)
        self.assertEqual(sum(b['bounced'] for b in books.values()), 0)

    def test_a_whole_domain_in_every_scope(self):
        self.ctl('add', '@Gone.example', '--note', 'closed')
        self.assertEqual(self.rcpt('any@gone.EXAMPLE'),
                         (550, '5.7.1 Recipient is on the suppression list (manual)'))
        self.assertEqual(self.rcpt('any@sub.gone.example')[0], 250)
        out = self.ctl('find', 'any@gone.example')
        self.assertIn('@gone.example', out)
        self.assertNotIn('any@gone.example', out)
        self.assertIn('closed', out)
        self.assertIn('taken off', self.ctl('del', '@gone.example'))
        self.assertEqual(self.rcpt('any@gone.example')[0], 250)
        self.ctl('add', '@p.example', '--scope', 'pipe:bulk')
        self.ctl('add', '@j.example', '--scope', 'job:spring')
        self.ctl('import', '-', '--scope', 'domain:shop.example', stdin='@d.example\n')
        self.assertEqual(self.refused('a@p.example', pipe='bulk')[0], 550)
        self.pmta.send('a@p.example', pipe='transactional')
        self.assertEqual(self.refused('a@j.example', headers='X-Job: spring\r\n')[0], 550)
        self.pmta.send('a@j.example')
        self.assertEqual(self.rcpt('a@d.example', sender='x@shop.example')[0], 550)
        self.assertEqual(self.rcpt('a@d.example')[0], 250)
        self.restart()
        self.assertEqual(self.rcpt('a@d.example', sender='x@shop.example')[0], 550)
        self.assertEqual(self.found('a@d.example')[('domain', 'shop.example')]['domain'], True)
        out = self.ctl('export')
        self.assertIn('\n@d.example,domain:shop.example,', out)
        self.assertIn('3 there already', self.ctl('import', '-', stdin=out))

    def test_some_of_many_are_recorded_and_the_others_delivered(self):
        self.ctl('add', 'b@good.example', '--scope', 'job:spring')
        for body in ('hello\r\n', 'x' * 70 + '\r\n' * 3000):
            self.pmta.send(['a@good.example', 'b@good.example', 'c@good.example'], pipe='bulk',
                           headers='X-Job: spring\r\n', body=body)
        books = self.pmta.wait_empty()
        self.assertEqual((books['bulk']['received'], books['bulk']['delivered'], books['bulk']['bounced']),
                         (6, 4, 2))
        self.assertNotIn('b@good.example', {row[2] if len(row) > 2 else '' for row in self.sink.rows()})
        for r in wait_until(lambda: len(b := self.bounced()) == 2 and b, 'two b records'):
            self.assertEqual((r['rcpt'], r['bounceCat'], r['jobId']),
                             ('b@good.example', 'suppressed', 'spring'))
            self.assertTrue(r['dsnStatus'].startswith('5.7.1'), r['dsnStatus'])
            self.assertIn('suppression list (job, manual)', r['dsnDiag'])

    def test_who_goes_on_the_list_while_mail_waits_does_not_get_it(self):
        objects = self.pmta.admin('pause-queue pipe/bulk {"queue": "*"}')
        self.pmta.send(['a@good.example', 'b@good.example'], pipe='bulk')
        self.assertEqual(self.pmta.ledger()['bulk']['queued'], 2, objects)
        self.ctl('add', 'b@good.example', '--reason', 'unsubscribe')
        # what goes out within a second was looked up when it came
        end = time.monotonic() + 1.1
        wait_until(lambda: time.monotonic() > end, 'a second')
        self.pmta.admin('resume-queue pipe/bulk {"queue": "*"}')
        books = self.pmta.wait_empty()
        self.assertEqual((books['bulk']['delivered'], books['bulk']['bounced']), (1, 1))
        r = wait_until(lambda: len(b := self.bounced()) == 1 and b, 'a b record')[0]
        self.assertEqual((r['rcpt'], r['bounceCat']), ('b@good.example', 'suppressed'))
        self.assertIn('suppression list (global, unsubscribe)', r['dsnDiag'])

    def test_expiry(self):
        self.ctl('add', 'soon@good.example', '--expires', '2s')
        self.ctl('add', 'later@good.example', '--expires', '90d')
        self.assertEqual(self.rcpt('soon@good.example')[0], 550)
        wait_until(lambda: self.rcpt('soon@good.example')[0] == 250, 'the entry to expire', 10)
        wait_until(lambda: not self.found('soon@good.example'), 'the entry to go', 10)
        self.assertEqual(self.rcpt('later@good.example')[0], 550)
        r = self.run_ctl('add', 'x@good.example', '--expires', 'tomorrow')
        self.assertEqual(r.returncode, 1)
        self.assertIn('90d', r.stderr)

    def test_wrong_words_are_explained(self):
        for words, text in ((('add', 'nobody'), "'nobody' is not an address"),
                            (('add', 'a@b.example', '--scope', 'list:x'), 'job:NAME'),
                            (('add', 'a@b.example', '--scope', 'job'), 'needs a name'),
                            (('add', 'a@b.example', '--reason', 'mood'), 'complaint'),
                            (('find', 'nobody'), "'nobody' is not an address")):
            r = self.run_ctl(*words)
            self.assertEqual(r.returncode, 1, words)
            self.assertIn(text, r.stderr)


class Lists(World):
    def test_import_export_and_again(self):
        lines = ['# a comment', '', 'Plain@One.example', 'not an address', '"q,1"@two.example'] + \
                [f'user{i}@many.example' for i in range(20000)]
        r = self.run_ctl('import', '-', '--reason', 'unsubscribe', '--note', 'old, "list"',
                         stdin='\n'.join(lines) + '\n')
        self.assertEqual(r.returncode, 1)
        self.assertIn("line 4: 'not an address' is not an address", r.stderr)
        self.assertIn('20,001 added', r.stdout)
        self.assertIn('2 wrong', r.stdout)
        out = self.ctl('export')
        rows = list(csv.DictReader(io.StringIO(out)))
        self.assertEqual(len(rows), 20001)
        self.assertEqual(rows[0]['address'], 'plain@one.example')
        self.assertEqual({(r['scope'], r['reason'], r['expires'], r['note']) for r in rows},
                         {('global', 'unsubscribe', '', 'old, "list"')})
        again = self.ctl('import', '-', stdin=out)
        self.assertIn('0 added, 0 changed, 20,001 there already', again)
        self.restart()
        self.assertEqual(self.ctl('export'), out)
        out = self.ctl('import', '-', '--remove', stdin='user7@many.example\nnobody@many.example\n')
        self.assertIn('1 taken off the list, 1 were not on it', out)
        self.assertEqual(self.rcpt('user7@many.example')[0], 250)
        self.assertEqual(self.rcpt('user8@many.example')[0], 550)

    def test_columns_in_any_order_and_values_per_line(self):
        text = ('note,Scope,address,expires,reason\n'
                '"he said ""no""",job:j 1,a@x.example,2099-12-31,complaint\n'
                ',,b@x.example,,\n'
                ',pipe:bulk,c@x.example,2001-01-01,bounce\n')
        self.assertIn('2 added', self.ctl('import', '-', stdin=text))
        a = self.found('a@x.example')[('job', 'j 1')]
        self.assertEqual((a['reason'], a['note'], a['expires_ms']), ('complaint', 'he said "no"', 4102358400000))
        self.assertEqual(self.found('b@x.example')[('global', '')]['reason'], 'manual')
        self.assertEqual(self.found('c@x.example'), {}, 'it has expired long ago')
        r = self.run_ctl('import', '/nowhere/list.csv')
        self.assertEqual(r.returncode, 2)
        self.assertIn('/nowhere/list.csv', r.stderr)

    def test_a_kill_after_the_answer_loses_nothing(self):
        for i in range(20):
            self.ctl('add', f'k{i}@x.example')
            if i % 5 == 4:
                pid = self.suppress_pid()
                os.kill(pid, signal.SIGKILL)
                self.assertEqual(self.rcpt('k0@x.example')[0], 550, 'the last table stays while it is down')
                wait_until(lambda: (p := self.suppress_pid()) and p != pid, 'the process to come back')
                wait_until(lambda: self.found_or_none(f'k{i}@x.example'), 'the list to be read')
        for i in range(20):
            self.assertEqual(set(self.found(f'k{i}@x.example')), {('global', '')}, i)
            self.assertEqual(self.rcpt(f'k{i}@x.example')[0], 550)
        # and the new table is looked at
        self.ctl('add', 'new@x.example')
        wait_until(lambda: self.rcpt('new@x.example')[0] == 550, 'the receivers to see the new table')

    def found_or_none(self, address):
        objects = self.pmta.admin(f'suppress-find * {{"address": "{address}"}}')
        return objects[-1]['ok'] and objects[:-1]

    def test_show_counts(self):
        self.ctl('add', 'a@x.example')
        self.ctl('add', 'a@x.example', '--scope', 'pipe:bulk', '--expires', '1d')
        out = self.ctl('show')
        self.assertRegex(out, r'entries +2\n')
        self.assertRegex(out, r'of pipes +1\n')
        self.assertRegex(out, r'that expire +1\n')


class Record(World):
    source = 'suppression = record'

    def test_the_books_hold(self):
        self.ctl('add', 'gone@good.example')
        self.assertEqual(self.rcpt('gone@good.example')[0], 250)
        for i in range(5):
            self.pmta.send(['gone@good.example'], pipe='bulk')
            self.pmta.send(['gone@good.example', f'u{i}@good.example'], pipe='bulk')
        books = self.pmta.wait_empty()['bulk']
        self.assertEqual((books['received'], books['delivered'], books['bounced']), (15, 5, 10))
        wait_until(lambda: len(self.bounced()) == 10, 'ten b records')
        self.assertEqual({r['bounceCat'] for r in self.bounced()}, {'suppressed'})
        r = subprocess.run([os.path.join(BIN, 'pmtactl'), '-s', self.pmta.socket, 'ledger'],
                           capture_output=True, text=True, timeout=60)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)

    def test_a_kill_after_the_acknowledgement_sends_nothing_to_them(self):
        self.ctl('add', 'gone@good.example')
        for i in range(30):
            self.pmta.send(['gone@good.example'], pipe='bulk')
        self.pmta.kill()
        self.pmta.start()
        books = self.pmta.wait_empty()['bulk']
        self.assertEqual((books['received'], books['delivered'], books['bounced']), (30, 0, 30))
        self.assertEqual(self.sink.rows(), [])


class Off(World):
    source = 'suppression = reject'
    extra = '[source 127.0.0.1/32]\nsuppression = off\nalways-allow-relaying = yes\nprocess-x-pipe = yes\n'

    def test_nobody_is_looked_up(self):
        self.ctl('add', 'gone@good.example')
        self.assertEqual(self.rcpt('gone@good.example')[0], 250)
        self.pmta.send('gone@good.example', pipe='bulk')
        self.assertEqual(self.pmta.wait_empty()['bulk']['delivered'], 1)


class Bounces(World):
    pmta_lines = ('suppress-bounces = bad-mailbox, inactive-mailbox\nsuppress-bounces-for = 30d\n')
    sink_args = ['--fault', 'rcpt:550:100:5.1.1 no such user']

    def test_a_hard_bounce_feeds_the_list(self):
        self.pmta.send('typo@good.example', pipe='bulk')
        self.pmta.wait_empty()
        wait_until(lambda: self.found('typo@good.example'), 'the entry of the bounce')
        e = self.found('typo@good.example')[('global', '')]
        self.assertEqual(e['reason'], 'bounce')
        self.assertIn('no such user', e['note'])
        self.assertGreater(e['expires_ms'], e['added_ms'] + 29 * 86400000)
        self.assertEqual(self.rcpt('typo@good.example')[0], 550)

    def test_entries_wait_while_the_list_is_down(self):
        pid = self.suppress_pid()
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(self.resume, pid)
        self.pmta.send('typo2@good.example', pipe='bulk')
        self.pmta.wait_empty()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: (p := self.suppress_pid()) and p != pid, 'the process to come back')
        wait_until(lambda: self.rcpt('typo2@good.example')[0] == 550, 'the entry to arrive all the same')

    def resume(self, pid):
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass


class Hashes(World):
    def test_addresses_leave_the_disk_and_are_still_found(self):
        self.ctl('add', 'secret.person@good.example', '--note', 'n1')
        before = self.disk()
        self.assertIn(b'secret.person', before)
        self.pmta.write_config('20-store.conf', '[pmta]\nsuppression-store = hash\n')
        r = subprocess.run([os.path.join(BIN, 'pmtactl'), '-s', self.pmta.socket, 'reload'],
                           capture_output=True, text=True, timeout=60)
        self.assertEqual(r.returncode, 0, r.stderr)
        wait_until(lambda: b'secret.person' not in self.disk(), 'the address to leave the disk')
        self.ctl('add', 'second.person@good.example')
        self.assertNotIn(b'second.person', self.disk())
        self.restart()
        self.assertEqual(self.rcpt('Secret.Person@good.example')[0], 550)
        self.assertEqual(self.found('secret.person@good.example')[('global', '')]['note'], 'n1')
        rows = list(csv.DictReader(io.StringIO(self.ctl('export'))))
        self.assertEqual(sorted(len(r['address']) for r in rows), [32, 32])
        for r in rows:
            self.assertIn('taken off', self.ctl('del', r['address']))
        self.assertEqual(self.rcpt('secret.person@good.example')[0], 250)
        self.assertIn('2 added', self.ctl('import', '-', stdin='\n'.join(r['address'] for r in rows)))
        self.assertEqual(self.rcpt('secret.person@good.example')[0], 550)

    def disk(self):
        data = b''
        for path in glob.glob(os.path.join(self.pmta.spool, '@suppress', '*')):
            try:
                with open(path, 'rb') as f:
                    data += f.read()
            except FileNotFoundError:
                pass
        return data

    def test_hashes_of_another_secret_stop_the_start(self):
        self.pmta.write_config('20-store.conf', '[pmta]\nsuppression-store = hash\n')
        self.restart()
        self.ctl('add', 'a@good.example')
        self.assertEqual(self.pmta.stop(), 0)
        other = os.path.join(self.dir.path, 'other-secret')
        with open(other, 'wb') as f:
            f.write(os.urandom(48))
        os.chmod(other, 0o600)
        self.pmta.write_config('21-secret.conf', f'[pmta]\nsecret-file = {other}\n')
        self.pmta.start(wait=False)
        self.assertEqual(self.pmta.process.wait(30), 1)
        self.assertIn('made with another secret', self.pmta.log_text())


if __name__ == '__main__':
    unittest.main()
