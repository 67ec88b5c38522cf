import functools
import gc
import inspect
import itertools
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import types

import cloudpickle
import numpy as np
import pytest

from opticam_dask.errors import InputError
from opticam_dask.shipping import Shipped, by_value


def level(data, position, semimajor_axis, error=None):
    return float(np.median(data)) + OFFSET, position


OFFSET = 2.0


class Estimator:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, data):
        return self.scale * data


def test_a_shipped_function_acts_like_the_function():
    shipped = by_value(level)
    assert shipped(np.arange(5), position=1, semimajor_axis=2) == (4.0, 1)
    assert shipped.signature == inspect.signature(level) == inspect.signature(shipped)
    assert shipped.name == shipped.__name__ == "level"
    assert by_value(shipped) is shipped


def test_it_pickles_without_cloudpickle_compares_and_hashes():
    shipped = by_value(level)
    copy = pickle.loads(pickle.dumps(shipped))
    assert isinstance(copy, Shipped)
    assert copy == shipped
    assert len({copy, shipped}) == 1
    assert copy != by_value(lambda data: data)
    assert copy.load() is shipped.load()


def test_names():
    assert by_value(Estimator(2)).name == "Estimator"
    assert by_value(functools.partial(level, position=3)).name == "level"
    assert by_value(lambda data: 1).name == "function"


def test_what_cannot_leave_the_process_is_one_clear_line():
    lock = threading.Lock()
    with pytest.raises(InputError, match="cannot be sent to the workers") as error:
        by_value(lambda data: lock.locked())
    assert "\n" not in str(error.value)


def test_the_registry_is_left_as_it_was():
    before = set(cloudpickle.list_registry_pickle_by_value())
    by_value(level)
    with pytest.raises(InputError):
        by_value(threading.Lock())
    assert set(cloudpickle.list_registry_pickle_by_value()) == before


def test_installed_packages_travel_by_name():
    assert len(by_value(np.median).payload) < 200
    assert len(by_value(by_value).payload) < 200


HELPER = "def twice(x):\n    return 2 * x\n"
MODULE = """
import helper
from helper import twice

BIAS = 1

def by_module(x):
    return helper.twice(x) + BIAS

def by_name(x):
    return twice(x) + BIAS

class Estimator:
    def __init__(self, bias):
        self.bias = bias

    def __call__(self, x):
        return twice(x) + self.bias
"""
SCRIPT = """
import os, sys
from functools import partial
import estimators
from opticam_dask.cluster import connect
from opticam_dask.shipping import by_value

STEP = 1

def in_main(x):
    return 2 * x + STEP

class InMain:
    def __call__(self, x):
        return in_main(x)

def closure(step):
    return lambda x: 2 * x + step

def add(x, step):
    return 2 * x + step

functions = [in_main, InMain(), lambda x: 2 * x + STEP, closure(1), partial(add, step=1),
             estimators.by_module, estimators.by_name, estimators.Estimator(1)]
with connect("ADDRESS") as client:
    futures = [client.submit(by_value(f), 20, pure=False) for f in functions]
    print(client.gather(futures))
    print({os.path.realpath(cwd) != os.path.realpath(os.getcwd()) for cwd in client.run(os.getcwd).values()})
    def cannot():
        try:
            import estimators
        except ImportError:
            return True
    print(set(client.run(cannot).values()))
"""


@pytest.mark.cluster
def test_functions_of_a_script_and_its_modules_run_where_the_folder_is_unknown(cluster, tmp_path):
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "estimators.py").write_text(MODULE)
    (tmp_path / "script.py").write_text(SCRIPT.replace("ADDRESS", cluster.scheduler.address))
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [str([41] * 8), "{True}", "{True}"]


@pytest.mark.cluster
def test_a_function_of_a_notebook_cell_runs_on_processes(cluster):
    cell = textwrap.dedent(
        """
        import numpy as np
        def estimator(data):
            return float(np.median(data))
        """
    )
    names = {"__name__": "__main__"}
    exec(cell, names)
    assert cluster.submit(by_value(names["estimator"]), np.arange(9)).result() == 4.0


def test_functions_are_sent_while_another_thread_imports():
    over = threading.Event()

    def importing():
        for number in itertools.count():
            name = f"opticam_made_up_{number}"
            sys.modules[name] = types.ModuleType(name)
            if number % 500 == 499:
                for last in range(number - 499, number + 1):
                    del sys.modules[f"opticam_made_up_{last}"]
                if over.is_set():
                    return

    def others_go_on(*_):
        time.sleep(1e-5)

    thread = threading.Thread(target=importing)
    thread.start()
    gc.callbacks.append(others_go_on)  # as dask has one: collecting garbage lets another thread run
    try:
        for factor in range(5):
            assert by_value(lambda x, factor=factor: factor * x).load()(2) == 2 * factor
    finally:
        gc.callbacks.remove(others_go_on)
        over.set()
        thread.join()
