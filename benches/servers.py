#!/usr/bin/env python3
"""Measures several servers on PostgreSQL: benches/servers.py [--rounds N] [--only second|failover] [--server BINARY]

second     Requests/s of one hero by id from two servers, in relation to one. Each server is held to a fifth of a core,
           so that neither PostgreSQL nor wrk is what bounds it: by a cgroup where this may make one, which takes root,
           and otherwise by signals that stop it when it has used its share. One server and two are measured in turn.
failover   What clients that write see when the primary is killed and its hot standby is promoted at once. Replication
           is synchronous, so no write that was answered may be missing afterwards. The next round kills the new
           primary, with a standby in the place of the old one; the server runs on. Times below zero are possible: a
           write is answered before `pg_ctl promote`, which looks ten times a second, has seen that it is done, or
           before the line about it is in PostgreSQL's log.
           In some rounds PostgreSQL itself notices the promotion only after wal_retrieve_retry_interval, which is
           5 s: the first row tells.

It takes Linux, PostgreSQL's programs, for `second` also wrk, and the program of `cargo build --release`. The clusters,
the logs and everything else are in a folder that is removed at the end, also after Ctrl-C. It ends with 1 if a write
that was answered is missing, or was done twice.
"""

import argparse
import collections
import contextlib
import glob
import http.client
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

BINARY = pathlib.Path(__file__).resolve().parent.parent / "target" / "release" / "hero-teams"
ROOT = os.geteuid() == 0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Settings of the one who runs this count neither for the server nor for PostgreSQL.
ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}

HEROES = 1000
CONNECTIONS = 8
SECONDS = 3
SHARE = 0.2
PERIOD = 0.05
READ = "query($id: ID!) { hero(id: $id) { id name age } }"
LOAD = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }"

WRITERS = 4
PAUSE = 0.005
SETTLE = 1.0
PATIENCE = 30
CREATE = 'mutation($name: String!) { createHero(input: {name: $name, secretName: "S"}) { hero { id } } }'
ROLE_URL = "postgres://postgres@127.0.0.1:{}/postgres"
FAILOVER_URL = "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write"

# A cluster of PostgreSQL: its folder, with the data, the socket and the log, and its port.
Cluster = collections.namedtuple("Cluster", "folder port")
# Something that was asked, in seconds of the clock that PostgreSQL's log has as well, and what came of it.
Asked = collections.namedtuple("Asked", "what sent answered outcome")


def until(condition, what):
    """Waits for something to be so."""
    deadline = time.time() + PATIENCE
    while not condition():
        if time.time() > deadline:
            sys.exit(f"{what}: not within {PATIENCE} s")
        time.sleep(0.02)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def table(head, rows):
    """Columns to the right; the first one to the left."""
    rows = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for first, *others in rows:
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:]))
        print("  ".join([first.ljust(widths[0]), *cells]))


# PostgreSQL


def programs():
    """The folder of PostgreSQL's programs."""
    folders = [os.path.dirname(os.path.realpath(found)) for found in [shutil.which("initdb")] if found]
    if shutil.which("pg_config"):
        folders.append(subprocess.run(["pg_config", "--bindir"], stdout=subprocess.PIPE, text=True).stdout.strip())
    installed = glob.glob("/usr/lib/postgresql/*/bin")
    folders += sorted(installed, key=lambda path: [int(part) for part in re.findall(r"\d+", path)], reverse=True)
    for folder in folders:
        if all(os.path.exists(os.path.join(folder, name)) for name in ("initdb", "pg_basebackup", "pg_ctl", "psql")):
            return folder
    sys.exit("PostgreSQL's programs (initdb, pg_basebackup, pg_ctl, psql) are not there")


def postgres(cluster, program, *arguments):
    """Runs a program of PostgreSQL, which refuses to run as root."""
    command = [os.path.join(programs(), program), *map(str, arguments)]
    if ROOT:
        command = ["runuser", "-u", "postgres", "--", *command]
    process = subprocess.Popen(
        command, cwd=cluster.folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        said, complaint = process.communicate()
    except BaseException:
        # It ends by itself, so that nothing starts after everything has been stopped.
        process.communicate()
        raise
    if process.returncode:
        log = cluster.folder / "log"
        logged = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        sys.exit(f"{program} failed: {complaint}{logged}")
    return said.strip()


def new_cluster(stack, work, name):
    """A folder for a cluster, which is stopped at the end."""
    folder = work / name
    folder.mkdir()
    if ROOT:
        shutil.chown(folder, "postgres")
    cluster = Cluster(folder, free_port())
    stack.callback(kill, cluster)
    return cluster


def make_primary(cluster):
    postgres(
        cluster, "initdb", "-D", cluster.folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8",
        "--locale=C.UTF-8", "-N",
    )  # fmt: skip
    # A standby gets these with its copy of the primary.
    with open(cluster.folder / "data" / "postgresql.conf", "a", encoding="utf-8") as settings:
        settings.write("listen_addresses = '127.0.0.1'\nmax_connections = 200\nlog_line_prefix = '%n '\n")
    start(cluster)


def make_standby(cluster, primary):
    """A standby in the place of whatever was there: data, a log, the lock of the socket of one that was killed."""
    shutil.rmtree(cluster.folder / "data", ignore_errors=True)
    for left in cluster.folder.iterdir():
        left.unlink()
    postgres(
        cluster, "pg_basebackup", "-D", cluster.folder / "data", "-U", "postgres", "-h", primary.folder, "-p",
        primary.port, "-R", "-c", "fast", "-N",
    )  # fmt: skip
    start(cluster)


def start(cluster):
    options = f"-p {cluster.port} -k {shlex.quote(str(cluster.folder))}"
    folder = cluster.folder
    postgres(cluster, "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", options, "start")


def sql(cluster, statement):
    return postgres(
        cluster, "psql", "-XAtq", "-U", "postgres", "-h", cluster.folder, "-p", cluster.port, "-c", statement,
        "postgres",
    )  # fmt: skip


def children(parent):
    """The processes that a process has started."""
    found = []
    for stat in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError):
            with open(stat, encoding="utf-8", errors="replace") as file:
                pid, rest = file.read().split(" ", 1)
            if int(rest.rpartition(")")[2].split()[1]) == parent:
                found.append(int(pid))
    return found


def postmaster(cluster):
    """The first process of a cluster."""
    return int((cluster.folder / "data" / "postmaster.pid").read_text().split()[0])


def kill(cluster):
    """Ends all processes of a cluster at once, as a machine that fails does."""
    try:
        parent = postmaster(cluster)
        with open(f"/proc/{parent}/cmdline", "rb") as file:
            if os.fsencode(cluster.folder) not in file.read():
                return
        # It starts no further ones while it is stopped.
        os.kill(parent, signal.SIGSTOP)
    except (OSError, IndexError, ValueError):
        return
    for pid in [parent, *children(parent)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def writable_since(cluster):
    """When a standby that was promoted said that it was ready, by its log."""
    with open(cluster.folder / "log", encoding="utf-8", errors="replace") as log:
        times = [line.split()[0] for line in log if "system is ready to accept connections" in line]
    return float(times[-1])


# The server


def new_server(stack, work, binary, url):
    """A server and its port. It is killed at the end."""
    port = free_port()
    log = stack.enter_context(open(work / f"server-{port}.log", "wb"))
    server = subprocess.Popen(
        [binary, "--listen", f"127.0.0.1:{port}", "--database-url", url],
        cwd=work, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    stack.callback(end, server)

    def is_ready():
        if server.poll() is not None:
            sys.exit(f"the server has ended: {pathlib.Path(log.name).read_text(errors='replace')[-2000:]}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            return health(connect(port)) == 200
        return False

    until(is_ready, "the server is ready")
    return server, port


def end(server):
    server.kill()
    server.wait()


def connect(port):
    return http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)


def health(connection):
    connection.request("GET", "/health/ready")
    answer = connection.getresponse()
    answer.read()
    return answer.status


def ask(connection, query, variables):
    body = json.dumps({"query": query, "variables": variables})
    connection.request("POST", "/graphql", body, {"content-type": "application/json"})
    return json.loads(connection.getresponse().read())


# A second server


def hold(stack, server):
    """Holds a server to its share of a core, and tells how."""
    name = f"hero-teams-{server.pid}"
    period, quota = int(PERIOD * 1e6), int(PERIOD * SHARE * 1e6)
    versions = {
        "cgroup v2, cpu.max": ("/sys/fs/cgroup", {"cpu.max": f"{quota} {period}"}),
        "cgroup v1, cpu.cfs_quota_us": (
            "/sys/fs/cgroup/cpu",
            {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": str(quota)},
        ),
    }
    for version, (place, settings) in versions.items():
        group = pathlib.Path(place, name)
        try:
            group.mkdir()
        except OSError:
            continue
        # The server has ended by then. It may take a moment to leave.
        stack.callback(remove_group, group, server)
        if all((group / setting).exists() for setting in settings):
            for setting, value in settings.items():
                (group / setting).write_text(value)
            (group / "cgroup.procs").write_text(str(server.pid))
            return version
    over = threading.Event()
    thread = threading.Thread(target=hold_by_signals, args=(server, over))
    thread.start()
    stack.callback(thread.join)
    stack.callback(over.set)
    return "SIGSTOP and SIGCONT"


def remove_group(group, server):
    end(server)
    for _ in range(50):
        try:
            return group.rmdir()
        except OSError:
            time.sleep(0.02)
    print(f"{group} could not be removed", file=sys.stderr)


def hold_by_signals(server, over):
    """Stops a process whenever it has used its share. What it does not use it may save up for one period."""
    allowed = cpu_seconds(server.pid)
    last = time.monotonic()
    while not over.wait(0.002):
        now = time.monotonic()
        used = cpu_seconds(server.pid)
        allowed = max(allowed, used - PERIOD * SHARE) + (now - last) * SHARE
        allowed = min(allowed, used + PERIOD * SHARE)
        last = now
        server.send_signal(signal.SIGSTOP if used > allowed else signal.SIGCONT)
    server.send_signal(signal.SIGCONT)


def cpu_seconds(pid):
    """The CPU time that a process has used: Linux has a clock for that of each process."""
    return time.clock_gettime((~pid << 3) | 2)


def spent(cluster, servers):
    """The CPU time so far of each server, of PostgreSQL, of wrk with the rest of this, and of the whole machine."""
    with open("/proc/stat", encoding="utf-8") as stat:
        ticks = [int(number) for number in stat.readline().split()[1:9]]
    database = 0
    for pid in children(postmaster(cluster)):
        with contextlib.suppress(OSError):
            database += cpu_seconds(pid)
    machine = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    return [*(cpu_seconds(server.pid) for server in servers), database, sum(os.times()[:4]), machine]


def load(ports, script, seconds):
    """Requests/s from all of these servers together."""
    runs = [
        subprocess.Popen(
            ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{port}/graphql"],
            stdout=subprocess.PIPE, text=True,
        )
        for port in ports
    ]  # fmt: skip
    try:
        said = [run.communicate()[0] for run in runs]
    finally:
        for run in runs:
            run.kill()
    for text, run in zip(said, runs):
        if run.returncode or "Non-2xx" in text or "Socket errors" in text:
            sys.exit(f"wrk failed: {text}")
    return sum(float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]) for text in said)


def check_heroes(ports):
    for port in ports:
        connection = connect(port)
        for number in (1, HEROES):
            name = ask(connection, READ, {"id": str(number)})["data"]["hero"]["name"]
            if name != f"Hero {number}":
                sys.exit(f"hero {number} is {name}")
        connection.close()


def second(work, binary, rounds):
    """One server and two, in turn."""
    if not shutil.which("wrk"):
        sys.exit("wrk is not there")
    script = work / "hero.lua"
    body = json.dumps({"query": READ, "variables": {"id": "ID"}}).replace('"ID"', '"%d"')
    script.write_text(
        f"local headers = {{['content-type'] = 'application/json'}}\n"
        f"request = function()\n"
        f"  local body = string.format('{body}', math.random({HEROES}))\n"
        f"  return wrk.format('POST', '/graphql', headers, body)\n"
        f"end\n"
    )
    with contextlib.ExitStack() as stack:
        cluster = new_cluster(stack, work, "postgres")
        make_primary(cluster)
        servers = [new_server(stack, work, binary, ROLE_URL.format(cluster.port)) for _ in range(2)]
        ports = [port for _, port in servers]
        heroes = [{"name": f"Hero {number}", "secretName": "S", "age": number} for number in range(1, HEROES + 1)]
        ask(connect(ports[0]), LOAD, {"input": heroes})
        sql(cluster, "VACUUM ANALYZE")
        check_heroes(ports)
        load(ports, script, 1)
        ways = {hold(stack, server) for server, _ in servers}
        print(
            f"One hero by id, {CONNECTIONS} connections for each server, {SECONDS} s each, "
            f"each server held to {SHARE:g} of a core ({', '.join(ways)})"
        )
        load(ports, script, 1)
        measured, shares, used = [], [], {1: [], 2: []}
        for number in range(rounds):
            rates = {}
            # Each of the servers is the one server in turn, and comes before or after the two.
            alone = servers[number % 2]
            for running in ([alone], servers) if number % 2 == 0 else (servers, [alone]):
                processes = [server for server, _ in running]
                began, before = time.monotonic(), spent(cluster, processes)
                rates[len(running)] = load([port for _, port in running], script, SECONDS)
                after, took = spent(cluster, processes), time.monotonic() - began
                *held, database, own, machine = ((end - start) / took for start, end in zip(before, after))
                shares += held
                used[len(running)].append((database, own, machine - sum(held) - database - own))
            measured.append((rates[1], rates[2], rates[2] / rates[1]))
        check_heroes(ports)
    rows = [(f"pair {place}", *row) for place, row in enumerate(measured, 1)]
    rows.append(("median", *(statistics.median(column) for column in zip(*measured))))
    table(
        ["requests/s", "one server", "two servers", "ratio"],
        [(name, f"{one:.0f}", f"{two:.0f}", f"{ratio:.2f}") for name, one, two, ratio in rows],
    )
    ratios = [ratio for _, _, ratio in measured]
    print(f"Ratio {rows[-1][3]:.2f} ({rounds} pairs, {min(ratios):.2f} to {max(ratios):.2f})")
    print(f"A server used {min(shares):.2f} to {max(shares):.2f} of a core. Of {os.cpu_count()} cores, medians:")
    for count, name in ((1, "one server"), (2, "two servers")):
        database, own, others = (statistics.median(column) for column in zip(*used[count]))
        print(f"  {name}: PostgreSQL {database:.2f}, wrk {own:.2f}, everything else on this machine {others:.2f}")
    return True


# Failover


def write(port, prefix, over, writes):
    """Writes heroes, one after another, and notes what came of each."""
    connection = connect(port)
    number = 0
    while not over.wait(PAUSE):
        name, sent = f"{prefix}-{number}", time.time()
        number += 1
        try:
            answer = ask(connection, CREATE, {"name": name})
            errors = answer.get("errors")
            outcome = errors[0]["extensions"]["code"] if errors else "written"
        except (OSError, http.client.HTTPException, ValueError) as error:
            outcome = type(error).__name__
            connection.close()
        writes.append(Asked(name, sent, time.time(), outcome))
    connection.close()


def probe(port, over, probes):
    """Asks whether the server is ready, again and again."""
    connection = connect(port)
    while not over.wait(PAUSE):
        sent = time.time()
        try:
            outcome = health(connection)
        except (OSError, http.client.HTTPException) as error:
            outcome = type(error).__name__
            connection.close()
        probes.append(Asked("ready", sent, time.time(), outcome))
    connection.close()


@contextlib.contextmanager
def clients(port, prefix):
    """Clients that write, and one that asks whether the server is ready."""
    over, writes, probes = threading.Event(), [], []
    threads = [
        threading.Thread(target=write, args=(port, f"{prefix}-{place}", over, writes)) for place in range(WRITERS)
    ]
    threads.append(threading.Thread(target=probe, args=(port, over, probes)))
    for thread in threads:
        thread.start()
    try:
        yield writes, probes
    finally:
        over.set()
        for thread in threads:
            thread.join()


def fail_over(port, prefix, primary, standby):
    """Kills the primary while clients write, and promotes the standby."""
    with clients(port, prefix) as (writes, probes):
        time.sleep(SETTLE)
        kill(primary)
        killed = time.time()
        postgres(standby, "pg_ctl", "-D", standby.folder / "data", "-w", "promote")
        promoted = time.time()
        for asked, outcome, what in ((writes, "written", "a write is answered"), (probes, 200, "the server is ready")):
            until(lambda: any(one.outcome == outcome and one.sent > promoted for one in asked[-50:]), what)
        time.sleep(SETTLE)
    return writes, probes, killed, promoted


def first_after_pause(writes, killed):
    """When writes were answered again: at the end of the longest pause after the kill.

    The first answer after the kill may be one that the old primary had given just before.
    """
    times = sorted(one.answered for one in writes if one.outcome == "written")
    pauses = [(after - before, after) for before, after in zip(times, times[1:]) if after > killed]
    return max(pauses)[1]


def not_ready(probes, killed):
    """For how long the server said that it was not ready, how often, and how long the slowest answer took."""
    after = [one for one in probes if one.answered > killed]
    refused = [one for one in after if one.outcome != 200]
    lasted = 0
    if refused:
        back = next(one for one in after if one.outcome == 200 and one.sent > refused[-1].sent)
        lasted = back.answered - refused[0].answered
    return lasted, collections.Counter(one.outcome for one in refused), max(one.answered - one.sent for one in after)


def replicate(standby, primary):
    """A new standby that the primary waits for.

    The primary is told when the copy has been made, so that the standby waits for no other one when it is promoted.
    """
    make_standby(standby, primary)
    sql(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'")
    sql(primary, "SELECT pg_reload_conf()")
    state = "SELECT state || ' ' || sync_state FROM pg_stat_replication"
    until(lambda: sql(primary, state) == "streaming sync", "the standby is synchronous")


def failover(work, binary, rounds):
    """The primary is killed again and again."""
    print(
        f"Failover with synchronous replication (synchronous_standby_names = '*'), {WRITERS} clients that write every "
        f"{PAUSE * 1000:g} ms, times in ms"
    )
    names = [
        "PostgreSQL writable (its log) after kill", "promote returned after kill", "first write after kill",
        "first write after PostgreSQL was writable", "first write after promote returned", "not ready (503) for",
        "slowest answer of /health/ready", "slowest write",
    ]  # fmt: skip
    counts = [
        "answered writes", "missing of these", "written twice", "refused or not answered", "of these written",
        "answers of 503",
    ]  # fmt: skip
    rows, notes, answered, outcomes = [], [], set(), collections.Counter()
    with contextlib.ExitStack() as stack:
        primary, standby = (new_cluster(stack, work, name) for name in ("first", "second"))
        make_primary(primary)
        _, port = new_server(stack, work, binary, FAILOVER_URL.format(primary.port, standby.port))
        for number in range(1, rounds + 1):
            replicate(standby, primary)
            writes, probes, killed, promoted = fail_over(port, f"r{number}", primary, standby)
            primary, standby = standby, primary
            writable, first = writable_since(primary), first_after_pause(writes, killed)
            lasted, refusals, slowest = not_ready(probes, killed)
            times = [
                writable - killed, promoted - killed, first - killed, first - writable, first - promoted, lasted,
                slowest, max(one.answered - one.sent for one in writes),
            ]  # fmt: skip
            rows.append([round(1000 * value) for value in times])
            # What was answered in the rounds before has to be there as well.
            there = collections.Counter(sql(primary, "SELECT name FROM hero").splitlines())
            now = {one.what for one in writes if one.outcome == "written"}
            failed = {one.what for one in writes if one.outcome != "written"}
            answered |= now
            twice = sum(times > 1 for times in there.values())
            notes.append([len(now), len(answered - there.keys()), twice, len(failed), len(failed & there.keys())])
            notes[-1].append(refusals[503])
            outcomes += collections.Counter(one.outcome for one in writes if one.outcome != "written")
            outcomes += collections.Counter({f"/health/ready: {key}": times for key, times in refusals.items()})
    head = ["", *(f"round {number}" for number in range(1, rounds + 1)), "median", "worst"]
    lines = [(name, *column, round(statistics.median(column)), max(column)) for name, column in zip(names, zip(*rows))]
    lines += [(name, *column, "", "") for name, column in zip(counts, zip(*notes))]
    table(head, lines)
    print("Not written or not ready:", ", ".join(f"{key} {times}" for key, times in sorted(outcomes.items())) or "none")
    return not any(missing or twice for _, missing, twice, *_ in notes)


def stop(number, _frame):
    """Ends this. What is tidied up then is not interrupted again."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="pairs, and failovers; 5 by default")
    parser.add_argument("--only", choices=["second", "failover"], help="one of the two; both by default")
    parser.add_argument("--server", default=BINARY, metavar="BINARY", help="target/release/hero-teams by default")
    arguments = parser.parse_args()
    binary = pathlib.Path(arguments.server).resolve()
    if not os.access(binary, os.X_OK):
        parser.error(f"{arguments.server} is not there")
    if arguments.rounds < 1:
        parser.error("--rounds is at least 1")
    for number in SIGNALS:
        signal.signal(number, stop)
    good = True
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hero-teams-")))
        # PostgreSQL's user has to get to its folders.
        work.chmod(0o755)
        for part in (second, failover):
            if arguments.only in (None, part.__name__):
                folder = work / part.__name__
                folder.mkdir()
                good &= part(folder, binary, arguments.rounds)
                print(flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
