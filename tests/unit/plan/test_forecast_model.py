"""What is learnt from past runs: rules, sums, and intervals that hold what they promise."""

import numpy as np
import polars as pl
import pytest

from prestow.pipeline.definition import InputConnection, OutputConnection, Pipeline, TaskDefinition
from prestow.plan.forecast_history import TIMES, History
from prestow.plan.forecast_model import BYTES, SECONDS, Part, add_up, guess, largest, learn, noise, student
from prestow.plan.forecast_rules import Need, Needs, make_rules

CAMPAIGNS = 200


def pipeline(tasks, **hints):
    made = tuple(
        TaskDefinition(
            t, ("visit",), (InputConnection("i", "raw"),), (OutputConnection("o", f"{t}_out"),), hints=hints
        )
        for t in tasks
    )
    return Pipeline("p", "", made, {})


class World:
    """A survey whose runs differ: as a whole, type by type, and file by file."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        rng = self.rng
        self.names = [f"task{i}" for i in range(rng.integers(2, 7))]
        count = len(self.names)
        self.level = np.exp(rng.normal(14, 2, count))  # bytes
        self.rises = rng.random(count) < 0.3
        self.within = rng.uniform(0.05, 0.7, count)
        self.often = np.exp(rng.uniform(np.log(3), np.log(600), count))
        spread = np.exp(rng.normal(0, 0.5, count + 1))
        self.between = {"bytes": 0.06 * spread, "seconds": 0.15 * spread}

    def run(self):
        """Give for each task: inputs, bytes and seconds of each quantum."""
        rng, result = self.rng, {}
        scale = np.exp(rng.normal(0, 0.5))
        common = {unit: rng.normal(0, 0.7 * spread[-1]) for unit, spread in self.between.items()}
        for i, name in enumerate(self.names):
            inputs = rng.integers(1, 30, max(1, int(self.often[i] * scale))).astype(float)
            middle = self.level[i] * (inputs if self.rises[i] else 1.0)
            w = self.within[i]
            chance = {
                u: np.exp(common[u] + rng.normal(0, 0.7 * s[i]) + rng.normal(-(w**2) / 2, w, inputs.size))
                for u, s in self.between.items()
            }
            result[name] = inputs, middle * chance["bytes"], 1e-5 * middle * chance["seconds"]
        return result


def history_of(runs, rows=256):
    sizes, times = [], []
    for k, run in enumerate(runs):
        for task, (inputs, size, seconds) in run.items():
            n = min(rows, inputs.size)
            sizes.append(
                pl.DataFrame(
                    {
                        "type": [f"{task}_out"] * n,
                        "run": [f"run{k}"] * n,
                        "size": size[:n].astype(int),
                        "inputs": inputs[:n].astype(int),
                    }
                )
            )
            n = min(64, n)
            times.append(
                pl.DataFrame(
                    {
                        "task": [task] * n,
                        "run": [f"run{k}"] * n,
                        "inputs": inputs[:n].astype(int),
                        "seconds": 1.1 * seconds[:n],
                        "cpu_seconds": seconds[:n],
                        "receipt": [900] * n,
                        "report": [700] * n,
                    },
                    schema=TIMES,
                )
            )
    return History(pl.concat(sizes), pl.concat(times))


def forecast(world, past, new):
    p = pipeline(world.names)
    rules = make_rules(p, history_of(past))
    needs = Needs(p, {t: Need(inputs.size, int(inputs.sum())) for t, (inputs, _, _) in new.items()})
    products, cpu = needs.products(rules), needs.of_tasks(rules.cpu)
    return add_up(list(products.values()), BYTES), add_up(list(cpu.values()), SECONDS), products


def test_over_200_campaigns_the_interval_holds_the_truth_as_often_as_it_says():
    inside = {"bytes": 0, "cpu": 0}
    of_types, types = 0, 0
    for seed in range(CAMPAIGNS):
        world = World(20_000 + seed)
        past = [world.run() for _ in range(1 + seed % 6)]
        new = world.run()
        out, cpu, products = forecast(world, past, new)
        inside["bytes"] += out.holds(sum(size.sum() for _, size, _ in new.values()))
        inside["cpu"] += cpu.holds(sum(seconds.sum() for _, _, seconds in new.values()))
        for task, (_, size, _) in new.items():
            of_types += add_up([products[f"{task}_out"]], BYTES).holds(size.sum())
            types += 1
    assert 0.85 <= inside["bytes"] / CAMPAIGNS <= 0.95
    assert 0.85 <= inside["cpu"] / CAMPAIGNS <= 0.95
    assert 0.85 <= of_types / types <= 0.95


def test_after_one_past_run_bytes_are_within_ten_percent():
    off = []
    for seed in range(60):
        world = World(1000 + seed)
        world.between = {unit: np.full_like(spread, 0.02) for unit, spread in world.between.items()}
        world.often = np.maximum(world.often, 400)  # many files: chance inside a run evens out
        past, new = [world.run()], world.run()
        out, _, _ = forecast(world, past, new)
        off.append(abs(out.value / sum(size.sum() for _, size, _ in new.values()) - 1))
    assert np.quantile(off, 0.95) < 0.1


def test_more_past_runs_make_it_surer():
    world = World(7)
    world.within[:] = 0.1
    runs = [world.run() for _ in range(9)]
    widths = []
    for known in (1, 3, 8):
        out, _, _ = forecast(world, runs[:known], runs[8])
        widths.append(out.high / out.low)
    assert widths[0] > widths[1] > widths[2]


@pytest.mark.parametrize("freedom", [4, 5, 8, 20, 100])
def test_the_quantile_is_students(freedom):
    stats = pytest.importorskip("scipy.stats")
    assert student(freedom) == pytest.approx(stats.t.ppf(0.95, freedom), rel=3e-3)


def test_a_rise_with_inputs_is_found_and_no_other():
    rng = np.random.default_rng(1)
    inputs = rng.integers(2, 2000, 300).astype(float)
    rising = learn((5e6 + 2e4 * inputs) * np.exp(rng.normal(0, 0.05, 300)), inputs, ["a"] * 300, BYTES)
    assert rising.total(1, 1000) == pytest.approx(25e6, rel=0.05)
    level = learn(7e6 * np.exp(rng.normal(0, 0.05, 300)), inputs, ["a"] * 300, BYTES)
    assert level.per_input == 0
    assert level.total(10, 12345) == pytest.approx(7e7, rel=0.02)
    # A line that would begin below nothing begins at nothing.
    assert learn(inputs**2, inputs, ["a"] * 300, BYTES).constant == 0


def test_one_file_is_enough_and_its_interval_is_wide():
    rule = learn(np.array([1e6]), np.array([3.0]), ["a"], BYTES)
    estimate = add_up([Part(rule, rule.total(1, 3), 1)], BYTES)
    assert estimate.value == pytest.approx(1e6)
    assert estimate.low < 0.6e6
    assert estimate.high > 1.6e6


def test_what_goes_up_in_a_run_goes_up_together():
    both = [np.array([v] * 50) for v in (80.0, 100.0, 120.0)]
    runs = [name for name in "abc" for _ in range(50)]
    inputs = np.ones(150)
    up = learn(np.concatenate(both), inputs, runs, BYTES)
    down = learn(np.concatenate(both[::-1]), inputs, runs, BYTES)
    same = add_up([Part(up, up.total(50, 50), 50)] * 2, BYTES)
    against = add_up([Part(up, up.total(50, 50), 50), Part(down, down.total(50, 50), 50)], BYTES)
    assert same.high / same.value > against.high / against.value


def test_hints_err_together_and_what_is_unknown_is_in_no_sum():
    parts = [Part(guess(100.0), 100.0, 1), Part(guess(200.0), 200.0, 1)]
    total = add_up(parts, BYTES)
    assert (total.value, total.low, total.high) == pytest.approx((300, 100, 900))
    rules = make_rules(pipeline(["a"], output_bytes=5e3), History())
    assert (rules.sizes["a_out"].source, rules.sizes["a_out"].constant) == ("hints", 5e3)
    assert make_rules(pipeline(["a"]), History()).sizes["a_out"].source == "unknown"
    assert add_up([Part(make_rules(pipeline(["a"]), History()).sizes["a_out"], 0.0, 9)], BYTES).value == 0


def test_history_goes_before_hints_and_old_reports_without_cpu_count():
    sizes = pl.DataFrame({"type": ["a_out"] * 2, "run": ["r", "r"], "size": [10, 30], "inputs": [1, 1]})
    rules = make_rules(pipeline(["a", "b"], output_bytes=5e3, cpu_seconds=2.0), History(sizes))
    assert rules.sizes["a_out"].source == "runs"
    assert rules.sizes["a_out"].total(2, 2) == pytest.approx(40)
    assert rules.sizes["b_out"].source == "hints"
    assert rules.cpu["a"].source == "hints"


def test_the_largest_of_many_is_more_than_one_of_them():
    rule = learn(np.exp(np.random.default_rng(3).normal(10, 0.4, 500)), np.ones(500), ["a"] * 500, BYTES)
    part = Part(rule, rule.total(2, 2), 2)
    one = add_up([part], BYTES)
    many = largest(one, noise([part]), 1000)
    assert many.value > 1.5 * one.value
    assert many.low == one.low
    draws = np.exp(np.random.default_rng(4).normal(10, 0.4, (1000, 2))).sum(1)
    assert many.low < draws.max() < many.high * 1.2
