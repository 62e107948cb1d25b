"""Runs every scenario of one client library over one transport: `run.py LIBRARY TRANSPORT`.

Prints `ok SCENARIO` or `not ok SCENARIO: why`, a line each.
"""

import asyncio
import importlib
import logging
import sys

import scenarios
from surface import Settings

# Seconds for one scenario, whatever it waits for.
SCENARIO_SECS = 40
# Characters of an explanation.
WHY_MAX = 600


async def run(library_name: str, transport: str) -> None:
    library = importlib.import_module(f"client_{library_name}")
    settings = Settings.of_environment(transport)
    for scenario in scenarios.SCENARIOS:
        bench = scenarios.Bench(library, settings, scenario.__name__)
        try:
            await asyncio.wait_for(scenario(bench), SCENARIO_SECS)
            print(f"ok {bench.name}", flush=True)
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())[:WHY_MAX]
            print(f"not ok {bench.name}: {why}", flush=True)
        finally:
            await bench.end()


if __name__ == "__main__":
    # The libraries complain of what the scenarios do on purpose, as the wrong password.
    logging.disable(logging.ERROR)
    asyncio.run(run(sys.argv[1], sys.argv[2]))
