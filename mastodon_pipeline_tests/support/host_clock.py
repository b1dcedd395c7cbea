"""Run a module as on a host whose clock is off, by as many seconds as the first argument says.

python -m mastodon_pipeline_tests.support.host_clock 60 dagster job execute ...
"""

import runpy
import sys
import time


def main() -> None:
    """Set the clock of `time.time`, which the pipeline reads; the monotonic one is right."""
    seconds, module, *arguments = sys.argv[1:]
    clock, offset = time.time, float(seconds)
    nanoseconds, offset_ns = time.time_ns, int(offset * 1e9)
    vars(time).update(
        time=lambda: clock() + offset,
        time_ns=lambda: nanoseconds() + offset_ns,
    )
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
