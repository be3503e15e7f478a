#!/usr/bin/env python3
"""The job `sb`, mode hop, with Redis: a leaderboard of sorted sets for each category and minute.

    client.py --socket PATH --input FILE.csv --output FILE --last-us N

What Redis holds (C a category, M a minute since 1970):

    clicks:C:M    sorted set   item -> its score within the minute; ZINCRBY at every click
    sold_out:C    set          items without stock; SADD and SREM
    shown:C       sorted set   at an answer: ZUNIONSTORE of ten minutes, ZDIFFSTORE sold_out
    top:C         sorted set   the first ten of it; `global` is the first ten of the ZUNION of these

Scores are stored negated and items with leading zeros: the order of a sorted set is that of the lists
then, greater scores first and among equals the smaller item, and a range from its head is the answer.

Commands are written as Redis' page on mass insertion advises: the protocol made by hand, many to a
write. Clicks and stock ask for no reply (CLIENT REPLY OFF). The library is redis-py with hiredis.

Prints what it took, as a line of JSON.
"""

import argparse
import json
import platform
import resource
import time

import redis

START_US = 1_700_000_000_000_000
MINUTE_US = 60_000_000
WINDOW_MINUTES = 10
LATENESS_US = 2_000_000
K = 10
BATCH_COMMANDS = 5_000


class Client:
    def __init__(self, connection):
        self.connection = connection
        self.pack = connection.pack_command
        self.batch = []
        self.answers = []
        # Category -> minutes of which there is a set; not more than the window has, and those to come.
        self.minutes = {}
        self.held = []  # updates of stock of a minute that is still to be answered

    def run(self, path, last_us):
        self.connection.send_command("CLIENT", "REPLY", "OFF")
        answer_us = -(-START_US // MINUTE_US) * MINUTE_US
        greatest_us = 0
        minutes = self.minutes
        batch = self.batch
        zincrby = b"*4\r\n$7\r\nZINCRBY\r\n$%d\r\n%b\r\n$%d\r\n-%b\r\n$8\r\n%08d\r\n"
        with open(path, "rb") as lines:
            next(lines)
            for line in lines:
                _arrival, at, kind, item, category, amount = line.split(b",")
                at_us = int(at)
                greatest_us = max(greatest_us, at_us)
                # Nothing that comes from now on happened before `answer_us`.
                while greatest_us >= answer_us + LATENESS_US:
                    self.answer(answer_us)
                    answer_us += MINUTE_US
                if kind == b"click":
                    minute = at_us // MINUTE_US
                    minutes.setdefault(category, set()).add(minute)
                    key = b"clicks:%b:%d" % (category, minute)
                    amount = amount[:-1]  # the end of the line
                    batch.append(zincrby % (len(key), key, len(amount) + 1, amount, int(item)))
                    if len(batch) >= BATCH_COMMANDS:
                        self.send()
                else:
                    self.held.append((at_us, item, category, int(amount)))
        while answer_us <= last_us:
            self.answer(answer_us)
            answer_us += MINUTE_US

    def send(self):
        self.connection.send_packed_command((b"".join(self.batch),), check_health=False)
        self.batch.clear()

    def command(self, *words):
        self.batch.append(b"".join(self.pack(*words)))

    def take_stock(self, until_us):
        self.held.sort(key=lambda update: update[0])
        later = []
        for update in self.held:
            at_us, item, category, units = update
            if at_us >= until_us:
                later.append(update)
            else:
                self.command("SREM" if units > 0 else "SADD", b"sold_out:" + category, b"%08d" % int(item))
        self.held = later

    def answer(self, t_us):
        self.take_stock(t_us)
        end = t_us // MINUTE_US
        shown = []
        for category, minutes in self.minutes.items():
            for minute in [minute for minute in minutes if minute < end - WINDOW_MINUTES]:
                self.command("UNLINK", b"clicks:%b:%d" % (category, minute))
                minutes.remove(minute)
            within = [b"clicks:%b:%d" % (category, minute) for minute in minutes if minute < end]
            list_key, top_key = b"shown:" + category, b"top:" + category
            if within:
                shown.append(category)
                self.command("ZUNIONSTORE", list_key, len(within), *within)
                self.command("ZDIFFSTORE", list_key, 2, list_key, b"sold_out:" + category)
                self.command("ZRANGESTORE", top_key, list_key, 0, K - 1)
        self.send()
        self.connection.send_command("CLIENT", "REPLY", "ON")
        self.expect_ok()
        for category in shown:
            self.command("ZRANGE", b"top:" + category, 0, K - 1, "WITHSCORES")
        tops = [b"top:" + category for category in shown]
        if tops:
            self.command("ZUNIONSTORE", "top:global", len(tops), *tops)
            self.command("ZRANGE", "top:global", 0, K - 1, "WITHSCORES")
        self.send()
        for category in shown:
            self.note(t_us, category.decode())
        if tops:
            self.connection.read_response()
            self.note(t_us, "global")
        self.connection.send_command("CLIENT", "REPLY", "OFF")

    def expect_ok(self):
        # What failed before was silent; the server's count of errors is looked at in the end.
        reply = self.connection.read_response()
        if reply != b"OK":
            raise SystemExit(f"redis said {reply!r}")

    def note(self, t_us, name):
        reply = self.connection.read_response()
        if reply:
            members = " ".join(
                f"{int(item)}:{-int(score)}" for item, score in zip(reply[::2], reply[1::2])
            )
            self.answers.append(f"{t_us},{name},{members}\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--last-us", type=int, required=True)
    options = parser.parse_args()

    connection = redis.UnixDomainSocketConnection(path=options.socket)
    connection.connect()
    server = redis.Redis(unix_socket_path=options.socket)
    # Connecting tells the server the library's name, which Redis 7.0 counts as an error.
    server.config_resetstat()
    client = Client(connection)
    server_cpu = server_cpu_seconds(server)
    began, began_cpu = time.monotonic(), cpu_seconds()
    client.run(options.input, options.last_us)
    with open(options.output, "w") as out:
        out.writelines(client.answers)
    seconds, client_cpu = time.monotonic() - began, cpu_seconds() - began_cpu

    server_cpu = server_cpu_seconds(server) - server_cpu
    errors = server.info("errorstats")
    if errors:
        raise SystemExit(f"redis counted errors: {errors}")
    about = server.info("server")
    client_rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux
    server_rss_mib = peak_rss_mib(about["process_id"])
    print(json.dumps({
        "engine": "redis",
        "mode": "hop",
        "version": about["redis_version"],
        "parallelism": 1,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(client_cpu + server_cpu, 3),
        "server_cpu_seconds": round(server_cpu, 3),
        "client_cpu_seconds": round(client_cpu, 3),
        "peak_rss_mib": round(client_rss_mib + server_rss_mib, 1),
        "server_peak_rss_mib": round(server_rss_mib, 1),
        "commands": server.info("stats")["total_commands_processed"],
        "lists": len(client.answers),
        "settings": {
            "persistence": "none",
            "connection": "unix socket",
            "commands_per_write": BATCH_COMMANDS,
            "replies_to_clicks": "off",
            "client": f"redis-py {redis.__version__}, Python {platform.python_version()}",
        },
    }))


def peak_rss_mib(process_id):
    with open(f"/proc/{process_id}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))


def server_cpu_seconds(server):
    info = server.info("cpu")
    return info["used_cpu_user"] + info["used_cpu_sys"]


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


main()
