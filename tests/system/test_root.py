#!/usr/bin/env python3
"""pmtad with stub children: start, restart, reload, drain, and what an operator does wrong.

PMTAD and CHILD_STUB name the two binaries. Nothing here sleeps for a fixed time: each step waits for
a log line, an event of a stub or an admin answer, at most WAIT seconds.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from ports import free_port

WAIT = 20
PMTAD = os.environ["PMTAD"]
STUB = os.environ["CHILD_STUB"]
CHILDREN = ("pmta-receiver", "pmta-pipe", "pmta-resolver", "pmta-suppress")

CONFIG = """[pmta]
spool = {dir}/spool
run-dir = {dir}/run
acct-dir = {dir}/acct
user = nobody
receivers = 2
drain-timeout = {drain}
[listener in]
address = 127.0.0.1:{port}
[pipe bulk]
[pipe urgent]
"""


class Admin:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(WAIT)
        self.socket.connect(path)
        self.file = self.socket.makefile("rwb")

    def ask(self, line):
        """All objects of the answer; the last is the end."""
        self.file.write(line.encode() + b"\n")
        self.file.flush()
        objects = []
        while True:
            text = self.file.readline()
            if not text:
                raise EOFError(f"no end after {objects}")
            objects.append(json.loads(text))
            if "end" in objects[-1]:
                return objects

    def close(self):
        self.file.close()
        self.socket.close()


class RootTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="pmta-root-")
        os.chmod(self.dir, 0o755)
        self.bin = os.path.join(self.dir, "bin")
        os.mkdir(self.bin)
        shutil.copy(PMTAD, self.bin)
        for name in CHILDREN:
            shutil.copy(STUB, os.path.join(self.bin, name))
        self.conf = os.path.join(self.dir, "config.d")
        os.mkdir(self.conf)
        self.port = free_port()
        self.write_config()
        self.events_path = os.path.join(self.dir, "events")
        open(self.events_path, "w").close()
        os.chmod(self.events_path, 0o666)
        self.log_path = os.path.join(self.dir, "log")
        self.processes = []

    def tearDown(self):
        for p in self.processes:
            if p.poll() is None:
                p.kill()
            p.wait(WAIT)
        # children of a killed pmtad leave by themselves
        self.wait_for(lambda: not self.living_children(), "end of all children")
        shutil.rmtree(self.dir)

    # helpers

    def living_children(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                exe = os.readlink(f"/proc/{pid}/exe")
            except OSError:
                continue
            if exe.startswith(self.bin + "/pmta-"):
                found.append(int(pid))
        return found

    def write_config(self, text=None, drain="10s", extra=""):
        text = text or CONFIG.format(dir=self.dir, port=self.port, drain=drain) + extra
        with open(os.path.join(self.conf, "10.conf"), "w") as f:
            f.write(text)

    def start(self, mode="", *arguments):
        env = dict(os.environ, STUB_LOG=self.events_path, STUB_MODE=mode)
        log = open(self.log_path, "ab")
        p = subprocess.Popen([os.path.join(self.bin, "pmtad"), "-c", self.conf, *arguments],
                             stderr=log, env=env, stdin=subprocess.DEVNULL)
        log.close()
        self.processes.append(p)
        return p

    def start_ready(self, mode="", *arguments):
        p = self.start(mode, *arguments)
        self.wait_log("all processes are ready")
        self.wait_event("receiver/1 listener in plain")
        return p

    def wait_for(self, condition, what):
        end = time.monotonic() + WAIT
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                self.fail(f"waited in vain for {what}\nlog:\n{self.log()}\n{self.events()}")
            time.sleep(0.005)

    def log(self):
        with open(self.log_path) as f:
            return f.read()

    def events(self):
        with open(self.events_path) as f:
            return f.read().splitlines()

    def wait_log(self, text, count=1):
        self.wait_for(lambda: self.log().count(text) >= count, f"log '{text}' x{count}")

    def wait_event(self, text, count=1):
        self.wait_for(lambda: self.events().count(text) >= count, f"event '{text}' x{count}")

    def admin(self):
        a = Admin(os.path.join(self.dir, "run", "admin.sock"))
        self.addCleanup(a.close)
        return a

    def ask(self, line):
        return self.admin().ask(line)

    def child(self, title):
        for o in self.ask("status root"):
            if o.get("child") == title:
                return o
        return None

    def end(self, p, status):
        self.assertEqual(p.wait(WAIT), status, self.log())

    def terminate(self, p, status=0):
        p.send_signal(signal.SIGTERM)
        self.end(p, status)

    def refused(self, *arguments):
        """A start that must fail: the one line that says why."""
        before = len(self.log()) if os.path.exists(self.log_path) else 0
        p = self.start("", *arguments)
        self.end(p, 1)
        lines = [l for l in self.log()[before:].splitlines() if l.startswith("pmtad: ")]
        self.assertEqual(len(lines), 1, self.log()[before:])
        return lines[0]

    # tests

    def test_start_order_and_drain_order(self):
        p = self.start_ready()
        for title, edges in (("pipe/bulk", {"edge resolver", "edge suppress", "edge receiver/0",
                                           "edge receiver/1"}),
                             ("receiver/0", {"edge pipe/bulk", "edge pipe/urgent", "edge suppress"}),
                             ("suppress", {"edge pipe/bulk", "edge pipe/urgent", "edge receiver/0",
                                           "edge receiver/1"}),
                             ("resolver", {"edge pipe/bulk", "edge pipe/urgent"})):
            mine = [e[len(title) + 1:] for e in self.events() if e.startswith(title + " ")]
            kinds = [e.split()[0] for e in mine]
            order = ["limit_table", "config", "directory", "edge", "start", "listener"]
            self.assertEqual(kinds, sorted(kinds, key=order.index), mine)
            self.assertEqual({e for e in mine if e.startswith("edge")}, edges)
            self.assertEqual(kinds.count("edge"), len(edges))
        shares = [e.split() for e in self.events() if "limit_table" in e]
        self.assertEqual({who for who, _, _ in shares}, {"pipe/bulk", "pipe/urgent"})
        self.assertEqual(len({share for _, _, share in shares}), 2)
        self.assertIn("pipe/bulk directory spool writable", self.events())
        self.assertIn("pipe/bulk directory accounting writable", self.events())
        self.assertEqual(os.stat(f"{self.dir}/spool/bulk").st_mode & 0o777, 0o700)
        self.assertEqual(os.stat(f"{self.dir}/run/admin.sock").st_mode & 0o777, 0o660)
        with open(f"{self.dir}/run/pmtad.pid") as f:
            self.assertEqual(int(f.read()), p.pid)
        socket.create_connection(("127.0.0.1", self.port), WAIT).close()
        self.terminate(p)
        drains = [e.split()[0].split("/")[0] for e in self.events() if e.endswith(" drain")]
        self.assertEqual(drains, ["receiver"] * 2 + ["pipe"] * 2 + ["suppress", "resolver"])
        self.assertFalse(os.path.exists(f"{self.dir}/run/admin.sock"))
        self.assertEqual(self.living_children(), [])

    def test_children_are_confined(self):
        p = self.start_ready()
        pid = self.child("pipe/bulk")["pid"]
        with open(f"/proc/{pid}/status") as f:
            status = dict(line.split(":", 1) for line in f)
        self.assertEqual(status["NoNewPrivs"].strip(), "1")
        if os.geteuid() == 0:
            self.assertNotIn("0", status["Uid"].split())
            self.assertNotIn("0", status["Gid"].split())
            self.assertEqual(status["Groups"].strip(), "")
        else:
            self.assertEqual(self.log().count("started without root"), 1)
        leaked = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")] \
            if os.access(f"/proc/{pid}/fd", os.R_OK) else []
        self.assertFalse([l for l in leaked if "pmtad.pid" in l], leaked)
        self.terminate(p)

    def test_restart_with_back_off(self):
        p = self.start_ready()
        for n in range(1, 4):
            before = self.child("pipe/bulk")["pid"]
            os.kill(before, signal.SIGKILL)
            self.wait_log("pipe/bulk is ready", n + 1)
            now = self.child("pipe/bulk")
            self.assertEqual(now["restarts"], n)
            self.assertNotEqual(now["pid"], before)
            self.assertIn(f"pipe/bulk is started again in {100 * 2 ** (n - 1)} ms", self.log())
        self.assertIn("pipe/bulk died", self.log())
        self.assertIn("signal=9", self.log())
        self.wait_event("receiver/0 edge-down pipe/bulk closed", 3)
        self.wait_event("receiver/0 edge pipe/bulk", 4)
        self.wait_event("resolver edge pipe/bulk", 4)
        self.assertNotIn("edge-down pipe/urgent", "\n".join(self.events()))
        self.terminate(p)

    def test_receiver_gets_its_sockets_again(self):
        p = self.start_ready()
        os.kill(self.child("receiver/0")["pid"], signal.SIGKILL)
        for _ in range(20):  # also while it is dead
            socket.create_connection(("127.0.0.1", self.port), WAIT).close()
        self.wait_event("receiver/0 listener in plain", 2)
        self.terminate(p)

    def test_first_start_gives_up(self):
        for mode, text in (("fatal", "the stub does not want to"), ("die", "exited with status 3"),
                           ("build", "it is of build 'another'")):
            with self.subTest(mode):
                p = self.start(f"pipe/bulk={mode}")
                self.end(p, 1)
                self.wait_log(f"pipe/bulk cannot be started: {text}")
                self.assertEqual(self.living_children(), [])
                self.assertFalse(os.path.exists(f"{self.dir}/run/admin.sock"))

    def test_busy_spool_is_waited_for(self):
        open(self.events_path + ".busy", "w").close()
        p = self.start("pipe/bulk=busy")
        self.wait_log("pipe/bulk cannot go on", 4)
        os.unlink(self.events_path + ".busy")
        self.wait_log("all processes are ready")
        self.terminate(p)

    def test_second_pmtad(self):
        p = self.start_ready()
        self.assertRegex(self.refused(), rf"another pmtad runs here, pid {p.pid} \(lock on '.*'\)")
        self.assertRegex(self.refused("-o", f"pmta.run-dir={self.dir}/run2"),
                         "spool '.*' is in use by another pmtad")
        self.assertTrue(self.ask("status root")[-1]["ok"])
        self.terminate(p)

    def test_operator_mistakes(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.port))
            taken.listen()
            self.assertIn(f"cannot listen on 127.0.0.1:{self.port}: Address already in use",
                          self.refused())
        p = self.start("", "-o", f"listener in.tls-certificate={self.dir}/none.pem")
        self.end(p, 1)
        self.assertIn("tls-certificate: ", self.log())
        open(f"{self.dir}/file", "w").close()
        self.assertIn(f"'{self.dir}/file/spool'", self.refused("-o", f"pmta.spool={self.dir}/file/spool"))
        if os.geteuid() == 0:
            self.assertIn("unknown user 'nobody-here'", self.refused("-o", "pmta.user=nobody-here"))
        os.unlink(os.path.join(self.bin, "pmta-pipe"))
        self.assertIn("'pmta-pipe'", self.refused())
        self.assertEqual(self.living_children(), [])
        self.assertFalse(os.path.exists(f"{self.dir}/run/admin.sock"))

    def test_stale_and_live_socket(self):
        os.mkdir(f"{self.dir}/run")
        path = f"{self.dir}/run/admin.sock"
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path)
            s.listen()
            self.assertIn("another process listens on the admin socket", self.refused())
            self.assertTrue(os.path.exists(path))
        p = self.start_ready()  # closed now: stale
        self.assertTrue(self.ask("status root")[-1]["ok"])
        self.terminate(p)

    def test_killed_root_leaves_room(self):
        p = self.start_ready()
        p.kill()
        p.wait(WAIT)
        self.wait_event("pipe/bulk drain")
        self.wait_for(lambda: not self.living_children(), "orphans to leave")
        p = self.start()
        self.wait_log("all processes are ready", 2)
        self.terminate(p)

    def test_reload(self):
        p = self.start_ready()
        port = free_port()
        self.write_config(extra=f"[pipe third]\n[listener two]\naddress = 127.0.0.1:{port}\n")
        answer = self.ask("reload root")
        self.assertEqual(answer[-1], {"end": True, "ok": True})
        self.assertEqual(answer[-2]["generation"], 2)
        self.wait_event("pipe/bulk config 2")
        self.wait_event("receiver/0 listener two plain")
        self.wait_log("pipe/third is ready")
        self.wait_event("receiver/0 edge pipe/third")
        socket.create_connection(("127.0.0.1", port), WAIT).close()
        # a bad one changes nothing and says why
        self.write_config(extra="no-such-directive = 1\n")
        answer = self.ask("reload *")
        self.assertFalse(answer[-1]["ok"])
        self.assertRegex(answer[0]["error"], r"10\.conf:\d+: .*no-such-directive")
        p.send_signal(signal.SIGHUP)
        self.wait_log("reload refused, nothing has changed")
        self.assertNotIn("pipe/bulk config 3", self.events())
        # a taken port is one, too
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            self.write_config(extra=f"[listener x]\naddress = 127.0.0.1:{taken.getsockname()[1]}\n")
            self.assertIn("cannot listen on", self.ask("reload *")[0]["error"])
        # without 'third' and 'two': the pipe goes on, the listener is closed by root
        self.write_config()
        p.send_signal(signal.SIGHUP)
        self.wait_log("pipe 'third' is not configured any more")
        self.wait_event("pipe/bulk config 3")
        self.assertNotIn("pipe/third config 3", self.events())
        self.wait_for(lambda: self.refuses(port), "closed listener")
        self.assertEqual(self.child("pipe/third")["state"], "running")
        self.terminate(p)

    def refuses(self, port):
        try:
            socket.create_connection(("127.0.0.1", port), WAIT).close()
            return False
        except ConnectionRefusedError:
            return True

    def test_reload_that_a_child_refuses(self):
        p = self.start_ready("pipe/bulk=trouble")
        answer = self.ask("reload root")
        self.assertFalse(answer[-1]["ok"])
        self.assertEqual(answer[0], {"process": "root",
                                     "error": "pipe/bulk: the stub likes the old one"})
        self.assertEqual(self.child("pipe/bulk")["state"], "running")
        self.terminate(p)

    def test_log_file_is_opened_again(self):
        path = f"{self.dir}/pmta.log"
        p = self.start("", "-o", f"pmta.log-file={path}")
        self.wait_event("receiver/1 listener in plain")
        os.rename(path, path + ".1")
        self.assertTrue(self.ask("reload root")[-1]["ok"])
        with open(path) as f:
            self.assertIn("generation 2 is in force", f.read())
        self.terminate(p)

    def test_second_signal(self):
        p = self.start_ready("pipe/bulk=stay")
        p.send_signal(signal.SIGTERM)
        self.wait_event("pipe/bulk drain")
        p.send_signal(signal.SIGINT)
        self.end(p, 1)
        self.assertEqual(self.living_children(), [])

    def test_drain_timeout(self):
        self.write_config(drain="300ms")
        p = self.start_ready("receiver/0=stay,pipe/urgent=stay")
        self.terminate(p, 0)
        self.assertIn("receiver/0 did not drain in time", self.log())
        self.assertEqual(self.living_children(), [])

    def test_shutdown_by_admin(self):
        p = self.start_ready()
        self.assertEqual(self.ask("shutdown root"), [{"end": True, "ok": True}])
        self.end(p, 0)

    def test_admin_fan_out(self):
        p = self.start_ready()
        a = self.admin()
        names = {"receiver/0", "receiver/1", "pipe/bulk", "pipe/urgent", "resolver", "suppress"}
        answer = a.ask("status *")
        self.assertEqual(answer[-1], {"end": True, "ok": True})
        self.assertEqual({o["process"] for o in answer if "level" in o}, names)
        self.assertEqual({o["child"] for o in answer if "child" in o}, names)
        self.assertEqual(sum("more" in o for o in answer), len(names))
        root = answer[0]
        self.assertEqual((root["process"], root["pid"], root["generation"], root["config_dir"]),
                         ("root", p.pid, 1, self.conf))
        # the same connection serves many, also several lines at once
        self.assertEqual({o["process"] for o in a.ask("show-pipes pipe {}") if "level" in o},
                         {"pipe/bulk", "pipe/urgent"})
        a.file.write(b"show-pipes pipe/bulk\nshow-pipes pipe/urgent\n")
        a.file.flush()
        lines = [json.loads(a.file.readline()) for _ in range(6)]
        self.assertEqual([o["process"] for o in lines if "process" in o], ["pipe/bulk", "pipe/urgent"])
        for line, error in (("show-pipes pipe/blk", "no pipe named 'blk' (did you mean 'bulk'?)"),
                            ("show-pipes pipe/xyzzy", "no pipe named 'xyzzy'"),
                            ("show-pipes receiver", "'show-pipes' is not for receiver"),
                            ("show-pipes nobody", "no kind of process named 'nobody'"),
                            ("explode *", "no verb named 'explode'"),
                            ('debug root {"subsystems":"dns,nonsense"}',
                             "no subsystem named 'nonsense'")):
            self.assertEqual(a.ask(line), [{"end": True, "ok": False, "error": error}])
        self.assertTrue(a.ask('debug root {"subsystems": "admin,ipc"}')[-1]["ok"])
        a.ask("status root")
        self.wait_log("line='status root'")
        self.assertTrue(a.ask('debug root {"subsystems":"none"}')[-1]["ok"])
        self.terminate(p)

    def test_admin_limits(self):
        p = self.start_ready()
        a = self.admin()
        a.file.write(b"x" * 70000)
        a.file.flush()
        self.assertIn("longer than 65536", json.loads(a.file.readline())["error"])
        try:
            self.assertEqual(a.file.readline(), b"")
        except ConnectionResetError:
            pass  # closed, with what we sent unread
        held = [self.admin() for _ in range(32)]
        self.assertTrue(held[-1].ask("status root")[-1]["ok"])
        self.assertIn("more than 32", json.loads(self.admin().file.readline())["error"])
        for h in held:
            h.close()
        self.wait_for(self.can_ask, "room for admin clients")
        # one that closes its side still gets its answer
        a = self.admin()
        a.file.write(b"status *\n")
        a.file.flush()
        a.socket.shutdown(socket.SHUT_WR)
        self.assertIn(b'"end":true', a.file.read())
        self.terminate(p)

    def can_ask(self):
        try:
            return self.ask("status root")[-1]["ok"]
        except (EOFError, OSError):
            return False

    def test_child_dies_instead_of_answering(self):
        p = self.start_ready()
        answer = self.ask('show-pipes pipe/bulk {"stub":"crash"}')
        self.assertEqual(answer, [{"process": "pipe/bulk", "error": "did not answer"},
                                  {"end": True, "ok": False}])
        self.wait_log("signal=6")
        self.wait_log("pipe/bulk is ready", 2)
        self.terminate(p)

    def test_child_is_silent(self):
        p = self.start_ready()
        answer = self.ask('show-pipes pipe/bulk {"stub":"silence"}')
        self.assertEqual(answer[0], {"process": "pipe/bulk", "error": "did not answer"})
        self.assertFalse(answer[-1]["ok"])
        self.terminate(p)

    def test_garbage(self):
        p = self.start_ready()
        # to root: that child is ended and started again, nobody else is touched
        self.ask('show-pipes pipe/bulk {"stub":"garbage"}')
        self.wait_log("control edge of pipe/bulk closed: peer broke the protocol")
        self.wait_log("pipe/bulk is ready", 2)
        # to a peer: that edge alone goes
        self.ask('show-pipes pipe/urgent {"stub":"peer-garbage"}')
        self.wait_event("resolver edge-down pipe/urgent protocol")
        self.wait_event("pipe/urgent edge-down resolver closed")
        self.assertEqual(self.child("pipe/urgent")["restarts"], 0)
        self.assertEqual(self.child("resolver")["restarts"], 0)
        self.terminate(p)

    @unittest.skipUnless(os.geteuid() == 0, "needs another user")
    def test_admin_levels(self):
        p = self.start_ready()
        os.chmod(f"{self.dir}/run/admin.sock", 0o666)
        code = ("import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
                "s.sendall(sys.argv[2].encode()+b'\\n'); s.shutdown(1);"
                "print(s.makefile().read())")
        def as_nobody(line):
            return subprocess.run(["python3", "-c", code, f"{self.dir}/run/admin.sock", line],
                                  user=65534, group=65534, extra_groups=[], timeout=WAIT,
                                  stdout=subprocess.PIPE, text=True, check=True).stdout
        self.assertIn('"ok":true', as_nobody("status root"))
        self.assertIn("'pause-pipe' is for operators", as_nobody("pause-pipe pipe/bulk"))
        self.assertIn("'shutdown' is for operators", as_nobody("shutdown root"))
        self.terminate(p)

    def test_command_line(self):
        run = lambda *a: subprocess.run([os.path.join(self.bin, "pmtad"), *a], text=True,
                                        timeout=WAIT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(run("--check", "-c", self.conf).returncode, 0)
        self.assertIn("is good: 2 pipes, 1 listeners", run("--check", "-c", self.conf).stdout)
        self.assertFalse(os.path.exists(f"{self.dir}/run"))
        bad = run("--check", "-c", self.conf, "-o", "pmta.no-such=1")
        self.assertEqual(bad.returncode, 1)
        self.assertIn("no-such", bad.stderr)
        self.assertIn("pmtad ", run("--version").stdout)
        self.assertIn("usage:", run("--help").stdout)
        for wrong in ((), ("-c", self.conf, "extra"), ("-o", "x", "-c", self.conf), ("--nonsense",)):
            self.assertEqual(run(*wrong).returncode, 2, wrong)
        direct = subprocess.run([os.path.join(self.bin, "pmta-pipe")], stderr=subprocess.PIPE,
                                text=True, timeout=WAIT)
        self.assertEqual(direct.returncode, 2)
        self.assertIn("is started by pmtad", direct.stderr)


if __name__ == "__main__":
    unittest.main()
