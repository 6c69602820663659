"""Times this workspace beside its peers: turn by turn in one run, so that both see the same machine.

The workspace's side is a benchmark program that is told on its standard input which case to run and answers with the
seconds it took. While one side works the other waits. At its turn each side runs the case once or for 20 milliseconds
without a look at the clock, until its threads are awake and its caches and memory are as a program's that does this all
the time; then for as long again, and the median counts.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Ours:
    """The benchmark program `bench`, built and started by cargo."""

    def __init__(self, bench):
        self.process = subprocess.Popen(
            ["cargo", "bench", "--quiet", "--bench", bench, "--", "--answer"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # It says when it is there, so that no build runs beside the first case.
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the benchmark program ended early with {self.process.wait()}")
        return line.strip()

    def __call__(self, case):
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        return float(self.answer())


class Table:
    """Rows of ours against a peer, written to target/peers/NAME.json and printed at the end."""

    def __init__(self, name, bench):
        self.path = ROOT / "target" / "peers" / f"{name}.json"
        self.ours = Ours(bench)
        self.rows = []
        self.absent = []
        self.latest = []

    def add(self, case, ours, peer, run_peer, bar, rounds=15):
        """Our `ours` against `run_peer`: a function, the name of another case of ours, or a limit in milliseconds.

        `bar` is the most that ours may take of the peer's time; it holds by the medians.
        """
        self.compare([(case, ours, bar)], peer, run_peer, rounds)

    def compare(self, cases, peer, run_peer, rounds=15):
        """Several of ours, each a case with the name of ours and its bar, against one peer that is run once a turn."""
        theirs = []
        mine = [[] for _ in cases]
        for _ in range(rounds):
            if callable(run_peer):
                theirs.append(turn_ms(run_peer))
            elif isinstance(run_peer, float):
                theirs.append(run_peer)
            else:
                theirs.append(1e3 * self.ours(run_peer))
            for times, (_, ours, _) in zip(mine, cases):
                times.append(1e3 * self.ours(ours))
        self.latest = [row(case, bar, peer, times, theirs) for (case, _, bar), times in zip(cases, mine)]
        self.rows += self.latest
        for latest in self.latest:
            print(line(latest), flush=True)

    def explain(self, reason):
        """Why the latest rows miss their bars, if they do. `reason` is a function of the peer's milliseconds."""
        for row in self.latest:
            if not row["holds"]:
                row["note"] = reason(row["peer_ms"])

    def leave_out(self, case, peer, reason):
        """A case whose peer is not there."""
        self.absent.append({"case": case, "peer": peer, "note": reason})
        print(f"{case:<60} {'':>10} {peer:<34} left out", flush=True)

    def write(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = self.path.with_suffix(".part")
        whole.write_text(json.dumps(self.rows + self.absent, indent=2) + "\n")
        whole.replace(self.path)
        missed = [row for row in self.rows if not row["holds"]]
        print(f"\n{len(self.rows) - len(missed)} of {len(self.rows)} bars hold; the table is {self.path}")
        for row in missed:
            print(f"missed: {row['case']} against {row['peer']}: {row['ratio']:.3g}, bar {row['bar']:.3g}. {row['note']}")
        for row in self.absent:
            print(f"left out: {row['case']} against {row['peer']}: {row['note']}")


def row(case, bar, peer, mine, theirs):
    mine_ms, theirs_ms = statistics.median(mine), statistics.median(theirs)
    return {
        "case": case,
        "ours_ms": mine_ms,
        "ours_spread_ms": spread(mine),
        "peer": peer,
        "peer_ms": theirs_ms,
        "peer_spread_ms": spread(theirs),
        "rounds": len(mine),
        "ratio": mine_ms / theirs_ms,
        "bar": bar,
        "holds": mine_ms <= bar * theirs_ms,
        "note": "",
    }


# As in answer.rs.
WARM = 0.02


def turn_ms(run):
    """What a function takes once it is warm."""
    for_a_while(run)
    return 1e3 * statistics.median(for_a_while(run))


def for_a_while(run):
    """The seconds of as many runs as begin within `WARM`, at least one."""
    times = []
    begin = start = time.perf_counter()
    while start - begin < WARM:
        run()
        end = time.perf_counter()
        times.append(end - start)
        start = end
    return times


def median_ms(run, rounds=5):
    """What a function takes, for the reasons."""
    return statistics.median(turn_ms(run) for _ in range(rounds))


def spread(values):
    """Lower and upper quartile, or the ends of a few."""
    if len(values) < 4:
        return [min(values), max(values)]
    lower, _, upper = statistics.quantiles(values, n=4)
    return [lower, upper]


HEADER = f"{'case':<60} {'ours ms':>10} {'peer':<34} {'peer ms':>10} {'ratio':>8} {'bar':>8} holds"


def line(row):
    return (
        f"{row['case']:<60} {row['ours_ms']:>10.3f} {row['peer']:<34} {row['peer_ms']:>10.3f} "
        f"{row['ratio']:>8.3g} {row['bar']:>8.3g} {'yes' if row['holds'] else 'NO'}"
    )
