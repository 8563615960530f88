#!/usr/bin/env python3
"""What the real processes write down: accounting files by configuration, in all forms, over a crash
and a reload; bounce categories from the command line."""
import csv
import glob
import gzip
import io
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pmta import BIN, Directory, Pmta, Sink, wait_until  # noqa: E402

FILES = '''
[acct-file {dir}/all.csv]
records = d,b,t,tq,r
record-fields = *,header_X-Campaign
[acct-file {dir}/short.csv]
profile = short
records = d,b
only-domain = good.example
[acct-file {dir}/lines.json]
format = json
records = r,d
only-pipe = bulk
'''

RULES = '''
[bounce-category-patterns]
pattern = /no such person/ status=5.1.1 gone-person
'''


class World(unittest.TestCase):
    extra = FILES

    def setUp(self):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        self.files = self.dir.sub('files')
        self.moved = self.dir.sub('moved')
        self.sink = Sink(self.dir, args=self.sink_args())
        self.addCleanup(self.sink.stop)
        self.pmta = Pmta(self.dir, self.sink.port,
                         extra=self.extra.format(dir=self.files, moved=self.moved) + RULES)
        self.addCleanup(self.pmta.kill)
        self.pmta.start()

    def sink_args(self):
        return []

    def rows(self, pattern):
        rows = []
        for path in sorted(glob.glob(os.path.join(self.files, pattern))):
            with open(path, newline='') as f:
                rows += list(csv.DictReader(f))
        return rows

    def wait_rows(self, pattern, wanted, count=1):
        return wait_until(lambda: (r := [x for x in self.rows(pattern) if wanted(x)]) and
                          len(r) >= count and r, f'{count} records in {pattern}')

    def ctl(self, *words):
        return subprocess.run([os.path.join(BIN, 'pmtactl'), '-s', self.pmta.socket, *words],
                              capture_output=True, text=True, timeout=60)


class Files(World):
    def test_each_file_has_its_records_and_columns(self):
        self.pmta.send(['a@good.example', 'b@other.example'], pipe='bulk',
                       headers='X-Campaign: Offer,\r\n "now"\r\nX-Job: j1\r\n')
        self.wait_rows('all-bulk-*.csv', lambda r: r['type'] == 'd', 2)
        rows = self.rows('all-bulk-*.csv')
        self.assertEqual({r['type'] for r in rows}, {'d', 'r'})
        for row in rows:
            self.assertEqual(row['header_X-Campaign'], 'Offer, "now"')
            self.assertEqual(row['jobId'], 'j1')
            self.assertEqual(row['rcvSourceIp'], '127.0.0.1')
        d = [r for r in rows if r['type'] == 'd'][0]
        self.assertEqual(d['attempt'], '1')
        self.assertTrue(d['dlvSourceIp'])
        self.assertEqual(d['dlvDestinationIp'], '127.0.0.1')
        short = self.wait_rows('short-bulk-*.csv', lambda r: r['type'] == 'd')
        self.assertEqual([(r['domain'], r['status']) for r in short], [('good.example', 'delivered')])
        path = glob.glob(os.path.join(self.files, 'short-bulk-*.csv'))[0]
        with open(path) as f:
            self.assertEqual(f.readline().strip(), 'time,type,vmta,domain,rcpt,status,dsn-status,size')
        with open(glob.glob(os.path.join(self.files, 'lines-bulk-*.json'))[0]) as f:
            lines = [json.loads(line) for line in f]
        self.assertEqual(sorted(x['type'] for x in lines), ['d', 'd', 'r', 'r'])
        ids = {x['msgId'] for x in lines}
        self.assertEqual(ids, {r['msgId'] for r in rows})
        self.assertEqual(glob.glob(os.path.join(self.pmta.acct, 'acct-*')), [])

    def test_large_messages_have_their_headers_too(self):
        self.pmta.send(['a@good.example'], pipe='bulk', headers='X-Campaign: big\r\n',
                       body=('x' * 76 + '\r\n') * 4000)
        rows = self.wait_rows('all-bulk-*.csv', lambda r: r['type'] == 'd')
        self.assertEqual(rows[0]['header_X-Campaign'], 'big')

    def test_a_reload_changes_columns_and_keeps_records(self):
        self.pmta.send(['a@good.example'], pipe='bulk')
        self.wait_rows('all-bulk-*.csv', lambda r: r['type'] == 'd')
        with open(os.path.join(self.pmta.conf, '10-test.conf')) as f:
            text = f.read()
        self.pmta.write_config('10-test.conf',
                               text.replace('record-fields = *,header_X-Campaign',
                                            'record-fields = type,rcpt'))
        self.assertEqual(self.ctl('reload').returncode, 0)
        self.pmta.send(['b@good.example'], pipe='bulk')
        self.wait_rows('all-bulk-*-0001.csv', lambda r: r['type'] == 'd' and len(r) == 2)
        self.assertEqual(len([r for r in self.rows('all-bulk-*.csv') if r['type'] == 'd']), 2)

    def test_no_final_record_is_missing_after_a_kill(self):
        ids = [self.pmta.send([f'u{i}@good.example'], pipe='bulk') for i in range(40)]
        self.assertEqual(len(ids), 40)
        self.pmta.kill()
        self.pmta.start()
        self.pmta.wait_empty()
        rows = self.wait_rows('all-bulk-*.csv', lambda r: r['type'] == 'd', 40)
        final = {}
        for r in rows:
            final.setdefault(r['rcpt'], set()).add(r['msgId'])
        self.assertEqual(len(final), 40)
        for repeated in final.values():
            self.assertEqual(len(repeated), 1)
        for r in self.rows('all-bulk-*.csv'):
            self.assertNotIn(None, r, 'a row with more columns than its header')


class Finished(World):
    extra = '''
[acct-file {dir}/all.csv]
records = d
move-interval = 2s
move-to = {moved}
compress = gzip
'''

    def test_finished_files_are_moved_and_compressed(self):
        self.pmta.send(['a@good.example'], pipe='bulk')
        self.wait_rows('all-bulk-*.csv', lambda r: r['type'] == 'd')
        pattern = os.path.join(self.moved, 'all-bulk-*.csv.gz')
        rows = wait_until(lambda: [r for p in glob.glob(pattern) for r in
                                   csv.DictReader(io.TextIOWrapper(gzip.open(p), newline=''))],
                          'a finished file with a row', 90)
        self.assertEqual(rows[0]['rcpt'], 'a@good.example')


class Categories(World):
    def test_classify_names_rule_and_reason(self):
        out = self.ctl('classify', '550 5.1.1 no such person')
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertRegex(out.stdout, r'category +gone-person')
        self.assertRegex(out.stdout, r'rule +.*10-test\.conf:\d+\n')
        self.assertRegex(out.stdout, r'went by +enhanced status and text')
        out = self.ctl('classify', '--phase', 'end-of-data', '552 5.3.4 too big')
        self.assertRegex(out.stdout, r'category +content-related')
        out = self.ctl('classify', 'hello')
        self.assertEqual(out.returncode, 1)
        self.assertIn('is not a reply', out.stdout + out.stderr)


class Unclassified(World):
    def sink_args(self):
        return ['--fault', 'rcpt:550:100:nothing that anybody knows ref q8sm1234']

    def test_replies_that_no_rule_caught_are_grouped(self):
        for i in range(3):
            self.pmta.send([f'u{i}@bad.example'], pipe='bulk')
        self.wait_rows('all-bulk-*.csv', lambda r: r['type'] == 'b', 3)
        rows = self.rows('all-bulk-*.csv')
        self.assertTrue(all(r['bounceCat'] for r in rows if r['type'] == 'b'))
        out = self.ctl('show', 'unclassified')
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertRegex(out.stdout, r'\b3 .*550.*nothing that anybody knows ref \{id\}')


if __name__ == '__main__':
    unittest.main()
