#!/usr/bin/env python3
"""[acct-file |command]: the command gets every record at least once, header line first; one that
fails, hangs or dies with the pipe loses none; they wait on disk and are gone when it has taken them."""
import csv
import glob
import io
import os
import re
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pmta import BIN, Directory, Pmta, Sink, wait_until  # noqa: E402

# Takes all of its input, and only then shows it: a run is a file RUN-PID.csv. While DIR/broken is
# there it reads one line and fails.
COMMAND = '''#!/bin/sh
dir=$1
[ "$2" = "two words, a comma" ] || exit 9
if [ -e "$dir/broken" ]; then
    read line
    echo "$line" >>"$dir/refused"
    exit 3
fi
cat >"$dir/part-$$" && mv "$dir/part-$$" "$dir/run-$$.csv"
'''


class Feed(unittest.TestCase):
    settings = 'records = d,b\nmove-interval = 1s\nretry-interval = 1s'

    def setUp(self):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        self.out = self.dir.sub('out')
        self.command = os.path.join(self.dir.path, 'take')
        with open(self.command, 'w') as f:
            f.write(COMMAND)
        os.chmod(self.command, 0o755)
        self.sink = Sink(self.dir)
        self.addCleanup(self.sink.stop)
        self.pmta = Pmta(self.dir, self.sink.port, extra=self.section(self.settings))
        self.addCleanup(self.pmta.kill)
        self.pmta.start()

    def section(self, settings):
        return f'[acct-file |{self.command} {self.out} "two words, a comma"]\n{settings}\n'

    def send(self, first, count):
        for i in range(first, first + count):
            self.pmta.send([f'u{i}@good.example'], pipe='bulk')

    def taken(self):
        """{recipient: message ids} over all runs of the command that ended well."""
        found = {}
        for path in glob.glob(os.path.join(self.out, 'run-*.csv')):
            with open(path, newline='') as f:
                text = f.read()
            self.assertTrue(text.startswith('type,timeLogged'), text[:80])
            for r in csv.DictReader(io.StringIO(text)):
                found.setdefault(r['rcpt'], set()).add(r['msgId'])
        return found

    def wait_taken(self, count):
        want = {f'u{i}@good.example' for i in range(count)}
        wait_until(lambda: set(self.taken()) == want, f'{count} records to be taken', 60)
        self.assertTrue(all(len(x) == 1 for x in self.taken().values()))

    def staged(self):
        return glob.glob(os.path.join(self.pmta.acct, 'feed-take-*-bulk-*.staged'))

    def broken(self, yes):
        path = os.path.join(self.out, 'broken')
        open(path, 'w').close() if yes else os.unlink(path)

    def ctl(self, *words):
        return subprocess.run([os.path.join(BIN, 'pmtactl'), '-s', self.pmta.socket, *words],
                              capture_output=True, text=True, timeout=60)

    def test_records_are_taken_and_go(self):
        self.send(0, 20)
        self.wait_taken(20)
        # what was taken is deleted: there is the file that is written to, at most the one before
        wait_until(lambda: len(self.staged()) <= 2, 'staged files to go')
        self.send(20, 5)
        self.wait_taken(25)

    def test_a_command_that_fails_loses_nothing(self):
        self.broken(True)
        self.send(0, 10)
        wait_until(lambda: os.path.exists(os.path.join(self.out, 'refused')), 'the command to fail')
        self.pmta.wait_log('accounting command failed')
        self.assertEqual(self.taken(), {})
        self.assertRegex(self.pmta.log_text(), r'its records wait on disk .*exit status 3')
        self.assertTrue(self.staged())
        self.broken(False)
        self.wait_taken(10)

    def test_nothing_is_lost_when_the_pipe_dies(self):
        self.broken(True)
        self.send(0, 10)
        self.pmta.wait_log('accounting command failed')
        os.kill(self.pmta.pids()['pipe/bulk'], signal.SIGKILL)
        self.broken(False)
        self.wait_taken(10)
        os.kill(self.pmta.pids()['pipe/bulk'], signal.SIGKILL)
        wait_until(lambda: self.pmta.ledger(), 'the pipe to come back')
        self.send(10, 3)
        self.wait_taken(13)

    def test_a_stop_notes_how_far_it_came(self):
        self.pmta.write_config('10-test.conf', self.config().replace('move-interval = 1s', 'move-interval = 1d'))
        self.assertEqual(self.ctl('reload').returncode, 0)
        self.send(0, 5)
        wait_until(lambda: glob.glob(os.path.join(self.out, 'part-*')), 'the command to run')
        wait_until(lambda: sum(x.count('@good.example') for x in self.parts()) >= 5, 'it to read')
        self.assertEqual(self.pmta.stop(), 0)
        self.wait_taken(5)
        runs = len(glob.glob(os.path.join(self.out, 'run-*')))
        self.pmta.start()
        self.send(5, 5)
        self.assertEqual(self.pmta.stop(), 0)
        self.pmta.start()
        self.assertEqual(self.pmta.stop(), 0)
        self.assertEqual(len(self.rows()), len({r['rcpt'] for r in self.rows()}), 'given once only')
        self.assertGreaterEqual(len(glob.glob(os.path.join(self.out, 'run-*'))), runs)

    def parts(self):
        return [open(p).read() for p in glob.glob(os.path.join(self.out, 'part-*'))]

    def rows(self):
        return [r for p in glob.glob(os.path.join(self.out, 'run-*.csv'))
                for r in csv.DictReader(open(p, newline=''))]

    def config(self):
        with open(os.path.join(self.pmta.conf, '10-test.conf')) as f:
            return f.read()

    def test_bad_sections_are_refused(self):
        text = self.config()
        for extra, expected in (
                ('[acct-file |]\n', 'there is no command behind the |'),
                ('[acct-file |/bin/cat "x]\n', 'a quote in the command does not end'),
                ('[acct-file |/bin/cat]\nmove-to = /tmp\n', 'move-to is for files'),
                ('[acct-file /tmp/x.csv]\nretry-interval = 1m\n', 'retry-interval is for commands')):
            self.pmta.write_config('10-test.conf', text + extra)
            out = self.ctl('reload')
            self.assertNotEqual(out.returncode, 0)
            self.assertRegex(out.stdout + out.stderr, r'10-test\.conf:\d+.*' + re.escape(expected))


class Hangs(Feed):
    """A command that does not read is given up, and the next one gets the records."""
    settings = 'records = d,b\nmove-interval = 1s\nretry-interval = 1s\nwrite-timeout = 1s'

    def test_a_command_that_hangs_is_given_up(self):
        with open(self.command, 'w') as f:
            f.write('#!/bin/sh\nexec sleep 600\n')
        self.send(0, 3)
        self.pmta.wait_log('write-timeout')
        with open(self.command, 'w') as f:
            f.write(COMMAND)
        self.wait_taken(3)


for inherited in [n for n in dir(Feed) if n.startswith('test_')]:
    setattr(Hangs, inherited, None)

if __name__ == '__main__':
    unittest.main()
