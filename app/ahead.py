"""What the server does before it is asked: imports, and reading what the pages of the run begin with."""

import ctypes
import gc
import importlib
import inspect
import logging
import os
from contextlib import suppress

from options import given

from dsl_probe.store import Run


def load() -> None:
    """Import what every page needs, or the first visitor waits for it; keep little of the memory that is given back.

    Each thread of the server would keep an arena of its own, and Arrow's pool what tables had taken.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX

    import altair
    import pandas
    from altair.utils import schemapi

    from dsl_probe.share.scripts import script_table

    for name in ("PIL.Image", "pyarrow.compute", "pyarrow.dataset", "pyarrow.parquet", "compared", "opened", "states"):
        importlib.import_module(name)

    # What is read ahead belongs to no session, which a reader with a spinner would say each time.
    logging.getLogger("streamlit.runtime.scriptrunner_utils.script_run_context").setLevel(logging.ERROR)
    schemapi.DEBUG_MODE = False  # the tests check charts against the schema; it takes a third of their time
    altair.Chart(pandas.DataFrame({"x": [0]})).mark_point().encode(x="x").to_dict()
    script_table()
    inspect.stack()  # Streamlit asks for it once, and then all modules are gone through
    # Streamlit collects garbage after each run of the script: what stands here for good need not be gone through.
    gc.collect()
    gc.freeze()


def first_page() -> None:
    """Read what the overview shows of the run that was named, while the browser is on its way."""
    import data

    path = given().run
    with suppress(Exception):  # whatever is wrong with the run, its page says it better
        if path is not None:
            data.overview(Run(path))


def other_pages() -> None:
    """Read what the pages Motifs and Compare begin with, while the first page is read: a second on large runs."""
    import compared
    import motif_filters

    import data

    path = given().run
    with suppress(Exception):
        if path is not None and (run := Run(path)).stage("mine"):
            key = data.key(run, "traces", "mine")
            data.counts(key)
            motif_filters.scripts(key)
            for id in list(run.comparisons())[:1]:
                pair = compared.pairs(compared.comparison_record(run, id))[0]
                for matched in compared.MATCHED:
                    compared.comparison(data.key(run, f"compare.{id}"), id, "all", matched, pair)
